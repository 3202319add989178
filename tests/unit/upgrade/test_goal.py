"""What a goal may be, and that the same goal has the same digest."""

from __future__ import annotations

from typing import Any

import pytest

from poolkeeper.tasks.upgrade.goal import Goal, GoalInvalid

CONTAINERD = {"containerd": "1.6.24~ds1-1+deb12u1"}


@pytest.mark.parametrize(
    ("kubernetes", "packages", "why"),
    [
        pytest.param(None, {}, "the goal is empty", id="nothing"),
        pytest.param("", {}, "the goal is empty", id="an empty version"),
        pytest.param("latest", {}, "is no version of Kubernetes", id="a word"),
        pytest.param("1", {}, "is no version of Kubernetes", id="no minor"),
        pytest.param("1.36.3; reboot", {}, "is no version of Kubernetes", id="more than a version"),
        pytest.param("1.36.3-1.1", {}, "is a package's version, .* 1.36.3; every host", id="a package's version"),
        pytest.param("v1.36.3-00", {}, "write the version of Kubernetes in it, 1.36.3;", id="an old package's"),
        pytest.param("1.36.0~rc.0-1.1", {}, "write the version of Kubernetes in it, 1.36.0;", id="before a release"),
        pytest.param("1.36.3-150500.1.1", {}, "is a package's version", id="another system's package"),
        pytest.param("0:1.36.3-1.1", {}, "is a package's version", id="with its epoch"),
        pytest.param("1.36.3.1", {}, "is a package's version", id="four numbers"),
        pytest.param(None, {"containerd": "latest"}, "is no package with its version", id="no version of a package"),
        pytest.param(None, {"-y": "1.0"}, "is no package with its version", id="an option in place of a name"),
        pytest.param(None, {"kubelet": "1.36.3-1.1"}, "is upgraded with Kubernetes", id="kubelet as a package"),
    ],
)
def test_what_is_no_goal(kubernetes: str | None, packages: dict[str, str], why: str) -> None:
    with pytest.raises(GoalInvalid, match=why):
        Goal(kubernetes, packages)


@pytest.mark.parametrize(
    ("goal", "exact", "words"),
    [
        (Goal("1.36"), False, "Kubernetes v1.36"),
        (Goal("v1.36.3"), True, "Kubernetes v1.36.3"),
        (Goal("1.36.3-aliyun.1"), True, "Kubernetes v1.36.3-aliyun.1"),
        (Goal("1.36.3-rc.0"), True, "Kubernetes v1.36.3-rc.0"),
        (Goal("1.36.3+k3s1"), True, "Kubernetes v1.36.3+k3s1"),
        (Goal(packages=CONTAINERD), True, "containerd 1.6.24~ds1-1+deb12u1"),
        (Goal("1.36.3", CONTAINERD), True, "Kubernetes v1.36.3 and containerd 1.6.24~ds1-1+deb12u1"),
    ],
)
def test_goals(goal: Goal, exact: bool, words: str) -> None:
    assert (goal.exact, str(goal)) == (exact, words)
    assert Goal.of_row(goal.row()).digest == goal.digest


@pytest.mark.parametrize(
    "row",
    [{"kubernetes": 1.36}, {"packages": ["containerd"]}, {"packages": {"containerd": 1}}, {"kubernetes": "1.36.3-1.1"}],
    ids=repr,
)
def test_a_row_that_is_no_goals(row: dict[str, Any]) -> None:
    with pytest.raises(GoalInvalid):
        Goal.of_row(row)


def test_the_digest_is_of_what_is_meant() -> None:
    both = {"runc": "1.1.5+ds1-1", **CONTAINERD}
    assert Goal("1.36.3", both).digest == Goal("v1.36.3", dict(reversed(both.items()))).digest
    assert len({goal.digest for goal in (Goal("1.36"), Goal("1.36").pinned("1.36.3"), Goal(packages=both))}) == 3
    assert Goal("1.36.3").digest == "afdcd0dccc90c077", "it stands on Nodes, and must not change between releases"
