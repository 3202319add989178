"""What an approval covers: the plan that was shown, narrowed and nothing else, for seven days."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from poolkeeper.tasks.cluster.approvals import Approval
from poolkeeper.tasks.rollout.goal import Goal, Limits, OnBlocked
from poolkeeper.tasks.rollout.plan import Candidate, Plan, plan_rollout
from poolkeeper.tasks.rollout.plan_approval import narrowed, needs_approval, plan_row
from tests.unit.onboard.builders import NOW, a_host

GOAL = Goal("upgrade", "general", {"kubernetes": "v1.36.3"})


def plan(*names: str, goal: Goal = GOAL, **limits: Any) -> Plan:
    return plan_rollout(goal, Limits(**limits), [Candidate(a_host(name)) for name in names])


APPROVED = Approval(
    "k", "run-1", plan_row(plan("a", "b", "c")), "2026-11-23T10:00:00+00:00", "approved", "joe", NOW.isoformat()
)


@pytest.mark.parametrize(
    ("asked", "approval", "covered"),
    [
        pytest.param(plan("a", "b", "c"), {}, ["a", "b", "c"], id="the same plan"),
        pytest.param(plan("b", "c"), {}, ["b", "c"], id="fewer hosts"),
        pytest.param(plan("a", "b", "d"), {}, None, id="another host"),
        pytest.param(plan("a", failure_budget=5), {}, None, id="other limits"),
        pytest.param(plan("a", goal=Goal("upgrade", "general", {"kubernetes": "v1.36.4"})), {}, None, id="another goal"),
        pytest.param(plan("a"), {"word": ""}, None, id="nobody has spoken"),
        pytest.param(plan("a"), {"word": "rejected"}, None, id="rejected"),
        pytest.param(plan("a"), {"at": (NOW - timedelta(days=8)).isoformat()}, None, id="too old"),
        pytest.param(plan("a"), {"at": "soon"}, None, id="no time"),
        pytest.param(plan("a"), {"at": (NOW + timedelta(minutes=4)).isoformat()}, ["a"], id="by a clock that is ahead"),
        pytest.param(plan("a"), {"at": (NOW + timedelta(minutes=6)).isoformat()}, None, id="from a time to come"),
        pytest.param(plan("a"), {"at": "2126-11-23T12:00:00+00:00"}, None, id="of the next century"),
    ],
)  # fmt: skip
def test_what_is_covered(asked: Plan, approval: dict[str, Any], covered: list[str] | None) -> None:
    found = narrowed(asked, [replace(APPROVED, **approval)], NOW)
    assert ([p.host.name for p in found[0].hosts] if found else None) == covered


def test_waves_stay_as_they_were_approved() -> None:
    found = narrowed(plan("b", "c"), [APPROVED], NOW)
    assert found is not None
    assert [planned.wave for planned in found[0].hosts] == [2, 2]


@pytest.mark.parametrize(
    ("limits", "asked_for", "why"),
    [
        pytest.param({}, False, "", id="nothing to approve"),
        pytest.param({}, True, "the run asks for approval", id="asked for"),
        pytest.param({"on_blocked": OnBlocked.FORCE}, False, "on_blocked is force: pods may be deleted despite their budgets", id="force"),
    ],
)  # fmt: skip
def test_who_needs_one(limits: dict[str, Any], asked_for: bool, why: str) -> None:
    assert needs_approval(plan("a", **limits), asked_for) == why
