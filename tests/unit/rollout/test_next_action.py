"""Where a node stands in a rollout: what is ours, what is somebody else's, and where the next run goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from poolkeeper.tasks.cluster.claims import Claim, Phase, claim_of, claim_text
from poolkeeper.tasks.rollout.goal import Goal
from poolkeeper.tasks.rollout.next_action import Step, next_action
from poolkeeper.tasks.rollout.rollout_state import Intent
from tests.unit.onboard.builders import NOW, a_host, a_node

GOAL = Goal("upgrade", "general", {"kubernetes": "v1.36.3"})
OTHER = Goal("patch", "general", {})
NEXT = Goal("upgrade", "general", {"kubernetes": "v1.36.4"})
CORDON = {"poolkeeper.io/cordon": "{}"}
HAND_WRITTEN = {"poolkeeper.io/rollout": "joe was here"}
OURS = Intent("fra1-n01", "m-1", "0123456789abcdef")


def claimed(phase: Phase, goal: Goal = GOAL) -> dict[str, Any]:
    """A node that a run of a goal has taken."""
    claim = Claim(goal.id, goal.flow, goal.wanted, "run-1", 7, phase, "2026-11-23T11:00:00+00:00")
    return {"unschedulable": True, "annotations": {**CORDON, "poolkeeper.io/rollout": claim_text(claim)}}


@pytest.mark.parametrize(
    ("node", "settings", "step", "finding"),
    [
        pytest.param({}, {}, Step.CLAIM, None, id="in service and not at the goal"),
        pytest.param({}, {"at_goal": True}, Step.NOTHING, None, id="at the goal"),
        pytest.param(None, {}, Step.SKIP, "rollout.node.missing", id="no Node"),
        pytest.param(None, {"works_without_node": True}, Step.CHANGE, None, id="no Node, and none needed"),
        pytest.param(None, {"at_goal": True}, Step.NOTHING, None, id="no Node is the goal"),
        pytest.param({"unschedulable": True}, {}, Step.SKIP, "rollout.node.cordoned", id="a person's cordon"),
        pytest.param(
            {"unschedulable": True}, {"works_on_cordoned": True}, Step.CLAIM, None, id="a person's cordon, asked to"
        ),
        pytest.param(
            {"unschedulable": True, "annotations": CORDON}, {}, Step.SKIP, "rollout.node.quarantined", id="quarantine"
        ),
        pytest.param({"ready": False}, {}, Step.SKIP, "rollout.node.not-ready", id="not Ready"),
        pytest.param({"ready": None}, {}, Step.SKIP, "rollout.node.not-ready", id="readiness unknown"),
        pytest.param({"ready": False}, {"works_on_not_ready": True}, Step.CLAIM, None, id="not Ready, asked to"),
        pytest.param(
            {"unread": "x"}, {"works_on_not_ready": True}, Step.SKIP, "rollout.node.unread", id="not to be read"
        ),
        pytest.param(claimed(Phase.DRAINING), {}, Step.DRAIN, None, id="killed while draining"),
        pytest.param(claimed(Phase.CHANGING), {}, Step.CHANGE, None, id="killed while changing"),
        pytest.param(claimed(Phase.FAILED), {}, Step.CHANGE, None, id="failed before"),
        pytest.param(claimed(Phase.CHANGING), {"at_goal": True}, Step.PROVE, None, id="changed, not given back"),
        pytest.param(claimed(Phase.FAILED), {"at_goal": True}, Step.PROVE, None, id="mended by a person"),
        pytest.param(
            {**claimed(Phase.CHANGING), "ready": False}, {}, Step.CHANGE, None, id="not Ready because of our change"
        ),
        pytest.param(
            {**claimed(Phase.FAILED), "unschedulable": False},
            {},
            Step.SKIP,
            "rollout.node.uncordoned",
            id="uncordoned by someone while ours",
        ),
        pytest.param(
            {**claimed(Phase.FAILED), "unschedulable": False}, {"at_goal": True}, Step.PROVE, None, id="and at the goal"
        ),
        pytest.param(claimed(Phase.CHANGING, OTHER), {}, Step.SKIP, "rollout.node.claimed", id="another rollout's"),
        pytest.param(
            claimed(Phase.CHANGING, NEXT),
            {},
            Step.SKIP,
            "rollout.node.claimed",
            id="the same flow's, towards another goal",
        ),
        pytest.param(
            claimed(Phase.WITH_A_PERSON, OTHER), {"at_goal": True}, Step.SKIP, "rollout.node.claimed", id="a person's"
        ),
        pytest.param({"annotations": HAND_WRITTEN}, {}, Step.SKIP, "rollout.node.claimed", id="an unreadable claim"),
        *(
            pytest.param(
                claimed(phase),
                {"intent": None, "at_goal": at_goal},
                Step.SKIP,
                "rollout.claim.unknown",
                id=f"a forged {phase}",
            )
            for phase, at_goal in (
                (Phase.DRAINING, False),
                (Phase.CHANGING, False),
                (Phase.CHANGING, True),
                (Phase.FAILED, False),
            )
        ),
        pytest.param(
            {**claimed(Phase.CHANGING), "machine_id": "m-2"},
            {},
            Step.SKIP,
            "rollout.node.other-machine",
            id="begun on another machine",
        ),
    ],
)
def test_where_it_stands(
    node: dict[str, Any] | None, settings: dict[str, Any], step: Step, finding: str | None
) -> None:
    asked = {"intent": OURS, "at_goal": False, "works_on_cordoned": False, "works_on_not_ready": False, **settings}
    action = next_action(a_host(), a_node(**node) if node is not None else None, GOAL, now=NOW, **asked)
    assert (action.step, action.finding.id if action.finding else None) == (step, finding)


A_CLAIM = Claim(GOAL.id, "upgrade", GOAL.wanted, "run-1", 3, Phase.CHANGING, "2026-11-23T11:00:00+00:00")


def test_a_claim_comes_back_as_it_was_written() -> None:
    assert claim_of(a_node(annotations={"poolkeeper.io/rollout": claim_text(A_CLAIM)})) == A_CLAIM
    assert json.loads(claim_text(A_CLAIM))["phase"] == "changing"


def text(**fields: Any) -> str:
    return json.dumps({**json.loads(claim_text(A_CLAIM)), **fields})


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(text(added_later=[1]), id="what a later version has added is left out"),
        pytest.param(text(fencing_token=10**15), id="the last fencing token"),
    ],
)
def test_a_claim_that_can_be_read(written: str) -> None:
    found = claim_of(a_node(annotations={"poolkeeper.io/rollout": written}))
    assert found is not None
    assert found.rollout == GOAL.id


@pytest.mark.parametrize(
    "written",
    [
        pytest.param("", id="empty"),
        pytest.param("joe was here", id="a word"),
        pytest.param("[" * 100_000, id="deep"),
        pytest.param("[" * 500 + "]" * 500, id="deep and whole"),
        pytest.param(text(goal={"a": "x" * 300_000}), id="long"),
        pytest.param(text(fencing_token=10**18), id="a token that poisons"),
        pytest.param(text()[:-3] + ', "fencing_token": ' + "9" * 5000 + "}", id="5,000 digits"),
        pytest.param(text(fencing_token=-1), id="a negative token"),
        pytest.param(text(fencing_token="7"), id="a token in text"),
        pytest.param(text(fencing_token=True), id="a token that is true"),
        pytest.param(text(phase="resting"), id="no phase"),
        pytest.param(text(run=["r1"]), id="a run of another type"),
        pytest.param(text(run="r" * 254), id="a long run"),
        pytest.param(text(flow="x`; reboot #"), id="a flow that is a command"),
        pytest.param(text(since="now\nand then"), id="a moment of two lines"),
        pytest.param(text(goal=[1]), id="a goal of another type"),
        pytest.param('{"phase": "changing"}', id="half"),
        pytest.param("\ud800", id="no text"),
    ],
)
def test_a_claim_that_cannot_be_read_is_of_a_rollout_that_nobody_knows(written: str) -> None:
    found = claim_of(a_node(annotations={"poolkeeper.io/rollout": written}))
    assert found is not None
    assert (found.rollout, found.phase, found.fencing_token) == ("unreadable", Phase.FAILED, 0)
