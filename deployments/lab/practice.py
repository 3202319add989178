"""Something to run in a lab: a Deployment with a disruption budget, so that drains meet what they meet in real life."""

from __future__ import annotations

from typing import Any

from poolkeeper.deployments.lab.layout import POOLS, LabFolder
from poolkeeper.deployments.lab.seeds import BUSYBOX_IMAGE
from poolkeeper.tasks.cluster import ClusterApi, NotFound, connect
from poolkeeper.tasks.cluster.api import MERGE_PATCH
from poolkeeper.tasks.cluster.kubeconfig import kubectls_cluster
from poolkeeper.tasks.cluster.nodes import POOL_ID_LABEL

NAMESPACE = "default"


async def deploy(folder: LabFolder, name: str, *, pool: str, replicas: int, min_available: int) -> None:
    """Make the Deployment and its budget, or change both, and wait until all replicas are Ready.

    Waits for ever: put it under a deadline. Raises ClusterUnreachable and ApiError.
    """
    cluster, secret = kubectls_cluster(folder.admin_kubeconfig, None)
    async with connect(cluster, secret) as api:
        labels = {"app": name}
        pod = {
            "nodeSelector": {POOL_ID_LABEL: POOLS[pool]},
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "busybox", "image": BUSYBOX_IMAGE, "command": ["sleep", "1000000"]}],
        }
        spec = {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        }
        deployments = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
        budgets = f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets"
        await _apply(api, deployments, name, spec)
        await _apply(api, budgets, name, {"minAvailable": min_available, "selector": {"matchLabels": labels}})
        async for found in api.changes(deployments, query={"fieldSelector": f"metadata.name={name}"}):
            if found and (found[0].get("status") or {}).get("readyReplicas", 0) >= replicas:
                return


async def nodes_of(folder: LabFolder, name: str) -> list[str]:
    """The nodes that carry a Deployment's pods. Raises ClusterUnreachable and ApiError."""
    cluster, secret = kubectls_cluster(folder.admin_kubeconfig, None)
    async with connect(cluster, secret) as api:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        pods, _ = await api.list_all(path, query={"labelSelector": f"app={name}"})
    return sorted({pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")})


async def _apply(api: ClusterApi, path: str, name: str, spec: dict[str, Any]) -> None:
    try:
        await api.request("PATCH", f"{path}/{name}", body={"spec": spec}, content_type=MERGE_PATCH)
    except NotFound:
        await api.request("POST", path, body={"metadata": {"name": name}, "spec": spec})
