"""Going to a goal minor by minor: what earlier runs have left, whom a step concerns, and one result for all steps."""

from __future__ import annotations

from typing import Any

import pytest

from poolkeeper.tasks.outcomes import HostOutcome, HostState, Subject
from poolkeeper.tasks.upgrade.goal import VersionGoal
from poolkeeper.tasks.upgrade.minor_steps import (
    excluded_from,
    goals_in_turn,
    is_done,
    minor_on_the_way,
    of_all_steps,
    unproven_steps,
    with_unproven,
)
from poolkeeper.tasks.upgrade.skew import SkewPlan
from tests.unit.onboard.builders import a_finding, a_host, a_node

GOAL, STEP = VersionGoal("1.36.3"), VersionGoal("1.35")
HOSTS = {"fra1-n01": a_host()}


@pytest.mark.parametrize(
    ("begun", "kubelet", "unproven"),
    [
        pytest.param([], "v1.34.2", {}, id="nothing was begun"),
        pytest.param([("fra1-n01", STEP.row())], "v1.34.2", {"fra1-n01": "1.35"}, id="a step was begun"),
        pytest.param([("fra1-n01", STEP.row())], "v1.35.4", {"fra1-n01": "1.35"}, id="its kubelet has that minor"),
        pytest.param([("fra1-n01", STEP.row())], "v1.36.0", {}, id="its kubelet is past that minor"),
        pytest.param([("another", STEP.row())], "v1.34.2", {}, id="on a host that is not chosen"),
        pytest.param([("fra1-n01", GOAL.row())], "v1.34.2", {}, id="the goal itself was begun"),
    ],
)
def test_what_earlier_runs_have_left(
    begun: list[tuple[str, dict[str, Any]]], kubelet: str, unproven: dict[str, str]
) -> None:
    nodes = {"fra1-n01": a_node(kubelet_version=kubelet)}
    assert unproven_steps(begun, HOSTS, nodes, GOAL) == unproven


def test_a_step_that_an_earlier_run_has_left_comes_first() -> None:
    """Its kubelet has that version already and is not proven: the step has to be repeated."""
    goal = VersionGoal("1.36.3", {"containerd": "1.7.24-1"})
    steps = {"a": ("1.35", "1.36.3"), "b": ("1.34", "1.35", "1.36.3"), "c": ("1.36.3",), "d": ()}
    ways = with_unproven(steps, {"a": "1.34", "b": "1.34", "refused": "1.34"})
    assert ways == {**steps, "a": ("1.34", "1.35", "1.36.3")}
    assert goals_in_turn(goal, ways) == [VersionGoal("1.34"), VersionGoal("1.35"), goal]


@pytest.mark.parametrize(
    ("begun", "step"),
    [
        pytest.param({"kubernetes": "v1.34"}, "1.34", id="a step"),
        pytest.param({"kubernetes": "v1.36"}, None, id="no minor before the goal's"),
        pytest.param({"kubernetes": "v1.34.2"}, None, id="a version that someone has named"),
        pytest.param({"kubernetes": "v1.34", "packages": {"containerd": "1.7.24-1"}}, None, id="with packages"),
        pytest.param({"packages": {"containerd": "1.7.24-1"}}, None, id="packages alone"),
        pytest.param({"kubernetes": "latest"}, None, id="by hand"),
        pytest.param({}, None, id="nothing"),
    ],
)
def test_steps_on_the_way(begun: dict[str, Any], step: str | None) -> None:
    assert minor_on_the_way(begun, VersionGoal("1.36.3")) == step


REFUSED = a_finding("upgrade.skew.downgrade", subject=Subject("node", "fra1-n01"))


@pytest.mark.parametrize(
    ("step", "findings", "way", "excluded"),
    [
        pytest.param(GOAL, (), (), {}, id="the goal concerns every host"),
        pytest.param(STEP, (), ("1.35", "1.36.3"), {}, id="a step on its way"),
        pytest.param(STEP, (), ("1.36.3",), {"fra1-n01": None}, id="a step that it skips"),
        pytest.param(GOAL, (REFUSED,), (), {"fra1-n01": REFUSED}, id="a host that may not be upgraded"),
    ],
)
def test_whom_a_step_concerns(
    step: VersionGoal, findings: tuple[Any, ...], way: tuple[str, ...], excluded: dict[str, Any]
) -> None:
    assert excluded_from(step, GOAL, HOSTS, SkewPlan({}, findings), {"fra1-n01": way}) == excluded


DONE, FAILED = HostOutcome("a", HostState.DONE, "proven"), HostOutcome("a", HostState.FAILED, "not proven")


@pytest.mark.parametrize(
    ("outcomes", "halted", "done"),
    [([DONE], "", True), ([], "", True), ([DONE, FAILED], "", False), ([DONE], "a person has stopped it", False)],
    ids=["every host", "no host", "one has failed", "halted"],
)
def test_when_the_next_step_may_begin(outcomes: list[HostOutcome], halted: str, done: bool) -> None:
    assert is_done(outcomes, halted) is done


def test_one_outcome_a_host() -> None:
    first, second = a_finding("a.first"), a_finding("a.second")
    found = of_all_steps(
        [
            HostOutcome("a", HostState.DONE, "1.35", (first,)),
            HostOutcome("b", HostState.FAILED, "1.35", (first,)),
            HostOutcome("a", HostState.BLOCKED, "1.36", (first, second)),
            HostOutcome("b", HostState.DONE, "1.36"),
        ],
        ["c"],
    )
    assert [(one.name, one.state, one.summary, one.findings) for one in found[:2]] == [
        ("a", HostState.BLOCKED, "1.36", (first, second)),
        ("b", HostState.FAILED, "1.35", (first,)),
    ]
    assert (found[2].name, found[2].state) == ("c", HostState.POSTPONED)
