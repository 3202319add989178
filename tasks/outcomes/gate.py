"""The gate: every change of a host, a cluster or a provider passes it, described by one sentence.

A dry run walks the same steps as a real run: the gate makes no change, and returns what the change would have returned.
The guards are asked before every single change, so a freeze, a hold or a lost lease stops the next change. A guard that
cannot find out refuses. Each change is recorded with its outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
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
    """Why a guard refuses a change, and what the operator can do about it."""

    guard: str
    """`observe`, `freeze`, `hold` or `lease`."""
    reason: str
    next_step: str
    temporary: bool = False
    """Whether the guard could not find out if the change is allowed; a later attempt may be allowed."""

    def finding(self, subject: Subject, severity: Severity = Severity.BLOCKER) -> Finding:
        """The refusal as a finding about the subject that was not changed."""
        evidence = Evidence(self.reason, GateRefused.expected, "gate")
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
    """One change, before it is made."""

    subject: Subject
    sentence: str
    """Imperative, without a full stop: `cordon node fra1-n01`."""


class ChangeState(StrEnum):
    """The outcome of a change, as far as it is known."""

    DRY_RUN = "dry run"
    """In a dry run: nothing was sent."""
    UNKNOWN = "unknown"
    """It was started and its end was not seen: it may or may not have taken effect."""
    DONE = "done"
    REFUSED = "refused"
    """A guard, or the server that was asked, refused it: it took no effect."""
    FAILED = "failed"
    """It ended with an error; part of it may have taken effect."""


@dataclass(slots=True, eq=False)
class ChangeRecord:
    """One change and its outcome. A retry after a refusal or an error belongs to the same record."""

    change: Change
    state: ChangeState
    why: str = ""
    """Why it was refused, or what went wrong."""
    attempts: int = 1
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When it was first tried, UTC."""
    repeated: bool = False
    """In a dry run: its step failed and was started again, which plans the change again. This record does not count."""
    _may_have_effect: str = ""
    """Why an earlier attempt failed, if part of it may have taken effect."""

    def retry(self) -> None:
        """Another attempt begins."""
        if self.state in (ChangeState.UNKNOWN, ChangeState.FAILED):
            self._may_have_effect = self.why
        self.attempts += 1

    def end(self, state: ChangeState, why: str) -> None:
        """The last attempt has ended. Keeps: a refusal never hides that an earlier attempt may have taken effect."""
        if state is ChangeState.REFUSED and self._may_have_effect:
            state, why = ChangeState.UNKNOWN, f"{self._may_have_effect}; then refused: {why}"
        self.state, self.why = state, why

    @property
    def is_in_progress(self) -> bool:
        """Whether it has not ended yet."""
        return self.state is ChangeState.UNKNOWN and not self.why


Guard = Callable[[Change], Awaitable[Refusal | None]]
"""Asked before a change; returns None if it has no objection."""
End = tuple[ChangeState, str]
"""The outcome of a change, and why it is not *done*."""
DONE: End = (ChangeState.DONE, "")


def failed_if(why: str) -> End:
    """The end of a change that returns why it failed; empty: it is done."""
    return (ChangeState.FAILED, why) if why else DONE


def failed_by(findings: Iterable[Finding]) -> End:
    """The end of a change that returns findings: the first blocker is why it failed."""
    return next(((ChangeState.FAILED, f"{f.id}: {f.evidence.observed}") for f in blockers(findings)), DONE)


@dataclass(slots=True)
class Gate:
    """Passes or refuses changes, and keeps a record of each."""

    guards: Sequence[Guard] = ()
    dry_run: bool = True
    on_change: Callable[[ChangeRecord], None] = lambda record: None
    """Called when a change begins and again when it has ended; writes the run's log and spool."""
    records: list[ChangeRecord] = field(default_factory=list)
    """In the order in which they were first tried."""
    _latest: dict[Change, ChangeRecord] = field(default_factory=dict)
    _objections: dict[Subject, list[Refusal]] = field(default_factory=dict)
    """Subject -> the refusals of guards."""
    _planned: dict[str, list[ChangeRecord]] = field(default_factory=dict)
    """In a dry run: step -> what its latest attempt has planned."""

    @property
    def sentences(self) -> list[str]:
        """The changes that passed the guards, or that a dry run planned, in order."""
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
        """Make one change and return what `act` returned; a dry run makes none, and returns `if_dry_run`.

        end: the outcome of the change, from what `act` returned
        one_request: `act` sends a single changing request: if that is refused, nothing was changed

        Raises GateRefused if a guard objects, and whatever `act` raises. A dry run asks the guards too, and records
        their objections without raising: a plan can be made while the real run is not allowed.
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
        """Ask the guards again, within a change that had to wait. Raises GateRefused."""
        change = Change(subject, sentence)
        if (refusal := await self._objection(change)) is not None:
            raise GateRefused(change, refusal)

    async def unless_dry_run(self, act: Callable[[], Awaitable[T]], *, if_dry_run: R) -> T | R:
        """Do what belongs to changes and is not a change itself: wait for their effect, write down an intent."""
        return if_dry_run if self.dry_run else await act()

    async def watch(self, look: Callable[[], Awaitable[T]]) -> T:
        """Watch what others do while changes are made. In a dry run this never returns."""
        return await (asyncio.Event().wait() if self.dry_run else look())  # type: ignore[return-value]

    def seen(self, value: T, *, if_dry_run: R) -> T | R:
        """A value that was read after changes; in a dry run the value that they would lead to."""
        return if_dry_run if self.dry_run else value

    def objections(self, *subjects: Subject) -> list[Refusal]:
        """The guards' objections to the planned changes of these subjects, each once."""
        return list(dict.fromkeys(one for subject in subjects for one in self._objections.get(subject, ())))

    @contextmanager
    def attempt(self, step: str) -> Iterator[None]:
        """One attempt of a step that is started again after an error.

        step: the same for each attempt of one step, and different for any other step
        Keeps: what a dry run planned in a failed attempt is not recorded twice.
        """
        for record in self._planned.pop(step, ()):
            record.repeated = True
            self.records.remove(record)
        before = _planned_in_attempt.set(self._planned.setdefault(step, []))
        try:
            yield
        finally:
            _planned_in_attempt.reset(before)

    def _record(self, change: Change, state: ChangeState, objection: Refusal | None = None) -> ChangeRecord:
        record, why = self._latest.get(change), ""
        if objection is not None:
            why = objection.reason
            self._objections.setdefault(change.subject, []).append(objection)
        if record is None or record.is_in_progress or record.state in (ChangeState.DONE, ChangeState.DRY_RUN):
            record = self._latest[change] = ChangeRecord(change, state, why)
            self.records.append(record)
            if state is ChangeState.DRY_RUN:
                _planned_in_attempt.get([]).append(record)
        else:
            record.retry()
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


_planned_in_attempt: ContextVar[list[ChangeRecord]] = ContextVar("planned in this attempt of a step")


def _end_by(error: BaseException, *, one_request: bool) -> End:
    """The outcome of a change that ended with this error: one that was cut off may have taken effect."""
    if isinstance(error, TimeoutError) or not isinstance(error, Exception):
        state = ChangeState.UNKNOWN
    else:
        state = getattr(error, "leaves", ChangeState.FAILED)
    if state is ChangeState.REFUSED and not one_request:
        state = ChangeState.FAILED  # steps before the one that was refused may have taken effect
    return state, named(error)
