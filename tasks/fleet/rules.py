"""Rules over the whole document: names, references between entries, choices, logins; and those of its neighbours.

They also run over what is left of a document with mistakes in it, and leave alone what could not be read there.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from poolkeeper.tasks.fleet.addresses import addresses, is_this_machine, ranges
from poolkeeper.tasks.fleet.draft import SECTIONS, Draft
from poolkeeper.tasks.fleet.model import AckProvider, Fleet
from poolkeeper.tasks.fleet.problems import Mistake, Path_, counted, nearest, quoted_value
from poolkeeper.tasks.fleet.references import files, secrets_in
from poolkeeper.tasks.fleet.times import calendars, times

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

MAX_GUESSES = 50
"""Unknown names for which the nearest known one is looked up."""


def check_draft(draft: Draft, folder: Path) -> Iterator[Mistake]:
    """Every mistake that needs more than one value to see, in the file's own positions.

    folder: the fleet file's; looks there whether named files exist, and reads calendars
    """
    if draft.document is None:
        return
    rules = (
        _names,
        _references,
        _choices,
        _pool_labels,
        _upgrades,
        _protocols,
        _checks,
        _audited,
        _logins,
        _node_names,
        addresses,
        ranges,
        times,
        files,
        calendars,
    )
    for rule in rules:
        found = rule(draft, draft.document, folder)
        yield from (Mistake(draft.as_written(m.path), m.message, m.fix, m.at_key) for m in found)


def _names(draft: Draft, fleet: Fleet, folder: Path) -> Iterator[Mistake]:
    for section in SECTIONS:
        for name in draft.names[section]:
            if len(name) > 63 or not NAME.fullmatch(name):
                yield Mistake(
                    (section, name),
                    f"{quoted_value(name)} cannot be a name here.",
                    "Use up to 63 lower-case letters, digits and dashes, beginning and ending with a letter or digit.",
                    at_key=True,
                )
    if "all" in draft.names["hosts"]:
        yield Mistake(
            ("hosts", "all"),
            "a host cannot be named all, because all selects every host.",
            "Give it another name.",
            at_key=True,
        )
    for section in ("clusters", "sites", "pools", "hosts"):
        if not draft.names[section] and not draft.unread(section):
            yield Mistake((section,), f"there are no {section}.", f"Declare at least one of the {section}.")


def _references(draft: Draft, fleet: Fleet, folder: Path) -> Iterator[Mistake]:
    @cache
    def fix(name: str, section: str) -> str:
        known = draft.names[section]
        if not known:
            return f"Declare it under {section}."
        # looking for near names is slow; who has this many wrong ones has them all from one place
        return nearest(name, known) if fix.cache_info().misses <= MAX_GUESSES else f"Choose one of the {section}."

    def refer(path: Path_, name: str, section: str) -> Iterator[Mistake]:
        if name not in names[section] and not draft.unread(*path) and (section,) not in draft.broken:
            yield Mistake(path, f"there is no {section[:-1]} {quoted_value(name)}.", fix(name, section))

    names = {section: frozenset(draft.names[section]) for section in SECTIONS}
    for name, domain in fleet.domains.items():
        yield from refer(("domains", name, "site"), domain.site.name, "sites")
    for name, pool in fleet.pools.items():
        yield from refer(("pools", name, "cluster"), pool.cluster.name, "clusters")
    for section, audited in (("targets", fleet.audit.targets), ("names", fleet.audit.names)):
        for i in range(len(audited)):
            path: Path_ = ("audit", section, i, "sites")
            for j, site in enumerate(draft.given(*path) or ()):
                yield from refer((*path, j), site, "sites")
    for i, target in enumerate(fleet.audit.targets):
        if target.at not in ("cloud", "elsewhere"):
            yield from refer(("audit", "targets", i, "at"), target.at, "sites")
    for name, host in fleet.hosts.items():
        yield from refer(("hosts", name, "site"), host.site.name, "sites")
        yield from refer(("hosts", name, "pool"), host.pool.name, "pools")
        if host.domain is None:
            continue
        yield from refer(("hosts", name, "domain"), host.domain.name, "domains")
        theirs, own = host.domain.site.name, host.site.name
        if (
            host.domain.name in fleet.domains
            and theirs != own
            and {theirs, own} <= names["sites"]
            and not (draft.unread("domains", host.domain.name, "site") or draft.unread("hosts", name, "site"))
        ):
            yield Mistake(
                ("hosts", name, "domain"),
                f"domain {host.domain.name} is at site {theirs}, the host at {own}.",
                "Name a domain of the host's own site, or correct the host's site.",
            )


def _choices(draft: Draft, fleet: Fleet, folder: Path) -> Iterator[Mistake]:
    """Exactly one provider, exactly one place for a secret."""
    for path, secret in secrets_in(draft, fleet):
        given = [kind for kind in ("file", "env", "block") if secret.get(kind)]
        if len(given) != 1 and not draft.unread(*path):
            yield Mistake(
                path,
                "a secret needs exactly one of file, env and block"
                + (f"; here are {' and '.join(given)}." if given else "; here is none."),
                "Write {file: PATH}, {env: NAME} or {block: NAME}.",
            )
    for name, cluster in fleet.clusters.items():
        provider, path = cluster.provider, ("clusters", name, "provider")
        if draft.unread(*path):
            continue
        if sum(draft.given(*path, kind) is not None for kind in ("ack", "kubeadm")) != 1:
            yield Mistake(path, "a cluster has exactly one provider.", "Write ack: {...} or kubeadm: {}.")
        if isinstance(provider, AckProvider) and (provider.access_key_id is None) != (
            provider.access_key_secret is None
        ):
            yield Mistake(
                (*path, "ack"),
                "only one half of the access key is given.",
                "Give both access_key_id and access_key_secret, or neither for the SDK's own credential chain.",
            )


def _upgrades(draft: Draft, fleet: Fleet, folder: Path) -> Iterator[Mistake]:
    """A command for upgrades is there if, and only if, it is what upgrades a host."""
    for name, cluster in fleet.clusters.items():
        ack, path = cluster.provider, ("clusters", name, "provider", "ack")
        if not isinstance(ack, AckProvider) or draft.unread(*path, "upgrade") or draft.unread(*path, "upgrade_command"):
            continue
        if ack.upgrade == "command" and not ack.upgrade_command:
            yield Mistake(
                (*path, "upgrade"),
                "the command that upgrades a host is missing.",
                "Write it with upgrade_command:, with {version} where the version belongs.",
            )
        if ack.upgrade != "command" and ack.upgrade_command:
            yield Mistake(
                (*path, "upgrade_command"),
                f"a command is never run with upgrade: {ack.upgrade}.",
                "Write upgrade: command, or delete it.",
                at_key=True,
            )


def _protocols(draft: Draft, fleet: Fleet, folder: Path) -> Iterator[Mistake]:
    """What ACK answers is run as root on hosts: without TLS only a stand-in on this machine may answer."""
    for name, cluster in fleet.clusters.items():
        ack, path = cluster.provider, ("clusters", name, "provider", "ack")
        if not isinstance(ack, AckProvider) or ack.protocol == "https" or draft.unread(*path):
            continue
        asked = [ack.endpoint, *([ack.billing_endpoint] if ack.billing_endpoint else [])]
        if not all(endpoint and is_this_machine(endpoint) for endpoint in asked):
            yield Mistake(
                (*path, "protocol"),
                "with http anyone on the network path can answer instead of ACK, and hosts run the answer as root.",
                "Delete it, because ACK uses https. Only an endpoint on this machine (127.0.0.1:PORT) may use http.",
            )


def _pool_labels(draft: Draft, fleet: Fleet, folder: Path) -> Iterator[Mistake]:
    """In a kubeadm cluster the pool's id is a label of its nodes, so it must be the value of one."""
    for name, pool in fleet.pools.items():
        if not pool.cluster.by_kubeadm or pool.cluster.name not in fleet.clusters:
            continue
        path = ("pools", name, "nodepool_id")
        if (
            LABEL_VALUE.fullmatch(pool.nodepool_id)
            or draft.unread(*path)
            or draft.unread("clusters", pool.cluster.name)
        ):
            continue
        yield Mistake(
            path,
            f"{quoted_value(pool.nodepool_id)} cannot be the value of a label, and in a kubeadm cluster it is one.",
            "Use up to 63 letters, digits, dashes, dots and underscores, beginning and ending with a letter or digit.",
        )


