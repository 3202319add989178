"""How a run ended, host by host: one host's failure never costs another its outcome."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from poolkeeper.tasks.outcomes.findings import Finding, by_severity


class HostState(StrEnum):
    """Where one host stands when the run ends."""

    ACCEPTED = "accepted"
    """A node that takes workloads; proven in this run or found so."""
    PLANNED = "planned"
    """A dry run: it would have been changed."""
    STOPPED = "stopped"
    """Kept out before anything on it was changed."""
    QUARANTINED = "quarantined"
    """Joined and cordoned, not accepted."""
    FAILED = "failed"
    """Something was tried on it and did not work; what was left behind is in its findings."""
    DONE = "done"
    """At the rollout's goal; proven in this run or found so."""
    HANDED_OVER = "handed over"
    """Drained, cordoned, and a person's until they give it back."""
    LEFT = "left for later"
    """Nothing was begun with it, or what was begun is given back: no window, no room, a stop."""
    BLOCKED = "blocked"
    """Its drain did not come to an end; given back, unless it was half changed before."""
    REFUSED = "refused"
    """The gate said no: observe mode, freeze, hold or lease."""


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
    """A run's honest end."""

    COMPLETED = "completed"
    LEFT_OUT = "completed with hosts left out"
    USAGE_LEFT_OUT = "completed with usage left out"
    """Of a bill: there is usage without a price."""
    BILL_TO_LOOK_AT = "completed with a bill to look at"
    """The vendor's bill differs from what was metered."""
    UNRECORDED = "ended without its record"
    """What was done is as it is told; of what was seen and done, some could not be written down."""
    FAILED = "failed"
    INVALID = "invalid"
    """What was asked for makes no sense; nothing was touched."""


def run_state(asked: Iterable[str], outcomes: Iterable[HostOutcome]) -> RunState:
    """`completed` only if every host asked for is where it should be, or planned; `failed` if none is.

    A host that was asked for and has no outcome counts as left out: none goes missing silently.
    """
    good = {HostState.ACCEPTED, HostState.PLANNED, HostState.DONE, HostState.HANDED_OVER}
    fine = {outcome.name for outcome in outcomes if outcome.state in good}
    wanted = set(asked)
    if wanted <= fine:
        return RunState.COMPLETED
    return RunState.LEFT_OUT if wanted & fine else RunState.FAILED
