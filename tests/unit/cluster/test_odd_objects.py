"""Objects that are not as their kind is: no parser raises, each row is what its type says, and takes the worst."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any, get_type_hints

import pytest
from pydantic import TypeAdapter

from poolkeeper.tasks.cluster import dns, nodes, pods, snapshot
from poolkeeper.tasks.cluster.budgets import parse_budget
from poolkeeper.tasks.cluster.eviction import must_go
from poolkeeper.tasks.cluster.fields import moment
from poolkeeper.tasks.cluster.leases import parse_lease
from poolkeeper.tasks.cluster.services import parse_service, parse_slice
from poolkeeper.tasks.cluster.volumes import parse_claim, parse_volume
from poolkeeper.tasks.cluster.workloads import Shared, parse_pod, parse_workload
from poolkeeper.tasks.rollout import wave_gates
from poolkeeper.tasks.rollout.headroom import is_down
from poolkeeper.tasks.rollout.pdb_lock import guards
from poolkeeper.tasks.rollout.wave_gates import lost_workloads
from tests.unit.onboard.builders import NOW
from tests.unit.rollout.builders import a_pod

Json = dict[str, Any]

TERM = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "zone"}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
EXPRESSION = {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["a"]}]}
METADATA: Json = {
    "namespace": "kube-system",
    "name": "coredns-1",
    "uid": "u",
    "resourceVersion": "7",
    "generation": 2,
    "creationTimestamp": "2026-11-23T12:00:00Z",
    "deletionTimestamp": "2026-11-23T12:00:00Z",
    "labels": {"app": "web"},
    "annotations": {"a": "b"},
    "finalizers": ["x.example/y"],
    "ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-a", "uid": "u", "controller": True}
    ],
}
NODE: Json = {
    "metadata": METADATA,
    "spec": {"taints": [{"key": "a", "value": "b", "effect": "NoExecute"}], "unschedulable": False},
    "status": {
        "capacity": {"cpu": "8"},
        "allocatable": {"cpu": "8", "pods": "110"},
        "addresses": [{"type": "InternalIP", "address": "192.0.2.9"}],
        "conditions": [
            {"type": "Ready", "status": "True", "message": "m", "lastTransitionTime": "2026-11-23T12:00:00Z"}
        ],
        "nodeInfo": {"kubeletVersion": "v1.36.1", "machineID": "m", "bootID": "b", "containerRuntimeVersion": "c"},
    },
}
CONTAINER = {
    "name": "c",
    "resources": {"requests": {"cpu": "100m"}},
    "restartPolicy": "Always",
    "ports": [{"hostPort": 80, "hostIP": "192.0.2.1", "protocol": "TCP"}],
}
POD: Json = {
    "metadata": METADATA,
    "spec": {
        "nodeName": "n1",
        "priority": 1,
        "terminationGracePeriodSeconds": 5,
        "containers": [CONTAINER],
        "initContainers": [CONTAINER],
        "overhead": {"cpu": "1m"},
        "resources": {"requests": {"cpu": "1"}},
        "dnsConfig": {"nameservers": ["169.254.20.10"]},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute"}],
        "affinity": {
            "nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [EXPRESSION]}},
            "podAffinity": {REQUIRED: [{**TERM, "namespaces": ["shop"]}]},
            "podAntiAffinity": {REQUIRED: [{**TERM, "namespaceSelector": {}}]},
        },
        "topologySpreadConstraints": [
            {**TERM, "maxSkew": 1, "minDomains": 1, "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["app"]}
        ],
        "volumes": [
            {"name": "a", "emptyDir": {"medium": "Memory"}},
            {"name": "b", "persistentVolumeClaim": {"claimName": "c"}},
            {"name": "d", "ephemeral": {}},
        ],
    },
    "status": {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"state": {"waiting": {"reason": "r", "message": "m"}}}],
    },
}
BUDGET: Json = {
    "metadata": METADATA,
    "spec": {"selector": {**EXPRESSION, "matchLabels": {"app": "web"}}, "minAvailable": "50%", "maxUnavailable": 1},
    "status": {
        "observedGeneration": 2,
        "disruptionsAllowed": 1,
        "currentHealthy": 3,
        "disruptedPods": {"a": "t"},
        "conditions": [{"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "m"}],
    },
}
WORKLOAD: Json = {
    "metadata": METADATA,
    "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {"spec": POD["spec"]}},
    "status": {"readyReplicas": 3},
}
SERVICE: Json = {
    "metadata": METADATA,
    "spec": {"type": "ClusterIP", "selector": {"app": "web"}, "clusterIPs": ["10.0.0.1"], "clusterIP": "10.0.0.1"},
}
SLICE: Json = {
    "metadata": {**METADATA, "labels": {"kubernetes.io/service-name": "web"}},
    "endpoints": [
        {"conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": "a", "namespace": "kube-system"}}
    ],
}
CLAIM: Json = {"metadata": METADATA, "spec": {"volumeName": "pv-1"}}
VOLUME: Json = {
    "metadata": METADATA,
    "spec": {"local": {"path": "/d"}, "nodeAffinity": {"required": {"nodeSelectorTerms": [EXPRESSION]}}},
}

LEASE: Json = {
    "metadata": {**METADATA, "annotations": {"poolkeeper.io/fencing-token": "7", "poolkeeper.io/rollout": '{"a": 1}'}},
    "spec": {"holderIdentity": "run-1/x", "leaseDurationSeconds": 40},
}

PARSERS: dict[str, tuple[Callable[[Any], Any], Json]] = {
    "node": (nodes.parse_node, NODE),
    "node as a place": (snapshot.parse_node, NODE),
    "pod": (pods.parse_pod, POD),
    "pod in a drain": (lambda item: parse_pod(item, Shared()), POD),
    "age of a pod": (pods._created, POD),
    "lease": (parse_lease, LEASE),
    "budget": (parse_budget, BUDGET),
    "workload": (partial(parse_workload, kind="Deployment"), WORKLOAD),
    "workload at a gate": (partial(wave_gates.parse_workload, kind="Deployment"), WORKLOAD),
    "name of a DaemonSet": (snapshot._name_of, WORKLOAD),
    "service": (parse_service, SERVICE),
    "slice": (parse_slice, SLICE),
    "claim": (parse_claim, CLAIM),
    "volume": (parse_volume, VOLUME),
    "address of the DNS": (dns._addresses, SERVICE),
    "DNS cache": (dns._tolerating, WORKLOAD),
    "DNS pod": (dns._seen, POD),
}


def nested(depth: int) -> Any:
    """Lists in lists, deeper than any recursion goes."""
    found: Any = []
    for _ in range(depth):
        found = [found]
    return found


ODD_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2**70, 1.5, float("inf"), "", "x", "1e1000000", "9" * 5000, "0001-01-01T00:00:00+14:00", [], {},
    [None], ["x"], [[]], {"a": None}, {"a": []}, {"": {}}, nested(100_000),
)  # fmt: skip


def paths(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield before
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield from paths(each, (*before, key))


def changed(item: Json, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Json:
    made = copy.deepcopy({"it": item})
    at: Any = made
    keys = ("it", *path)
    for key in keys[:-1]:
        at = at[key]
    change(at, keys[-1])
    return made.get("it", {})


def oddities(item: Json) -> Iterator[Any]:
    """The object with each of its fields gone, and with each odd value in the place of each of its fields."""
    for path in paths(item):
        yield changed(item, path, lambda at, key: at.pop(key))
        for value in ODD_VALUES:
            yield changed(item, path, lambda at, key, value=value: at.__setitem__(key, value))


@cache
def adapters(kind: type) -> Mapping[str, TypeAdapter[Any]]:
    hints = get_type_hints(kind)
    return {field.name: TypeAdapter(hints[field.name]) for field in fields(kind)}


def check_types(value: Any) -> None:
    """That a row, and every row in it, has what its type says."""
    if is_dataclass(value):
        for name, adapter in adapters(type(value)).items():
            adapter.validate_python(getattr(value, name), strict=True)
            check_types(getattr(value, name))
    elif isinstance(value, tuple | list):
        for each in value:
            check_types(each)


@pytest.mark.parametrize("kind", PARSERS)
def test_no_odd_object_ends_a_parser(kind: str) -> None:
    parse, item = PARSERS[kind]
    check_types(parse(item))
    assert not getattr(parse(item), "unread", ""), "as it should be, it is read"
    seen = 0
    for odd in oddities(item):
        check_types(parse(odd))
        seen += 1
    assert seen > 100


@pytest.mark.parametrize("kind", PARSERS)
@pytest.mark.parametrize(
    "item", [None, [], "text", 5, {}, nested(100_000)], ids=["null", "list", "text", "number", "empty", "deep"]
)
def test_what_is_no_object_at_all(kind: str, item: Any) -> None:
    check_types(PARSERS[kind][0](item))


TAINTED = {**NODE, "spec": {"taints": "none"}}
ODD_POD = {**POD, "spec": {**POD["spec"], "containers": 5}}


def test_a_node_that_cannot_be_read_is_there_and_counts_as_down() -> None:
    row = nodes.parse_node(TAINTED)
    assert (row.name, row.labels, row.ready, row.unread) == (
        "coredns-1",
        {"app": "web"},
        None,
        "taints is no list of objects",
    )
    assert row.ready_message == "its Node object cannot be read: taints is no list of objects"
    assert is_down(row)
    place = snapshot.parse_node(TAINTED)
    assert (place.ready, place.unschedulable, place.allocatable) == (None, True, ())


def test_of_a_resource_that_cannot_be_read_a_node_has_none() -> None:
    odd = {
        **NODE,
        "status": {**NODE["status"], "capacity": {"cpu": "many"}, "allocatable": {"cpu": "many", "pods": "5k"}},
    }
    assert snapshot.parse_node(odd).allocatable == (("pods", 5_000_000),)
    assert (nodes.parse_node(odd).cpus, nodes.parse_node(odd).unread) == (0, "")


def test_a_virtual_node_has_what_it_says() -> None:
    virtual = {
        **NODE,
        "status": {**NODE["status"], "capacity": {"cpu": "1M", "memory": "4Ti"}, "allocatable": {"cpu": "192k"}},
    }
    assert nodes.parse_node(virtual).cpus == 1_000_000
    assert dict(snapshot.parse_node(virtual).allocatable) == {"cpu": 192_000_000}


def test_a_pod_that_cannot_be_read_has_to_go_and_nobody_may_end_it() -> None:
    row = pods.parse_pod({**ODD_POD, "metadata": {**METADATA, "finalizers": 5}})
    assert (row.name, row.node, row.unread) == ("coredns-1", "n1", "finalizers is no list of texts")
    assert must_go(row)
    assert parse_pod(ODD_POD, Shared()).node == "n1"


def test_a_budget_that_cannot_be_read_may_guard_any_pod_of_its_namespace() -> None:
    row = parse_budget({**BUDGET, "spec": {"selector": "app=web"}})
    assert row.unread == "selector is no object"
    assert guards(row, a_pod(namespace="kube-system"))
    assert not guards(row, a_pod())


def test_a_lease_that_cannot_be_read_is_somebodys() -> None:
    row = parse_lease({**LEASE, "spec": {"holderIdentity": 5}})
    assert (row.name, row.resource_version, row.holder != "", row.fencing_token) == ("coredns-1", "7", True, 0)
    assert row.unreadable == "holderIdentity is no text"


def test_a_workload_that_cannot_be_read_is_no_longer_as_it_was() -> None:
    was = wave_gates.parse_workload(WORKLOAD, "Deployment")
    now = wave_gates.parse_workload({**WORKLOAD, "status": {"readyReplicas": "all"}}, "Deployment")
    (lost,) = lost_workloads({was.key: was}, {now.key: now}, NOW)
    assert lost.evidence.observed == "its object cannot be read: readyReplicas is no whole number"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T12:00:00Z", NOW),
        ("2026-11-23T13:00:00+01:00", NOW),
        ("2026-11-23T12:00:00", NOW),
        ("2026-11-23T12:00:00.000001Z", NOW + timedelta(microseconds=1)),
        (None, None),
    ],
)
def test_moments(text: str | None, expected: datetime | None) -> None:
    found = moment({"at": text}, "at")
    assert found == expected
    assert found is None or found.tzinfo is UTC
