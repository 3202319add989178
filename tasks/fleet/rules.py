"""Rules over the whole document: references, names, addresses, ranges, windows, files, pasted secrets.

They also run over what is left of a document with mistakes in it, so that those do not hide others: `declared` has
the names that the file declares, also of entries that are broken.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from ipaddress import ip_address, ip_network
from itertools import combinations
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from tasks.fleet.document import Document, HostEntry, SecretEntry, SshEntry
from tasks.fleet.problems import Mistake, Path_, nearest
from tasks.fleet.text import every_text

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
Declared = Mapping[str, Collection[str]]
"""Section -> the names in it."""

SECTIONS = ("clusters", "sites", "domains", "pools", "hosts")

ALIBABA_SERVICES = ip_network("100.64.0.0/10")
"""Alibaba Cloud's internal services, reached over the private line; nothing of one's own may overlap."""

_PASTED = (
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
    ("an access key id", re.compile(r"\b(?:LTAI|AKIA)[A-Za-z0-9]{12,}\b")),
    ("a bootstrap token", re.compile(r"^[a-z0-9]{6}\.[a-z0-9]{16}$")),
    ("a bearer token", re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")),
    ("key material", re.compile(r"^[A-Za-z0-9+/]{64,}={0,2}$")),
)


def pasted_secrets(data: Any) -> Iterator[Mistake]:
    """Secrets that stand in the file itself; the text is never repeated."""
    for path, text in every_text(data):
        for what, shape in _PASTED:
            if shape.search(text):
                yield Mistake(
                    path,
                    f"{what} is pasted into the file.",
                    "Take it out, replace it where it is used (it is known now), and refer to it with {file: ...},"
                    " {env: ...} or {block: ...}.",
                )
                break


def check_document(document: Document, declared: Declared, folder: Path) -> Iterator[Mistake]:
    """Every mistake that needs more than one value to see. Looks whether named files exist."""
    yield from _names(declared)
    yield from _references(document, declared)
    for rule in (_choices, _users, _node_names, _addresses, _ranges, _times):
        yield from rule(document)
    yield from _files(document, folder)


def _names(declared: Declared) -> Iterator[Mistake]:
    for section in SECTIONS:
        for name in declared[section]:
            if len(name) > 63 or not NAME.fullmatch(name):
                yield Mistake(
                    (section, name),
                    f"{name} cannot be a name here.",
                    "Use up to 63 lower-case letters, digits and dashes, beginning and ending with a letter or digit.",
                    at_key=True,
                )
    for section in ("clusters", "sites", "pools", "hosts"):
        if not declared[section]:
            yield Mistake((section,), f"there are no {section}.", f"Declare at least one of the {section}.")


def _references(document: Document, declared: Declared) -> Iterator[Mistake]:
    def refer(path: Path_, name: str, section: str) -> Iterator[Mistake]:
        known = declared[section]
        if name not in known:
            yield Mistake(path, f"there is no {section[:-1]} {name}.", nearest(name, known))

    for name, domain in document.domains.items():
        yield from refer(("domains", name, "site"), domain.site, "sites")
    for name, pool in document.pools.items():
        yield from refer(("pools", name, "cluster"), pool.cluster, "clusters")
    for name, host in document.hosts.items():
        yield from refer(("hosts", name, "site"), host.site, "sites")
        yield from refer(("hosts", name, "pool"), host.pool, "pools")
        if host.domain is None:
            continue
        yield from refer(("hosts", name, "domain"), host.domain, "domains")
        domain_ = document.domains.get(host.domain)
        if domain_ and domain_.site != host.site:
            yield Mistake(
                ("hosts", name, "domain"),
                f"domain {host.domain} is at site {domain_.site}, the host at {host.site}.",
                "Name a domain of the host's own site, or correct the host's site.",
            )


def _choices(document: Document) -> Iterator[Mistake]:
    """Exactly one provider, exactly one place for a secret."""
    for path, secret in _secrets(document):
        given = [kind for kind in ("file", "env", "block") if getattr(secret, kind)]
        if len(given) != 1:
            yield Mistake(
                path,
                "exactly one of file, env and block says where the secret is"
                + (f"; here are {' and '.join(given)}." if given else "; here is none."),
                "Write {file: PATH}, {env: NAME} or {block: NAME}.",
            )
    for name, cluster in document.clusters.items():
        provider = cluster.provider
        if (provider.ack is None) == (provider.kubeadm is None):
            yield Mistake(
                ("clusters", name, "provider"),
                "a cluster has exactly one provider.",
                "Write ack: {...} or kubeadm: {}.",
            )
        if provider.ack and (provider.ack.access_key_id is None) != (provider.ack.access_key_secret is None):
            yield Mistake(
                ("clusters", name, "provider", "ack"),
                "only one half of the access key is given.",
                "Give both access_key_id and access_key_secret, or neither for the SDK's own credential chain.",
            )


def _users(document: Document) -> Iterator[Mistake]:
    for name, host in document.hosts.items():
        site = document.sites.get(host.site)
        levels = (host.ssh, site.ssh if site else SshEntry(), document.ssh)
        if not any(level.user for level in levels):
            yield Mistake(
                ("hosts", name),
                "nothing says which user to log in as.",
                "Set ssh: {user: ...} for the fleet, the site or the host.",
                at_key=True,
            )
        if not any(level.key or level.agent for level in levels):
            yield Mistake(
                ("hosts", name),
                "nothing says which key to log in with.",
                "Set ssh: {key: {file: ...}} or ssh: {agent: true} for the fleet, the site or the host.",
                at_key=True,
            )


def _node_names(document: Document) -> Iterator[Mistake]:
    """RFC 1123 subdomains; ACK's joiner also refuses names that start with `localhost`."""
    taken: dict[tuple[str, str], str] = {}
    for name, host in document.hosts.items():
        path: Path_ = ("hosts", name, "node_name") if host.node_name else ("hosts", name)
        node = host.node_name or name
        if host.node_name and (len(node) > 253 or not NODE_NAME.fullmatch(node)):
            yield Mistake(
                path,
                f"{node} cannot be a node's name.",
                "Use lower-case letters, digits, dashes and dots, at most 253.",
            )
        if node.startswith("localhost"):
            yield Mistake(path, "ACK refuses node names that start with localhost.", "Choose another node_name.")
        pool = document.pools.get(host.pool)
        key = (pool.cluster if pool else "", node)
        if key in taken:
            yield Mistake(
                path,
                f"host {taken[key]} has the node name {node} already.",
                "Give each host of a cluster a node_name of its own.",
                at_key=not host.node_name,
            )
        else:
            taken[key] = name


