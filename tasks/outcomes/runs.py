"""How a run ended, host by host. The failure of one host never loses the outcome of another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from poolkeeper.tasks.outcomes.findings import Finding, by_severity


class HostState(StrEnum):
    """The state of one host when the run ends."""

    ACCEPTED = "accepted"
    """Its node takes workloads; proven in this run or before."""
    PLANNED = "planned"
    """In a dry run: it would be changed."""
    STOPPED = "stopped"
    """Excluded before anything on it was changed."""
    QUARANTINED = "quarantined"
    """Joined and cordoned, not accepted."""
    FAILED = "failed"
    """A change of it failed; its findings say what is left to do."""
    DONE = "done"
    """At the rollout's goal; proven in this run or before."""
    HANDED_OVER = "handed over"
    """Drained and cordoned for a person, who returns it to service."""
    POSTPONED = "postponed"
    """Not started, or returned to service unchanged: no maintenance window, no headroom, or a stop."""
    BLOCKED = "blocked"
    """Its drain did not end; it is returned to service, unless it was half changed before."""
    REFUSED = "refused"
    """The gate refused a change: observe mode, freeze, hold or lease."""


@dataclass(frozen=True, slots=True)
class HostOutcome:
    """One host's row of a run."""

    name: str
    state: HostState
    summary: str
    findings: tuple[Finding, ...] = ()
    phase_s: dict[str, float] = field(default_factory=dict)
    """Seconds spent in each phase."""

    def row(self) -> dict[str, Any]:
        """The outcome as plain JSON types, in the shape that `poolkeeper run --json` answers."""
        return {
            "name": self.name,
            "state": str(self.state),
            "summary": self.summary,
            "findings": [finding.row() for finding in by_severity(self.findings)],
            "phase_s": {phase: round(seconds, 2) for phase, seconds in self.phase_s.items()},
        }


class RunState(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"
    UNFINISHED_HOSTS = "completed with unfinished hosts"
    UNPRICED_USAGE = "completed with unpriced usage"
    """Of `meter`: there is usage without a price."""
    BILL_DIFFERS = "completed with bill differences"
    """Of `meter`: the provider's bill differs from the metered fees."""
    UNRECORDED = "ended with an incomplete record"
    """The summary is right; some rows of the record could not be written."""
    FAILED = "failed"
    INVALID = "invalid"
    """A parameter or a file is invalid; nothing was changed."""


def run_state(asked: Iterable[str], outcomes: Iterable[HostOutcome]) -> RunState:
    """`completed` only if every requested host has ended well or is planned; `failed` if none has.

    Keeps: a requested host without an outcome counts as unfinished, so none is lost silently.
    """
    good = {HostState.ACCEPTED, HostState.PLANNED, HostState.DONE, HostState.HANDED_OVER}
    fine = {outcome.name for outcome in outcomes if outcome.state in good}
    wanted = set(asked)
    if wanted <= fine:
        return RunState.COMPLETED
    return RunState.UNFINISHED_HOSTS if wanted & fine else RunState.FAILED
