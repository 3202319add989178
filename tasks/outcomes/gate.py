"""The one gate: every mutation of a host, a cluster or a provider passes it with a sentence.

A dry run walks the same steps: the gate makes no change, and answers what the change would have brought. Guards are
asked afresh before every mutation, so that a freeze, a hold or a lost lease stops the next one, wherever it was ordered
from. A guard that cannot answer refuses. Each change is recorded with how it ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from poolkeeper.tasks.outcomes.errors import PoolkeeperError
from poolkeeper.tasks.outcomes.findings import Evidence, Finding, Severity, Subject, blockers
from poolkeeper.tasks.outcomes.quoting import named

T = TypeVar("T")
R = TypeVar("R")


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


class GateRefused(PoolkeeperError):
    """A guard refused a change; nothing was sent."""

    id = "gate.refused"
    expected = "no guard objects"
    source = "gate"

    def __init__(self, change: Change, refusal: Refusal) -> None:
        super().__init__(f"refused to {change.sentence}: {refusal.reason}", next_step=refusal.next_step)
        self.change = change
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Change:
    """One mutation."""

    subject: Subject
    sentence: str
    """Imperative, without a full stop: `cordon node fra1-n01`."""


class ChangeState(StrEnum):
    """How a change ended, as far as it is known."""

    DRY_RUN = "dry run"
    """A dry run: nothing was sent."""
    UNKNOWN = "unknown"
    """It was begun, and nobody has seen its end: it may or may not have taken effect."""
    DONE = "done"
    REFUSED = "refused"
    """By a guard, or by whoever was asked: it took no effect."""
    FAILED = "failed"
    """It ended with an error; part of it may have taken effect."""


@dataclass(slots=True, eq=False)
class ChangeRecord:
    """One change, and how it ended. Tried again after a refusal or an error, it stays one record."""

    change: Change
    state: ChangeState
    why: str = ""
    """What speaks against it, or has gone wrong."""
    attempts: int = 1
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When it was first tried, UTC."""
    _may_have_begun: str = ""
    """What an earlier attempt has left, where part of it may have taken effect."""

    def try_again(self) -> None:
        """It is tried once more, whatever the last attempt has left."""
        if self.state in (ChangeState.UNKNOWN, ChangeState.FAILED):
            self._may_have_begun = self.why
        self.attempts += 1

    def end(self, state: ChangeState, why: str) -> None:
        """How the last attempt ended. A refusal says nothing of what an attempt before it has left."""
        if state is ChangeState.REFUSED and self._may_have_begun:
            state, why = ChangeState.UNKNOWN, f"{self._may_have_begun}; then refused: {why}"
        self.state, self.why = state, why

    @property
    def is_under_way(self) -> bool:
        """Whether its end is still to come."""
        return self.state is ChangeState.UNKNOWN and not self.why


Guard = Callable[[Change], Awaitable[Refusal | None]]
"""Asked before a mutation; answers None when it has no objection."""
End = tuple[ChangeState, str]
"""How a change ended, and why it is not *done*."""
DONE: End = (ChangeState.DONE, "")


def failed_if(why: str) -> End:
    """The end of a change whose answer is why it failed; empty: it was made."""
    return (ChangeState.FAILED, why) if why else DONE


def failed_by(findings: Iterable[Finding]) -> End:
    """The end of a change whose answer is findings: a blocker among them is why it failed."""
    return next(((ChangeState.FAILED, f"{f.id}: {f.evidence.observed}") for f in blockers(findings)), DONE)


