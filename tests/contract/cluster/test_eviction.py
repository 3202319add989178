"""Draining a node: what is evicted, what stays, who blocks, and what happens meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster import eviction as module
from poolkeeper.tasks.cluster.api import MERGE_PATCH
from poolkeeper.tasks.cluster.eviction import (
    Blockers,
    Drain,
    DrainBlocked,
    Eviction,
    EvictionState,
    delete_now,
    evict,
    must_go,
)
from poolkeeper.tasks.cluster.pods import PodRow, pods_on
from poolkeeper.tasks.rollout.pdb_lock import PdbLocks
from tests.contract.cluster.conftest import DEADLINE_S, SomeoneIsQuicker

Json = dict[str, Any]

BUDGETS = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets"


@pytest.fixture
def put(embedded: SomeoneIsQuicker) -> Callable[..., None]:
    """Puts a running, Ready pod on a node that goes at once when it is evicted."""
    store = embedded.store
    store.create("namespaces", {"metadata": {"name": "shop"}})
    # an owner that no controller acts for
    owner = store.create("configmaps", {"metadata": {"name": "owner", "namespace": "shop"}})
    node, *_ = [store.create("nodes", {"metadata": {"name": name}}) for name in ("n1", "n2", "n3")]
    owners = {"ConfigMap": owner, "Node": node}

    def make(name: str, *, app: str = "web", owner: str = "ConfigMap", **more: Any) -> None:
        named = owners[owner]["metadata"] if owner else {}
        reference = {"apiVersion": "v1", "kind": owner, "controller": True}
        pod: Json = {
            "metadata": {
                "name": name,
                "namespace": "shop",
                "labels": {"app": app},
                "ownerReferences": [{**reference, "name": named["name"], "uid": named["uid"]}] if owner else [],
                **more.get("metadata", {}),
            },
            "spec": {
                "nodeName": more.get("node", "n1"),
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "c", "image": "i"}],
            },
        }
        store.create("pods", pod)
        status = {
            "phase": more.get("phase", "Running"),
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        store.modify("pods", name, "shop", lambda p: {**p, "status": status}, subresource="status")

    return make


async def make_budget(cluster: ClusterApi, name: str = "web", *, min_available: int = 1, healthy: int = 1) -> None:
    """A budget of the pods of app web, once its controller has counted them."""
    spec = {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": min_available}
    await cluster.request("POST", BUDGETS, body={"metadata": {"name": name}, "spec": spec})
    await counted(cluster, name, healthy)


async def allow(cluster: ClusterApi, name: str) -> None:
    """What its owner does to let a pod go."""
    body = {"spec": {"minAvailable": 0}}
    await cluster.request("PATCH", f"{BUDGETS}/{name}", body=body, content_type=MERGE_PATCH)


async def counted(cluster: ClusterApi, name: str, healthy: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        async for budgets in cluster.changes(BUDGETS, query={"fieldSelector": f"metadata.name={name}"}):
            if budgets and (budgets[0].get("status") or {}).get("currentHealthy") == healthy:
                return


class Draining:
    """A drain under way, and what it said."""

    def __init__(self, cluster: ClusterApi, **settings: Any) -> None:
        self.words: asyncio.Queue[Blockers] = asyncio.Queue()
        self.asked: list[str] = []

        async def remove(pod: PodRow) -> Eviction:
            self.asked.append(pod.name)
            return await evict(cluster, pod)

        self.drain = Drain(cluster, "n1", **{"remove": remove, "on_change": self.words.put_nowait, **settings})

    async def hears(self) -> dict[str, str]:
        """Who blocks, when that has changed."""
        async with asyncio.timeout(DEADLINE_S):
            return {name: why for (_, name), why in (await self.words.get()).items()}


async def names_on(cluster: ClusterApi) -> list[str]:
    return sorted(pod.name for pod in await pods_on(cluster, "n1"))


async def test_what_goes_and_what_stays(cluster: ClusterApi, put: Callable[..., None]) -> None:
    put("a")
    put("b")
    put("static", owner="Node", metadata={"annotations": {"kubernetes.io/config.mirror": "x"}})
    put("job", phase="Succeeded")
    await Draining(cluster).drain.empty(timeout_s=DEADLINE_S)
    assert await names_on(cluster) == ["job", "static"]


async def test_a_budget_is_waited_for_and_named(cluster: ClusterApi, put: Callable[..., None]) -> None:
    put("a")
    put("free", app="other")
    await make_budget(cluster)
    draining = Draining(cluster)
    task = asyncio.create_task(draining.drain.empty(timeout_s=DEADLINE_S))
    assert "The disruption budget web needs 1 healthy pods and has 1 currently" in (await draining.hears())["a"]
    await allow(cluster, "web")
    await task
    assert await names_on(cluster) == []


async def test_time_is_up(cluster: ClusterApi, embedded: SomeoneIsQuicker, put: Callable[..., None]) -> None:
    put("a")
    await make_budget(cluster)
    with pytest.raises(DrainBlocked, match="shop/a: The disruption budget web needs 1 healthy pods") as blocked:
        await Draining(cluster).drain.empty(timeout_s=0.5)
    assert list(blocked.value.blockers) == [("shop", "a")]
    assert await names_on(cluster) == ["a"]


async def test_two_budgets_are_hopeless(cluster: ClusterApi, put: Callable[..., None]) -> None:
    put("a")
    await make_budget(cluster, "one", min_available=0)
    await make_budget(cluster, "two", min_available=0)
    with pytest.raises(DrainBlocked, match="more than one PodDisruptionBudget"):
        await Draining(cluster).drain.empty(timeout_s=DEADLINE_S)


async def test_a_webhook_that_says_not_now_is_waited_for_and_named(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, put: Callable[..., None]
) -> None:
    put("a")
    put("b")
    embedded.denies = lambda method, path: "move the leader away first" if path.endswith("/a/eviction") else ""
    draining = Draining(cluster)
    task = asyncio.create_task(draining.drain.empty(timeout_s=DEADLINE_S))
    why = 'admission webhook "guard.example.com" denied the request: move the leader away first'
    assert (await draining.hears())["a"] == why
    embedded.denies = None
    await task
    assert await names_on(cluster) == []


async def test_a_webhook_that_says_no_to_the_end_blocks(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, put: Callable[..., None]
) -> None:
    put("a")
    embedded.denies = lambda method, path: "never" if path.endswith("/eviction") else ""
    with pytest.raises(DrainBlocked, match=r'shop/a: admission webhook "guard\.example\.com" denied .*: never'):
        await Draining(cluster).drain.empty(timeout_s=0.5)
    (pod,) = await pods_on(cluster, "n1")
    embedded.denies = lambda method, path: "nor that" if method == "DELETE" else ""
    assert (await delete_now(cluster, pod)).state is EvictionState.BLOCKED


async def test_without_the_right_to_evict_nothing_is_waited_for(
    joe: ClusterApi, cluster: ClusterApi, put: Callable[..., None]
) -> None:
    put("a")
    (pod,) = await pods_on(cluster, "n1")
    answer = await evict(joe, pod)
    assert answer.state is EvictionState.NEVER
    assert 'User "joe" cannot create resource "pods/eviction"' in answer.why
    assert "Give the kubeconfig's user this right" in answer.why


async def test_a_pod_that_may_not_be_lost_stops_it_before_the_first_eviction(
    cluster: ClusterApi, put: Callable[..., None]
) -> None:
    put("a")
    put("lonely", owner="")
    draining = Draining(cluster, refuse=lambda pod: "" if pod.owner_kind else "nothing would bring it back")
    with pytest.raises(DrainBlocked, match="nothing would bring it back"):
        await draining.drain.empty(timeout_s=DEADLINE_S)
    assert draining.asked == []


async def test_pods_that_arrive_meanwhile_are_evicted_too(cluster: ClusterApi, put: Callable[..., None]) -> None:
    put("a")
    await make_budget(cluster)
    draining = Draining(cluster)
    task = asyncio.create_task(draining.drain.empty(timeout_s=DEADLINE_S))
    await draining.hears()
    put("late", app="other")
    await allow(cluster, "web")
    await task
    assert "late" in draining.asked
    assert await names_on(cluster) == []


async def test_a_finalizer_is_named(cluster: ClusterApi, put: Callable[..., None]) -> None:
    put("a", metadata={"finalizers": ["example.com/backup"]})
    with pytest.raises(DrainBlocked, match=r"it is ending, held by its finalizers example\.com/backup"):
        await Draining(cluster).drain.empty(timeout_s=2 * module.PATIENCE_S)


async def test_nobody_ends_pods_on_a_dead_node(cluster: ClusterApi, put: Callable[..., None]) -> None:
    """What was asked to end is as good as gone; what a budget keeps is waited for all the same."""
    put("a", metadata={"finalizers": ["kubelet.example/that-will-never-come"]}, app="batch")
    dead = Draining(cluster, node_is_dead=True)
    await dead.drain.empty(timeout_s=DEADLINE_S)
    assert (dead.asked, await names_on(cluster)) == (["a"], ["a"])
    again = Draining(cluster, node_is_dead=True)
    await again.drain.empty(timeout_s=DEADLINE_S)
    assert again.asked == []
    put("b")
    await make_budget(cluster)
    with pytest.raises(DrainBlocked, match="shop/b"):
        await Draining(cluster, node_is_dead=True).drain.empty(timeout_s=2 * module.PATIENCE_S)


async def test_another_pod_of_the_same_name_is_left_alone(cluster: ClusterApi, put: Callable[..., None]) -> None:
    put("a")
    (pod,) = await pods_on(cluster, "n1")
    other = PodRow(**{**{name: getattr(pod, name) for name in PodRow.__slots__}, "uid": "of-an-earlier-one"})
    assert (await evict(cluster, other)).state is EvictionState.GONE
    await delete_now(cluster, other)
    assert await names_on(cluster) == ["a"]


async def test_deleting_asks_no_budget(cluster: ClusterApi, put: Callable[..., None]) -> None:
    put("a")
    await make_budget(cluster)
    (pod,) = await pods_on(cluster, "n1")
    await delete_now(cluster, pod)
    assert await names_on(cluster) == []


@pytest.mark.parametrize(
    ("pod", "goes"),
    [
        pytest.param({"owner_kind": "ReplicaSet"}, True, id="a workload's"),
        pytest.param({"owner_kind": ""}, True, id="nobody's"),
        pytest.param({"owner_kind": "DaemonSet"}, False, id="a DaemonSet's"),
        pytest.param({"owner_kind": "Node", "mirror": True}, False, id="static"),
        pytest.param({"owner_kind": "Job", "phase": "Succeeded"}, False, id="finished"),
        pytest.param({"owner_kind": "Job", "phase": "Pending"}, True, id="not begun"),
    ],
)
def test_who_must_go(pod: Json, goes: bool) -> None:
    empty = dict.fromkeys(PodRow.__slots__, "")
    row = PodRow(**{**empty, "phase": "Running", "ready": True, "deleting": False, "mirror": False, **pod})
    assert must_go(row) is goes


async def test_nodes_under_one_budget_take_turns_and_others_do_not_wait(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, put: Callable[..., None]
) -> None:
    put("a", node="n1")
    put("b", node="n2")
    put("free", node="n3", app="other")
    await make_budget(cluster, healthy=2)
    contention, inside = PdbLocks(cluster), asyncio.Queue[str]()
    leave = asyncio.Event()

    async def drain(node: str) -> None:
        async with contention.acquired(node):
            inside.put_nowait(node)
            await leave.wait()

    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
        group.create_task(drain("n1"))
        assert await inside.get() == "n1"
        group.create_task(drain("n2"))
        group.create_task(drain("n3"))
        assert await inside.get() == "n3"
        assert inside.empty()
        leave.set()
        assert await inside.get() == "n2"


async def test_what_comes_back_again_and_again_is_not_evicted_for_ever(
    cluster: ClusterApi, put: Callable[..., None]
) -> None:
    """Its controller brings it back to this node. However many were there before, they do not count."""
    for n in range(2 * module.RETURNS):
        put(f"before-{n}")
    came = list[str]()

    async def remove(pod: PodRow) -> Eviction:
        answer = await evict(cluster, pod)
        came.append(pod.name)
        if pod.name.startswith("back") or pod.name == "before-0":
            put(f"back-{len(came)}")
        return answer

    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(
            DrainBlocked, match="its ConfigMap brings its pods back to this node, 6 since the drain started"
        ):
            await Drain(cluster, "n1", remove=remove).empty(timeout_s=600)
    assert len([name for name in came if name.startswith("back")]) == module.RETURNS
