"""Which upgrades are allowed, and by which steps."""

from __future__ import annotations

import pytest

from poolkeeper.tasks.outcomes import Checked, Severity, Subject, Verdict
from poolkeeper.tasks.provider.upgrading import UPSTREAM, UpgradeRule
from poolkeeper.tasks.upgrade.skew import SkewPlan, plan_steps
from tests.unit.onboard.builders import a_finding

VENDOR = UpgradeRule(2, one_minor_steps=True, source="the vendor")
LAX = UpgradeRule(9, one_minor_steps=False, source="someone who knows no limit")


def plan(goal: str, api_server: str = "v1.36.3", rule: UpgradeRule = UPSTREAM, **kubelets: str) -> SkewPlan:
    return plan_steps(goal, cluster="main", api_server=api_server, kubelets=kubelets, rule=rule)


@pytest.mark.parametrize(
    ("kubelet", "goal", "rule", "steps"),
    [
        pytest.param("v1.36.3", "1.36.3", UPSTREAM, (), id="it is there"),
        pytest.param("v1.36.3+lab", "1.36.3", UPSTREAM, (), id="it is there, with a build"),
        pytest.param("v1.36.1", "1.36", UPSTREAM, (), id="any patch will do"),
        pytest.param("v1.36.3-rc.0", "1.36.3", UPSTREAM, ("1.36.3",), id="a release after what came before it"),
        pytest.param("v1.36.3-aliyun.1", "1.36.3-aliyun.2", VENDOR, ("1.36.3-aliyun.2",), id="a newer build"),
        pytest.param("v1.36.3-aliyun.2", "1.36.3", VENDOR, (), id="any build will do"),
        pytest.param("v1.36.1", "1.36.3", VENDOR, ("1.36.3",), id="a patch"),
        pytest.param("v1.35.4", "1.36.3", VENDOR, ("1.36.3",), id="one minor"),
        pytest.param("v1.33.9", "1.36.3", UPSTREAM, ("1.36.3",), id="three minors at once, as upstream allows"),
        pytest.param("v1.33.9", "1.36.3", VENDOR, ("1.34", "1.35", "1.36.3"), id="three minors in steps"),
        pytest.param("v1.33.9", "1.35", VENDOR, ("1.34", "1.35"), id="not all the way"),
    ],
)
def test_steps_of_a_node(kubelet: str, goal: str, rule: UpgradeRule, steps: tuple[str, ...]) -> None:
    assert plan(goal, rule=rule, n01=kubelet).steps == {"n01": steps}


@pytest.mark.parametrize(
    ("goal", "api_server", "rule", "id"),
    [
        pytest.param("1.37.0", "v1.36.3", UPSTREAM, "upgrade.skew.goal-newer", id="newer than the API server"),
        pytest.param("2.0.0", "v1.36.3", UPSTREAM, "upgrade.skew.goal-newer", id="another major"),
        pytest.param("1.32.9", "v1.36.3", UPSTREAM, "upgrade.skew.goal-too-old", id="four minors older"),
        pytest.param("1.33.9", "v1.36.3", VENDOR, "upgrade.skew.goal-too-old", id="three, where the vendor has two"),
        pytest.param("1.32.9", "v1.36.3", LAX, "upgrade.skew.goal-too-old", id="a laxer vendor does not count"),
        pytest.param("1.36.3", "", UPSTREAM, "upgrade.skew.api-unknown", id="an API server without a version"),
        pytest.param("latest", "v1.36.3", UPSTREAM, "upgrade.skew.goal-unknown", id="a goal that is none"),
        pytest.param("1.36.3-deb12u1", "v1.36.3", UPSTREAM, "upgrade.skew.builds", id="a build of nobody"),
        pytest.param("1.36.3-aliyun.1", "v1.36.3+k3s1", UPSTREAM, "upgrade.skew.builds", id="a build of another"),
    ],
)
def test_goals_that_no_node_may_have(goal: str, api_server: str, rule: UpgradeRule, id: str) -> None:
    refused = plan(goal, api_server, rule, n01="v1.35.4")
    assert (refused.steps, [f.id for f in refused.findings], refused.refused) == ({}, [id], True)
    assert refused.findings[0].subject == Subject("cluster", "main")