@dataclass(slots=True)
class Gate:
    """Passes or refuses mutations, and keeps a record of each."""

    guards: Sequence[Guard] = ()
    dry_run: bool = True
    on_change: Callable[[ChangeRecord], None] = lambda record: None
    """Called when a change begins and again when it has ended: the run's log and spool."""
    records: list[ChangeRecord] = field(default_factory=list)
    """In the order in which they were first tried."""
    _latest: dict[Change, ChangeRecord] = field(default_factory=dict)
    _objections: dict[Subject, list[Refusal]] = field(default_factory=dict)
    """By what is to be changed: what guards have against it."""

    @property
    def sentences(self) -> list[str]:
        """What passed, or in a dry run would be tried, in order."""
        return [one.change.sentence for one in self.records if one.state is not ChangeState.REFUSED]

    async def change(
        self,
        subject: Subject,
        sentence: str,
        act: Callable[[], Awaitable[T]],
        *,
        if_dry_run: R,
        end: Callable[[T], End] = lambda value: DONE,
        one_request: bool = False,
    ) -> T | R:
        """Make one mutation and answer what it brought; a dry run makes none, and answers `if_dry_run`.

        end: how the change ended, by what `act` answered
        one_request: `act` sends a single request that changes something: where that is refused, nothing was changed

        Raises GateRefused when a guard objects, and whatever `act` raises. A dry run asks the guards too, and only
        records their objection: a plan may be drawn while the real thing is not allowed.
        """
        change = Change(subject, sentence)
        refusal = await self._objection(change)
        if self.dry_run:
            self._record(change, ChangeState.DRY_RUN, refusal)
            return if_dry_run
        if refusal is not None:
            self._record(change, ChangeState.REFUSED, refusal)
            raise GateRefused(change, refusal)
        record = self._record(change, ChangeState.UNKNOWN)
        try:
            value = await act()
        except BaseException as error:
            self._ended(record, *_end_by(error, one_request=one_request))
            raise
        self._ended(record, *end(value))
        return value

    async def ask_again(self, subject: Subject, sentence: str) -> None:
        """Ask the guards once more within a change that had to wait for its turn. Raises GateRefused."""
        change = Change(subject, sentence)
        if (refusal := await self._objection(change)) is not None:
            raise GateRefused(change, refusal)

    async def unless_dry_run(self, act: Callable[[], Awaitable[T]], *, if_dry_run: R) -> T | R:
        """What goes with changes and is none itself: waiting for what they bring, writing down what is intended."""
        return if_dry_run if self.dry_run else await act()

    async def watch(self, look: Callable[[], Awaitable[T]]) -> T:
        """What somebody else does while changes are made; a dry run waits for nobody, and this never ends there."""
        return await (asyncio.Event().wait() if self.dry_run else look())  # type: ignore[return-value]

    def seen(self, value: T, *, if_dry_run: R) -> T | R:
        """What was read of changes that were made; in a dry run what they would bring."""
        return if_dry_run if self.dry_run else value

    def objections(self, *subjects: Subject) -> list[Refusal]:
        """What guards have against the changes of a dry run to these subjects, each once."""
        return list(dict.fromkeys(one for subject in subjects for one in self._objections.get(subject, ())))

    def _record(self, change: Change, state: ChangeState, objection: Refusal | None = None) -> ChangeRecord:
        record, why = self._latest.get(change), ""
        if objection is not None:
            why = objection.reason
            self._objections.setdefault(change.subject, []).append(objection)
        if record is None or record.is_under_way or record.state in (ChangeState.DONE, ChangeState.DRY_RUN):
            record = self._latest[change] = ChangeRecord(change, state, why)
            self.records.append(record)
        else:
            record.try_again()
            record.end(state, why)
        self.on_change(record)
        return record

    def _ended(self, record: ChangeRecord, state: ChangeState, why: str) -> None:
        record.end(state, why)
        self.on_change(record)

    async def _objection(self, change: Change) -> Refusal | None:
        for guard in self.guards:
            refusal = await guard(change)
            if refusal is not None:
                return refusal
        return None


def _end_by(error: BaseException, *, one_request: bool) -> End:
    """What an error says of the change that it ended: one that was cut off may have been made all the same."""
    if isinstance(error, TimeoutError) or not isinstance(error, Exception):
        state = ChangeState.UNKNOWN
    else:
        state = getattr(error, "leaves", ChangeState.FAILED)
    if state is ChangeState.REFUSED and not one_request:
        state = ChangeState.FAILED  # steps before the one that was refused may have taken effect
    return state, named(error)
