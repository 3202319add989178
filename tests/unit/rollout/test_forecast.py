"""What one pod means for a drain, and what pods of a wave mean for each other."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from poolkeeper.tasks.cluster.node_names import NodesMistyped
from poolkeeper.tasks.cluster.scheduling import Taint, Toleration
from poolkeeper.tasks.cluster.selectors import EVERYTHING, NOTHING, NodeTerm, Requirement
from poolkeeper.tasks.cluster.volumes import Volume, VolumeClaim
from poolkeeper.tasks.cluster.workloads import Owner, Workload
from poolkeeper.tasks.rollout import Effect, NodeForecast, forecast_each, risk
from poolkeeper.tasks.rollout.snapshot_index import SnapshotIndex
from tests.unit.rollout.builders import (
    DEADLINE_S,
    NOW,
    WEB,
    a_budget,
    a_node,
    a_pod,
    a_snapshot,
    amounts,
    seen,
    verdicts,
    web,
)

# another replica elsewhere, so that the one looked at is not the last
SPARE = a_pod("web-9", "n2")
DAEMON = Owner("apps/v1", "DaemonSet", "cni")
EVERYWHERE = Toleration("", "Exists", "", "")
CLAIMS = {("shop", "data"): VolumeClaim("shop", "data", "pv-1")}


def on_host(name: str) -> tuple[NodeTerm, ...]:
    return (NodeTerm((Requirement("kubernetes.io/hostname", "In", (name,)),)),)


@pytest.mark.parametrize(
    ("pod", "parts", "verdict", "effect"),
    [
        pytest.param({}, {}, ["evictable"], "clear", id="a replica among others goes"),
        pytest.param({"phase": "Pending", "ready": False}, {}, ["evictable"], "clear", id="one that has not started goes"),
        pytest.param({"owner": None}, {}, ["no-controller"], "blocked", id="without a controller it needs --force"),
        pytest.param(
            {"owner": None, "phase": "Succeeded", "ready": False, "scratch": ("tmp",)},
            {},
            ["finished"],
            "clear",
            id="a finished one may be anything",
        ),
        pytest.param({"mirror": True, "owner": None}, {}, ["static"], "clear", id="a static pod stays"),
        pytest.param(
            {"namespace": "kube-system", "owner": DAEMON, "scratch": ("tmp",)},
            {},
            ["daemonset"],
            "clear",
            id="a DaemonSet's pod stays",
        ),
        pytest.param(
            {"namespace": "kube-system", "owner": Owner("apps/v1", "DaemonSet", "gone")},
            {},
            ["no-controller"],
            "blocked",
            id="a DaemonSet that is gone replaces nothing",
        ),
        pytest.param(
            {"owner": Owner("apps.kruise.io/v1alpha1", "DaemonSet", "x"), "needs": {"tolerations": (EVERYWHERE,)}},
            {},
            ["comes-back"],
            "lossy",
            id="another program's DaemonSet is evicted, as kubectl does, and comes straight back",
        ),
        pytest.param(
            {"namespace": "kube-system", "owner": DAEMON},
            {"daemonsets": "DaemonSets cannot be read: HTTP 403"},
            ["unknown"],
            "unknown",
            id="whether its DaemonSet is there cannot be read",
        ),
        pytest.param({"unread": "x"}, {}, ["unreadable"], "blocked", id="a pod that cannot be read"),
        pytest.param(
            {}, {"budgets": (a_budget(selector=EVERYTHING, unread="x"),)}, ["unknown"], "unknown",
            id="a budget that cannot be read",
        ),
        pytest.param(
            {}, {"budgets": (a_budget(), a_budget("odd", selector=EVERYTHING, unread="x"))}, ["unknown"], "unknown",
            id="two budgets, one of which cannot be read",
        ),
        pytest.param(
            {"claims": ("data",)}, {"claims": {("shop", "data"): VolumeClaim("shop", "data", "", unread="x")}}, ["unknown"],
            "unknown", id="a claim that cannot be read",
        ),
        pytest.param(
            {"claims": ("data",)}, {"claims": CLAIMS, "volumes": {"pv-1": Volume("pv-1", None, unread="x")}}, ["unknown"],
            "unknown", id="a volume that cannot be read",
        ),
        pytest.param({"scratch": ("cache",)}, {}, ["empty-dir"], "lossy", id="emptyDir on disk"),
        pytest.param({"memory_scratch": ("shm",)}, {}, ["empty-dir"], "lossy", id="emptyDir in memory"),
        pytest.param({"finalizers": ("example.com/x",)}, {}, ["finalizer"], "blocked", id="a finalizer of someone's"),
        pytest.param(
            {"finalizers": ("batch.kubernetes.io/job-tracking",)},
            {},
            ["evictable"],
            "clear",
            id="a finalizer that Kubernetes itself removes",
        ),
        pytest.param({"grace_s": 300}, {}, ["evictable"], "clear", id="a grace period as long as the deadline"),
        pytest.param({"grace_s": 301}, {}, ["grace-too-long"], "blocked", id="a grace period longer than the deadline"),
        pytest.param({"deleting_at": NOW}, {}, ["going"], "clear", id="being deleted"),
        pytest.param(
            {"deleting_at": NOW - timedelta(seconds=60), "owner": None}, {}, ["going"], "clear", id="a little late"
        ),
        pytest.param({"deleting_at": NOW - timedelta(seconds=61)}, {}, ["stuck"], "blocked", id="deleted and stuck"),
        pytest.param(
            {"deleting_at": NOW + timedelta(seconds=301)},
            {},
            ["grace-too-long"],
            "blocked",
            id="being deleted for longer than the deadline",
        ),
        pytest.param(
            {"needs": {"tolerations": (Toleration("node.kubernetes.io/unschedulable", "Exists", "", "NoSchedule"),)}},
            {},
            ["comes-back"],
            "lossy",
            id="it tolerates the cordon",
        ),
        pytest.param(
            {"needs": {"tolerations": (Toleration("other", "Exists", "", ""),)}},
            {},
            ["evictable"],
            "clear",
            id="it tolerates something else",
        ),
        pytest.param({}, {"budgets": "HTTP 403"}, ["unknown"], "unknown", id="budgets cannot be read"),
        pytest.param(
            {"phase": "Pending", "ready": False},
            {"budgets": "HTTP 403"},
            ["evictable"],
            "clear",
            id="one that no budget is asked about, while they cannot be read",
        ),
        pytest.param(
            {"claims": ("data",)},
            {"claims": CLAIMS, "volumes": {"pv-1": Volume("pv-1", on_host("n1"), "local")}},
            ["volume-bound"],
            "lossy",
            id="a local volume",
        ),
        pytest.param(
            {"claims": ("data",)},
            {"claims": CLAIMS, "volumes": {"pv-1": Volume("pv-1", None, "hostPath")}},
            ["volume-bound"],
            "lossy",
            id="a folder of the host",
        ),
        pytest.param(
            {"claims": ("data",)},
            {"claims": CLAIMS, "volumes": {"pv-1": Volume("pv-1", None, "csi")}},
            ["evictable"],
            "clear",
            id="a volume that any node reaches",
        ),
        pytest.param(
            {"claims": ("data",)},
            {"claims": {("shop", "data"): VolumeClaim("shop", "data", "")}},
            ["evictable"],
            "clear",
            id="a claim that is not bound yet",
        ),
        pytest.param(
            {"claims": ("data",)}, {"claims": "HTTP 403"}, ["unknown"], "unknown", id="claims cannot be read"
        ),
        pytest.param(
            {"claims": ("data",)},
            {"claims": CLAIMS, "volumes": "HTTP 403"},
            ["unknown"],
            "unknown",
            id="volumes cannot be read",
        ),
        pytest.param({"claims": ()}, {"claims": "HTTP 403", "volumes": "HTTP 403"}, ["evictable"], "clear", id="they do not matter"),
        pytest.param(
            {"needs": {"requests": amounts(cpu="64")}}, {}, ["fits-nowhere"], "lossy", id="no node is large enough"
        ),
        pytest.param(
            {"needs": {"claims_devices": True}}, {}, ["unknown"], "unknown", id="devices are not simulated"
        ),
        pytest.param(
            {"owner": None, "scratch": ("a",), "grace_s": 900, "finalizers": ("example.com/x",)},
            {"budgets": [a_budget(max_unavailable=0, current=2, desired=2, expected=2)]},
            ["budget-never", "finalizer", "no-controller", "grace-too-long", "empty-dir"],
            "blocked",
            id="all reasons are kept, the worst first",
        ),
    ],
)  # fmt: skip
def test_one_pod(pod: dict[str, Any], parts: dict[str, Any], verdict: list[str], effect: str) -> None:
    made = seen(a_snapshot([a_pod(**pod), SPARE], **parts))
    assert verdicts(made) == {"web-1": verdict}
    assert made.nodes[0].effect == effect


def test_nobody_ends_pods_of_a_silent_node() -> None:
    nodes = [a_node("n1", ready=None, ready_message="Kubelet stopped posting node status."), a_node("n2")]
    made = seen(a_snapshot([a_pod(), SPARE], nodes))
    (pod,) = made.nodes[0].pods
    assert (pod.verdict, pod.effect) == ("kubelet-gone", "blocked")
    assert "Kubelet stopped posting node status." in pod.reasons[0].text


def test_an_empty_node_is_clear() -> None:
    assert seen(a_snapshot()).nodes == (NodeForecast("n1", ()),)
    assert seen(a_snapshot()).effect is Effect.CLEAR


def test_a_node_that_is_not_there() -> None:
    with pytest.raises(NodesMistyped) as caught:
        seen(a_snapshot(), "n1", "n11", "worker-9")
    assert str(caught.value).splitlines() == [
        "there is no node n11: did you mean n1?",
        "there is no node worker-9: run `kubectl get nodes` for the names.",
    ]


@pytest.mark.parametrize(
    ("pods", "wave", "parts", "verdict"),
    [
        pytest.param(
            [a_pod("a"), a_pod("b", "n2")], ["n1"], {}, {"a": ["evictable"]}, id="another Ready one stays elsewhere"
        ),
        pytest.param([a_pod("a")], ["n1"], {}, {"a": ["last-ready"]}, id="the only one"),
        pytest.param(
            [a_pod("a"), a_pod("b", "n2", ready=False)], ["n1"], {}, {"a": ["last-ready"]}, id="the other is not Ready"
        ),
        pytest.param(
            [a_pod("a", ready=False)], ["n1"], {}, {"a": ["evictable"]}, id="the only one is not Ready: nothing to lose"
        ),
        pytest.param(
            [a_pod("a")],
            ["n1"],
            {"budgets": [a_budget(max_unavailable=1, allowed=1, current=1, desired=0, expected=1)]},
            {"a": ["evictable"]},
            id="the only one, and a budget that says it may go",
        ),
        pytest.param(
            [a_pod("a"), a_pod("b")],
            ["n1"],
            {},
            {"a": ["all-at-once"], "b": ["all-at-once"]},
            id="all of them on one node",
        ),
        pytest.param(
            [a_pod("a"), a_pod("b", "n2")],
            ["n1", "n2"],
            {},
            {"a": ["all-at-once"], "b": ["all-at-once"]},
            id="all of them in one wave",
        ),
        pytest.param(
            [a_pod("a"), a_pod("b", "n2")],
            ["n1", "n2"],
            {"budgets": [a_budget(max_unavailable=1, allowed=1, current=2, desired=1, expected=2)]},
            {"a": ["evictable"], "b": ["budget-waits"]},
            id="a budget keeps them apart",
        ),
        pytest.param(
            [a_pod("a"), a_pod("b", "n2")],
            ["n1", "n2"],
            {"budgets": [a_budget(min_available=0, allowed=2, current=2, desired=0, expected=2)]},
            {"a": ["all-at-once"], "b": ["all-at-once"]},
            id="a budget that lets all go",
        ),
        pytest.param(
            [a_pod("a"), a_pod("b", "n2", owner=Owner("apps/v1", "ReplicaSet", "web-zz9"), labels={**WEB, "pod-template-hash": "zz9"})],
            ["n1"],
            {},
            {"a": ["evictable"]},
            id="two ReplicaSets of one Deployment",
        ),
        pytest.param(
            [a_pod("a", owner=Owner("batch/v1", "Job", "j"))], ["n1"], {}, {"a": ["evictable"]}, id="a Job serves nobody"
        ),
    ],
)  # fmt: skip
def test_replicas_that_go_together(pods: Any, wave: list[str], parts: Any, verdict: dict[str, list[str]]) -> None:
    nodes = [a_node(name) for name in ("n1", "n2", "n3", "n4")]
    assert verdicts(seen(a_snapshot(pods, nodes, **parts), *wave)) == verdict


def test_room_is_taken_by_those_that_come_first() -> None:
    big = {"needs": {"requests": amounts(cpu="3")}}
    pods = [a_pod(f"web-{n}", **big) for n in range(3)]
    pods += [a_pod("other", "n2"), a_pod("other-2", "n3")]
    made = seen(a_snapshot(pods, [a_node("n1", allocatable=amounts(cpu="16", pods="110")), a_node("n2"), a_node("n3")]))
    assert verdicts(made) == {"web-0": ["evictable"], "web-1": ["evictable"], "web-2": ["fits-nowhere"]}
    assert "too little cpu left once this wave's other pods are there" in made.nodes[0].pods[0].reasons[0].text


def test_a_replacement_without_room_gives_no_budget_back() -> None:
    budget = a_budget(max_unavailable=1, allowed=1, current=2, desired=1, expected=2)
    pods = [a_pod("a", needs={"requests": amounts(cpu="64")}), a_pod("b", needs={"requests": amounts(cpu="64")})]
    made = seen(a_snapshot(pods, budgets=[budget], workloads=[web(2)]))
    assert verdicts(made) == {"a": ["fits-nowhere"], "b": ["budget-blocks", "fits-nowhere"]}
    assert made.nodes[0].pods[0].reasons[0].text == (
        "PDB web (maxUnavailable: 1) allows no disruption now: it needs 1 healthy pods and has 1"
    )


def test_a_deployment_of_the_same_name_that_selects_others_is_not_its_own() -> None:
    world = SnapshotIndex(a_snapshot())
    assert world.workload_of(a_pod()) == ("Deployment", "shop", "web")
    other = a_pod(labels={"app": "db", "pod-template-hash": "abc12"})
    assert world.workload_of(other) == ("ReplicaSet", "shop", "web-abc12")


def test_each_node_alone_is_not_each_in_a_wave() -> None:
    snapshot = a_snapshot([a_pod("a"), a_pod("b", "n2")])
    alone = forecast_each(snapshot, ["n1", "n2", "n3"], deadline_s=DEADLINE_S, now=NOW)
    assert {name: node.effect for name, node in alone.items()} == {"n1": "clear", "n2": "clear", "n3": "clear"}
    assert seen(snapshot, "n1", "n2").effect is Effect.LOSSY


def test_risky_nodes_go_last() -> None:
    pods = [
        a_pod("a", "blocked", owner=None),
        a_pod("b", "lossy-1", scratch=("x",)),
        a_pod("c", "lossy-2", scratch=("x",)),
        a_pod("d", "lossy-2", scratch=("x",)),
        a_pod("e", "one"),
        a_pod("f", "two"),
        a_pod("g", "two"),
        a_pod("h", "unknown", needs={"claims_devices": True}),
    ]
    names = ["unknown", "blocked", "lossy-2", "two", "lossy-1", "empty", "one"]
    made = forecast_each(a_snapshot(pods, [a_node(name) for name in names]), names, deadline_s=DEADLINE_S, now=NOW)
    assert sorted(names, key=lambda name: risk(made[name])) == [
        "empty",
        "one",
        "two",
        "lossy-1",
        "lossy-2",
        "unknown",
        "blocked",
    ]


def test_taints_and_cordons_keep_replacements_away() -> None:
    nodes = [a_node("n1"), a_node("n2", unschedulable=True), a_node("n3", taints=(Taint("gpu", "", "NoSchedule"),))]
    nodes.append(a_node("n4", ready=False))
    (pod,) = seen(a_snapshot([a_pod(), SPARE], nodes)).nodes[0].pods
    assert pod.reasons[0].text == (
        "none of the 3 other nodes can run it (1 cordoned, 1 not Ready, 1 taint not tolerated)"
    )


def test_beside_a_pod_that_cannot_be_read_there_is_no_room() -> None:
    crowded = [a_pod(), SPARE, *(a_pod(f"odd-{node}", node, unread="x") for node in ("n2", "n3"))]
    (node,) = seen(a_snapshot(crowded)).nodes
    assert verdicts(seen(a_snapshot(crowded)))["web-1"] == ["fits-nowhere"]
    assert "2 too little" in node.pods[0].reasons[0].text


def test_how_many_replicas_a_workload_wants_that_cannot_be_read_is_not_told() -> None:
    odd = Workload("Deployment", "shop", "web", 0, NOTHING, unread="x")
    assert SnapshotIndex(a_snapshot([a_pod()], workloads=(odd,))).replicas_under(a_budget()) is None
    assert SnapshotIndex(a_snapshot([a_pod()], workloads=(web(5),))).replicas_under(a_budget()) == 5


def test_what_could_not_be_read_is_told_with_the_forecast() -> None:
    odd = ("Services: shop/odd: spec is no object",)
    assert seen(replace(a_snapshot([a_pod()]), unread=odd)).unread == odd
