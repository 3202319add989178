"""Proving that a node is at its goal and may take workloads again: all that onboarding proves, and what only an upgrade
can get wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from poolkeeper.tasks.acceptance.proof import Clients, NodeGone, Wanted, prove_node
from poolkeeper.tasks.cluster.nodes import NodeRow, get_node
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.fleet.versions import same_version
from poolkeeper.tasks.hosts.packages import Package, pins, read_packages
from poolkeeper.tasks.outcomes import Finding
from poolkeeper.tasks.upgrade.pinning import same_runtime
from poolkeeper.tasks.upgrade.telling import blocker, node_gone


def is_at(node: NodeRow, version: str | None, packages: Mapping[str, str]) -> bool:
    """Whether a Node tells the goal's versions. Pure.

    version: of the kubelet; None: any
    """
    kubelet = version is None or same_version(node.kubelet_version, version)
    return kubelet and same_runtime(node.runtime_version, packages)


async def prove_upgrade(
    clients: Clients, host: Host, before: NodeRow, version: str | None, packages: Mapping[str, str], *, settle_s: float
) -> tuple[Finding, ...]:
    """Every blocker that is left, read afresh; none: it is proven.

    before: the Node as it was before the change
    version: of the kubelet; None: the one it had
    packages: the goal's own, name -> exact version
    Raises GateRefused, HostError, ClusterUnreachable and ApiError.
    """
    kubelet = version or before.kubelet_version or None

    # right after a restart the Node still tells of the kubelet before
    wanted = Wanted(kubelet, settle_s, lambda row: is_at(row, kubelet, packages))
    try:
        findings = await prove_node(clients, host, wanted)
    except NodeGone:
        return (node_gone(host),)
    node = await get_node(clients.api, host.node_name)
    if node is None:
        return (node_gone(host),)
    here = await read_packages(clients.sessions, host, packages) if packages else {}
    other = clients.gate.seen(unlike_before(host, before, node, packages, here), if_dry_run=())
    return (*map(_for_upgrades, findings), *other)


def unlike_before(
    host: Host, before: NodeRow, node: NodeRow, packages: Mapping[str, str], here: Mapping[str, Package]
) -> tuple[Finding, ...]:
    """What the checks of any node do not see: another machine, a runtime or a package that stayed behind. Pure.

    here: the goal's packages as the host has them
    """
    found = []
    if (node.uid, node.machine_id) != (before.uid, before.machine_id):
        found.append(
            blocker(
                host,
                "upgrade.node.replaced",
                f"Node {node.name} is another one, of machine {node.machine_id or 'unknown'}",
                f"the Node of machine {before.machine_id or 'unknown'}, as before the upgrade",
                "Find out who removed the Node and what registered under its name, before anything else.",
                source="Node",
            )
        )
    if not same_runtime(node.runtime_version, packages):
        found.append(
            blocker(
                host,
                "upgrade.runtime.version",
                f"its container runtime is {node.runtime_version or 'not told'}",
                ", ".join(pins(packages)),
                "See on the host whether it was restarted: `systemctl status containerd`, `containerd --version`.",
                source="Node status.nodeInfo",
            )
        )
    behind = [f"{name} {p.installed or 'not installed'}" for name, p in here.items() if p.installed != packages[name]]
    if behind:
        found.append(
            blocker(
                host,
                "upgrade.packages.behind",
                ", ".join(behind),
                ", ".join(pins(packages)),
                "See who changes packages on the host besides: /var/log/apt/history.log.",
                source="dpkg-query",
            )
        )
    return tuple(found)


def _for_upgrades(finding: Finding) -> Finding:
    """A finding of any node's proof, with what to do about it here."""
    if finding.id != "node.kubelet.version":
        return finding
    step = "See on the host which program its unit starts, and of which version: `systemctl cat kubelet`."
    return replace(finding, next_step=step)
