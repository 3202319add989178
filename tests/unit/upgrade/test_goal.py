"""What a goal may be, and that the same goal has the same digest."""

from __future__ import annotations

import re
from typing import Any

import pytest

from poolkeeper.tasks.upgrade.goal import GoalInvalid, VersionGoal

CONTAINERD = {"containerd": "1.6.24~ds1-1+deb12u1"}


@pytest.mark.parametrize(
    ("kubernetes", "packages", "why"),
    [
        pytest.param(None, {}, "the goal is empty", id="nothing"),
        pytest.param("", {}, "the goal is empty", id="an empty version"),
        pytest.param("latest", {}, "is not a version of Kubernetes", id="a word"),
        pytest.param("1", {}, "is not a version of Kubernetes", id="no minor"),
        pytest.param("1.36.3; reboot", {}, "is not a version of Kubernetes", id="more than a version"),
        pytest.param("1.36.3-1.1", {}, "version of a package, .* 1.36.3; every host", id="a package's version"),
        pytest.param("v1.36.3-00", {}, "Write the version of Kubernetes in it, 1.36.3;", id="an old package's"),
        pytest.param("1.36.0~rc.0-1.1", {}, "Write the version of Kubernetes in it, 1.36.0;", id="before a release"),
        pytest.param("1.36.3-150500.1.1", {}, "the version of a package", id="another system's package"),
        pytest.param("0:1.36.3-1.1", {}, "the version of a package", id="with its epoch"),
        pytest.param("1.36.3.1", {}, "the version of a package", id="four numbers"),
        pytest.param(None, {"containerd": "latest"}, "is not a package with its version", id="no version of a package"),
        pytest.param(None, {"-y": "1.0"}, "is not a package with its version", id="an option in place of a name"),
        pytest.param(None, {"kubelet": "1.36.3-1.1"}, "is upgraded with Kubernetes", id="kubelet as a package"),
    ],
)
def test_what_is_no_goal(kubernetes: str | None, packages: dict[str, str], why: str) -> None:
    with pytest.raises(GoalInvalid) as caught:
        VersionGoal(kubernetes, packages)
    assert re.search(why, caught.value.summary)


@pytest.mark.parametrize(
    ("goal", "exact", "words"),
    [
        (VersionGoal("1.36"), False, "Kubernetes v1.36"),
        (VersionGoal("v1.36.3"), True, "Kubernetes v1.36.3"),
        (VersionGoal("1.36.3-aliyun.1"), True, "Kubernetes v1.36.3-aliyun.1"),
        (VersionGoal("1.36.3-rc.0"), True, "Kubernetes v1.36.3-rc.0"),
        (VersionGoal("1.36.3+k3s1"), True, "Kubernetes v1.36.3+k3s1"),
        (VersionGoal(packages=CONTAINERD), True, "containerd 1.6.24~ds1-1+deb12u1"),
        (VersionGoal("1.36.3", CONTAINERD), True, "Kubernetes v1.36.3 and containerd 1.6.24~ds1-1+deb12u1"),
    ],
)
def test_goals(goal: VersionGoal, exact: bool, words: str) -> None:
    assert (goal.exact, str(goal)) == (exact, words)
    assert VersionGoal.of_row(goal.row()).digest == goal.digest


@pytest.mark.parametrize(
    "row",
    [{"kubernetes": 1.36}, {"packages": ["containerd"]}, {"packages": {"containerd": 1}}, {"kubernetes": "1.36.3-1.1"}],
    ids=repr,
)
def test_a_row_that_is_no_goals(row: dict[str, Any]) -> None:
    with pytest.raises(GoalInvalid):
        VersionGoal.of_row(row)


def test_the_digest_is_of_what_is_meant() -> None:
    both = {"runc": "1.1.5+ds1-1", **CONTAINERD}
    assert VersionGoal("1.36.3", both).digest == VersionGoal("v1.36.3", dict(reversed(both.items()))).digest
    assert (
        len(
            {
                goal.digest
                for goal in (VersionGoal("1.36"), VersionGoal("1.36").pinned("1.36.3"), VersionGoal(packages=both))
            }
        )
        == 3
    )
    assert VersionGoal("1.36.3").digest == "afdcd0dccc90c077", (
        "it stands on Nodes, and must not change between releases"
    )


def test_a_person_approves_exact_versions() -> None:
    VersionGoal("1.36.3").require_exact()
    with pytest.raises(GoalInvalid, match=r"1\.36 is not exact"):
        VersionGoal("1.36").require_exact()
