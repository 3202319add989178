"""The plan of joins for people: one row a host."""

from __future__ import annotations

from typing import Any

from poolkeeper.tasks.onboard.plan import Plan
from poolkeeper.tasks.runs.watching import HostPlan, RunPlan


def plan_rows(plan: Plan) -> list[dict[str, Any]]:
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


def run_plan(plan: Plan) -> RunPlan:
    """The same for whoever watches the run."""
    return RunPlan(plan.summary, tuple(HostPlan(p.host.name, p.wave, str(p.step), p.reason) for p in plan.hosts))
