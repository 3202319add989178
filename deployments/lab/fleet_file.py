"""The fleet file that declares the lab, as a user would write it for real sites."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import yaml

from poolkeeper.deployments.lab.billing import LINE_ID
from poolkeeper.deployments.lab.layout import (
    CLUSTER_ID,
    DOMAINS_PER_SITE,
    POOLS,
    REGION,
    SITES,
    SSH_USER,
    LabHost,
    Network,
    node_mask,
)
from poolkeeper.deployments.lab.real.machines.intranet import CLOUD_NAME, site_name
from poolkeeper.deployments.lab.seeds import BUSYBOX_IMAGE

EXTERNAL_NAME = "aliyun.com"
INTERNAL_NAME = "kubernetes.default.svc.cluster.local"
TIME_ZONES = {"fra1": "Europe/Berlin", "ams1": "Europe/Amsterdam"}

_HEAD = "# The practice world: what `poolkeeper lab up` has started. Paths are relative to this file.\n"


def fleet_file(network: Network, hosts: Mapping[str, tuple[LabHost, int]], ack_endpoint: str, bss_endpoint: str) -> str:
    """The file's text. hosts: by name, with the SSH port of each."""
    ack = {
        "cluster_id": CLUSTER_ID,
        "region": REGION,
        "endpoint": ack_endpoint,
        "protocol": "http",
        "upgrade": "command",
        "upgrade_command": "edgeadm upgrade --version=v{version}",
        "access_key_id": {"file": "keys/ack-id"},
        "access_key_secret": {"file": "keys/ack-secret"},
        "billing_endpoint": bss_endpoint,
    }
    cluster = {
        "provider": {"ack": ack},
        "test_image": BUSYBOX_IMAGE,
        "billed_resources": {LINE_ID: "dedicated line to fra1"},
    }
    document = _document(network, hosts, cluster, dict.fromkeys(SITES, network.dns), _pool)
    return _HEAD + yaml.safe_dump(document, sort_keys=False, width=120)


def machines_fleet_file(
    network: Network, hosts: Mapping[str, LabHost], image: str, resolvers: Mapping[str, str], pods: Sequence[str]
) -> str:
    """The same for a lab of machines, which join by kubeadm.

    resolvers: site -> its name server; pods: DaemonSets that have a pod on every node
    """

    def pool(pool_id: str) -> dict[str, object]:
        timeout = {"parallel": 6, "timeout": "90s", "on_failure": "undo"}
        return {**_pool(pool_id), "join": timeout, "expected_pods": list(pods), "min_disk_free": "2Gi"}

    # the machines' kernel is that of the machine that the lab runs on: it is not theirs to verify
    provider = {
        "kubeadm": {
            "ignore_preflight_errors": ["SystemVerification"],
            "taints": ["nodepool-type=hybridcloud:NoSchedule"],
        }
    }
    placed = {name: (host, 22) for name, host in hosts.items()}
    document = _document(network, placed, {"provider": provider, "test_image": image}, resolvers, pool)
    document["audit"] = _audited()
    return _HEAD + yaml.safe_dump(document, sort_keys=False, width=120)


def _audited() -> dict[str, object]:
    """What hosts must reach and know, beside the cluster: an intranet in the cloud, and one at each site."""
    by_its_own: dict[str, object] = {"ca": "intranet-ca.crt"}
    targets: list[dict[str, object]] = [{"name": "intranet", "url": f"https://{CLOUD_NAME}/", **by_its_own}]
    targets += [
        {"name": f"intranet of {site}", "sites": [site], "at": site, "tls": f"{site_name(site)}:443", **by_its_own}
        for site in SITES
    ]
    names = [{"name": CLOUD_NAME, "zone": "cloud"}, *({"name": site_name(s), "zone": "on-prem"} for s in SITES)]
    return {"targets": targets, "names": names}


def _document(
    network: Network,
    hosts: Mapping[str, tuple[LabHost, int]],
    cluster: Mapping[str, object],
    resolvers: Mapping[str, str],
    pool: Callable[[str], dict[str, object]],
) -> dict[str, object]:
    return {
        "fleet": "lab",
        "mode": "act",
        "ssh": {"user": SSH_USER, "key": {"file": "keys/ops"}, "known_hosts": "keys/known_hosts"},
        "ssh_limits": {"handshakes": 32, "sessions": 400},
        "clusters": {
            "main": {
                **cluster,
                "kubeconfig": {"file": "kubeconfig"},
                "pod_cidrs": [str(network.cloud_pods)],
                "service_cidrs": [str(network.services)],
                "container_cidr": str(network.hybrid_pods),
                "node_mask": node_mask(len(hosts)),
            }
        },
        "sites": {site: _site(network, site, resolvers[site]) for site in SITES},
        "domains": {
            f"{site}-rack{number}": {"site": site, "max_unavailable": 1}
            for site in SITES
            for number in range(1, DOMAINS_PER_SITE + 1)
        },
        "pools": {name: pool(pool_id) for name, pool_id in POOLS.items()},
        "hosts": dict(_hosts(hosts.values())),
    }


def _site(network: Network, site: str, resolver: str) -> dict[str, object]:
    return {
        "time_zone": TIME_ZONES[site],
        "cidrs": [str(network.site_cidr(site))],
        "ssh_limits": {"handshakes": 32, "sessions": 250},
        "dns": {"resolvers": [resolver], "external_name": EXTERNAL_NAME, "internal_name": INTERNAL_NAME},
    }


def _pool(pool_id: str) -> dict[str, object]:
    return {
        "cluster": "main",
        "nodepool_id": pool_id,
        "max_unavailable": "25%",
        "accepted": [{"os": "debian", "versions": ["12"], "kernel_min": "5.10", "arch": ["amd64"]}],
        "lift_taint": True,
        "join": {"parallel": 6, "timeout": "60s", "on_failure": "undo"},
    }


def _hosts(hosts: Iterable[tuple[LabHost, int]]) -> Iterable[tuple[str, dict[str, object]]]:
    for host, port in hosts:
        place = {"address": host.address, "port": port, "site": host.site, "pool": host.pool, "domain": host.domain}
        yield host.name, place
