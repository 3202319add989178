"""`poolkeeper status`: hosts and nodes, declared against observed. Only looks; needs no Prefect and no SSH."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from poolkeeper.deployments.terminal import console
from poolkeeper.tasks.cluster import ApiError, ClusterUnreachable, connect
from poolkeeper.tasks.cluster.nodes import NodeRow, list_nodes
from poolkeeper.tasks.cluster.stops import Stops, read_stops
from poolkeeper.tasks.fleet import Cluster, Host
from poolkeeper.tasks.settings import SecretMissing, secret_reader


async def read(hosts: Sequence[Host]) -> list[dict[str, Any]]:
    """One row per declared host, and one per hybrid node that no host declares."""
    rows: list[dict[str, Any]] = []
    for cluster in {host.pool.cluster.name: host.pool.cluster for host in hosts}.values():
        own = [host for host in hosts if host.pool.cluster.name == cluster.name]
        try:
            async with connect(cluster, secret_reader()(cluster.kubeconfig)) as api:
                rows += _rows(cluster, own, await list_nodes(api), await read_stops(api))
        except (ApiError, ClusterUnreachable, SecretMissing) as error:
            rows += [_row(host, None, "unknown", str(error)) for host in own]
    return rows


def _rows(cluster: Cluster, hosts: Sequence[Host], nodes: dict[str, NodeRow], stops: Stops) -> list[dict[str, Any]]:
    rows = []
    for host in hosts:
        node = nodes.get(host.node_name)
        state, why = standing(node)
        held = stops.holds.get(host.node_name)
        if held:
            why = "; ".join(filter(None, (why, f"held {held}")))
        rows.append(_row(host, node, state, why))
    declared = {host.node_name for host in hosts}
    for node in nodes.values():
        if node.is_hybrid and node.name not in declared:
            rows.append(
                {
                    "host": None,
                    "node": node.name,
                    "cluster": cluster.name,
                    "state": "undeclared",
                    "detail": "a hybrid node that is not among the chosen hosts of the fleet file",
                }
            )
    if stops.freeze:
        for row in rows:
            row["detail"] = "; ".join(filter(None, (row["detail"], f"frozen {stops.freeze}")))
    return rows


def standing(node: NodeRow | None) -> tuple[str, str]:
    """A node's state in one word, and what a person should know beside it."""
    if node is None:
        return "not joined", ""
    if node.ready is None:
        return "unknown", f"Ready is Unknown: {node.ready_message}"
    if not node.ready:
        return "not ready", node.ready_message
    if not node.accepted:
        return "quarantined" if node.cordoned_by_us else "not accepted", ""
    if node.unschedulable:
        return "cordoned", "by us" if node.cordoned_by_us else "by someone else"
    return "accepted", ""


def _row(host: Host, node: NodeRow | None, state: str, detail: str) -> dict[str, Any]:
    return {
        "host": host.name,
        "node": host.node_name,
        "cluster": host.pool.cluster.name,
        "pool": host.pool.name,
        "site": host.site.name,
        "domain": host.domain.name if host.domain else None,
        "mode": str(host.mode),
        "state": state,
        "kubelet": node.kubelet_version if node else None,
        "detail": detail,
    }


def show(rows: Sequence[dict[str, Any]]) -> None:
    """The rows as a table for a terminal."""
    table = Table(box=None, header_style="bold")
    for column in ("host", "node", "pool", "site", "state", "kubelet", "detail"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(row.get(c) or "") for c in ("host", "node", "pool", "site", "state", "kubelet", "detail")))
    console().print(table)
