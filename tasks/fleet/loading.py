"""From a file to a fleet, or to every problem of the file at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from poolkeeper.tasks.fleet import document as doc
from poolkeeper.tasks.fleet import model
from poolkeeper.tasks.fleet.draft import MAX_MISTAKES, read_draft
from poolkeeper.tasks.fleet.pasted import hidden, pasted_secrets, secrets_in_comments
from poolkeeper.tasks.fleet.paths import from_folder
from poolkeeper.tasks.fleet.problems import FleetInvalid, Problems
from poolkeeper.tasks.fleet.rules import check_draft
from poolkeeper.tasks.fleet.shape import FLEET
from poolkeeper.tasks.fleet.source import TextInvalid, read_source
from poolkeeper.tasks.fleet.text import Positions


def load_fleet(path: Path) -> model.Fleet:
    """The fleet that a file declares. Raises FleetInvalid with every problem."""
    fleet, problems = check_fleet(path)
    if fleet is None:
        raise FleetInvalid(path.name, problems)
    return fleet


def check_fleet(path: Path) -> tuple[model.Fleet | None, Problems]:
    """The fleet, or None and its problems."""
    try:
        text = read_source(path)
        positions = Positions(text)
    except TextInvalid as error:
        return None, Problems.of([error.problem])
    secrets = pasted_secrets(positions.data)
    draft = read_draft(positions.data, positions.written, FLEET)
    mistakes = [*draft.mistakes, *check_draft(draft, path.parent)]
    pasted_at = {secret.path for secret in secrets}
    # what else is wrong with a pasted secret goes away with it, and would show it
    mistakes = [mistake for mistake in mistakes if mistake.path not in pasted_at]
    mistakes[:0] = [secret.mistake for secret in secrets]
    told = mistakes[:MAX_MISTAKES]
    placed = [*positions.problems, *secrets_in_comments(text), *map(positions.place, told)]
    if placed or draft.document is None:
        return None, Problems.of(hidden(placed, secrets), draft.more + len(mistakes) - len(told))
    return _resolve(draft.document, path), Problems.of(())


_NO_SSH = doc.SshEntry()


def _resolve(document: doc.Document, path: Path) -> model.Fleet:
    folder = path.parent
    fleet_observes = document.mode is model.Mode.OBSERVE
    clusters = {name: _cluster(name, entry, folder) for name, entry in document.clusters.items()}
    sites = {name: _site(name, entry, folder, observe=fleet_observes) for name, entry in document.sites.items()}
    domains = {
        name: model.Domain(name, sites[entry.site], _limit(entry.max_unavailable))
        for name, entry in document.domains.items()
    }
    pools = {
        name: _pool(name, entry, clusters[entry.cluster], observe=fleet_observes)
        for name, entry in document.pools.items()
    }
    hosts = {}
    shared: dict[str, model.SshAccess] = {}
    for name, entry in document.hosts.items():
        levels = (document.ssh, document.sites[entry.site].ssh, entry.ssh)
        if entry.ssh == _NO_SSH:  # nearly every host: one object a site, and 5,000 hosts load faster
            ssh = shared.get(entry.site) or shared.setdefault(entry.site, _access(folder, levels))
        else:
            ssh = _access(folder, levels)
        hosts[name] = model.Host(
            name=name,
            address=entry.address,
            node_name=entry.node_name or name,
            node_address=ip_address(entry.node_address) if entry.node_address else None,
            site=sites[entry.site],
            pool=pools[entry.pool],
            domain=domains[entry.domain] if entry.domain else None,
            ssh=replace(ssh, port=entry.port) if entry.port else ssh,
            labels=entry.labels,
            machine_id=entry.machine_id,
            active=entry.active,
        )
    limits = model.SshLimits(document.ssh_limits.handshakes, document.ssh_limits.sessions)
    audit = _audit(document.audit, folder)
    return model.Fleet(document.fleet, path, clusters, sites, domains, pools, hosts, limits, document.mode, audit)


def _audit(entry: doc.AuditEntry, folder: Path) -> model.AuditSettings:
    names = tuple(
        model.AuditName(name.name, frozenset(name.sites), name.zone, tuple(sorted(name.addresses)), name.absent)
        for name in entry.names
    )
    targets = tuple(_target(target, folder) for target in entry.targets)
    return model.AuditSettings(
        entry.every_pair_up_to,
        entry.neighbours,
        entry.path_mtu,
        entry.silent_nights,
        entry.provider_endpoints,
        targets,
        names,
    )


def _target(entry: doc.TargetEntry, folder: Path) -> model.AuditTarget:
    if entry.url:
        kind, _, rest = entry.url.partition("://")
        place, slash, path = rest.partition("/")
        bare = place.rpartition("]")[2]
        where = place if ":" in bare else f"{place}:{443 if kind == 'https' else 80}"
    else:
        kind, where, slash, path = ("tcp", entry.tcp, "", "") if entry.tcp else ("tls", entry.tls or "", "", "")
    address, _, port = where.rpartition(":")
    return model.AuditTarget(
        entry.name,
        frozenset(entry.sites),
        kind,
        address.strip("[]"),
        int(port),
        slash + path,
        _file(entry.ca, folder),
        entry.expires_in.total_seconds(),
        entry.at,
    )


def _cluster(name: str, entry: doc.ClusterEntry, folder: Path) -> model.Cluster:
    provider: model.Provider
    if entry.provider.ack:
        ack = entry.provider.ack
        provider = model.AckProvider(
            ack.cluster_id,
            ack.region,
            ack.endpoint,
            ack.protocol,
            _secret(ack.access_key_id, folder),
            _secret(ack.access_key_secret, folder),
            ack.reset_command,
            ack.account_site,
            ack.billing_endpoint,
            ack.upgrade,
            ack.upgrade_command,
            ack.removal,
        )
    else:
        kubeadm = entry.provider.kubeadm or doc.KubeadmEntry()
        provider = model.KubeadmProvider(
            kubeadm.cri_socket, tuple(kubeadm.ignore_preflight_errors), tuple(map(_taint, kubeadm.taints))
        )
    kubeconfig = _secret(entry.kubeconfig, folder)
    assert kubeconfig is not None
    cluster = model.Cluster(
        name,
        provider,
        kubeconfig,
        entry.context,
        tuple(map(ip_network, entry.pod_cidrs)),
        tuple(map(ip_network, entry.service_cidrs)),
        ip_network(entry.container_cidr) if entry.container_cidr else None,
        entry.node_mask if entry.node_mask or not entry.container_cidr else 24,
        billed_resources=entry.billed_resources,
    )
    if entry.test_image or cluster.by_kubeadm:
        return replace(cluster, test_image=entry.test_image or model.TEST_IMAGE)
    return cluster


def _taint(written: str) -> tuple[str, str, str]:
    """`key=value:Effect`, the value may be missing."""
    what, _, effect = written.rpartition(":")
    key, _, value = what.partition("=")
    return key, value, effect


def _site(name: str, entry: doc.SiteEntry, folder: Path, *, observe: bool) -> model.Site:
    return model.Site(
        name,
        ZoneInfo(entry.time_zone),
        tuple(map(ip_network, entry.cidrs)),
        model.SiteDns(tuple(entry.dns.resolvers), entry.dns.internal_name, entry.dns.external_name),
        tuple(
            model.Window(frozenset(map(doc.DAYS.index, window.days)), window.start, window.duration)
            for window in entry.windows
        ),
        tuple(model.Freeze(freeze.start, freeze.end, freeze.reason) for freeze in entry.freezes),
        tuple(from_folder(folder, file) for file in entry.freeze_calendars),
        model.SshLimits(entry.ssh_limits.handshakes, entry.ssh_limits.sessions),
        entry.work_pool,
        model.Mode.OBSERVE if observe else entry.mode,
    )


def _pool(name: str, entry: doc.PoolEntry, cluster: model.Cluster, *, observe: bool) -> model.Pool:
    return model.Pool(
        name,
        cluster,
        entry.nodepool_id,
        _limit(entry.max_unavailable),
        tuple(
            model.AcceptedSystem(row.os, tuple(row.versions), row.kernel_min, tuple(row.arch)) for row in entry.accepted
        ),
        entry.min_cpus,
        entry.min_memory,
        entry.min_disk_free,
        entry.lift_taint,
        entry.join.parallel,
        entry.join.timeout.total_seconds(),
        entry.join.on_failure,
        entry.kubernetes_version,
        _expected_pods(entry, cluster),
        entry.labels,
        model.Mode.OBSERVE if observe else entry.mode,
        entry.rollout.host_duration.total_seconds(),
        tuple(
            model.UserCheck(
                check.name,
                tuple(check.command),
                check.prometheus or "",
                check.query or "",
                check.timeout.total_seconds(),
            )
            for check in entry.rollout.checks
        ),
    )


def _expected_pods(entry: doc.PoolEntry, cluster: model.Cluster) -> tuple[str, ...]:
    """What is declared; else those that every ACK cluster with hybrid pools has."""
    if entry.expected_pods is not None:
        return tuple(entry.expected_pods)
    return () if cluster.by_kubeadm else model.ACK_PODS


def _access(folder: Path, levels: Iterable[doc.SshEntry]) -> model.SshAccess:
    """Settings merged from the farthest to the nearest."""
    merged = model.SshAccess("")
    jump: doc.JumpEntry | None = None
    for entry in levels:
        given: dict[str, Any] = {
            "user": entry.user,
            "port": entry.port,
            "key": _secret(entry.key, folder),
            "certificate": _file(entry.certificate, folder),
            "agent": entry.agent,
            "known_hosts": _file(entry.known_hosts, folder),
            "sudo": entry.sudo,
        }
        for name in ("connect_timeout", "login_timeout", "command_timeout", "keepalive"):
            duration = getattr(entry, name)
            given[f"{name}_s"] = duration.total_seconds() if duration is not None else None
        merged = replace(merged, **{name: value for name, value in given.items() if value is not None})
        jump = entry.jump or jump
    if jump is None:
        return merged
    # the user last: the jump may be declared for the fleet, and the user for a site
    return replace(merged, jump=model.SshJump(jump.address, jump.port, jump.user or merged.user))


def _secret(entry: doc.SecretEntry | None, folder: Path) -> model.SecretRef | None:
    return model.SecretRef(_file(entry.file, folder), entry.env, entry.block) if entry else None


def _file(name: str | None, folder: Path) -> Path | None:
    return from_folder(folder, name) if name else None


def _limit(given: int | str) -> model.Limit:
    return model.Limit(percent=int(given[:-1])) if isinstance(given, str) else model.Limit(count=given)
