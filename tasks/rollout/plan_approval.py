"""Whether a new plan is covered by an approval. Pure.

Invariant: an approval covers a plan with the same goal and limits, and with no host that was not approved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from poolkeeper.tasks.cluster.approvals import Approval
from poolkeeper.tasks.rollout.goal import OnBlocked
from poolkeeper.tasks.rollout.plan import Plan

GOOD_FOR = timedelta(days=7)
"""An older approval does not count."""
CLOCKS_APART = timedelta(minutes=5)
"""How far the approver's clock may be ahead of ours. The age of an approval from further ahead is unknown: it does not
count."""


def needs_approval(plan: Plan, asked_for: bool) -> str:
    """Why a plan needs approval; empty: it does not."""
    if plan.limits.on_blocked is OnBlocked.FORCE:
        return "on_blocked is force: pods may be deleted despite their budgets"
    return "the run asks for approval" if asked_for else ""


def plan_row(plan: Plan) -> dict[str, Any]:
    """A plan as plain JSON types, to be shown and stored."""
    return {
        "flow": plan.goal.flow,
        "pool": plan.goal.pool,
        "goal": dict(plan.goal.wanted),
        "limits": plan.limits.row(),
        "hosts": [[planned.host.name, planned.wave] for planned in plan.hosts],
    }


def narrowed(plan: Plan, approvals: Iterable[Approval], now: datetime) -> tuple[Plan, Approval] | None:
    """The plan in the approved order and waves, and the approval; None: no valid approval covers it."""
    mine = plan_row(plan)
    for approval in sorted(approvals, key=lambda a: a.asked_at, reverse=True):
        young = -CLOCKS_APART <= _age(approval, now) <= GOOD_FOR
        if approval.word != "approved" or not young or not _same_rollout(mine, approval.plan):
            continue
        waves = {str(name): int(wave) for name, wave in approval.plan.get("hosts") or ()}
        wanted = {planned.host.name: planned for planned in plan.hosts}
        if not wanted.keys() <= waves.keys():
            continue
        hosts = tuple(replace(wanted[name], wave=wave) for name, wave in waves.items() if name in wanted)
        return replace(plan, hosts=hosts), approval
    return None


def _age(approval: Approval, now: datetime) -> timedelta:
    """Since the approval was given; an approval without a valid time is too old."""
    try:
        return now - datetime.fromisoformat(approval.at)
    except (ValueError, TypeError):
        return timedelta.max


def _same_rollout(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    return all(mine[key] == theirs.get(key) for key in ("flow", "pool", "goal", "limits"))
