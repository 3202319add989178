"""The one gate: every mutation of a host, a cluster or a provider passes it with a sentence.

A dry run is the same code path: its sentences are the plan. Guards are asked afresh before every
mutation, so that a freeze, a hold or a lost lease stops the next one, wherever it was ordered from.
A guard that cannot answer refuses.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from poolkeeper.tasks.outcomes.findings import Evidence, Finding, Severity, Subject

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a guard says no, and what a person can do about it."""

    guard: str
    """`observe`, `freeze`, `hold` or `lease`."""
    reason: str
    next_step: str
    temporary: bool = False
    """It could not be found out whether the change is allowed; asked a little later, it may be."""

    def finding(self, subject: Subject, severity: Severity = Severity.BLOCKER) -> Finding:
        """The refusal as a finding on what was not changed."""
        evidence = Evidence(self.reason, "no one objects", "gate")
        return Finding(f"gate.{self.guard}", severity, subject, evidence, self.next_step)


class GateRefused(Exception):
    """A mutation was refused; nothing was sent."""

    def __init__(self, change: Change, refusal: Refusal) -> None:
        super().__init__(f"refused to {change.sentence}: {refusal.reason}. {refusal.next_step}")
        self.change = change
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Change:
    """One mutation, told before it is made."""

    subject: Subject
    sentence: str
    """Imperative, without a full stop: `cordon node fra1-n01`."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What a dry run answers in place of the mutation's own result."""

    change: Change
    refusal: Refusal | None = None
    """Why the real run would be refused if it came now."""


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The mutation was made; `value` is what it answered."""

    change: Change
    value: T


Guard = Callable[[Change], Awaitable[Refusal | None]]
"""Asked before a mutation; answers None when it has no objection."""


@dataclass(slots=True)
class Gate:
    """Passes or refuses mutations; remembers every sentence it passed, in order."""

    guards: Sequence[Guard] = ()
    dry_run: bool = True
    told: Callable[[Change], None] = lambda change: None
    """Hears each change that passes, before it is made: the run's log."""
    changes: list[Change] = field(default_factory=list)

    async def change(self, subject: Subject, sentence: str, act: Callable[[], Awaitable[T]]) -> Planned | Done[T]:
        """Make one mutation, or in a dry run only tell it.

        Raises GateRefused when a guard objects, and whatever `act` raises. A dry run asks the guards too,
        and carries their objection in its answer: a plan may be drawn while the real thing is not allowed.
        """
        change = Change(subject, sentence)
        refusal = await self._objection(change)
        if refusal is not None and not self.dry_run:
            raise GateRefused(change, refusal)
        self.changes.append(change)
        self.told(change)
        if self.dry_run:
            return Planned(change, refusal)
        return Done(change, await act())

    async def rehearse(self, subject: Subject, sentence: str) -> Refusal | None:
        """A dry run's word on one mutation, and why the real run would be refused if it came now."""
        assert self.dry_run
        passed = await self.change(subject, sentence, _nothing)
        return passed.refusal if isinstance(passed, Planned) else None

    async def _objection(self, change: Change) -> Refusal | None:
        for guard in self.guards:
            refusal = await guard(change)
            if refusal is not None:
                return refusal
        return None


async def _nothing() -> None:
    """What a dry run does."""
