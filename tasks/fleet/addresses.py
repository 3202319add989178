"""Rules for addresses and networks: who has which, and what must not overlap."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

from poolkeeper.tasks.fleet.draft import Draft
from poolkeeper.tasks.fleet.model import Cluster, Fleet, Host
from poolkeeper.tasks.fleet.problems import Mistake, Path_
from poolkeeper.tasks.fleet.values import Address, Network, literal

ALIBABA_SERVICES = ip_network("100.64.0.0/10")
"""Alibaba Cloud's internal services, reached over the private line; nothing of one's own may overlap."""

_Range = tuple[Path_, str, Network]
"""Where a range is declared, what it is, and the range."""


def addresses(draft: Draft, fleet: Fleet, folder: Path) -> Iterator[Mistake]:
    """One machine is one host: no address twice, and each in a network of its site, where those are declared."""
    by_place: dict[tuple[str, str, int], str] = {}
    by_node_address: dict[tuple[str, Address], str] = {}
    networks = {
        name: site.cidrs
        for name, site in fleet.sites.items()
        if site.cidrs and not draft.unread("sites", name, "cidrs")
    }
    for name, host in fleet.hosts.items():
        if host.node_address and host.pool.name in fleet.pools and not draft.unread("hosts", name, "node_address"):
            first = by_node_address.setdefault((host.pool.cluster.name, host.node_address), name)
            if first != name:
                yield Mistake(
                    ("hosts", name, "node_address"),
                    f"host {first} has the node address {host.node_address} already.",
                    "Correct one of the two.",
                )
        if draft.unread("hosts", name, "address"):
            continue
        if not draft.unread("hosts", name, "port") and not draft.unread("hosts", name, "ssh"):
            first = by_place.setdefault(_way(host), name)
            if first != name:
                yield Mistake(
                    ("hosts", name, "address"),
                    f"host {first} has the address {host.address} already.",
                    "Correct one of the two; one machine is one host.",
                )
        site = host.site.name
        address = literal(host.address) if site in networks else None
        if address and not any(address in network for network in networks[site]):
            yield Mistake(
                ("hosts", name, "address"),
                f"{host.address} is in none of site {site}'s networks.",
                f"Correct the address or the site, or add its network to sites.{site}.cidrs.",
            )


def is_this_machine(endpoint: str) -> bool:
    """Whether `host:port` is an address of the machine itself."""
    host = urlsplit(f"//{endpoint}").hostname or ""
    address = literal(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _way(host: Host) -> tuple[str, str, int]:
    """What an address leads to: sites behind jump hosts of their own may use the same addresses."""
    jump = host.ssh.jump.address if host.ssh.jump else ""
    return jump, host.address.lower().rstrip("."), host.ssh.port


def ranges(draft: Draft, fleet: Fleet, folder: Path) -> Iterator[Mistake]:
    """Ranges of one cluster, and of the sites whose hosts join it, must not overlap."""
    for name, cluster in fleet.clusters.items():
        declared: list[_Range] = []
        for kind in ("pod_cidrs", "service_cidrs"):
            for i, cidr in enumerate(getattr(cluster, kind)):
                declared.append((("clusters", name, kind, i), kind[:-6] + " range", cidr))
        if cluster.container_cidr:
            declared.append((("clusters", name, "container_cidr"), "container range", cluster.container_cidr))
        hosts = [host for host in fleet.hosts.values() if host.pool.cluster.name == name]
        sites = {host.site.name for host in hosts}
        for site in sorted(sites & set(fleet.sites)):
            for i, cidr in enumerate(fleet.sites[site].cidrs):
                declared.append((("sites", site, "cidrs", i), f"network of site {site}", cidr))
        for (_, what, one), (path, other_what, other) in _overlapping(declared):
            yield Mistake(
                path,
                f"{other} ({other_what}) overlaps {one} ({what}) in cluster {name}.",
                "Choose ranges that have no address in common.",
            )
        for path, what, network in () if cluster.by_kubeadm else declared:
            if network.version == 4 and network.overlaps(ALIBABA_SERVICES):
                yield Mistake(
                    path,
                    f"{network} ({what}) overlaps {ALIBABA_SERVICES}, where Alibaba Cloud's own services are.",
                    "Choose a range outside of it, or ask ACK for PrivateLink endpoints.",
                )
        if not draft.unread("clusters", name, "node_mask"):
            yield from _capacity(cluster, sum(host.active for host in hosts))


def _overlapping(ranges: list[_Range]) -> Iterator[tuple[_Range, _Range]]:
    """Each pair that shares addresses, in the order given."""
    pairs = []
    around: list[int] = []
    for position in sorted(range(len(ranges)), key=lambda at: (ranges[at][2].version, ranges[at][2])):
        # networks nest or are apart: of those that begin before this one, what does not hold it is behind it
        network = ranges[position][2]
        around = [at for at in around if ranges[at][2].version == network.version and ranges[at][2].overlaps(network)]
        pairs += [(min(at, position), max(at, position)) for at in around]
        around.append(position)
    for first, second in sorted(pairs):
        yield ranges[first], ranges[second]


def _capacity(cluster: Cluster, hosts: int) -> Iterator[Mistake]:
    """2^(mask - prefix) nodes find room in the container range.

    hosts: how many active ones join the cluster
    """
    container, mask = cluster.container_cidr, cluster.node_mask
    if container is None or mask is None:
        return
    if not container.prefixlen <= mask <= container.max_prefixlen:
        yield Mistake(
            ("clusters", cluster.name, "node_mask"),
            f"a /{mask} for each node does not fit into {container}.",
            f"Choose a mask between {container.prefixlen} and {container.max_prefixlen}.",
        )
        return
    room = 2 ** (mask - container.prefixlen)
    if hosts > room:
        yield Mistake(
            ("clusters", cluster.name, "container_cidr"),
            f"{hosts} active hosts are declared, but {container} in parts of /{mask} is enough for {room} nodes.",
            "Declare fewer hosts, a larger range, or a smaller part for each node (a larger node_mask).",
        )
