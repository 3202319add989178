"""The controllers that a rollout meets, seen through the API."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from poolkeeper.deployments.lab.kubernetes import ApiServer
from tests.contract.kubernetes.conftest import (
    DEADLINE_S,
    MERGE,
    STRATEGIC,
    Client,
    make_node,
    pod_body,
    report_pod,
    run_pod,
)

Json = dict[str, Any]
APPS = "/apis/apps/v1/namespaces"


def workload(name: str, *, pod: Json | None = None, **spec: Any) -> Json:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {**pod_body("x")["spec"], **(pod or {})}}
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": labels}, "template": template, **spec}}


def pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


def ready(count: int) -> Any:
    """Whether exactly so many pods are there, all Ready."""

    def holds(found: list[Json]) -> bool:
        conditions = [c for pod in found for c in pod["status"].get("conditions") or () if c["type"] == "Ready"]
        return len(found) == count == sum(c["status"] == "True" for c in conditions)

    return holds


async def test_a_deployment_makes_pods_and_replaces_them(
    admin: Client, namespace: str, node: str, kubelet: None
) -> None:
    await admin("POST", f"{APPS}/{namespace}/deployments", workload("web", replicas=3))
    first = await admin.until(pods(namespace), ready(3))
    owner = first[0]["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["controller"], owner["blockOwnerDeletion"]) == ("ReplicaSet", True, True)
    gone = first[0]["metadata"]["name"]
    await admin("DELETE", f"{pods(namespace)}/{gone}")
    await admin.until(
        pods(namespace),
        lambda found: ready(3)(found) and gone not in [pod["metadata"]["name"] for pod in found],
    )


async def test_a_new_template_rolls_over(admin: Client, namespace: str, node: str, kubelet: None) -> None:
    path = f"{APPS}/{namespace}/deployments"
    await admin("POST", path, workload("web", replicas=3))
    await admin.until(pods(namespace), ready(3))
    change = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "registry.example/app:2"}]}}}}
    await admin("PATCH", f"{path}/web", change, kind=STRATEGIC)
    await admin.until(
        pods(namespace),
        lambda found: (
            ready(3)(found) and {pod["spec"]["containers"][0]["image"] for pod in found} == {"registry.example/app:2"}
        ),
    )
    done = await admin.until(path, lambda found: found[0]["status"].get("updatedReplicas") == 3)
    assert done[0]["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"


async def test_deleting_a_deployment_takes_its_pods_along(
    admin: Client, namespace: str, node: str, kubelet: None
) -> None:
    path = f"{APPS}/{namespace}/deployments"
    await admin("POST", path, workload("web", replicas=2))
    await admin.until(pods(namespace), ready(2))
    await admin("DELETE", f"{path}/web", {"propagationPolicy": "Foreground"})
    await admin.until(pods(namespace), lambda found: not found)
    await admin.until(path, lambda found: not found)


async def test_orphaned_pods_stay(admin: Client, namespace: str, node: str, kubelet: None) -> None:
    path = f"{APPS}/{namespace}/replicasets"
    await admin("POST", path, workload("web", replicas=1))
    await admin.until(pods(namespace), ready(1))
    await admin("DELETE", f"{path}/web", {"propagationPolicy": "Orphan"})
    left = await admin.until(pods(namespace), lambda found: found and not found[0]["metadata"].get("ownerReferences"))
    assert len(left) == 1
    await admin.until(path, lambda found: not found)


async def test_a_daemonset_is_on_cordoned_nodes_too(admin: Client, namespace: str, node: str, kubelet: None) -> None:
    await admin("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}}, kind=MERGE)
    await admin("POST", f"{APPS}/{namespace}/daemonsets", workload("d"))
    found = await admin.until(pods(namespace), lambda found: any(pod["spec"].get("nodeName") == node for pod in found))
    keys = {t["key"] for t in found[0]["spec"]["tolerations"]}
    assert {"node.kubernetes.io/unschedulable", "node.kubernetes.io/not-ready"} <= keys


async def test_a_daemonset_obeys_selector_and_taints(admin: Client, namespace: str, node: str, kubelet: None) -> None:
    second = f"n-{uuid.uuid4().hex[:8]}"
    await make_node(admin, second, labels={"tier": namespace})
    await admin("POST", f"{APPS}/{namespace}/daemonsets", workload("d", pod={"nodeSelector": {"tier": namespace}}))
    found = await admin.until(pods(namespace), ready(1))
    assert found[0]["spec"]["nodeName"] == second
    taint = {"spec": {"taints": [{"key": "a", "effect": "NoExecute"}]}}
    await admin("PATCH", f"/api/v1/nodes/{second}", taint, kind=MERGE)
    await admin.until(pods(namespace), lambda found: not found)
    await admin("DELETE", f"/api/v1/nodes/{second}")


@pytest.mark.parametrize(
    ("node_patch", "pod"),
    [
        pytest.param({"spec": {"unschedulable": True}}, {}, id="cordoned"),
        pytest.param({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}, {}, id="tainted"),
        pytest.param({}, {"nodeSelector": {"absent": "label"}}, id="selector"),
        pytest.param(
            {},
            {
                "containers": [
                    {"name": "main", "image": "x:1", "resources": {"requests": {"cpu": "64"}}},
                ]
            },
            id="too little CPU",
        ),
    ],
)
async def test_what_does_not_fit_waits_and_says_so(
    admin: Client, namespace: str, node: str, node_patch: Json, pod: Json
) -> None:
    """The real scheduler sees a change of a node a little later: what it places meanwhile is tried once more."""
    if node_patch:
        await admin("PATCH", f"/api/v1/nodes/{node}", node_patch, kind=MERGE)

    async def waits(name: str) -> bool:
        await admin("POST", pods(namespace), pod_body(name, **pod))

        def decided(found: list[Json]) -> bool | None:
            one = next(item for item in found if item["metadata"]["name"] == name)
            unschedulable = any(c.get("reason") == "Unschedulable" for c in one["status"].get("conditions") or ())
            return None if not unschedulable and "nodeName" not in one["spec"] else "nodeName" not in one["spec"]

        found = await admin.until(pods(namespace), lambda found: decided(found) is not None)
        return decided(found) is True

    async with asyncio.timeout(DEADLINE_S):
        number = 1
        while not await waits(f"p{number}"):
            number += 1


async def test_an_uncordoned_node_takes_what_waited(admin: Client, namespace: str, node: str) -> None:
    await admin("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}}, kind=MERGE)
    await admin("POST", pods(namespace), pod_body("p"))
    await admin.until(pods(namespace), lambda found: bool(found[0]["status"].get("conditions")))
    await admin("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None}}, kind=MERGE)
    await admin.until(pods(namespace), lambda found: found[0]["spec"].get("nodeName") == node)


async def test_a_cordon_shows_as_a_taint(admin: Client, node: str) -> None:
    only = {"fieldSelector": f"metadata.name={node}"}
    await admin("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}}, kind=MERGE)
    found = await admin.until("/api/v1/nodes", lambda nodes: bool(nodes[0]["spec"].get("taints")), **only)
    assert [t["key"] for t in found[0]["spec"]["taints"]] == ["node.kubernetes.io/unschedulable"]
    await admin("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None}}, kind=MERGE)
    await admin.until("/api/v1/nodes", lambda nodes: not nodes[0]["spec"].get("taints"), **only)


async def report_not_ready(admin: Client, node: str) -> None:
    condition = {"type": "Ready", "status": "False", "reason": "KubeletNotReady"}
    await admin("PATCH", f"/api/v1/nodes/{node}/status", {"status": {"conditions": [condition]}}, kind=STRATEGIC)


async def until_tainted(admin: Client, node: str, *effects: str) -> None:
    """Wait until a node has the taint `not-ready` with exactly these effects."""

    def holds(nodes: list[Json]) -> bool:
        taints = nodes[0]["spec"].get("taints") or ()
        found = sorted(t["effect"] for t in taints if t["key"] == "node.kubernetes.io/not-ready")
        return found == sorted(effects)

    await admin.until("/api/v1/nodes", holds, fieldSelector=f"metadata.name={node}")


@pytest.fixture
async def other_node(admin: Client) -> AsyncIterator[str]:
    """A second Ready node: without one, all of the cluster would be lost with the first."""
    name = f"n-{uuid.uuid4().hex[:8]}"
    await make_node(admin, name)
    yield name
    await admin("DELETE", f"/api/v1/nodes/{name}")


async def test_a_node_that_is_not_ready_repels_pods(admin: Client, namespace: str, node: str, other_node: str) -> None:
    await run_pod(admin, namespace, "tolerant", node)
    body = pod_body("short", nodeName=node, tolerations=[])
    body["spec"]["tolerations"] = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
        for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    ]
    await admin("POST", pods(namespace), body)
    await report_not_ready(admin, node)
    await until_tainted(admin, node, "NoExecute", "NoSchedule")
    left = await admin.until(
        pods(namespace),
        lambda found: any("deletionTimestamp" in p["metadata"] for p in found),
    )
    going = [p["metadata"]["name"] for p in left if "deletionTimestamp" in p["metadata"]]
    assert going == ["short"]


async def test_when_all_nodes_are_lost_none_is_to_blame(admin: Client, node: str, other_node: str) -> None:
    await report_not_ready(admin, node)
    await until_tainted(admin, node, "NoExecute", "NoSchedule")
    await report_not_ready(admin, other_node)
    await until_tainted(admin, node, "NoSchedule")


async def test_pods_of_a_deleted_node_go(embedded: ApiServer, admin: Client, namespace: str, node: str) -> None:
    """As in a real cluster, but at once: there the pod collector waits 40 s and looks every 20 s."""
    await run_pod(admin, namespace, "p", node)
    await admin("DELETE", f"/api/v1/nodes/{node}")
    await admin.until(pods(namespace), lambda found: not found)


async def test_a_lease_goes_with_its_node(admin: Client, node: str) -> None:
    uid = (await admin("GET", f"/api/v1/nodes/{node}")).body["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid}
    path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    body = {"metadata": {"name": node, "ownerReferences": [owner]}, "spec": {"holderIdentity": node}}
    assert (await admin("POST", path, body)).code == 201
    await admin("DELETE", f"/api/v1/nodes/{node}")
    await admin.until(path, lambda found: not found, fieldSelector=f"metadata.name={node}")


def addresses(endpoints: list[Json]) -> list[str]:
    """Of the first Endpoints object."""
    subsets = endpoints[0].get("subsets") or () if endpoints else ()
    return [address["ip"] for subset in subsets for address in subset.get("addresses") or ()]


async def test_endpoints_are_the_ready_pods(admin: Client, namespace: str, node: str) -> None:
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    await admin("POST", f"/api/v1/namespaces/{namespace}/services", {"metadata": {"name": "s"}, "spec": spec})
    await run_pod(admin, namespace, "p", node)
    # a loopback address is none to a real endpoints controller
    await report_pod(admin, namespace, "p", ready=True, ip="192.0.2.9")
    path = f"/api/v1/namespaces/{namespace}/endpoints"
    found = await admin.until(path, lambda found: addresses(found) == ["192.0.2.9"])
    subset = found[0]["subsets"][0]
    assert [port["port"] for port in subset["ports"]] == [8080]


def _reasons(budget: Any) -> list[str]:
    return [condition["reason"] for condition in budget.get("status", {}).get("conditions", ())]


async def test_a_budget_over_daemons_cannot_be_counted(admin: Client, namespace: str, node: str, kubelet: None) -> None:
    await admin("POST", f"{APPS}/{namespace}/daemonsets", workload("d"))
    await admin.until(pods(namespace), ready(1))
    path = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "d"}}}
    await admin("POST", path, {"metadata": {"name": "b"}, "spec": spec})
    found = await admin.until(path, lambda found: _reasons(found[0]) == ["SyncFailed"])  # once it knows of the pod
    assert found[0]["status"]["disruptionsAllowed"] == 0
