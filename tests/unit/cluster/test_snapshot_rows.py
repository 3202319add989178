"""Kubernetes objects as the rows that a forecast is made of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from poolkeeper.tasks.cluster.budgets import Budget, parse_budget
from poolkeeper.tasks.cluster.scheduling import PodTerm, Spread, Taint, Toleration, parse_needs
from poolkeeper.tasks.cluster.selectors import (
    NOTHING,
    NodeTerm,
    Requirement,
    Selector,
    any_holds,
    parse_node_terms,
    parse_selector,
)
from poolkeeper.tasks.cluster.services import Slice, parse_service, parse_slice
from poolkeeper.tasks.cluster.snapshot import Node, parse_node
from poolkeeper.tasks.cluster.volumes import Volume, VolumeClaim, parse_claim, parse_volume
from poolkeeper.tasks.cluster.workloads import Owner, Shared, Workload, deployment_of, parse_pod, parse_workload

Json = dict[str, Any]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def expression(operator: str, *values: str) -> Json:
    return {"matchExpressions": [{"key": "tier", "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("selector", "labels", "matches"),
    [
        pytest.param(None, {"a": "b"}, False, id="absent: nothing"),
        pytest.param({}, {}, True, id="empty: everything"),
        pytest.param({"matchLabels": {"a": "b"}}, {"a": "b", "c": "d"}, True, id="a label"),
        pytest.param({"matchLabels": {"a": "b"}}, {"a": "c"}, False, id="a label of another value"),
        pytest.param(expression("In", "x", "y"), {"tier": "y"}, True, id="In"),
        pytest.param(expression("In", "x"), {}, False, id="In, absent"),
        pytest.param(expression("NotIn", "x"), {"tier": "x"}, False, id="NotIn"),
        pytest.param(expression("NotIn", "x"), {}, True, id="NotIn, absent"),
        pytest.param(expression("Exists"), {"tier": ""}, True, id="Exists, empty"),
        pytest.param(expression("Exists"), {}, False, id="Exists, absent"),
        pytest.param(expression("DoesNotExist"), {"tier": ""}, False, id="DoesNotExist"),
        pytest.param({"matchLabels": {"a": "b"}, **expression("Exists")}, {"a": "b"}, False, id="both must hold"),
        pytest.param(expression("Gt", "1"), {"tier": "2"}, False, id="an operator for nodes only is invalid: nothing"),
    ],
)
def test_label_selectors(selector: Json | None, labels: dict[str, str], matches: bool) -> None:
    assert parse_selector(selector).matches(labels) is matches


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        pytest.param(None, True, id="absent: every node"),
        pytest.param({"nodeSelectorTerms": []}, False, id="no terms: none"),
        pytest.param({"nodeSelectorTerms": [{}]}, False, id="an empty term: none"),
        pytest.param({"nodeSelectorTerms": [{}, expression("In", "5")]}, True, id="one of two"),
        pytest.param({"nodeSelectorTerms": [expression("Gt", "4")]}, True, id="Gt"),
        pytest.param({"nodeSelectorTerms": [expression("Lt", "5")]}, False, id="Lt, equal"),
        pytest.param({"nodeSelectorTerms": [expression("Gt", "x")]}, False, id="Gt of no number"),
        pytest.param(
            {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]},
            True,
            id="the node's name",
        ),
    ],
)
def test_node_selectors(selector: Json | None, matches: bool) -> None:
    assert any_holds(parse_node_terms(selector), "n1", {"tier": "5"}) is matches


@pytest.mark.parametrize(
    ("toleration", "covers"),
    [
        pytest.param(Toleration("", "Exists", "", ""), True, id="everything"),
        pytest.param(Toleration("gpu", "Exists", "", "NoSchedule"), True, id="the key"),
        pytest.param(Toleration("gpu", "Equal", "a", ""), True, id="key and value"),
        pytest.param(Toleration("gpu", "Equal", "b", ""), False, id="another value"),
        pytest.param(Toleration("gpu", "Exists", "", "NoExecute"), False, id="another effect"),
        pytest.param(Toleration("", "Equal", "a", ""), False, id="a value of no key"),
        pytest.param(Toleration("gpu", "Gt", "a", ""), False, id="an operator that is not known"),
    ],
)
def test_tolerations(toleration: Toleration, covers: bool) -> None:
    assert toleration.covers(Taint("gpu", "a", "NoSchedule")) is covers


def container(cpu: str, **more: Any) -> Json:
    return {"name": "c", "resources": {"requests": {"cpu": cpu}}, **more}


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        pytest.param({"containers": [container("1"), container("500m")]}, 1500, id="containers add up"),
        pytest.param({"containers": [container("1")], "initContainers": [container("3")]}, 3000, id="starting takes more"),
        pytest.param(
            {"containers": [container("1")], "initContainers": [container("3"), container("2")]}, 3000, id="one init at a time"
        ),
        pytest.param(
            {"containers": [container("1")], "initContainers": [container("2", restartPolicy="Always")]}, 3000,
            id="a sidecar runs beside them",
        ),
        pytest.param(
            {"containers": [container("1")], "initContainers": [container("2", restartPolicy="Always"), container("4")]}, 6000,
            id="an init container after a sidecar",
        ),
        pytest.param(
            {"containers": [container("1")], "initContainers": [container("4"), container("2", restartPolicy="Always")]}, 4000,
            id="an init container before a sidecar",
        ),
        pytest.param({"containers": [container("1")], "overhead": {"cpu": "250m"}}, 1250, id="the runtime's overhead"),
        pytest.param(
            {"containers": [container("1")], "resources": {"requests": {"cpu": "2"}}}, 2000, id="requests of the pod itself"
        ),
        pytest.param({"containers": [{"name": "c"}]}, None, id="nothing"),
    ],
)  # fmt: skip
def test_requests(spec: Json, cpu: int | None) -> None:
    assert dict(parse_needs(spec, "shop", {}, {}).requests).get("cpu") == cpu


def test_needs_in_full() -> None:
    term = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "zone"}
    spec = {
        "containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}]}],
        "tolerations": [{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoSchedule"}],
        "nodeSelector": {"disk": "ssd"},
        "affinity": {
            "nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [expression("Exists")]}},
            "podAffinity": {REQUIRED: [{**term, "namespaces": ["bank"]}]},
            "podAntiAffinity": {REQUIRED: [term, {**term, "namespaceSelector": {}}, {**term, "namespaceSelector": {"matchLabels": {"x": "y"}}}]},
        },
        "topologySpreadConstraints": [
            {**term, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["hash", "absent"]},
            {**term, "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway"},
        ],
        "resourceClaims": [{"name": "gpu"}],
    }  # fmt: skip
    needs = parse_needs(spec, "shop", {"hash": "h1"}, {})
    web = Selector((("app", "web"),))
    assert needs.tolerations == (Toleration("", "Exists", "", ""), Toleration("a", "Equal", "b", "NoSchedule"))
    assert needs.node_labels == (("disk", "ssd"),)
    assert needs.node_terms == (NodeTerm((Requirement("tier", "Exists"),)),)
    assert needs.together == (PodTerm(web, "zone", frozenset({"bank"})),)
    assert needs.apart == (
        PodTerm(web, "zone", frozenset({"shop"})),
        PodTerm(web, "zone", None),
        PodTerm(web, "zone", frozenset(), certain=False),
    )
    hashed = Selector((("app", "web"),), (Requirement("hash", "In", ("h1",)),))
    assert needs.spreads == (Spread(hashed, "zone", 1, 1, honors_affinity=True, honors_taints=False),)
    assert needs.host_ports == (("TCP", "0.0.0.0", 8080),)
    assert needs.claims_devices


def pod(metadata: Json | None = None, spec: Json | None = None, status: Json | None = None) -> Json:
    return {
        "metadata": {"namespace": "shop", "name": "web-1", **(metadata or {})},
        "spec": {"containers": [container("1")], **(spec or {})},
        "status": status or {},
    }


def test_a_pod_in_full() -> None:
    row = parse_pod(
        pod(
            {
                "labels": {"app": "web"},
                "annotations": {"kubernetes.io/config.mirror": "x"},
                "finalizers": ["example.com/x"],
                "deletionTimestamp": "2026-11-23T12:00:00Z",
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u0"},
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-abc", "uid": "u1", "controller": True},
                ],
            },
            {
                "nodeName": "n1",
                "priority": 7,
                "terminationGracePeriodSeconds": 0,
                "volumes": [
                    {"name": "disk", "emptyDir": {}},
                    {"name": "null", "emptyDir": None},
                    {"name": "shm", "emptyDir": {"medium": "Memory"}},
                    {"name": "data", "persistentVolumeClaim": {"claimName": "data-1"}},
                    {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}},
                    {"name": "conf", "configMap": {"name": "c"}},
                ],
            },
            {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        ),
        Shared(),
    )
    assert (row.node, row.labels, row.phase, row.ready, row.mirror) == ("n1", {"app": "web"}, "Running", True, True)
    assert row.owner == Owner("apps/v1", "ReplicaSet", "web-abc", "u1")
    assert (row.deleting_at, row.grace_s, row.priority) == (datetime(2026, 11, 23, 12, tzinfo=UTC), 0, 7)
    assert (row.finalizers, row.scratch, row.memory_scratch) == (("example.com/x",), ("disk", "null"), ("shm",))
    assert row.claims == ("data-1", "web-1-scratch")


def test_a_pod_of_which_little_is_said() -> None:
    row = parse_pod(pod(), Shared())
    assert (row.node, row.phase, row.ready, row.owner, row.deleting_at, row.grace_s) == ("", "", False, None, None, 30)


def test_pods_share_what_is_equal() -> None:
    shared = Shared()
    labels = {"app": "web"}
    one, other = (parse_pod(pod({"name": name, "labels": dict(labels)}, {"nodeName": "n1"}), shared) for name in "ab")
    assert one.needs is other.needs
    assert one.labels is other.labels
    assert parse_pod(pod(spec={"containers": [container("2")]}), shared).needs is not one.needs


@pytest.mark.parametrize(
    ("owner", "labels", "deployment"),
    [
        pytest.param("web-abc", {"pod-template-hash": "abc"}, "web", id="of a Deployment"),
        pytest.param("web-abc", {}, None, id="of a bare ReplicaSet"),
        pytest.param("web-abc", {"pod-template-hash": "xyz"}, None, id="of a ReplicaSet of another hash"),
        pytest.param("-abc", {"pod-template-hash": "abc"}, None, id="of no name"),
    ],
)
def test_whose_replicaset_it_is(owner: str, labels: dict[str, str], deployment: str | None) -> None:
    reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "controller": True}
    assert deployment_of(parse_pod(pod({"labels": labels, "ownerReferences": [reference]}), Shared())) == deployment


def test_budgets() -> None:
    selector = {"matchLabels": {"app": "web"}}
    spec = {"selector": selector, "minAvailable": "50%", "unhealthyPodEvictionPolicy": "AlwaysAllow"}
    counts = {"disruptionsAllowed": 1, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 4}
    condition = {"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "why"}
    status = {**counts, "observedGeneration": 2, "disruptedPods": {"a": "t"}, "conditions": [condition]}
    metadata = {"namespace": "shop", "name": "web", "generation": 3}
    assert parse_budget({"metadata": metadata, "spec": spec, "status": status}) == Budget(
        "shop", "web", Selector((("app", "web"),)), "50%", None, True, 3, 2, 1, 3, 2, 4, {"a": "t"}, "why"
    )  # fmt: skip
    bare = parse_budget({"metadata": {"namespace": "shop", "name": "web", "generation": 1}, "spec": {}})
    assert bare == Budget("shop", "web", NOTHING, observed_generation=0)


def test_workloads() -> None:
    metadata, selector = {"namespace": "shop", "name": "web"}, {"matchLabels": {"app": "web"}}
    for spec, replicas in (({"replicas": 0}, 0), ({}, 1), ({"replicas": 4}, 4)):
        row = parse_workload({"metadata": metadata, "spec": {"selector": selector, **spec}}, "Deployment")
        assert row == Workload("Deployment", "shop", "web", replicas, Selector((("app", "web"),)))


def test_services_and_slices() -> None:
    metadata = {"namespace": "shop", "name": "web", "labels": {"kubernetes.io/service-name": "web"}}
    assert parse_service({"metadata": metadata, "spec": {"type": "ExternalName"}}) is None
    row = parse_service({"metadata": metadata, "spec": {}})
    assert row is not None
    assert not row.selects
    endpoints = [
        {"conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": "a", "namespace": "shop"}},
        {"conditions": {"ready": False}, "targetRef": {"kind": "Pod", "name": "b", "namespace": "shop"}},
        {"conditions": {}, "addresses": ["10.0.0.1"]},
    ]
    assert parse_slice({"metadata": metadata, "endpoints": endpoints}) == Slice("shop", "web", ("a",), 1)
    assert parse_slice({"metadata": metadata, "endpoints": None}) == Slice("shop", "web", (), 0)


def test_volumes_and_claims() -> None:
    claim = {"metadata": {"namespace": "shop", "name": "data"}, "spec": {"volumeName": "pv-1"}}
    assert parse_claim(claim) == VolumeClaim("shop", "data", "pv-1")
    assert parse_claim({**claim, "spec": {}}) == VolumeClaim("shop", "data", "")
    required = {"nodeSelectorTerms": [expression("In", "n1")]}
    local = {"local": {"path": "/d"}, "nodeAffinity": {"required": required}}
    terms = (NodeTerm((Requirement("tier", "In", ("n1",)),)),)
    assert parse_volume({"metadata": {"name": "pv-1"}, "spec": local}) == Volume("pv-1", terms, "local")
    assert parse_volume({"metadata": {"name": "pv-1"}, "spec": {"x": {}}}) == Volume("pv-1", None, "")


def test_nodes() -> None:
    status = {
        "allocatable": {"cpu": "4", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "Unknown", "message": "m"}],
    }
    spec = {"taints": [{"key": "a", "effect": "NoSchedule"}], "unschedulable": True}
    row = parse_node({"metadata": {"name": "n1", "labels": {"a": "b"}}, "spec": spec, "status": status})
    taints = (Taint("a", "", "NoSchedule"),)
    assert row == Node("n1", {"a": "b"}, (("cpu", 4000), ("pods", 110000)), taints, True, None, "m")
