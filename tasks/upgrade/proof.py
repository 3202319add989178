"""The proof that a node is at its goal and may take workloads again: onboarding's proof, and what an upgrade adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from poolkeeper.tasks.acceptance.proof import Clients, NodeGone, Wanted, prove_node
from poolkeeper.tasks.cluster.nodes import NodeRow, get_node
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.fleet.versions import same_version
from poolkeeper.tasks.outcomes import Finding
from poolkeeper.tasks.packages.apt.lists import read_packages
from poolkeeper.tasks.packages.apt.shell import pins
from poolkeeper.tasks.packages.runtimes import same_runtime
from poolkeeper.tasks.packages.versions import Package
from poolkeeper.tasks.upgrade.messages import blocker, node_gone


def is_at(node: NodeRow, version: str | None, packages: Mapping[str, str]) -> bool:
    """Whether a Node reports the goal's versions. Pure.

    version: of the kubelet; None: any
    """
    kubelet = version is None or same_version(node.kubelet_version, version)
    return kubelet and same_runtime(node.runtime_version, packages)


async def prove_upgrade(
    clients: Clients, host: Host, before: NodeRow, version: str | None, packages: Mapping[str, str], *, settle_s: float
) -> tuple[Finding, ...]:
    """Every blocker, read afresh; none: the node is proven.

    before: the Node as it was before the change
    version: of the kubelet; None: the one it had
    packages: the goal's own, name -> exact version
    Raises GateRefused, HostError, ClusterUnreachable and ApiError.
    """
    kubelet = version or before.kubelet_version or None

    # right after a restart the Node still reports the old kubelet
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
    """What the checks of any node do not find: another machine, or a runtime or package that was not upgraded. Pure.

    here: the goal's packages as the host has them
    """
    found = []
    if (node.uid, node.machine_id) != (before.uid, before.machine_id):
        found.append(
            blocker(
                host,
                "upgrade.node.replaced",
                f"Node {node.name} was registered again, by machine {node.machine_id or 'unknown'}",
                f"the Node of machine {before.machine_id or 'unknown'}, as before the upgrade",
                "Find out first who deleted the Node and which machine registered under its name.",
                source="Node",
            )
        )
    if not same_runtime(node.runtime_version, packages):
        found.append(
            blocker(
                host,
                "upgrade.runtime.version",
                f"its container runtime is {node.runtime_version or 'not reported'}",
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
                "Find out in /var/log/apt/history.log what else changes packages on the host.",
                source="dpkg-query",
            )
        )
    return tuple(found)


def _for_upgrades(finding: Finding) -> Finding:
    """A finding of onboarding's proof, with the next step for an upgrade."""
    if finding.id != "node.kubelet.version":
        return finding
    step = "See on the host which program the kubelet's unit starts, and its version: `systemctl cat kubelet`."
    return replace(finding, next_step=step)
