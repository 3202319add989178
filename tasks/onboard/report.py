"""The plan of joins for people: one row a host, and how long it is expected to take."""

from __future__ import annotations

from typing import Any

from poolkeeper.tasks.onboard.plan import JoinPlan
from poolkeeper.tasks.outcomes import HostState
from poolkeeper.tasks.runs.durations import ENOUGH, TimedPhases, expected
from poolkeeper.tasks.runs.watching import HostPlan, RunPlan

ADMISSION = TimedPhases(
    HostState.ACCEPTED,
    ("look", "undo", "join", "quarantine", "acceptance", "release"),
    required=("join", "acceptance"),
)
"""What admitting a host takes. A host that had joined before the run does not count."""


def plan_rows(plan: JoinPlan) -> list[dict[str, Any]]:
    """The plan, one row a host."""
    return [
        {
            "wave": planned.wave,
            "host": planned.host.name,
            "node": planned.host.node_name,
            "pool": planned.host.pool.name,
            "site": planned.host.site.name,
            "domain": planned.host.domain.name if planned.host.domain else "",
            "what": str(planned.step),
            "why": planned.reason,
        }
        for planned in plan.hosts
    ]


def run_plan(plan: JoinPlan, host_s: float | None) -> RunPlan:
    """The plan as the command line shows it.

    host_s: how long one host took in earlier runs, in seconds; None: too few were measured
    """
    rows = tuple(HostPlan(p.host.name, p.wave, str(p.step), p.reason) for p in plan.hosts)
    return RunPlan(plan.summary, rows, host_s, (_duration(plan, host_s),) if rows else ())


def _duration(plan: JoinPlan, host_s: float | None) -> str:
    """Pools are worked on side by side, so that the one with the most waves decides."""
    if host_s is None:
        return f"expected: unknown, because fewer than {ENOUGH} hosts of these pools were onboarded by earlier runs"
    waves = max(planned.wave for planned in plan.hosts)
    pools = {planned.host.pool.name: planned.host.pool for planned in plan.hosts}
    at_once = sum(pool.join.parallel for pool in pools.values())
    return expected(waves * host_s, host_s, min(at_once, len(plan.hosts)))
