"""Builders that name only what differs from a healthy world."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.fleet.model import AckProvider, Cluster, Domain, Fleet, Host, Pool, SecretRef, Site, SshAccess
from poolkeeper.tasks.hosts import HostFacts
from poolkeeper.tasks.hosts.facts import Disk, Resolver
from poolkeeper.tasks.onboard.next_action import JoinState
from poolkeeper.tasks.onboard.preflight import Batch, HostView
from poolkeeper.tasks.onboard.run import make_batch
from poolkeeper.tasks.outcomes import Evidence, Finding, Known, Severity, Subject, Unknown

GIB = 1024**3
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

CLUSTER = Cluster(
    "main",
    AckProvider("c-1", "cn-hangzhou"),
    SecretRef(file=Path("kubeconfig")),
    None,
    pod_cidrs=(ip_network("172.20.0.0/16"),),
    service_cidrs=(ip_network("172.21.0.0/20"),),
    container_cidr=ip_network("10.100.0.0/16"),
    node_mask=24,
)
SITE = Site("fra1", ZoneInfo("Europe/Berlin"))
POOL = Pool("general", CLUSTER, "np-1")


def a_host(name: str = "fra1-n01", **more: Any) -> Host:
    """A declared host; `pool`, `cluster` and `site` name what differs in its surroundings."""
    pool = replace(POOL, cluster=replace(CLUSTER, **more.pop("cluster", {})), **more.pop("pool", {}))
    site = replace(SITE, **more.pop("site", {}))
    domain = more.pop("domain", None)
    fields: dict[str, Any] = {
        "address": "10.1.0.11",
        "node_name": name,
        "node_address": None,
        "site": site,
        "pool": pool,
        "domain": Domain(domain, SITE) if domain else None,
        "ssh": SshAccess("ops"),
    }
    return Host(name, **{**fields, **more})


def a_node(name: str = "fra1-n01", **more: Any) -> NodeRow:
    """A Ready hybrid node, not cordoned and not accepted yet."""
    fields: dict[str, Any] = {
        "uid": "u-1",
        "resource_version": "1",
        "created_at": NOW,
        "labels": {"alibabacloud.com/nodepool-type": "hybridcloud"},
        "annotations": {},
        "taints": (("nodepool-type", "hybridcloud", "NoSchedule"),),
        "unschedulable": False,
        "ready": True,
        "ready_message": "",
        "kubelet_version": "v1.36.3",
        "machine_id": "m-1",
        "boot_id": "b-1",
        "internal_ips": ("10.1.0.11",),
        "cpus": 8,
    }
    return NodeRow(name, **{**fields, **more})


def some_facts(**more: Any) -> HostFacts:
    """What a healthy host tells. A plain value is one that was read; `unread(...)` is one that was not."""
    healthy: dict[str, Any] = {
        "hostname": "fra1-n01",
        "os_id": "ubuntu",
        "os_version": "22.04",
        "kernel": "5.15.0-91-generic",
        "arch": "amd64",
        "machine_id": "m-1",
        "boot_id": "b-1",
        "product_uuid": "p-1",
        "cpus": 8,
        "gpus": 0,
        "memory_bytes": 32 * GIB,
        "swap_bytes": 0,
        "disks": (Disk("/", 200 * GIB, 100 * GIB),),
        "cgroup_version": 2,
        "open_files_limit": 1024,
        "ip_forward": True,
        "systemd": True,
        "reboot_required": False,
        "package_manager": "apt-get",
        "clock_offset_s": 0.2,
        "clock_synchronised": True,
        "resolvers": (Resolver("10.1.0.2", True),),
        "own_name_resolves": True,
        "addresses": ("127.0.0.1", "10.1.0.11", "fe80::1"),
        "routes": ("default", "10.1.0.0/24", "fe80::/64"),
        "mtus": {"lo": 65536, "eth0": 1500},
        "listening_ports": (22,),
        "proxies": {},
        "service_proxies": {},
        "runtime": "",
        "other_runtimes": (),
        "cri_disabled": False,
        "kubelet_version": "",
        "kubelet_running": False,
        "leftovers": (),
        "kubelet_mounts": (),
        "api_answer": "",
    }
    facts = {
        name: value if isinstance(value, Known | Unknown) else Known(value, NOW)
        for name, value in {**healthy, **more}.items()
    }
    return HostFacts(seen_at=NOW, **facts)


def unread(reason: str = "no such command") -> Unknown:
    """A fact that could not be read."""
    return Unknown(reason, NOW)


def a_view(name: str = "fra1-n01", **more: Any) -> HostView:
    """A host as it was read: `host`, `node` and `join` apart, anything else is a fact."""
    host, node = a_host(name, **more.pop("host", {})), more.pop("node", None)
    join = more.pop("join", JoinState.NONE)
    return HostView(host, some_facts(**{"hostname": name, **more}), node, join)


def a_batch(*views: HostView, nodes: tuple[NodeRow, ...] = (), **more: Any) -> Batch:
    """Everything that those hosts are compared with, as a run puts it together."""
    settings: dict[str, Any] = {
        "api_version": "v1.36.3",
        "api_host": "10.0.0.1",
        "api_ahead_s": 0.0,
        **more,
    }
    by_name = {row.name: row for row in (*nodes, *(view.node for view in views if view.node))}
    return replace(make_batch({v.host.name: v for v in views}, by_name, **settings), seen_at=NOW)


def a_fleet(*hosts: Host) -> Fleet:
    """A fleet of those hosts, with what they refer to."""
    return Fleet(
        name="test",
        path=Path("fleet.yaml"),
        clusters={host.pool.cluster.name: host.pool.cluster for host in hosts},
        sites={host.site.name: host.site for host in hosts},
        domains={host.domain.name: host.domain for host in hosts if host.domain},
        pools={host.pool.name: host.pool for host in hosts},
        hosts={host.name: host for host in hosts},
    )


def a_finding(id: str = "hosts.swap.off", severity: Severity = Severity.BLOCKER, **more: Any) -> Finding:
    """A finding on `fra1-n01`, as preflight makes them."""
    fields: dict[str, Any] = {
        "subject": Subject("host", "fra1-n01"),
        "evidence": Evidence("1.0 GiB of swap", "none", "host facts: swap_bytes", NOW),
        "next_step": "Run `swapoff -a`.",
    }
    return Finding(id, severity, **{**fields, **more})
