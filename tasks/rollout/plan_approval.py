"""What a person has approved, and what of a new plan it covers. Pure.

An approved plan may be narrowed and nothing else: same goal, same limits, no host that was not in it.
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
"""An approval that nobody has used by then is none any more."""
CLOCKS_APART = timedelta(minutes=5)
"""So far the clock of whoever spoke may be ahead of ours; a word from later than that tells nothing of its age."""


def needs_approval(plan: Plan, asked_for: bool) -> str:
    """Why a plan may not be carried out without a person's word; empty where it may."""
    if plan.limits.on_blocked is OnBlocked.FORCE:
        return "on_blocked is force: pods may be deleted whatever their budgets say"
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
    """The plan in the order and waves that were approved, and the approval; None: none that is young covers it."""
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
    """Since the word was given; one that does not tell when is too old."""
    try:
        return now - datetime.fromisoformat(approval.at)
    except (ValueError, TypeError):
        return timedelta.max


def _same_rollout(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    return all(mine[key] == theirs.get(key) for key in ("flow", "pool", "goal", "limits"))
