"""The commands of kubectl that an SRE types, with the machine's own kubectl."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from tests.contract.kubernetes.conftest import Client, Printed, pod_body, run_pod

Kubectl = Callable[..., Awaitable[Printed]]


async def said(kubectl: Kubectl, *arguments: str, stdin: str = "") -> str:
    """What a command printed that must work."""
    printed = await kubectl(*arguments, stdin=stdin)
    assert printed.code == 0, printed.err
    return printed.out


def deployment(replicas: int) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod_body("x")["spec"]}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


async def test_get_and_describe(kubectl: Kubectl, admin: Client, namespace: str, node: str) -> None:
    await run_pod(admin, namespace, "p", node)
    assert f"{node}   Ready" in await said(kubectl, "get", "nodes")
    wide = await said(kubectl, "get", "pods", "-n", namespace, "-o", "wide")
    assert wide.split("\n")[0].split()[:5] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert node in wide
    assert json.loads(await said(kubectl, "get", "node", node, "-o", "json"))["metadata"]["name"] == node
    assert f"Name:               {node}" in await said(kubectl, "describe", "node", node)
    assert f"Node:             {node}" in await said(kubectl, "describe", "pod", "p", "-n", namespace)
    assert namespace in await said(kubectl, "describe", "namespace", namespace)
    assert "poddisruptionbudgets" in await said(kubectl, "api-resources")


async def test_node_commands(kubectl: Kubectl, admin: Client, node: str) -> None:
    await said(kubectl, "cordon", node)
    await said(kubectl, "taint", "nodes", node, "a=b:NoSchedule")
    await said(kubectl, "label", "node", node, "tier=web")
    await said(kubectl, "annotate", "node", node, "example.com/why=test")
    read = (await admin("GET", f"/api/v1/nodes/{node}")).body
    assert read["spec"]["unschedulable"] is True
    assert {"key": "a", "value": "b", "effect": "NoSchedule"} in read["spec"]["taints"]
    assert read["metadata"]["labels"]["tier"] == "web"
    assert read["metadata"]["annotations"]["example.com/why"] == "test"
    assert "SchedulingDisabled" in await said(kubectl, "get", "node", node)
    await said(kubectl, "uncordon", node)
    await said(kubectl, "taint", "nodes", node, "a-")
    await said(kubectl, "patch", "node", node, "-p", '{"metadata":{"labels":{"tier":null}}}')
    read = (await admin("GET", f"/api/v1/nodes/{node}")).body
    assert "unschedulable" not in read["spec"]
    assert "tier" not in read["metadata"].get("labels", {})


async def test_create_apply_wait_and_delete(
    kubectl: Kubectl, admin: Client, namespace: str, node: str, kubelet: None
) -> None:
    where = ("-n", namespace)
    await said(kubectl, "create", "configmap", "c", "--from-literal=a=b", *where)
    assert await said(kubectl, "get", "configmap", "c", "-o", "jsonpath={.data.a}", *where) == "b"
    for replicas in (1, 2):
        manifest = json.dumps(deployment(replicas))
        await said(kubectl, "apply", "--validate=false", "-f", "-", *where, stdin=manifest)
        await said(kubectl, "rollout", "status", "deployment/web", *where)
        await said(kubectl, "wait", "--for=condition=Available", "deployment/web", "--timeout=15s", *where)
    pods = json.loads(await said(kubectl, "get", "pods", "-l", "app=web", "-o", "json", *where))["items"]
    assert len(pods) == 2
    await said(kubectl, "delete", "deployment", "web", "--timeout=15s", *where)
    await admin.until(f"/api/v1/namespaces/{namespace}/pods", lambda found: not found)


async def test_drain_moves_pods_and_leaves_daemons(
    kubectl: Kubectl, admin: Client, namespace: str, node: str, kubelet: None
) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}"
    await admin("POST", f"{path}/deployments", deployment(2))
    template = {"metadata": {"labels": {"app": "daemon"}}, "spec": pod_body("x")["spec"]}
    daemon = {"selector": {"matchLabels": {"app": "daemon"}}, "template": template}
    await admin("POST", f"{path}/daemonsets", {"metadata": {"name": "d"}, "spec": daemon})
    pods = f"/api/v1/namespaces/{namespace}/pods"
    await admin.until(pods, lambda found: sum(p["status"]["phase"] == "Running" for p in found) == 3)
    dry = await said(kubectl, "drain", node, "--ignore-daemonsets", "--dry-run=server")
    assert "drained (server dry run)" in dry
    assert "drained" in await said(kubectl, "drain", node, "--ignore-daemonsets", "--timeout=15s")
    left = (await admin("GET", pods, fieldSelector=f"spec.nodeName={node}")).body["items"]
    assert [p["metadata"]["labels"]["app"] for p in left] == ["daemon"]
    waiting = (await admin("GET", pods, labelSelector="app=web")).body["items"]
    assert [p["spec"].get("nodeName") for p in waiting] == [None, None]


async def test_auth_can_i(kubectl: Kubectl) -> None:
    assert (await said(kubectl, "auth", "can-i", "create", "pods/eviction")).strip() == "yes"


async def test_errors_read_as_they_do_everywhere(kubectl: Kubectl) -> None:
    printed = await kubectl("get", "node", "nope")
    assert printed.code == 1
    assert printed.err.strip().endswith('Error from server (NotFound): nodes "nope" not found')