@pytest.mark.parametrize(
    ("goal", "rule"),
    [("1.36.9", UPSTREAM), ("1.33.0", UPSTREAM), ("1.34.0", VENDOR)],
    ids=["a newer patch than the API server's", "three minors older", "two, where the vendor has two"],
)
def test_goals_at_the_border(goal: str, rule: UpgradeRule) -> None:
    assert not plan(goal, rule=rule, n01="v1.33.0").refused


@pytest.mark.parametrize(
    ("kubelet", "goal", "id"),
    [
        pytest.param("v1.36.4", "1.36.3", "upgrade.skew.downgrade", id="a patch back"),
        pytest.param("v1.36.0", "1.35", "upgrade.skew.downgrade", id="a minor back"),
        pytest.param("v1.36.3-aliyun.2", "1.36.3-aliyun.1", "upgrade.skew.downgrade", id="a build back"),
        pytest.param("v1.36.3", "1.36.3-rc.0", "upgrade.skew.downgrade", id="before its release"),
        pytest.param("", "1.36.3", "upgrade.skew.unknown", id="a Node without a version"),
        pytest.param("dev", "1.36.3", "upgrade.skew.unknown", id="a version that is none"),
    ],
)
def test_one_bad_node_costs_the_others_nothing(kubelet: str, goal: str, id: str) -> None:
    found = plan(goal, n01=kubelet, n02="v1.34.0")
    assert found.steps == {"n02": (goal,)}
    assert [(f.id, f.subject, f.severity) for f in found.findings] == [(id, Subject("node", "n01"), Severity.BLOCKER)]
    assert not found.refused


@pytest.mark.parametrize(
    ("goal", "kubelet", "ids"),
    [
        pytest.param("1.36.3-aliyun.2", "v1.36.3-aliyun.1", [], id="a newer one"),
        pytest.param("1.36.3-aliyun.1", "v1.35.4", [], id="the first one of that vendor"),
        pytest.param("1.36.3-aliyun.1", "v1.36.3", ["upgrade.skew.builds"], id="the same numbers, and no build"),
        pytest.param("1.36.3-aliyun.1", "v1.36.3-eks.1", ["upgrade.skew.builds"], id="the same numbers, and another's"),
    ],
)
def test_builds_of_whom_the_api_servers_is(goal: str, kubelet: str, ids: list[str]) -> None:
    found = plan(goal, "v1.36.3-aliyun.1", n01=kubelet)
    assert [(f.id, f.subject) for f in found.findings] == [(id, Subject("node", "n01")) for id in ids]
    assert found.steps == ({} if ids else {"n01": (goal,)})


def test_a_node_that_is_too_far_behind_is_told_and_upgraded() -> None:
    found = plan("1.36.3", n01="v1.32.0")
    assert found.steps == {"n01": ("1.36.3",)}
    assert [(f.id, f.severity) for f in found.findings] == [("upgrade.skew.behind", Severity.WARNING)]


def test_nothing_while_the_control_plane_is_not_ready() -> None:
    busy = a_finding("provider.cluster.state", subject=Subject("cluster", "main"))
    checked = (
        Checked("provider.cluster.state", Verdict.FAIL, busy.subject, busy),
        Checked("provider.pool.type", Verdict.OK, Subject("pool", "general")),
    )
    found = plan_steps(
        "1.36.3", cluster="main", api_server="v1.36.3", kubelets={"n01": "v1.35.4"}, control_plane=checked
    )
    assert (found.steps, found.findings, found.refused) == ({}, (busy,), True)
