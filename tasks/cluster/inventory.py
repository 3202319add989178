"""Hosts and nodes, declared against observed: one row a host, and one a hybrid node that no host declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from poolkeeper.tasks.cluster.api import connect
from poolkeeper.tasks.cluster.errors import ApiError, ClusterUnreachable
from poolkeeper.tasks.cluster.nodes import NodeRow, list_nodes
from poolkeeper.tasks.cluster.stops import Stops, read_stops
from poolkeeper.tasks.fleet.model import Cluster, Host, SecretRef
from poolkeeper.tasks.outcomes import Secret
from poolkeeper.tasks.settings import SecretMissing


class NodeState(StrEnum):
    """The state of a node, as a user of the cluster sees it."""

    ACCEPTED = "accepted"
    CORDONED = "cordoned"
    NOT_ACCEPTED = "not accepted"
    QUARANTINED = "quarantined"
    NOT_READY = "not ready"
    NOT_JOINED = "not joined"
    UNDECLARED = "undeclared"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class InventoryRow:
    """One host with its node, or a node without a declared host."""

    cluster: str
    node: str
    state: NodeState
    detail: str
    """Details of the state."""
    host: Host | None = None
    kubelet: str | None = None

    def row(self) -> dict[str, Any]:
        """In plain JSON types, in the shape that `poolkeeper status --json` answers."""
        if self.host is None:
            return {
                "host": None,
                "node": self.node,
                "cluster": self.cluster,
                "state": str(self.state),
                "detail": self.detail,
            }
        return {
            "host": self.host.name,
            "node": self.node,
            "cluster": self.cluster,
            "pool": self.host.pool.name,
            "site": self.host.site.name,
            "domain": self.host.domain.name if self.host.domain else None,
            "mode": str(self.host.mode),
            "state": str(self.state),
            "kubelet": self.kubelet,
            "detail": self.detail,
        }


def node_state(node: NodeRow | None) -> tuple[NodeState, str]:
    """A node's state and its details. None: there is no Node."""
    if node is None:
        return NodeState.NOT_JOINED, ""
    if node.ready is None:
        return NodeState.UNKNOWN, f"Ready is Unknown: {node.ready_message}"
    if not node.ready:
        return NodeState.NOT_READY, node.ready_message
    if not node.accepted:
        return (NodeState.QUARANTINED if node.cordoned_by_us else NodeState.NOT_ACCEPTED), ""
    if node.unschedulable:
        return NodeState.CORDONED, "by us" if node.cordoned_by_us else "by someone else"
    return NodeState.ACCEPTED, ""


def inventory(
    cluster: str, hosts: Sequence[Host], nodes: Mapping[str, NodeRow], stops: Stops
) -> tuple[InventoryRow, ...]:
    """The rows of one cluster: its hosts in their order, then hybrid nodes that are not theirs."""
    frozen = f"frozen {stops.freeze}" if stops.freeze else ""
    rows = []
    for host in hosts:
        node, held = nodes.get(host.node_name), stops.holds.get(host.node_name)
        state, why = node_state(node)
        detail = _clauses(why, f"held {held}" if held else "", frozen)
        rows.append(InventoryRow(cluster, host.node_name, state, detail, host, node.kubelet_version if node else None))
    declared = {host.node_name for host in hosts}
    undeclared = _clauses("a hybrid node that is not among the chosen hosts of the fleet file", frozen)
    rows += [
        InventoryRow(cluster, node.name, NodeState.UNDECLARED, undeclared)
        for node in nodes.values()
        if node.is_hybrid and node.name not in declared
    ]
    return tuple(rows)


async def read_inventory(hosts: Sequence[Host], secret: Callable[[SecretRef], Secret]) -> list[InventoryRow]:
    """The inventory as it is now, cluster by cluster. Hosts of a cluster that does not answer are *unknown*."""
    rows: list[InventoryRow] = []
    for cluster in {host.pool.cluster.name: host.pool.cluster for host in hosts}.values():
        own = [host for host in hosts if host.pool.cluster.name == cluster.name]
        try:
            rows += await _read(cluster, own, secret)
        except (ApiError, ClusterUnreachable, SecretMissing) as error:
            rows += [InventoryRow(cluster.name, h.node_name, NodeState.UNKNOWN, error.summary, h) for h in own]
    return rows


async def _read(
    cluster: Cluster, hosts: Sequence[Host], secret: Callable[[SecretRef], Secret]
) -> tuple[InventoryRow, ...]:
    async with connect(cluster, secret(cluster.kubeconfig)) as api:
        api.log_findings()
        return inventory(cluster.name, hosts, await list_nodes(api), await read_stops(api))


def _clauses(*parts: str) -> str:
    return "; ".join(filter(None, parts))
