"""Pods: those on a node, and short-lived ones of our own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.cluster.api import ClusterApi, Json
from tasks.cluster.errors import ClusterUnreachable, Conflict, NotFound


@dataclass(frozen=True, slots=True)
class PodRow:
    """What we use of a Pod."""

    namespace: str
    name: str
    uid: str
    node: str
    phase: str
    ready: bool
    ip: str
    owner_kind: str
    owner_name: str
    deleting: bool
    waiting: str
    """Why its first container does not run, as the kubelet says."""
    mirror: bool = False
    """A static pod's image in the API, which its kubelet keeps there."""
    finalizers: tuple[str, ...] = ()
    local_data: bool = False
    """It has an emptyDir on disk, whose content goes with it."""
    managed_by: str = ""
    """The label `app.kubernetes.io/managed-by`; empty: it has none."""


def parse_pod(pod: Json) -> PodRow:
    """A Pod object as a row."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    owner: Json = next((o for o in metadata.get("ownerReferences") or () if o.get("controller")), {})
    waiting = [(c.get("state") or {}).get("waiting") or {} for c in status.get("containerStatuses") or ()]
    volumes: list[Json] = spec.get("volumes") or []
    return PodRow(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        node=spec.get("nodeName", ""),
        phase=status.get("phase", ""),
        ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ()),
        ip=status.get("podIP", ""),
        owner_kind=owner.get("kind", ""),
        owner_name=owner.get("name", ""),
        deleting="deletionTimestamp" in metadata,
        waiting=next((f"{w.get('reason', '')} {w.get('message', '')}".strip() for w in waiting if w), ""),
        mirror="kubernetes.io/config.mirror" in (metadata.get("annotations") or {}),
        finalizers=tuple(metadata.get("finalizers") or ()),
        local_data=any((v.get("emptyDir") or {}).get("medium", "") == "" for v in volumes if "emptyDir" in v),
        managed_by=(metadata.get("labels") or {}).get("app.kubernetes.io/managed-by", ""),
    )


async def pods_on(api: ClusterApi, node: str) -> tuple[PodRow, ...]:
    """Every pod bound to a node."""
    items, _ = await api.list_all("/api/v1/pods", query={"fieldSelector": f"spec.nodeName={node}"})
    return tuple(map(parse_pod, items))


async def list_pods(api: ClusterApi, namespace: str) -> tuple[PodRow, ...]:
    """Every pod of a namespace."""
    items, _ = await api.list_all(f"/api/v1/namespaces/{namespace}/pods")
    return tuple(map(parse_pod, items))


async def pods_older_than(api: ClusterApi, namespace: str, selector: str, before: datetime) -> tuple[str, ...]:
    """Names of a namespace's pods with these labels that were created before a moment."""
    items, _ = await api.list_all(f"/api/v1/namespaces/{namespace}/pods", query={"labelSelector": selector})
    created = {item["metadata"]["name"]: item["metadata"]["creationTimestamp"] for item in items}
    return tuple(sorted(name for name, at in created.items() if datetime.fromisoformat(at) < before))


async def wait_pods_on(api: ClusterApi, node: str, until: Callable[[tuple[PodRow, ...]], bool]) -> tuple[PodRow, ...]:
    """The pods bound to a node, as soon as `until` holds. Waits for ever: put it under a deadline."""
    query = {"fieldSelector": f"spec.nodeName={node}"}
    async for pods in api.changes("/api/v1/pods", query=query):
        rows = tuple(map(parse_pod, pods))
        if until(rows):
            return rows
    raise AssertionError("a watch never ends")


async def create_pod(api: ClusterApi, pod: Json, *, timeout_s: float) -> None:
    """Create a pod; one of that name left by an earlier run is removed first, for which its kubelet has to live.

    timeout_s: for all of it; ClusterUnreachable says what took longer
    """
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    path, slow = (
        f"/api/v1/namespaces/{namespace}/pods",
        f"the API server did not create pod {name} within {timeout_s:g} s",
    )
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    await api.request("POST", path, body=pod)
                    return
                except Conflict:
                    slow = (
                        f"the pod {name} that an earlier run left on node {pod['spec']['nodeName']} does not go away."
                        f" Look at that node's kubelet, or run `kubectl delete pod -n {namespace} {name} --force`."
                    )
                    await delete_pod(api, namespace, name)
                    await _wait_gone(api, namespace, name)
    except TimeoutError:
        raise ClusterUnreachable(slow) from None


async def wait_pod(api: ClusterApi, namespace: str, name: str, until: Callable[[PodRow], bool]) -> PodRow:
    """One pod, as soon as `until` holds. Waits for ever: put it under a deadline."""
    async for pods in api.changes(
        f"/api/v1/namespaces/{namespace}/pods", query={"fieldSelector": f"metadata.name={name}"}
    ):
        if pods and until(parse_pod(pods[0])):
            return parse_pod(pods[0])
    raise AssertionError("a watch never ends")


async def _wait_gone(api: ClusterApi, namespace: str, name: str) -> None:
    async for pods in api.changes(
        f"/api/v1/namespaces/{namespace}/pods", query={"fieldSelector": f"metadata.name={name}"}
    ):
        if not pods:
            return


async def pod_log(api: ClusterApi, namespace: str, name: str) -> str:
    """A pod's log, which the API server fetches from the node's kubelet."""
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/log"
    return await api.text(path, query={"limitBytes": 100_000})


async def wait_pod_log(api: ClusterApi, namespace: str, name: str, marker: str) -> str:
    """A pod's log once it has a line `marker`. Waits for ever: put it under a deadline."""
    while True:
        log = await pod_log(api, namespace, name)
        if marker in log.splitlines():
            return log
        await asyncio.sleep(0.3)


async def delete_pod(api: ClusterApi, namespace: str, name: str) -> None:
    """Delete a pod of our own, without waiting; gone already is fine."""
    options: dict[str, Any] = {"gracePeriodSeconds": 1}
    try:
        await api.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}", body=options)
    except NotFound:
        return
