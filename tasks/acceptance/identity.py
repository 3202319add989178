"""Whether the machine at a host's address is its Node's: addresses of two hosts may be swapped in the fleet file.

A Node belongs to a host by its declared node name, verified by machine id. An unknown id does not match.
"""

from __future__ import annotations

from datetime import UTC, datetime

from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.nodes import MACHINE_ID, NodeRow, get_node
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import FactsRequest, Sessions, read_facts
from poolkeeper.tasks.outcomes import Evidence, Finding, Known, Observed, Severity, Subject


async def another_machine(api: ClusterApi, sessions: Sessions, host: Host) -> Finding | None:
    """Read again: why a host's machine is not its Node's; None: it is, or there is no Node.

    Raises HostError, ClusterUnreachable and ApiError.
    """
    node = await get_node(api, host.node_name)
    if node is None:
        return None
    facts = await read_facts(sessions, host, FactsRequest())
    return unlike_node(host, node, facts.machine_id, datetime.now(UTC))


def unlike_node(host: Host, node: NodeRow, machine_id: Observed[str], now: datetime) -> Finding | None:
    """Why a machine does not match a Node; None: it is the Node's, and the declared one. Pure."""
    registered = node.machine_id or node.annotations.get(MACHINE_ID, "")
    seen = machine_id.value if isinstance(machine_id, Known) else ""

    def blocker(id: str, observed: str, expected: str, source: str, next_step: str) -> Finding:
        evidence = Evidence(observed, expected, source, now)
        return Finding(f"node.identity.{id}", Severity.BLOCKER, Subject("host", host.name), evidence, next_step)

    if not seen:
        return blocker(
            "unknown",
            f"unknown: {'it is empty' if isinstance(machine_id, Known) else machine_id.reason}",
            f"machine id {registered or host.machine_id or 'unknown'}, to identify the machine of node {node.name}",
            "/etc/machine-id",
            f"Make /etc/machine-id readable on {host.name} (`systemd-machine-id-setup` where it is missing).",
        )
    if registered != seen:
        return blocker(
            "other-machine",
            f"the machine at its address has machine id {seen}; Node {node.name} has machine id"
            f" {registered or 'unknown'}",
            f"the machine of node {node.name}",
            "Node status.nodeInfo and /etc/machine-id",
            f"Find the Node of the machine at {host.address} (`kubectl get nodes -o custom-columns="
            "NAME:.metadata.name,MACHINE:.status.nodeInfo.machineID`), and correct address or node_name in the fleet"
            " file.",
        )
    if host.machine_id and host.machine_id != seen:
        return blocker(
            "machine-id",
            f"the machine at its address, and Node {node.name}, have machine id {seen}",
            f"machine id {host.machine_id} as declared",
            "/etc/machine-id",
            f"Find out which machine answers at {host.address}; if {host.name} was reinstalled, set machine_id: {seen}"
            " in the fleet file.",
        )
    return None
