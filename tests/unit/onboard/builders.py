"""Builders that name only what differs from a healthy world."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from tasks.cluster.nodes import NodeRow
from tasks.fleet.model import AckProvider, Cluster, Domain, Host, Pool, SecretRef, Site, SshAccess

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
    pool = replace(POOL, **more.pop("pool", {}))
    domain = more.pop("domain", None)
    fields: dict[str, Any] = {
        "address": "10.1.0.11",
        "node_name": name,
        "node_address": None,
        "site": SITE,
        "pool": pool,
        "domain": Domain(domain, SITE) if domain else None,
        "ssh": SshAccess("ops"),
    }
    return Host(name, **{**fields, **more})


def a_node(name: str = "fra1-n01", **more: Any) -> NodeRow:
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