def _addresses(document: Document) -> Iterator[Mistake]:
    by_place: dict[tuple[str, int], str] = {}
    by_node_address: dict[tuple[str, str], str] = {}
    networks = {name: [ip_network(cidr) for cidr in site.cidrs] for name, site in document.sites.items() if site.cidrs}
    for name, host in document.hosts.items():
        place = (host.address.lower(), _port(document, host))
        if place in by_place:
            yield Mistake(
                ("hosts", name, "address"),
                f"host {by_place[place]} has the address {host.address} already.",
                "Correct one of the two; one machine is one host.",
            )
        else:
            by_place[place] = name
        pool = document.pools.get(host.pool)
        if host.node_address and pool:
            key = (pool.cluster, host.node_address)
            if key in by_node_address:
                yield Mistake(
                    ("hosts", name, "node_address"),
                    f"host {by_node_address[key]} has the node address {host.node_address} already.",
                    "Correct one of the two.",
                )
            else:
                by_node_address[key] = name
        if host.site in networks:
            literal = _literal(host.address)
            if literal and not any(literal in network for network in networks[host.site]):
                yield Mistake(
                    ("hosts", name, "address"),
                    f"{host.address} is in none of site {host.site}'s networks.",
                    f"Correct the address or the site, or add its network to sites.{host.site}.cidrs.",
                )


def _ranges(document: Document) -> Iterator[Mistake]:
    """Ranges of one cluster, and of the sites whose hosts join it, must not overlap."""
    for name, cluster in document.clusters.items():
        ranges: list[tuple[Path_, str, Any]] = []
        for kind in ("pod_cidrs", "service_cidrs"):
            for i, cidr in enumerate(getattr(cluster, kind)):
                ranges.append((("clusters", name, kind, i), kind[:-6] + " range", ip_network(cidr)))
        if cluster.container_cidr:
            ranges.append((("clusters", name, "container_cidr"), "container range", ip_network(cluster.container_cidr)))
        pools = {p for p, pool in document.pools.items() if pool.cluster == name}
        sites = {host.site for host in document.hosts.values() if host.pool in pools}
        for site in sorted(sites & set(document.sites)):
            for i, cidr in enumerate(document.sites[site].cidrs):
                ranges.append((("sites", site, "cidrs", i), f"network of site {site}", ip_network(cidr)))
        for (_, what, one), (path, other_what, other) in combinations(ranges, 2):
            if one.version == other.version and one.overlaps(other):
                yield Mistake(
                    path,
                    f"the {other_what} {other} overlaps the {what} {one} of cluster {name}.",
                    "Choose ranges that have no address in common.",
                )
        for path, what, network in ranges if cluster.provider.ack else ():
            if network.version == 4 and network.overlaps(ALIBABA_SERVICES):
                yield Mistake(
                    path,
                    f"the {what} {network} overlaps {ALIBABA_SERVICES}, where Alibaba Cloud's own services are.",
                    "Choose a range outside of it, or ask ACK for PrivateLink endpoints.",
                )
        yield from _capacity(document, name, pools)


