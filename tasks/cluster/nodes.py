"""Nodes: reading them as small rows, cordoning with ownership, our annotations.

A cordon is ours only if our annotation says so; both are written in one patch that fails if the Node has
changed since it was read. A cordon that was there before ours is a person's and stays.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from poolkeeper.tasks.cluster.api import MERGE_PATCH, ClusterApi, Json
from poolkeeper.tasks.cluster.errors import ClusterUnreachable, Conflict, NotFound
from poolkeeper.tasks.cluster.fields import (
    Unread,
    at,
    moment,
    pairs,
    required,
    section,
    sections,
    text,
    text_at,
    total,
    truth,
)
from poolkeeper.tasks.cluster.quantities import thousandths
from poolkeeper.tasks.cluster.written import JsonObject, UnreadableText, read_written
from poolkeeper.tasks.outcomes import PoolkeeperError

PATH = "/api/v1/nodes"

CORDON = "poolkeeper.io/cordon"
"""Why a cordon of ours is there: JSON with `why`, `run`, `since`, and `joined` where a join of ours made the Node."""
ACCEPTED = "poolkeeper.io/accepted"
"""When and by which run a node passed acceptance, and its uid then: JSON with `run`, `at`, `uid`."""
MACHINE_ID = "poolkeeper.io/machine-id"
"""The machine id of the host that this Node was accepted for."""

ROLLOUT = "poolkeeper.io/rollout"
"""The claim of a rollout that works on a Node (and what a pool's Lease remembers): JSON, see `tasks.cluster.claims`."""
LEAVING = "poolkeeper.io/leaving"
"""Since when the host behind a Node is none of the cluster's any more: ISO 8601, UTC. The Node is about to go."""

POOL_TYPE_LABEL = "alibabacloud.com/nodepool-type"
CLOUD_NODES = f"{POOL_TYPE_LABEL}!=hybridcloud"
"""Label selector of the nodes that are none of the user's own machines."""
POOL_ID_LABEL = "alibabacloud.com/nodepool-id"
HYBRID_TAINT = "nodepool-type"
"""Key of ACK's taint `nodepool-type=hybridcloud:NoSchedule`."""


@dataclass(frozen=True, slots=True)
class NodeRow:
    """What we use of a Node."""

    name: str
    uid: str
    resource_version: str
    created_at: datetime
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    taints: tuple[tuple[str, str, str], ...]
    """(key, value, effect)."""
    unschedulable: bool
    ready: bool | None
    """None: the condition is Unknown or absent."""
    ready_message: str
    kubelet_version: str
    machine_id: str
    boot_id: str
    internal_ips: tuple[str, ...]
    cpus: int
    ready_since: datetime | None = None
    """When the Ready condition became what it is; None: not told."""
    taint_objects: tuple[Json, ...] = ()
    """The taints as they stand in the object: a list is written back whole, with each one's `timeAdded`."""
    runtime_version: str = ""
    """Container runtime as the kubelet tells it: `containerd://1.6.24~ds1`."""
    deleting: bool = False
    """Its deletion was asked for, and something holds it."""
    unread: str = ""
    """Why its object cannot be read: then it is taken for cordoned and of unknown readiness. Empty: it can."""

    @property
    def cordoned_by_us(self) -> bool:
        """Whether the cordon carries our annotation."""
        return self.unschedulable and CORDON in self.annotations

    @property
    def joined_by_us(self) -> bool:
        """Whether our cordon says that a join by poolkeeper has made the Node, which may be undone."""
        try:
            return read_written(self.annotations.get(CORDON, "{}"), JsonObject).get("joined") is True
        except UnreadableText:
            return False

    @property
    def accepted(self) -> bool:
        """Whether acceptance was written."""
        return ACCEPTED in self.annotations

    @property
    def accepted_as(self) -> str:
        """The uid that the Node had when it was accepted; empty where that is not told."""
        try:
            return str(read_written(self.annotations.get(ACCEPTED, "{}"), JsonObject).get("uid", ""))
        except UnreadableText:
            return ""

    @property
    def is_hybrid(self) -> bool:
        """Whether it is one of the user's own machines rather than a cloud node."""
        return self.labels.get(POOL_TYPE_LABEL) == "hybridcloud"

    @property
    def is_cloud_machine(self) -> bool:
        """Whether it is a machine of the cloud: not one of the user's own, and no virtual node."""
        return not self.is_hybrid and self.labels.get("type") != "virtual-kubelet"


class RolloutInProgress(PoolkeeperError):
    """A rollout has claimed a node; onboarding does not change it."""

    id = "cluster.node.rollout-in-progress"
    expected = "no rollout works on the node before it is accepted"
    next_step = "Run this again when the rollout has released the node."
    source = "Kubernetes API"


def _unread(node: Unread) -> NodeRow:
    """A Node that exists and cannot be read: it counts as down, and its host does not count as one without a Node."""
    return NodeRow(
        name=node.name,
        uid=node.text("metadata", "uid"),
        resource_version=node.text("metadata", "resourceVersion"),
        created_at=datetime.now(UTC),
        labels=node.pairs("metadata", "labels"),
        annotations=node.pairs("metadata", "annotations"),
        taints=(),
        unschedulable=True,
        ready=None,
        ready_message=f"its Node object cannot be read: {node.why}",
        kubelet_version="",
        machine_id=node.text("status", "nodeInfo", "machineID"),
        boot_id="",
        internal_ips=(),
        cpus=0,
        unread=node.why,
    )


@total(_unread)
def parse_node(node: Json) -> NodeRow:
    """A Node object as a row."""
    metadata, spec, status = section(node, "metadata"), section(node, "spec"), section(node, "status")
    info, taints = section(status, "nodeInfo"), sections(spec, "taints")
    ready = next((c for c in sections(status, "conditions") if text(c, "type") == "Ready"), {})
    return NodeRow(
        name=required(metadata, "name"),
        uid=required(metadata, "uid"),
        resource_version=required(metadata, "resourceVersion"),
        created_at=moment(metadata, "creationTimestamp") or datetime.now(UTC),
        labels=pairs(metadata, "labels"),
        annotations=pairs(metadata, "annotations"),
        taints=tuple((required(t, "key"), text(t, "value"), required(t, "effect")) for t in taints),
        taint_objects=tuple(taints),
        unschedulable=truth(spec, "unschedulable"),
        ready={"True": True, "False": False}.get(text(ready, "status")),
        ready_message=text(ready, "message"),
        kubelet_version=text(info, "kubeletVersion"),
        runtime_version=text(info, "containerRuntimeVersion"),
        machine_id=text(info, "machineID"),
        boot_id=text(info, "bootID"),
        internal_ips=tuple(
            text(a, "address") for a in sections(status, "addresses") if text(a, "type") == "InternalIP"
        ),
        cpus=_cpus(at(status, "capacity", "cpu")),
        ready_since=moment(ready, "lastTransitionTime"),
        deleting=moment(metadata, "deletionTimestamp") is not None,
    )


def _cpus(quantity: object) -> int:
    """Whole CPUs; 0 if the Node does not report them, so that the rest can be read."""
    with suppress(ValueError):
        return max(0, thousandths(quantity) // 1000)
    return 0


async def list_nodes(api: ClusterApi, selector: str = "") -> dict[str, NodeRow]:
    """The cluster's Nodes, or those that match a label selector, by name."""
    items, _ = await api.list_all(PATH, query={"labelSelector": selector} if selector else None)
    return {row.name: row for row in map(parse_node, items)}


async def get_node(api: ClusterApi, name: str) -> NodeRow | None:
    """One Node, or None if there is none."""
    try:
        return parse_node(await api.request("GET", f"{PATH}/{name}"))
    except NotFound:
        return None


async def wait_node(api: ClusterApi, name: str, until: Callable[[NodeRow | None], bool]) -> NodeRow | None:
    """The Node as soon as `until` holds for it (None: there is no such Node).

    Waits without end: put it under a deadline.
    """
    async for nodes in api.changes(PATH, query={"fieldSelector": f"metadata.name={name}"}):
        row = parse_node(nodes[0]) if nodes else None
        if until(row):
            return row
    raise AssertionError("a watch never ends")


async def watch_nodes(api: ClusterApi) -> AsyncIterator[dict[str, NodeRow]]:
    """The cluster's Nodes by name, as they are, and again after every change; a Node that stays as it is is read once.

    Ends never: put it under a deadline.
    """
    rows: dict[str, NodeRow] = {}
    async for items in api.changes(PATH):
        before, rows = rows, {}
        for item in items:
            known = before.get(text_at(item, "metadata", "name"))
            version = text_at(item, "metadata", "resourceVersion")
            row = known if known and version and known.resource_version == version else parse_node(item)
            rows[row.name] = row
        yield rows


async def change_node(api: ClusterApi, name: str, patch: Callable[[NodeRow], Json | None]) -> NodeRow:
    """Patch a Node in its current version; after a conflict, read it again and decide again.

    patch: returns a merge patch, or None for no change
    Raises NotFound if the Node does not exist, and ClusterUnreachable if its object cannot be read.
    Keeps: a patch is applied only to the version of the Node that `patch` has seen.
    """
    for _ in range(20):
        row = parse_node(await api.request("GET", f"{PATH}/{name}"))
        if row.unread:
            raise ClusterUnreachable(
                f"node {name} is not changed because its object cannot be read: {row.unread}",
                next_step=f"Inspect it with `kubectl get node {name} -o yaml`, and find out who writes that field.",
            )
        body = patch(row)
        if body is None:
            return row
        body.setdefault("metadata", {})["resourceVersion"] = row.resource_version
        try:
            answer = await api.request("PATCH", f"{PATH}/{name}", body=body, content_type=MERGE_PATCH)
            return parse_node(answer)
        except Conflict:
            continue
    raise Conflict(409, f"PATCH {PATH}/{name}: others changed it 20 times in a row", None, None)


async def cordon(api: ClusterApi, name: str, *, why: str, run: str, at: datetime, joined: bool = False) -> NodeRow:
    """Cordon a node with our annotation. A node that is cordoned already is not changed.

    joined: whether a join by poolkeeper has made this Node
    Raises RolloutInProgress, as `accept` does.
    """

    def patch(row: NodeRow) -> Json | None:
        _refuse_claimed(row)
        if row.unschedulable:
            return None
        owner = json.dumps({"why": why, "run": run, "since": at.isoformat(), "joined": joined})
        return {"metadata": {"annotations": {CORDON: owner}}, "spec": {"unschedulable": True}}

    return await change_node(api, name, patch)


def new_node(name: str) -> NodeRow:
    """A Node of which nothing is known but that it will be there: what a dry run has in its place."""
    created = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return parse_node({"metadata": {"name": name, "uid": "-", "resourceVersion": "-", "creationTimestamp": created}})


async def accept(api: ClusterApi, name: str, *, run: str, at: datetime, machine_id: str, lift_taint: bool) -> NodeRow:
    """Write the acceptance, remove our cordon (and no other), and remove ACK's taint if `lift_taint`.

    Raises RolloutInProgress.
    """

    def patch(row: NodeRow) -> Json | None:
        _refuse_claimed(row)
        annotations: dict[str, Any] = {
            ACCEPTED: json.dumps({"run": run, "at": at.isoformat(), "uid": row.uid}),
            MACHINE_ID: machine_id,
            CORDON: None,
        }
        spec: Json = {}
        if row.cordoned_by_us:
            spec["unschedulable"] = None
        if lift_taint:
            spec["taints"] = [taint for taint in row.taint_objects if taint["key"] != HYBRID_TAINT] or None
        return {"metadata": {"annotations": annotations}, "spec": spec}

    return await change_node(api, name, patch)


def _refuse_claimed(row: NodeRow) -> None:
    """Raises RolloutInProgress: only the rollout that has claimed a node may remove its cordon."""
    if ROLLOUT in row.annotations:
        raise RolloutInProgress(f"a rollout works on node {row.name}")


async def note_leaving(api: ClusterApi, row: NodeRow, at: datetime) -> datetime | None:
    """Write on a Node when its host left, unless an earlier run has. The written time.

    None: that Node does not exist any more, or another one has its name.
    """

    def patch(now: NodeRow) -> Json | None:
        if now.uid != row.uid or LEAVING in now.annotations:
            return None
        return {"metadata": {"annotations": {LEAVING: at.isoformat()}}}

    try:
        noted = await change_node(api, row.name, patch)
    except NotFound:
        return None
    if noted.uid != row.uid:
        return None
    try:
        moment = datetime.fromisoformat(noted.annotations[LEAVING]).astimezone(UTC)
    except (ValueError, OverflowError):
        return at
    # fees depend on this time, so a written one is bounded: not before the Node was created, and not in the future
    return moment if noted.created_at <= moment <= at else at


async def delete_node(api: ClusterApi, row: NodeRow) -> None:
    """Delete a Node. After it that Node does not exist; another Node of the same name stays.

    Raises Conflict if the API server refused the deletion of this very Node, ApiError and ClusterUnreachable.
    """
    try:
        await api.request("DELETE", f"{PATH}/{row.name}", body={"preconditions": {"uid": row.uid}})
    except NotFound:
        return
    except Conflict as conflict:
        if not conflict.names_another_object:
            raise
