"""All that a drain depends on, read once and with read rights only.

Nodes and pods must be readable. Any other part that may not be read, or that the server does not have, is Unknown with
its reason: what depends on it is unknown too, and never fine.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from poolkeeper.tasks.cluster.api import ClusterApi, Json
from poolkeeper.tasks.cluster.budgets import Budget, parse_budget
from poolkeeper.tasks.cluster.errors import ApiError
from poolkeeper.tasks.cluster.fields import Unread, pairs, required, section, sections, text, total, truth
from poolkeeper.tasks.cluster.quantities import thousandths
from poolkeeper.tasks.cluster.scheduling import Amounts, Taint
from poolkeeper.tasks.cluster.selectors import Labels
from poolkeeper.tasks.cluster.services import HAND_MADE, Service, Slice, parse_service, parse_slice
from poolkeeper.tasks.cluster.volumes import Volume, VolumeClaim, parse_claim, parse_volume
from poolkeeper.tasks.cluster.workloads import Pod, Shared, Workload, parse_pod, parse_workload
from poolkeeper.tasks.outcomes import Known, Observed, Unknown

T = TypeVar("T")

ObjectName = tuple[str, str]
"""(namespace, name)."""


@dataclass(frozen=True, slots=True)
class Node:
    """A Node as a place for pods."""

    name: str
    labels: Labels
    allocatable: Amounts
    """With `pods` among them, in thousandths like the rest."""
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False
    ready: bool | None = True
    """None: the condition is Unknown or absent."""
    ready_message: str = ""
    unread: str = ""
    """Why its object cannot be read: then it takes no pod. Empty: it can."""


@dataclass(frozen=True, slots=True, repr=False)
class Snapshot:
    """A cluster as it was seen once."""

    seen_at: datetime
    """When the reading began."""
    nodes: Mapping[str, Node]
    pods: Sequence[Pod]
    budgets: Observed[Sequence[Budget]]
    workloads: Observed[Sequence[Workload]]
    """Deployments and StatefulSets."""
    daemonsets: Observed[frozenset[ObjectName]]
    claims: Observed[Mapping[ObjectName, VolumeClaim]]
    volumes: Observed[Mapping[str, Volume]]
    services: Observed[Sequence[Service]]
    slices: Observed[Sequence[Slice]]
    """Only those that follow from no selector."""
    unread: tuple[str, ...] = ()
    """Objects that are not as their kind is, each with why; what depends on them takes the worst of them."""

    def __repr__(self) -> str:
        # asyncio.run makes the repr of what it answers, if only to throw it away
        return f"Snapshot({len(self.nodes)} nodes, {len(self.pods)} pods, {self.seen_at})"


def _unread(node: Unread) -> Node:
    message = f"its Node object cannot be read: {node.why}"
    labels = node.pairs("metadata", "labels")
    return Node(node.name, labels, (), unschedulable=True, ready=None, ready_message=message, unread=node.why)


@total(_unread)
def parse_node(item: Json) -> Node:
    """A Node object as a row."""
    metadata, spec, status = section(item, "metadata"), section(item, "spec"), section(item, "status")
    ready = next((c for c in sections(status, "conditions") if text(c, "type") == "Ready"), {})
    return Node(
        required(metadata, "name"),
        pairs(metadata, "labels"),
        _amounts(section(status, "allocatable") or section(status, "capacity")),
        tuple(Taint(required(t, "key"), text(t, "value"), required(t, "effect")) for t in sections(spec, "taints")),
        truth(spec, "unschedulable"),
        {"True": True, "False": False}.get(text(ready, "status")),
        text(ready, "message"),
    )


def _amounts(declared: Json) -> Amounts:
    """What a node has to give. Of what cannot be read it has nothing, so that no pod that asks for it fits."""
    found = []
    for name, quantity in declared.items():
        with suppress(ValueError):
            found.append((name, thousandths(quantity)))
    return tuple(sorted(found))


async def read_snapshot(api: ClusterApi) -> Snapshot:
    """Read the cluster. Raises ApiError when Nodes or Pods may not be read, and ClusterUnreachable."""
    with _collector_resting():
        try:
            return await _read(api)
        except BaseExceptionGroup as group:
            # the first one ended the others
            raise group.exceptions[0] from None


@contextmanager
def _collector_resting() -> Iterator[None]:
    """Without the garbage collector: JSON has no cycles, and walking all rows again for each page costs 40 % more."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