def _checks(draft: Draft, fleet: Fleet, folder: Path) -> Iterator[Mistake]:
    """A pool's own checks are a command or a query each."""
    for name, pool in fleet.pools.items():
        for i, check in enumerate(pool.rollout.checks):
            path: Path_ = ("pools", name, "rollout", "checks", i)
            asks = bool(check.prometheus), bool(check.query)
            if bool(check.command) == all(asks) or any(asks) != all(asks):
                yield Mistake(
                    path,
                    "a check needs either a command, or a query with its Prometheus server.",
                    "Write command: [PROGRAM, ARGUMENT], or prometheus: URL and query: PROMQL.",
                )
            elif check.prometheus and not check.prometheus.startswith(("http://", "https://")):
                yield Mistake(
                    (*path, "prometheus"), "a Prometheus server has a URL.", "Write it like http://host:9090."
                )


def _audited(draft: Draft, fleet: Fleet, folder: Path) -> Iterator[Mistake]:
    """Targets are one thing each, with names of their own; a name that must not be has no address."""
    taken: set[str] = set()
    for i, target in enumerate(fleet.audit.targets):
        path: Path_ = ("audit", "targets", i)
        if draft.unread(*draft.as_written(path)):
            continue
        given = [kind for kind in ("tcp", "tls", "url") if getattr(target, kind)]
        if len(given) != 1:
            yield Mistake(
                path,
                "a target needs exactly one of tcp, tls and url"
                + (f"; here are {' and '.join(given)}." if given else "; here is none."),
                "Write tcp: HOST:PORT, tls: HOST:PORT or url: https://HOST/PATH.",
            )
        elif target.authority and target.service.kind in ("tcp", "http"):
            yield Mistake(
                (*path, "ca"), "this target verifies no certificate.", "Write tls: or an https URL, or delete it."
            )
        if target.name in taken:
            yield Mistake(
                (*path, "name"), f"there is a target {quoted_value(target.name)} already.", "Give each its own name."
            )
        taken.add(target.name)
    for i, name in enumerate(fleet.audit.names):
        if name.absent and name.addresses and not draft.unread(*draft.as_written(("audit", "names", i))):
            yield Mistake(
                ("audit", "names", i, "absent"),
                "a name that must not be found has no right address.",
                "Delete absent or addresses.",
                at_key=True,
            )


