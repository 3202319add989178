"""One object that is not as its kind is, among others: it costs the others nothing, and is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from poolkeeper.tasks.cluster import ClusterApi, ClusterUnreachable
from poolkeeper.tasks.cluster.eviction import Drain, DrainBlocked, Eviction
from poolkeeper.tasks.cluster.nodes import change_node, get_node, list_nodes
from poolkeeper.tasks.cluster.pods import PodRow, pods_older_than, pods_on
from poolkeeper.tasks.cluster.snapshot import read_snapshot
from poolkeeper.tasks.rollout import Effect, forecast
from poolkeeper.tasks.rollout.goal import Limits
from poolkeeper.tasks.rollout.next_action import NextAction, Step
from poolkeeper.tasks.rollout.pdb_lock import PdbLocks
from poolkeeper.tasks.rollout.run import Assessed
from poolkeeper.tasks.rollout.wave_gates import list_workloads
from tests.contract.cluster import faulty as servers
from tests.contract.cluster.conftest import DEADLINE_S, SomeoneIsQuicker
from tests.contract.rollout.instant import open_run
from tests.unit.cluster.test_odd_objects import BUDGET, CLAIM, NODE, POD, SERVICE, SLICE, VOLUME, WORKLOAD
from tests.unit.onboard.builders import a_host

Json = dict[str, Any]
Start = Callable[..., Awaitable[ClusterApi]]
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CORE, APPS = "/api/v1", "/apis/apps/v1"


def named(item: Json, name: str, **more: Any) -> Json:
    """The object under another name, alive and in namespace shop, with other parts."""
    metadata = {**item["metadata"], "name": name, "namespace": "shop", "finalizers": [], "deletionTimestamp": None}
    return {**item, "metadata": metadata, **more}


def pod(name: str, node: str, **spec: Any) -> Json:
    """A pod that asks for little and minds no taint."""
    minimal = {"nodeName": node, "containers": [{"name": "c"}], "tolerations": [{"operator": "Exists"}]}
    return named(POD, name, spec={**minimal, **spec})


NODES = [named(NODE, "n1"), named(NODE, "n2"), named(NODE, "odd", spec={"taints": "none"}), None]
CLUSTER: dict[str, list[Any]] = {
    f"{CORE}/nodes": NODES,
    f"{CORE}/pods": [pod("a", "n1"), pod("odd", "n2", containers="none"), pod("away", "odd"), 5],
    f"{CORE}/services": [named(SERVICE, "odd", spec=[])],
    f"{CORE}/persistentvolumeclaims": [named(CLAIM, "odd", spec=[])],
    f"{CORE}/persistentvolumes": [named(VOLUME, "odd", spec=[])],
    f"{APPS}/deployments": [named(WORKLOAD, "web"), named(WORKLOAD, "odd", spec=[])],
    f"{APPS}/daemonsets": [[]],
    "/apis/policy/v1/poddisruptionbudgets": [named(BUDGET, "odd", spec=[])],
    "/apis/discovery.k8s.io/v1/endpointslices": [named(SLICE, "odd", endpoints=[5])],
}


async def test_a_virtual_node_among_others(embedded: SomeoneIsQuicker, cluster: ClusterApi) -> None:
    ready = [{"type": "Ready", "status": "True"}]
    for name, cpu in (("n1", "4"), ("virtual-node-1", "1M"), ("virtual-node-2", "192k")):
        has = {"cpu": cpu, "memory": "4Ti", "pods": "5k"}
        embedded.store.create(
            "nodes", {"metadata": {"name": name}, "status": {"allocatable": has, "capacity": has, "conditions": ready}}
        )
    rows = await list_nodes(cluster)
    assert {name: row.cpus for name, row in rows.items()} == {
        "n1": 4,
        "virtual-node-1": 1_000_000,
        "virtual-node-2": 192_000,
    }
    snapshot = await read_snapshot(cluster)
    assert snapshot.unread == ()
    assert forecast(snapshot, ["n1"], deadline_s=60, now=NOW).effect is Effect.CLEAR


async def test_a_node_that_cannot_be_read_is_listed_and_never_changed(faulty: Start) -> None:
    api = await faulty(servers.Lists(CLUSTER))
    rows = await list_nodes(api)
    assert [(name, row.ready) for name, row in rows.items()] == [
        ("n1", True),
        ("n2", True),
        ("odd", None),
        ("(without a name)", None),
    ]
    row = await get_node(api, "odd")
    assert row is not None
    assert row.ready_message == "its Node object cannot be read: taints is no list of objects"
    with pytest.raises(ClusterUnreachable, match="node odd is not changed because its object cannot be read"):
        await change_node(api, "odd", lambda row: {"spec": {"unschedulable": True}})


async def test_a_forecast_goes_by_what_can_be_read_and_tells_the_rest(faulty: Start) -> None:
    snapshot = await read_snapshot(await faulty(servers.Lists(CLUSTER)))
    assert snapshot.unread == (
        "Deployments: shop/odd: spec is no object",
        "EndpointSlices: shop/odd: endpoints is no list of objects",
        "Nodes: (without a name): it is no object",
        "Nodes: shop/odd: taints is no list of objects",
        "PersistentVolumeClaims: shop/odd: spec is no object",
        "PersistentVolumes: shop/odd: spec is no object",
        "PodDisruptionBudgets: shop/odd: spec is no object",
        "Pods: (without a name): it is no object",
        "Pods: shop/odd: containers is no list of objects",
        "Services: shop/odd: spec is no object",
    )
    made = forecast(snapshot, ["n1", "n2", "odd"], deadline_s=600, now=NOW)
    reasons = {f"{each.pod.name}: {r.verdict}": r.text for n in made.nodes for each in n.pods for r in each.reasons}
    assert reasons["a: unknown"] == "whether PDB odd blocks it: it cannot be read (spec is no object)"
    assert reasons["odd: unreadable"].startswith("what it is cannot be read (containers is no list of objects)")
    assert "its Node object cannot be read" in reasons["away: kubelet-gone"]
    assert [node.effect for node in made.nodes] == [Effect.UNKNOWN, Effect.BLOCKED, Effect.BLOCKED]
    assert made.unread == snapshot.unread


async def test_a_budget_without_a_namespace_may_block_any_pod(faulty: Start) -> None:
    lost = {"/apis/policy/v1/poddisruptionbudgets": [{"metadata": {"name": "lost"}}]}
    snapshot = await read_snapshot(await faulty(servers.Lists({**CLUSTER, **lost})))
    made = forecast(snapshot, ["n1"], deadline_s=600, now=NOW)
    assert "PodDisruptionBudget lost cannot be read: it has no namespace" in made.nodes[0].pods[0].reasons[0].text


async def test_a_pod_that_cannot_be_read_ends_a_drain_before_the_first_eviction(faulty: Start) -> None:
    api, asked = await faulty(servers.Lists(CLUSTER)), list[str]()

    async def remove(pod: PodRow) -> Eviction:
        asked.append(pod.name)
        raise AssertionError

    odd = named(POD, "odd", status={"conditions": "all"})
    api = await faulty(servers.Lists({f"{CORE}/pods": [pod("a", "n1"), odd]}))
    assert [row.name for row in await pods_on(api, "n1")] == ["a", "odd"]
    with pytest.raises(DrainBlocked, match="shop/odd: its object cannot be read: conditions is no list of objects"):
        await Drain(api, "n1", remove=remove).empty(timeout_s=DEADLINE_S)
    assert asked == []


async def test_other_lists_with_an_odd_one_in_them(faulty: Start) -> None:
    odd, old = {"metadata": {"name": "odd", "creationTimestamp": "once"}}, named(POD, "old")
    lists = {**CLUSTER, f"{CORE}/namespaces/shop/pods": [odd, old, None]}
    api = await faulty(servers.Lists(lists))
    assert await pods_older_than(api, "shop", "", datetime(2027, 1, 1, tzinfo=UTC)) == ("old",)
    workloads = await list_workloads(api)
    assert {key: (row.wanted, row.ready, row.unread) for key, row in workloads.items()} == {
        "Deployment shop/web": (3, 3, ""),
        "Deployment shop/odd": (1, 0, "spec is no object"),
    }
    async with PdbLocks(api).acquired("n1"):
        pass


@pytest.mark.parametrize(
    "body",
    ["{}", '{"items": {}, "metadata": {"resourceVersion": "1"}}', '{"items": [], "metadata": []}', '{"items": []}'],
)
async def test_what_is_no_list_is_no_api_server(faulty: Start, body: str) -> None:
    with pytest.raises(ClusterUnreachable, match="gave no list"):
        await list_nodes(await faulty(servers.Says(body)))


async def test_a_rollout_tells_what_it_could_not_read(faulty: Start, tmp_path: Path, said: list[str]) -> None:
    run = await open_run(await faulty(servers.Lists(CLUSTER)), [a_host("n1")], tmp_path)
    standing = NextAction(Step.CLAIM, "not at the goal yet")
    forecasts = await run.forecast_drains([Assessed(run.hosts["n1"], standing)], Limits())
    assert "object cannot be read, the worst case is assumed: Services: shop/odd: spec is no object" in said
    assert forecasts.drains["n1"].effect is Effect.UNKNOWN