async def _read(api: ClusterApi) -> Snapshot:
    seen_at = datetime.now(UTC)
    shared = Shared()
    unread: list[str] = []
    apps, policy = "/apis/apps/v1", "/apis/policy/v1"

    def noting(what: str, parse: Callable[[Json], T]) -> Callable[[Json], T]:
        def noted(item: Json) -> T:
            row = parse(item)
            if why := getattr(row, "unread", ""):
                unread.append(f"{what}: {Unread(item, why)}")
            return row

        return noted

    async def part(what: str, path: str, parse: Callable[[Json], T], selector: str = "") -> Observed[Sequence[T]]:
        query = {"labelSelector": selector} if selector else None
        try:
            rows = await api.list_rows(path, noting(what, parse), query=query)
        except ApiError as error:
            if error.status not in (403, 404, 501):
                raise
            return Unknown(f"{what} cannot be read: HTTP {error.status} {error.message}".rstrip(" .:"), seen_at)
        return Known(rows, seen_at)

    async with asyncio.TaskGroup() as group:
        start = group.create_task
        nodes = start(api.list_rows("/api/v1/nodes", noting("Nodes", parse_node)))
        pods = start(api.list_rows("/api/v1/pods", noting("Pods", lambda item: parse_pod(item, shared))))
        budgets = start(part("PodDisruptionBudgets", f"{policy}/poddisruptionbudgets", parse_budget))
        deployments = start(part("Deployments", f"{apps}/deployments", partial(parse_workload, kind="Deployment")))
        statefulsets = start(part("StatefulSets", f"{apps}/statefulsets", partial(parse_workload, kind="StatefulSet")))
        daemonsets = start(part("DaemonSets", f"{apps}/daemonsets", _name_of))
        claims = start(part("PersistentVolumeClaims", "/api/v1/persistentvolumeclaims", parse_claim))
        volumes = start(part("PersistentVolumes", "/api/v1/persistentvolumes", parse_volume))
        services = start(part("Services", "/api/v1/services", parse_service))
        slices = start(
            part("EndpointSlices", "/apis/discovery.k8s.io/v1/endpointslices", parse_slice, selector=HAND_MADE)
        )
    return Snapshot(
        seen_at,
        {node.name: node for node in nodes.result()},
        pods.result(),
        _placed(budgets.result()),
        _both(deployments.result(), statefulsets.result()),
        _made(daemonsets.result(), frozenset),
        _made(claims.result(), lambda rows: {(row.namespace, row.name): row for row in rows}),
        _made(volumes.result(), lambda rows: {row.name: row for row in rows}),
        _made(services.result(), lambda rows: [row for row in rows if row is not None]),
        slices.result(),
        tuple(sorted(unread)),
    )


R = TypeVar("R")


def _made(observed: Observed[T], make: Callable[[T], R]) -> Observed[R]:
    return observed if isinstance(observed, Unknown) else Known(make(observed.value), observed.seen_at)


def _both(one: Observed[Sequence[T]], other: Observed[Sequence[T]]) -> Observed[Sequence[T]]:
    if isinstance(one, Unknown):
        return one
    return _made(other, lambda rows: [*one.value, *rows])


def _placed(budgets: Observed[Sequence[Budget]]) -> Observed[Sequence[Budget]]:
    """A budget that does not even tell its namespace may guard any pod."""
    if isinstance(budgets, Known):
        for budget in budgets.value:
            if budget.unread and not budget.namespace:
                return Unknown(f"PodDisruptionBudget {budget.name} cannot be read: {budget.unread}", budgets.seen_at)
    return budgets


def _unread_name(item: Unread) -> ObjectName:
    return item.namespace, item.name


@total(_unread_name)
def _name_of(item: Json) -> ObjectName:
    metadata = section(item, "metadata")
    return required(metadata, "namespace"), required(metadata, "name")