def _logins(draft: Draft, fleet: Fleet, folder: Path) -> Iterator[Mistake]:
    """Each host has a user and a key. What is missing for a whole site is said once."""
    without_user: dict[str, list[str]] = defaultdict(list)
    without_key: dict[str, list[str]] = defaultdict(list)
    certificates_alone: dict[Path_, None] = {}
    readable = {name for name in fleet.sites if not draft.unread("sites", name, "ssh")} - (
        set(fleet.sites) if draft.unread("ssh") else set()
    )
    for name, host in fleet.hosts.items():
        site = host.site.name
        if site not in readable or draft.unread("hosts", name, "ssh"):
            continue
        if not host.ssh.user:
            without_user[site].append(name)
        if host.ssh.key:
            continue
        if not host.ssh.agent:
            without_key[site].append(name)
        if host.ssh.certificate:
            levels: tuple[Path_, ...] = (("hosts", name, "ssh"), ("sites", site, "ssh"), ("ssh",))
            alone = ((*level, "certificate") for level in levels)
            certificates_alone |= {path: None for path in alone if draft.given(*path)}
    for path in certificates_alone:
        yield Mistake(
            path,
            "a certificate without its key is never used.",
            "Name the certificate's private key with key: {file: PATH} beside it.",
        )
    for what, where, hosts_of in (
        ("SSH user", "{user: NAME}", without_user),
        ("SSH key", "{key: {file: PATH}} or ssh: {agent: true}", without_key),
    ):
        for site, hosts in hosts_of.items():
            names = ", ".join(hosts[:3]) + (", ..." if len(hosts) > 3 else "")
            yield Mistake(
                ("sites", site),
                f"no {what} is set for {counted(len(hosts), 'host')} of this site ({names}).",
                f"Set ssh: {where} for the fleet, the site or the host.",
                at_key=True,
            )


def _node_names(draft: Draft, fleet: Fleet, folder: Path) -> Iterator[Mistake]:
    """RFC 1123 subdomains; ACK's joiner also refuses names that start with `localhost`."""
    taken: dict[tuple[str, str], str] = {}
    for name, host in fleet.hosts.items():
        node = host.node_name
        is_written = draft.given("hosts", name, "node_name") is not None
        path: Path_ = ("hosts", name, "node_name") if is_written else ("hosts", name)
        if is_written and (len(node) > 253 or not NODE_NAME.fullmatch(node)):
            yield Mistake(
                path,
                f"{quoted_value(node)} cannot be a node's name.",
                "Use up to 253 lower-case letters, digits, dashes and dots; each part between dots begins and ends"
                " with a letter or digit.",
            )
        if node.startswith("localhost"):
            yield Mistake(
                path,
                "names of nodes must not start with localhost (ACK refuses them).",
                "Choose another node_name.",
                at_key=not is_written,
            )
        if host.pool.name not in fleet.pools or draft.unread("hosts", name, "node_name"):
            continue
        first = taken.setdefault((host.pool.cluster.name, node), name)
        if first != name:
            yield Mistake(
                path,
                f"host {first} has the node name {node} already.",
                "Give each host of a cluster its own node_name.",
                at_key=not is_written,
            )