def _capacity(document: Document, name: str, pools: set[str]) -> Iterator[Mistake]:
    """2^(mask - prefix) nodes find room in the container range."""
    cluster = document.clusters[name]
    if cluster.container_cidr is None:
        return
    container = ip_network(cluster.container_cidr)
    mask = cluster.node_mask if cluster.node_mask is not None else 24
    if not container.prefixlen <= mask <= container.max_prefixlen:
        yield Mistake(
            ("clusters", name, "node_mask"),
            f"a /{mask} for each node does not fit into {container}.",
            f"Choose a mask between {container.prefixlen} and {container.max_prefixlen}.",
        )
        return
    room = 2 ** (mask - container.prefixlen)
    hosts = sum(host.pool in pools and host.active for host in document.hosts.values())
    if hosts > room:
        yield Mistake(
            ("clusters", name, "container_cidr"),
            f"{hosts} hosts are declared, but {container} in parts of /{mask} has room for {room} nodes.",
            "Declare fewer hosts, a larger range, or a smaller part for each node.",
        )


def _times(document: Document) -> Iterator[Mistake]:
    for name, site in document.sites.items():
        try:
            ZoneInfo(site.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            yield Mistake(
                ("sites", name, "time_zone"),
                f"there is no time zone {site.time_zone}.",
                nearest(site.time_zone, available_timezones())
                if "/" in site.time_zone
                else "Write an IANA name, like Europe/Berlin or Asia/Shanghai.",
            )
        for i, window in enumerate(site.windows):
            path: Path_ = ("sites", name, "windows", i)
            if not window.days:
                yield Mistake((*path, "days"), "a window without days can never open.", "Name at least one day.")
            if window.duration <= timedelta(0):
                yield Mistake((*path, "duration"), "this window can never open: it has no length.", "Write it like 4h.")
            elif window.duration > timedelta(days=7):
                yield Mistake(
                    (*path, "duration"),
                    "a window longer than a week overlaps itself.",
                    "Use no window at all, or a shorter one.",
                )
        for i, freeze in enumerate(site.freezes):
            if freeze.end <= freeze.start:
                yield Mistake(
                    ("sites", name, "freezes", i, "to"), "this freeze ends before it begins.", "Put `to` after `from`."
                )
            elif site.windows and freeze.end - freeze.start > timedelta(days=3650):
                yield Mistake(
                    ("sites", name, "freezes", i, "to"),
                    "under a freeze of more than ten years no window can ever open.",
                    "Use mode: observe for a site that must not be changed.",
                )


def _files(document: Document, folder: Path) -> Iterator[Mistake]:
    """Files that the document names must be there."""
    named: list[tuple[Path_, str]] = [
        ((*path, "file"), secret.file) for path, secret in _secrets(document) if secret.file
    ]
    for path, ssh in _ssh_entries(document):
        named += [((*path, kind), getattr(ssh, kind)) for kind in ("certificate", "known_hosts") if getattr(ssh, kind)]
    for name, site in document.sites.items():
        named += [(("sites", name, "freeze_calendars", i), file) for i, file in enumerate(site.freeze_calendars)]
    missing: dict[str, bool] = {}
    for path, file in named:
        if file not in missing:
            missing[file] = not (folder / Path(file).expanduser()).is_file()
        if path[-1] == "known_hosts" and file == "/dev/null":
            yield Mistake(path, "host keys are always checked.", "Name a known_hosts file with the hosts' keys in it.")
        elif missing[file]:
            yield Mistake(
                path, f"there is no file {file}.", f"Paths are relative to the fleet file's folder ({folder})."
            )


def _secrets(document: Document) -> Iterator[tuple[Path_, SecretEntry]]:
    for name, cluster in document.clusters.items():
        yield ("clusters", name, "kubeconfig"), cluster.kubeconfig
        if cluster.provider.ack:
            for key in ("access_key_id", "access_key_secret"):
                secret = getattr(cluster.provider.ack, key)
                if secret is not None:
                    yield ("clusters", name, "provider", "ack", key), secret
    for path, ssh in _ssh_entries(document):
        if ssh.key is not None:
            yield (*path, "key"), ssh.key


def _ssh_entries(document: Document) -> Iterator[tuple[Path_, SshEntry]]:
    yield ("ssh",), document.ssh
    for name, site in document.sites.items():
        yield ("sites", name, "ssh"), site.ssh
    for name, host in document.hosts.items():
        yield ("hosts", name, "ssh"), host.ssh


def _port(document: Document, host: HostEntry) -> int:
    site = document.sites.get(host.site)
    return host.port or host.ssh.port or (site.ssh.port if site else None) or document.ssh.port or 22


def _literal(address: str) -> Any:
    try:
        return ip_address(address)
    except ValueError:
        return None
