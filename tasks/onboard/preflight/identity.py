"""Who a host is: names, ids and addresses that no two hosts may share."""

from __future__ import annotations

import re

from tasks.onboard.preflight.check import Batch, HostView, Wrong, check
from tasks.outcomes import Known, Severity

_NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@check("hosts.name.valid", "the node name is one that Kubernetes and ACK take")
def node_name(view: HostView, batch: Batch) -> Wrong | None:
    """RFC 1123 subdomain of at most 253 characters; ACK's joiner refuses names starting with `localhost`."""
    name = view.host.node_name
    if len(name) <= 253 and _NODE_NAME.fullmatch(name) and not name.startswith("localhost"):
        return None
    return Wrong(
        name,
        "lower-case letters, digits, dots and dashes",
        "Give the host another node_name in the fleet file.",
    )


def _unique(fact: str, view: HostView, batch: Batch, next_step: str) -> Wrong | None:
    value = getattr(view.facts, fact)
    others = batch.shared.get(fact, {}).get(str(value.value), ()) if isinstance(value, Known) else ()
    others = tuple(name for name in others if name != view.host.name)
    if not others:
        return None
    return Wrong(f"{value.value}, as on {', '.join(others)}", "a value of its own", next_step)


@check("hosts.machine-id.unique", "no other host has this machine id", "machine_id")
def machine_id(view: HostView, batch: Batch) -> Wrong | None:
    """Cloned images share it; kubelets with one machine id confuse monitoring and DHCP."""
    return _unique(
        "machine_id",
        view,
        batch,
        "Give all but one of them a new id: `rm /etc/machine-id && systemd-machine-id-setup`, then reboot.",
    )


@check(
    "hosts.product-uuid.unique",
    "no other host has this product uuid",
    "product_uuid",
    on_unknown=Severity.INFO,
)
def product_uuid(view: HostView, batch: Batch) -> Wrong | None:
    """kubeadm asks for it to be unique; containers and some boards have none, which is no reason to stop."""
    return _unique("product_uuid", view, batch, "Give the virtual machine a UUID of its own in its hypervisor.")


@check("hosts.hostname.unique", "no other host calls itself so", "hostname", severity=Severity.WARNING)
def hostname(view: HostView, batch: Batch) -> Wrong | None:
    """The node name is declared, but logs and metrics carry the host's own name."""
    return _unique("hostname", view, batch, "Rename one of them: `hostnamectl set-hostname NAME`.")


@check("hosts.boot-id.unique", "it is reached under one name only", "boot_id")
def boot_id(view: HostView, batch: Batch) -> Wrong | None:
    """Two entries of the fleet file that answer with one boot id are one machine under two names."""
    return _unique(
        "boot_id", view, batch, "Two entries of the fleet file lead to the same machine: correct one address."
    )


@check("hosts.node-name.free", "no Node of another machine has this name", "machine_id")
def node_name_free(view: HostView, batch: Batch) -> Wrong | None:
    """ACK's joiner refuses a name that is in the cluster; told here for Nodes without a machine id as well."""
    node = view.node
    if node is None or node.machine_id:
        return None  # compared by machine id, in `standing`
    return Wrong(
        f"Node {node.name} exists and tells no machine id",
        "no Node of that name, or one with this host's machine id",
        f"Find out what it is (`kubectl describe node {node.name}`) and delete it, or choose another node_name.",
    )


@check("hosts.node-address.free", "no other Node has its address")
def node_address_free(view: HostView, batch: Batch) -> Wrong | None:
    """Two nodes with one InternalIP make the API server talk to the wrong kubelet."""
    address = str(view.host.node_address or view.host.address)
    takers = [
        row.name for row in batch.nodes.values() if row.name != view.host.node_name and address in row.internal_ips
    ]
    if not takers:
        return None
    return Wrong(
        f"{address} is the address of node {', '.join(sorted(takers))}",
        "an address of its own",
        "Remove the stale Node if its machine is gone, or give the host another address.",
    )
