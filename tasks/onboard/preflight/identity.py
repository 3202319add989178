"""The identity of a host: names, ids and addresses that no two hosts may share."""

from __future__ import annotations

import re
from ipaddress import ip_address

from poolkeeper.tasks.cluster.nodes import MACHINE_ID, POOL_ID_LABEL
from poolkeeper.tasks.fleet.values import Address
from poolkeeper.tasks.onboard.messages import removing
from poolkeeper.tasks.onboard.preflight.check import Batch, HostView, Wrong, check
from poolkeeper.tasks.outcomes import Severity, known

_NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL_LENGTH = 63
"""Of a label's value: kubelet gives each Node its name as the label `kubernetes.io/hostname`."""


@check("hosts.name.valid", "Kubernetes and ACK accept the node name")
def node_name(view: HostView, batch: Batch) -> Wrong | None:
    """RFC 1123 subdomain that fits into a label; ACK's joiner refuses names starting with `localhost`."""
    name = view.host.node_name
    if len(name) <= LABEL_LENGTH and _NODE_NAME.fullmatch(name) and not name.startswith("localhost"):
        return None
    return Wrong(
        name,
        f"at most {LABEL_LENGTH} lower-case letters, digits, dots and dashes, not starting with localhost",
        "Give the host another node_name in the fleet file.",
    )


@check(
    "hosts.name.own",
    "its hostname is its node name",
    "hostname",
    severity=Severity.WARNING,
    on_unknown=Severity.INFO,
)
def own_name(view: HostView, batch: Batch) -> Wrong | None:
    """kubelet registers under the hostname unless the joiner overrides it, and ACK does not say whether hybrid's does.

    So only a warning: if the Node gets another name, the join times out. kubeadm gets the name as an option.
    """
    if (
        view.join_started
        or view.host.pool.cluster.by_kubeadm
        or known(view.facts.hostname).lower() == view.host.node_name
    ):
        return None
    return Wrong(
        known(view.facts.hostname),
        view.host.node_name,
        f"Run `hostnamectl set-hostname {view.host.node_name}`, or set node_name to the name that ACK will give it.",
    )


def _namesakes(fact: str, value: str, view: HostView, batch: Batch) -> list[str]:
    return [name for name in batch.shared.get(fact, {}).get(value, ()) if name != view.host.name]


def _unique(fact: str, view: HostView, batch: Batch, next_step: str) -> Wrong | None:
    value = str(known(getattr(view.facts, fact)))
    others = _namesakes(fact, value, view, batch)
    if not others:
        return None
    return Wrong(f"{value}, as on {', '.join(others)}", "a unique value", next_step)


@check("hosts.machine-id.unique", "no other host or Node has this machine id", "machine_id")
def machine_id(view: HostView, batch: Batch) -> Wrong | None:
    """Cloned images share it. A clone of a host that was onboarded earlier shows among the Nodes only."""
    value = known(view.facts.machine_id)
    renew = "`rm /etc/machine-id && systemd-machine-id-setup`, then reboot"
    hosts = _namesakes("machine_id", value, view, batch)
    if hosts:
        return Wrong(
            f"{value}, as on {', '.join(hosts)}",
            "a unique value",
            f"Give all but one of them a new id: {renew}.",
        )
    nodes = sorted(
        row.name for row in batch.nodes.values() if row.name != view.host.node_name and row.machine_id == value
    )
    if nodes:
        return Wrong(
            f"{value}, as node {', '.join(nodes)}",
            "a unique value",
            f"If {nodes[0]} is this machine under an older name,"
            f" {removing(view.host.pool.cluster, nodes[0], called='that node')}; if it is another one, give this host a"
            f" new id: {renew}.",
        )
    return None


@check(
    "hosts.product-uuid.unique",
    "no other host has this product uuid",
    "product_uuid",
    severity=Severity.WARNING,
    on_unknown=Severity.INFO,
)
def product_uuid(view: HostView, batch: Batch) -> Wrong | None:
    """kubeadm asks for it to be unique; but whole series of boards leave the factory with one, and work."""
    return _unique(
        "product_uuid",
        view,
        batch,
        "Give a virtual machine a unique UUID in its hypervisor; for a board, ask its maker for a tool that sets one.",
    )


@check("hosts.hostname.unique", "no other host has this hostname", "hostname", severity=Severity.WARNING)
def hostname(view: HostView, batch: Batch) -> Wrong | None:
    """The node name is declared, but logs and metrics carry the host's own name."""
    return _unique("hostname", view, batch, "Rename one of them: `hostnamectl set-hostname NAME`.")


@check("hosts.boot-id.unique", "only one entry of the fleet file leads to it", "boot_id", on_unknown=Severity.WARNING)
def boot_id(view: HostView, batch: Batch) -> Wrong | None:
    """Two entries of the fleet file with one boot id are one machine under two names."""
    return _unique(
        "boot_id", view, batch, "Two entries of the fleet file lead to the same machine: correct one address."
    )


@check("hosts.node-name.free", "no Node of another machine has this name")
def node_name_free(view: HostView, batch: Batch) -> Wrong | None:
    """A Node with a machine id is compared in `next_action`; this check is about a Node without one."""
    node = view.node
    if node is None or node.machine_id or node.annotations.get(MACHINE_ID):
        return None
    return Wrong(
        f"Node {node.name} exists and has no machine id",
        "no Node of that name, or one with this host's machine id",
        f"Find out what it is (`kubectl describe node {node.name}`) and remove it, or choose another node_name.",
    )


@check("hosts.node-pool.declared", "its Node, if there is one, is in the declared pool")
def node_pool(view: HostView, batch: Batch) -> Wrong | None:
    """A node cannot change its pool: accepting it here would put it under another pool's limits and labels."""
    if view.node is None:
        return None
    seen, wanted = view.node.labels.get(POOL_ID_LABEL), view.host.pool.nodepool_id
    if seen in (None, wanted):
        return None
    return Wrong(
        f"Node {view.node.name} is in node pool {seen}",
        f"{wanted}, as pool {view.host.pool.name} says",
        "Declare the host in that pool, or"
        f" {removing(view.host.pool.cluster, view.node.name, called='the node')} and onboard it again.",
    )


def addresses_of(view: HostView) -> tuple[Address, ...]:
    """The addresses that its Node may get: the declared one, else the SSH address, else all addresses of the host.

    A name may resolve to any of them, so every address that others can reach counts.
    """
    host = view.host
    if host.node_address is not None:
        return (host.node_address,)
    try:
        return (ip_address(host.address),)
    except ValueError:
        own = map(ip_address, known(view.facts.addresses))
        return tuple(address for address in own if not address.is_loopback and not address.is_link_local)


@check("hosts.node-address.free", "no other Node has its address", "addresses", on_unknown=Severity.WARNING)
def node_address_free(view: HostView, batch: Batch) -> Wrong | None:
    """Two nodes with one InternalIP make the API server talk to the wrong kubelet."""
    own = {str(address) for address in addresses_of(view)}
    taken = {
        address: row.name
        for row in batch.nodes.values()
        if row.name != view.host.node_name
        for address in map(_canonical, row.internal_ips)
    }
    clashes = sorted(own & taken.keys())
    if not clashes:
        return None
    return Wrong(
        "; ".join(f"{address} is the address of node {taken[address]}" for address in clashes),
        "a unique address",
        f"If its machine is gone, {removing(view.host.pool.cluster, taken[clashes[0]], called='the stale node')}; else"
        " give the host another address.",
    )


def _canonical(address: str) -> str:
    try:
        return str(ip_address(address))
    except ValueError:
        return address
