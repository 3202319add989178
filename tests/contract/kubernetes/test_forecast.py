"""The forecast against what happens: every eviction, one after another, through the API server and through kubectl.

Worlds are generated: workloads and bare pods in every state, under budgets of every kind. No kubelet ends their pods, so
that evictions ask for no grace; replacements get no node and stay Pending, as the forecast's `refused_at_first` has it.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from poolkeeper.tasks.cluster.selectors import parse_selector
from poolkeeper.tasks.cluster.snapshot import read_snapshot
from poolkeeper.tasks.outcomes import Known
from poolkeeper.tasks.rollout import Forecast, PodForecast, PodVerdict, forecast
from tests.contract.cluster.conftest import reach
from tests.contract.kubernetes.conftest import (
    MERGE,
    Api,
    Client,
    Printed,
    make_node,
    pod_body,
    report_pod,
)
from tests.contract.kubernetes.test_eviction import budgets, evict

Json = dict[str, Any]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
Kubectl = Callable[..., Awaitable[Printed]]

STATES = {
    "ready": {"phase": "Running", "ready": True},
    "ill": {"phase": "Running", "ready": False},
    "waiting": {"phase": "Pending", "ready": False},
    "done": {"phase": "Succeeded", "ready": False},
    "failed": {"phase": "Failed", "ready": False},
}
LIMITS: list[Json] = [
    {"maxUnavailable": 0},
    {"maxUnavailable": 1},
    {"maxUnavailable": 2},
    {"maxUnavailable": "30%"},
    {"maxUnavailable": "100%"},
    {"minAvailable": 0},
    {"minAvailable": 1},
    {"minAvailable": 2},
    {"minAvailable": 9},
    {"minAvailable": "50%"},
    {"minAvailable": "100%"},
]
POLICIES: list[Json] = [
    {},
    {"unhealthyPodEvictionPolicy": "IfHealthyBudget"},
    {"unhealthyPodEvictionPolicy": "AlwaysAllow"},
]


@dataclass
class World:
    """A namespace and two nodes of a test's own."""

    admin: Client
    namespace: str
    nodes: list[str]
    there: dict[str, Json] = field(default_factory=dict)
    """Pods on the nodes."""

    @property
    def pods(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"

    async def put(self, name: str, node: str, state: str, labels: Json, **spec: Any) -> None:
        """A pod without a controller."""
        body = pod_body(name, nodeName=node, **spec)
        body["metadata"]["labels"] = labels
        made = await self.admin("POST", self.pods, body)
        assert made.code == 201, made.body
        await self.report(name, state)

    async def report(self, name: str, state: str) -> None:
        self.there[name] = await report_pod(self.admin, self.namespace, name, **STATES[state])  # type: ignore[arg-type]

    async def replicas(self, name: str, states: list[tuple[str, str]], labels: Json, **spec: Any) -> None:
        """A ReplicaSet's pods, each on a node and in a state."""
        template = {
            "metadata": {"labels": labels},
            "spec": {**pod_body("x")["spec"], "schedulerName": "nobody", **spec},
        }
        made = {"replicas": len(states), "selector": {"matchLabels": labels}, "template": template}
        path = f"/apis/apps/v1/namespaces/{self.namespace}/replicasets"
        assert (await self.admin("POST", path, {"metadata": {"name": name}, "spec": made})).code == 201
        query = {"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())}
        pods = await self.admin.until(self.pods, lambda found: len(found) == len(states), **query)
        for pod, (node, state) in zip(pods, states, strict=True):
            name = pod["metadata"]["name"]
            body = {"metadata": {"name": name}, "target": {"kind": "Node", "name": node}}
            assert (await self.admin("POST", f"{self.pods}/{name}/binding", body)).code == 201
            await self.report(name, state)

    async def budget(self, name: str, selector: Json, **spec: Any) -> None:
        body = {"metadata": {"name": name}, "spec": {"selector": selector, **spec}}
        made = await self.admin("POST", budgets(self.namespace), body)
        assert made.code == 201, made.body

    async def counted(self) -> None:
        """Every budget's controller has seen every pod as it is now."""
        pods = (await self.admin("GET", self.pods)).body["items"]
        await self.admin.until(budgets(self.namespace), lambda found: all(self._counted(each, pods) for each in found))

    def _counted(self, budget: Json, pods: list[Json]) -> bool:
        status, selector = budget.get("status") or {}, parse_selector(budget["spec"].get("selector"))
        healthy = sum(
            any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions") or ())
            for pod in pods
            if selector.matches(pod["metadata"].get("labels") or {}) and "deletionTimestamp" not in pod["metadata"]
        )
        return (
            status.get("observedGeneration", 0) >= budget["metadata"]["generation"]
            and status.get("currentHealthy", 0) == healthy
            and not status.get("disruptedPods")
        )

    async def forecast(self, api: Api) -> Forecast:
        async with reach(api.kubeconfig) as cluster:
            snapshot = await read_snapshot(cluster)
        return forecast(snapshot, self.nodes, deadline_s=300, now=datetime.now(UTC))


@pytest.fixture
async def world(admin: Client, namespace: str, node: str) -> AsyncIterator[World]:
    other = f"{node}-b"
    await make_node(admin, other)
    yield World(admin, namespace, [node, other])
    await admin("DELETE", f"/api/v1/namespaces/{namespace}/pods", {"gracePeriodSeconds": 0})
    await admin("DELETE", f"/api/v1/nodes/{other}")


async def generate(world: World, seed: int, *, states: list[str]) -> None:
    """A world by chance: some workloads and some bare pods, under some budgets."""
    chance = random.Random(seed)
    for number in range(chance.randint(1, 3)):
        labels = {"app": f"app-{number}"}
        where = [(chance.choice(world.nodes), chance.choice(states)) for _ in range(chance.randint(1, 4))]
        await world.replicas(f"app-{number}", where, {**labels, "of": "set"})
        for extra in range(chance.choice([0, 0, 1])):
            # a ReplicaSet would adopt, and as one too many delete, a pod that its selector matches
            bare = {**labels, "of": "nobody"}
            await world.put(f"bare-{number}-{extra}", chance.choice(world.nodes), chance.choice(states), bare)
        for which in range(chance.choice([0, 1, 1, 1, 1, 2])):
            selector = {"matchLabels": labels}
            await world.budget(f"b-{number}-{which}", selector, **chance.choice(LIMITS), **chance.choice(POLICIES))
    if chance.random() < 0.3:
        await world.put("alone", chance.choice(world.nodes), chance.choice(states), {"app": "alone"})
        await world.budget("alone", {"matchLabels": {"app": "alone"}}, **chance.choice(LIMITS))


def in_turn(made: Forecast) -> list[PodForecast]:
    """The pods in the order that the forecast spends budgets in."""
    return [
        each for node in made.nodes for each in sorted(node.pods, key=lambda each: (each.pod.namespace, each.pod.name))
    ]


@pytest.mark.parametrize("seed", range(24))
async def test_each_eviction_ends_as_forecast(api: Api, world: World, seed: int) -> None:
    chance = ["ready", "ready", "ready", "ill", "waiting", "done", "failed"]
    await generate(world, seed, states=chance)
    async with asyncio.timeout(60):
        await world.counted()
        made = await world.forecast(api)
        told, happened = {}, {}
        for each in in_turn(made):
            answer = await evict(world.admin, world.namespace, each.pod.name, {"gracePeriodSeconds": 0})
            happened[each.pod.name] = answer.code
            told[each.pod.name] = (
                (500 if each.verdict is PodVerdict.TWO_BUDGETS else 429) if each.refused_at_first else 201
            )
            await world.counted()
    assert told == happened
    assert set(told) == set(world.there)


async def test_kubectl_refuses_the_pods_that_are_forecast(
    kubectl: Kubectl, api: Api, admin: Client, world: World, namespace: str
) -> None:
    """Without flags, so that kubectl names every pod that it would need one for."""
    node, labels = world.nodes[0], {"app": "web"}
    scratch = [{"name": "tmp", "emptyDir": {}}]
    await world.replicas("web", [(node, "ready"), (world.nodes[1], "ready")], labels)
    await world.replicas("cache", [(node, "ready"), (node, "done")], {"app": "cache"}, volumes=scratch)
    for name, state, volumes in (
        ("bare", "ready", []),
        ("bare-scratch", "ready", scratch),
        ("bare-new", "waiting", []),
        ("bare-done", "done", scratch),
        ("bare-memory", "ready", [{"name": "shm", "emptyDir": {"medium": "Memory"}}]),
    ):
        await world.put(name, node, state, {"app": "bare"}, volumes=volumes)
    static = pod_body("static", nodeName=node)
    static["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    assert (await admin("POST", world.pods, static)).code == 201
    await a_daemonset(world, node)

    printed = await kubectl("drain", node, "--dry-run=server", "--ignore-daemonsets")
    assert printed.code == 1
    (alone,) = [each for each in (await world.forecast(api)).nodes if each.node == node]
    held = {verdict: named(alone.pods, verdict) for verdict in (PodVerdict.EMPTY_DIR, PodVerdict.NO_CONTROLLER)}
    # kubectl names a pod once, under the first thing that is wrong with it
    assert listed(printed.err, "--delete-emptydir-data") == held[PodVerdict.EMPTY_DIR]
    assert listed(printed.err, "--force") == held[PodVerdict.NO_CONTROLLER] - held[PodVerdict.EMPTY_DIR]
    flags = ("--ignore-daemonsets", "--delete-emptydir-data", "--force")
    forced = await kubectl("drain", node, "--dry-run=server", *flags)
    assert forced.code == 0, forced.err
    stay = {each.pod.name for each in alone.pods if each.verdict in (PodVerdict.DAEMONSET, PodVerdict.STATIC)}
    assert len(stay) == 2
    assert evicted(forced.out) == {each.pod.name for each in alone.pods} - stay


@pytest.mark.parametrize("seed", range(3))
async def test_kubectl_drains_as_many_as_are_forecast(
    kubectl: Kubectl, api: Api, world: World, namespace: str, seed: int
) -> None:
    """kubectl evicts all at once, so that who is refused is chance and how many are is not."""
    await generate(world, seed, states=["ready"])
    async with asyncio.timeout(60):
        await world.counted()
        made = await world.forecast(api)
        flags = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", "--grace-period=0", "--timeout=1s")
        for node in made.nodes:
            printed = await kubectl("drain", node.node, *flags)
            refused = [each for each in node.pods if each.refused_at_first]
            left = (await world.admin("GET", world.pods, fieldSelector=f"spec.nodeName={node.node}")).body["items"]
            assert Counter(map(app_of, left)) == Counter(each.pod.labels["app"] for each in refused), printed.err
            assert (printed.code == 0) is (not refused)
            await world.counted()


def app_of(pod: Json) -> str:
    return str(pod["metadata"]["labels"]["app"])


def named(pods: tuple[PodForecast, ...], verdict: PodVerdict) -> set[str]:
    return {each.pod.name for each in pods if verdict in [reason.verdict for reason in each.reasons]}


def listed(err: str, flag: str) -> set[str]:
    """The pods that kubectl says it needs a flag for."""
    told = re.search(rf"\(use {flag}[^)]*\): ([^\s,]+(?:, [^\s,/]+/[^\s,]+)*)", err)
    assert told is not None, err
    return {name.partition("/")[2] for name in told[1].rstrip("]").split(", ")}


def evicted(out: str) -> set[str]:
    return set(re.findall(r"evicting pod [^/]+/(\S+)", out))


async def a_daemonset(world: World, node: str) -> None:
    """A DaemonSet with one pod, on that node."""
    assert (
        await world.admin("PATCH", f"/api/v1/nodes/{node}", {"metadata": {"labels": {"for": node}}}, kind=MERGE)
    ).code == 200
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {**pod_body("x")["spec"], "nodeSelector": {"for": node}}}
    body = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"app": "d"}}, "template": template}}
    path = f"/apis/apps/v1/namespaces/{world.namespace}/daemonsets"
    assert (await world.admin("POST", path, body)).code == 201
    await world.admin.until(
        world.pods, lambda found: found and found[0]["spec"].get("nodeName") == node, labelSelector="app=d"
    )


