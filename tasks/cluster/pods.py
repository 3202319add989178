"""Pods: those on a node, and short-lived ones of our own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from poolkeeper.tasks.cluster.api import ClusterApi, Json
from poolkeeper.tasks.cluster.errors import AdmissionDenied, ClusterUnreachable, Conflict, NotFound
from poolkeeper.tasks.cluster.fields import (
    Unread,
    moment,
    pairs,
    required,
    section,
    sections,
    text,
    texts,
    total,
    truth,
)

QUOTA_PAUSE_S = 1.0
"""Between two tries to create a pod in a namespace whose quota is used up."""


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
    unread: str = ""
    """Why its object cannot be read: then nothing is known of it but that it is there. Empty: it can."""


def _unread(pod: Unread) -> PodRow:
    """A pod that exists and cannot be read: a drain neither ignores it nor evicts it."""
    return PodRow(
        namespace=pod.namespace,
        name=pod.name,
        uid=pod.text("metadata", "uid"),
        node=pod.text("spec", "nodeName"),
        phase="",
        ready=False,
        ip="",
        owner_kind="",
        owner_name="",
        deleting=False,
        waiting=f"its object cannot be read: {pod.why}",
        unread=pod.why,
    )


@total(_unread)
def parse_pod(pod: Json) -> PodRow:
    """A Pod object as a row."""
    metadata, spec, status = section(pod, "metadata"), section(pod, "spec"), section(pod, "status")
    owner = next((o for o in sections(metadata, "ownerReferences") if truth(o, "controller")), {})
    waiting = [section(section(c, "state"), "waiting") for c in sections(status, "containerStatuses")]
    scratch = [section(v, "emptyDir") for v in sections(spec, "volumes") if "emptyDir" in v]
    return PodRow(
        namespace=required(metadata, "namespace"),
        name=required(metadata, "name"),
        uid=required(metadata, "uid"),
        node=text(spec, "nodeName"),
        phase=text(status, "phase"),
        ready=any(text(c, "type") == "Ready" and text(c, "status") == "True" for c in sections(status, "conditions")),
        ip=text(status, "podIP"),
        owner_kind=text(owner, "kind"),
        owner_name=text(owner, "name"),
        deleting=moment(metadata, "deletionTimestamp") is not None,
        waiting=next((f"{text(w, 'reason')} {text(w, 'message')}".strip() for w in waiting if w), ""),
        mirror="kubernetes.io/config.mirror" in pairs(metadata, "annotations"),
        finalizers=tuple(texts(metadata, "finalizers")),
        local_data=any(text(each, "medium") == "" for each in scratch),
        managed_by=pairs(metadata, "labels").get("app.kubernetes.io/managed-by", ""),
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
    path = f"/api/v1/namespaces/{namespace}/pods"
    pods = await api.list_rows(path, _created, query={"labelSelector": selector})
    return tuple(sorted(name for name, at in pods if at is not None and at < before))


def _never_created(pod: Unread) -> tuple[str, datetime | None]:
    return pod.name, None


@total(_never_created)
def _created(pod: Json) -> tuple[str, datetime | None]:
    """A pod's name, and when it was created; None: that cannot be told."""
    metadata = section(pod, "metadata")
    return required(metadata, "name"), moment(metadata, "creationTimestamp")


async def wait_pods_on(api: ClusterApi, node: str, until: Callable[[tuple[PodRow, ...]], bool]) -> tuple[PodRow, ...]:
    """The pods bound to a node, as soon as `until` holds. Waits without end: put it under a deadline."""
    query = {"fieldSelector": f"spec.nodeName={node}"}
    async for pods in api.changes("/api/v1/pods", query=query):
        rows = tuple(map(parse_pod, pods))
        if until(rows):
            return rows
    raise AssertionError("a watch never ends")


async def create_pod(api: ClusterApi, pod: Json, *, timeout_s: float) -> None:
    """Create a pod; one of that name left by an earlier run is removed first, for which its kubelet has to live.

    timeout_s: for all of it; ClusterUnreachable says what took longer. A quota that is used up is waited for as well
    Raises AdmissionDenied and ApiError.
    """
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    path = f"/api/v1/namespaces/{namespace}/pods"
    slow = ClusterUnreachable(f"the API server did not create pod {name} within {timeout_s:g} s")
    full: AdmissionDenied | None = None
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    await api.request("POST", path, body=pod)
                    return
                except AdmissionDenied as denied:
                    if not denied.for_want_of_quota:
                        raise
                    full = denied
                    await asyncio.sleep(QUOTA_PAUSE_S)
                except Conflict:
                    slow = ClusterUnreachable(
                        f"pod {name} of an earlier run on node {pod['spec']['nodeName']} is still terminating",
                        next_step="Look at that node's kubelet, or run"
                        f" `kubectl delete pod -n {namespace} {name} --force`.",
                    )
                    await delete_pod(api, namespace, name)
                    await _wait_gone(api, namespace, name)
    except TimeoutError:
        raise full or slow from None


async def wait_pod(api: ClusterApi, namespace: str, name: str, until: Callable[[PodRow], bool]) -> PodRow:
    """One pod, as soon as `until` holds. Waits without end: put it under a deadline."""
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
    """A pod's log once it has a line `marker`. Waits without end: put it under a deadline."""
    while True:
        log = await pod_log(api, namespace, name)
        if marker in log.splitlines():
            return log
        await asyncio.sleep(0.3)


async def delete_pod(api: ClusterApi, namespace: str, name: str) -> None:
    """Delete a pod of poolkeeper, without waiting until it is gone."""
    options: dict[str, Any] = {"gracePeriodSeconds": 1}
    try:
        await api.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}", body=options)
    except NotFound:
        return
