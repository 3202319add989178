"""Where a node stands in a rollout: what is ours, what is somebody else's, and where the next run goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tasks.cluster.marks import Mark, Phase, mark_of, mark_text
from tasks.rollout.goal import Goal
from tasks.rollout.recovery import Remedy, left_behind
from tasks.rollout.standing import Step, where_it_stands
from tests.unit.onboard.builders import NOW, a_host, a_node

GOAL = Goal("upgrade", "general", {"kubernetes": "v1.36.3"})
OTHER = Goal("patch", "general", {})
NEXT = Goal("upgrade", "general", {"kubernetes": "v1.36.4"})
CORDON = {"poolkeeper.io/cordon": "{}"}
HAND_WRITTEN = {"poolkeeper.io/rollout": "joe was here"}


def marked(phase: Phase, goal: Goal = GOAL) -> dict[str, Any]:
    """A node that a run of a goal has taken."""
    mark = Mark(goal.id, goal.flow, goal.wanted, "run-1", 7, phase, "2026-11-23T11:00:00+00:00")
    return {"unschedulable": True, "annotations": {**CORDON, "poolkeeper.io/rollout": mark_text(mark)}}


@pytest.mark.parametrize(
    ("node", "settings", "step", "finding"),
    [
        pytest.param({}, {}, Step.TAKE, None, id="in service and not at the goal"),
        pytest.param({}, {"at_goal": True}, Step.NOTHING, None, id="at the goal"),
        pytest.param(None, {}, Step.LEAVE, "rollout.node.missing", id="no Node"),
        pytest.param(None, {"works_without_node": True}, Step.CHANGE, None, id="no Node, and none needed"),
        pytest.param(None, {"at_goal": True}, Step.NOTHING, None, id="no Node is the goal"),
        pytest.param({"unschedulable": True}, {}, Step.LEAVE, "rollout.node.cordoned", id="a person's cordon"),
        pytest.param(
            {"unschedulable": True}, {"works_on_cordoned": True}, Step.TAKE, None, id="a person's cordon, asked to"
        ),
        pytest.param(
            {"unschedulable": True, "annotations": CORDON}, {}, Step.LEAVE, "rollout.node.quarantined", id="quarantine"
        ),
        pytest.param({"ready": False}, {}, Step.LEAVE, "rollout.node.not-ready", id="not Ready"),
        pytest.param({"ready": None}, {}, Step.LEAVE, "rollout.node.not-ready", id="readiness unknown"),
        pytest.param({"ready": False}, {"works_on_not_ready": True}, Step.TAKE, None, id="not Ready, asked to"),
        pytest.param(marked(Phase.DRAINING), {}, Step.DRAIN, None, id="killed while draining"),
        pytest.param(marked(Phase.CHANGING), {}, Step.CHANGE, None, id="killed while changing"),
        pytest.param(marked(Phase.FAILED), {}, Step.CHANGE, None, id="failed before"),
        pytest.param(marked(Phase.CHANGING), {"at_goal": True}, Step.PROVE, None, id="changed, not given back"),
        pytest.param(marked(Phase.FAILED), {"at_goal": True}, Step.PROVE, None, id="mended by a person"),
        pytest.param(
            {**marked(Phase.CHANGING), "ready": False}, {}, Step.CHANGE, None, id="not Ready because of our change"
        ),
        pytest.param(
            {**marked(Phase.FAILED), "unschedulable": False},
            {},
            Step.LEAVE,
            "rollout.node.uncordoned",
            id="uncordoned by someone while ours",
        ),
        pytest.param(
            {**marked(Phase.FAILED), "unschedulable": False}, {"at_goal": True}, Step.PROVE, None, id="and at the goal"
        ),
        pytest.param(marked(Phase.CHANGING, OTHER), {}, Step.LEAVE, "rollout.node.taken", id="another rollout's"),
        pytest.param(
            marked(Phase.CHANGING, NEXT),
            {},
            Step.LEAVE,
            "rollout.node.taken",
            id="the same flow's, towards another goal",
        ),
        pytest.param(
            marked(Phase.WITH_A_PERSON, OTHER), {"at_goal": True}, Step.LEAVE, "rollout.node.taken", id="a person's"
        ),
        pytest.param({"annotations": HAND_WRITTEN}, {}, Step.LEAVE, "rollout.node.taken", id="an unreadable mark"),
    ],
)
def test_where_it_stands(
    node: dict[str, Any] | None, settings: dict[str, Any], step: Step, finding: str | None
) -> None:
    asked = {"at_goal": False, "works_on_cordoned": False, "works_on_not_ready": False, **settings}
    standing = where_it_stands(a_host(), a_node(**node) if node is not None else None, GOAL, now=NOW, **asked)
    assert (standing.step, standing.finding.id if standing.finding else None) == (step, finding)


@pytest.mark.parametrize(
    ("node", "remedy", "finding"),
    [
        pytest.param(marked(Phase.DRAINING), Remedy.GIVE_BACK, None, id="nothing was changed yet"),
        pytest.param(marked(Phase.CHANGING), Remedy.FINISH, None, id="half changed"),
        pytest.param(marked(Phase.CHANGING, OTHER), Remedy.LEAVE, "recover.unknown-flow", id="of a flow we have not"),
        pytest.param(marked(Phase.FAILED), Remedy.LEAVE, "recover.failed", id="failed"),
        pytest.param(marked(Phase.WITH_A_PERSON), Remedy.LEAVE, "recover.with-a-person", id="a person's"),
        pytest.param({"annotations": HAND_WRITTEN}, Remedy.LEAVE, "recover.mark.unreadable", id="unreadable"),
        pytest.param(
            {"annotations": {"poolkeeper.io/rollout": mark_text(Mark("0" * 12, "upgrade", {}, "r", 1, Phase.DRAINING, ""))}},
            Remedy.LEAVE,
            "recover.mark.unreadable",
            id="a goal that does not fit its id",
        ),
    ],
)  # fmt: skip
def test_what_becomes_of_what_was_left(node: dict[str, Any], remedy: Remedy, finding: str | None) -> None:
    (found,) = left_behind([a_host()], {"fra1-n01": a_node(**node)}, ["upgrade"], NOW)
    assert (found.remedy, found.finding.id if found.finding else None) == (remedy, finding)


def test_what_carries_no_mark_is_not_ours() -> None:
    nodes = {"fra1-n01": a_node(unschedulable=True), "fra1-n02": a_node("fra1-n02", annotations=CORDON)}
    assert left_behind([a_host(), a_host("fra1-n02")], nodes, ["upgrade"], NOW) == ()


A_MARK = Mark(GOAL.id, "upgrade", GOAL.wanted, "run-1", 3, Phase.CHANGING, "2026-11-23T11:00:00+00:00")


def test_a_mark_comes_back_as_it_was_written() -> None:
    assert mark_of(a_node(annotations={"poolkeeper.io/rollout": mark_text(A_MARK)})) == A_MARK
    assert json.loads(mark_text(A_MARK))["phase"] == "changing"


@pytest.mark.parametrize("said", [True, False])
def test_a_mark_tells_whether_the_machine_was_said_to_be_gone(said: bool) -> None:
    mark = Mark(GOAL.id, "offboard", {}, "run-1", 3, Phase.CHANGING, "2026-11-23T11:00:00+00:00", node_is_dead=said)
    assert mark_of(a_node(annotations={"poolkeeper.io/rollout": mark_text(mark)})) == mark


def test_a_mark_of_before_there_was_that_word() -> None:
    text = {name: value for name, value in json.loads(mark_text(A_MARK)).items() if name != "node_is_dead"}
    found = mark_of(a_node(annotations={"poolkeeper.io/rollout": json.dumps(text)}))
    assert found == A_MARK