async def test_services_lose_endpoints(api: Api, admin: Client, world: World, namespace: str) -> None:
    """One Service has a selector; the endpoints of the other are written by hand."""
    labels = {"app": "web"}
    await world.replicas("web", [(world.nodes[0], "ready"), (world.nodes[1], "ready")], labels)
    here, away = sorted(world.there, key=lambda name: world.there[name]["spec"]["nodeName"])
    world.nodes = world.nodes[:1]
    services = f"/api/v1/namespaces/{namespace}/services"
    for name, spec in (("web", {"selector": labels}), ("legacy", {})):
        body = {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}
        assert (await admin("POST", services, body)).code == 201
    endpoints = [
        {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": name, "namespace": namespace}}
        for name in (here, away)
    ]
    body = {
        "metadata": {"name": "legacy-x", "labels": {"kubernetes.io/service-name": "legacy"}},
        "addressType": "IPv4",
        "endpoints": [*endpoints, {"addresses": ["192.0.2.1"]}],
    }
    assert (await admin("POST", f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices", body)).code == 201
    made = await world.forecast(api)
    assert isinstance(made.services, Known)
    assert [(s.name, s.ready, s.left, s.nodes) for s in made.services.value if s.namespace == namespace] == [
        ("web", 2, 1, (world.nodes[0],)),
        ("legacy", 3, 2, (world.nodes[0],)),
    ]


def wishes(chance: random.Random, labels: Json, *, real: bool) -> Json:
    """What a workload asks of its nodes; the embedded scheduler knows nothing of other pods."""
    term: Json = {"labelSelector": {"matchLabels": labels}}
    zone, host = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
    spread = {"whenUnsatisfiable": "DoNotSchedule", **term}
    among_pods: list[Json] = [
        {"affinity": {"podAntiAffinity": {REQUIRED: [{**term, "topologyKey": host}]}}},
        {"affinity": {"podAntiAffinity": {REQUIRED: [{**term, "topologyKey": zone}]}}},
        {"affinity": {"podAffinity": {REQUIRED: [{**term, "topologyKey": zone}]}}},
        {"topologySpreadConstraints": [{**spread, "maxSkew": 1, "topologyKey": zone}]},
        {"topologySpreadConstraints": [{**spread, "maxSkew": 1, "topologyKey": host}]},
    ]
    return chance.choice([{}, *(among_pods if real else [])])


@pytest.mark.parametrize("seed", range(6))
async def test_replacements_find_room_where_it_is_forecast(
    request: pytest.FixtureRequest, api: Api, admin: Client, world: World, namespace: str, seed: int
) -> None:
    """The scheduler places everything, and then the replacements of all that ran on one node.

    Nodes are full, half full or empty, and what moves is small: which of two nodes the scheduler takes decides nothing.
    """
    chance, real = random.Random(seed), request.node.callspec.params["api"] == "real"
    hosts = [f"{world.nodes[0]}-{number}" for number in range(4)]
    for number, name in enumerate(hosts):
        labels = {"world": namespace, "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"z{number % 2}"}
        await make_node(admin, name, labels=labels)
    async with asyncio.timeout(60):
        for name in hosts:
            await world.put(
                f"ballast-{name}", name, "ready", {"app": "ballast"}, **asking(chance.choice(["0", "2", "3950m"]))
            )
        for number in range(4):
            labels = {"app": f"app-{number}"}
            spec = {**asking("100m"), "nodeSelector": {"world": namespace}, **wishes(chance, labels, real=real)}
            template = {"metadata": {"labels": labels}, "spec": spec}
            replicas = {"replicas": chance.randint(1, 4), "selector": {"matchLabels": labels}, "template": template}
            path = f"/apis/apps/v1/namespaces/{namespace}/replicasets"
            body = {"metadata": {"name": f"app-{number}"}, "spec": replicas}
            assert (await admin("POST", path, body)).code == 201
            count = int(replicas["replicas"])
            found = await admin.until(
                world.pods,
                lambda pods, n=count: len(pods) == n and all(map(settled, pods)),
                labelSelector=f"app=app-{number}",
            )
            if not all(pod["spec"].get("nodeName") for pod in found):
                # one that waits for a node would take the room of a replacement
                await admin("DELETE", f"{path}/app-{number}", {"propagationPolicy": "Orphan"})
                await admin.until(
                    path, lambda sets, name=f"app-{number}": name not in [e["metadata"]["name"] for e in sets]
                )
                await admin("DELETE", world.pods, {"gracePeriodSeconds": 0}, labelSelector=f"app=app-{number}")
                await admin.until(world.pods, lambda pods: not pods, labelSelector=f"app=app-{number}")
        world.nodes = [chance.choice(hosts)]
        made = await world.forecast(api)
        leaving = [each for each in in_turn(made) if each.pod.owner is not None]
        nowhere = named(made.nodes[0].pods, PodVerdict.FITS_NOWHERE)
        await admin("PATCH", f"/api/v1/nodes/{world.nodes[0]}", {"spec": {"unschedulable": True}}, kind=MERGE)
        await admin.until(
            "/api/v1/nodes",
            lambda nodes: nodes[0]["spec"].get("taints") or not real,
            fieldSelector=f"metadata.name={world.nodes[0]}",
        )
        before = {pod["metadata"]["name"] for pod in (await admin("GET", world.pods)).body["items"]}
        for each in leaving:
            assert (await evict(admin, namespace, each.pod.name, {"gracePeriodSeconds": 0})).code == 201
        waiting = Counter(each.pod.labels["app"] for each in leaving if each.pod.name in nowhere)

        def as_forecast(pods: list[Json]) -> bool:
            new = [pod for pod in pods if pod["metadata"]["name"] not in before]
            left = Counter(app_of(pod) for pod in new if not pod["spec"].get("nodeName"))
            return len(new) == len(leaving) and all(map(settled, new)) and left == waiting

        await admin.until(world.pods, as_forecast)
    for name in hosts:
        await admin("DELETE", f"/api/v1/nodes/{name}")


def asking(cpu: str) -> Json:
    """The containers of a pod that asks for so much."""
    (container,) = pod_body("x")["spec"]["containers"]
    return {"containers": [{**container, "resources": {"requests": {"cpu": cpu}}}]}


def settled(pod: Json) -> bool:
    """Whether the scheduler has placed a pod, or has said that it cannot."""
    conditions = pod["status"].get("conditions") or ()
    return bool(pod["spec"].get("nodeName")) or any(c.get("reason") == "Unschedulable" for c in conditions)
