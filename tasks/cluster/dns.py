"""Who answers names in a cluster: the DNS Service, its servers, the caches on nodes, and who is pointed at those.

Found by the labels and names that Kubernetes, ACK and OpenYurt give them, in kube-system.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tasks.cluster.api import ClusterApi, Json
from tasks.cluster.scheduling import Taint, parse_needs

NODE_LOCAL = "169.254.20.10"
"""Where NodeLocal DNSCache listens on each node; in ACK it changes by ticket only."""
METRICS_PORT = 9253
"""Of NodeLocal DNSCache's Prometheus metrics: upstream's default."""
_SYSTEM = "kube-system"
_SERVICE, _CACHE = "k8s-app=kube-dns", "node-local-dns"
_SERVERS = ("coredns", "yurt-coredns")
"""Prefixes of DNS servers' pods. OpenYurt's stand inside a pool, so that a cut line takes no names away."""
_OTHERS = ("admission-controller", "autoscaler", "controlplane")
_HYBRID = Taint("nodepool-type", "hybridcloud", "NoSchedule")


@dataclass(frozen=True, slots=True)
class DnsPod:
    """The pod of a DNS server, or of a node's cache."""

    name: str
    ip: str
    node: str
    ready: bool


@dataclass(frozen=True, slots=True)
class ClusterDns:
    """What resolves names in a cluster."""

    service_ips: tuple[str, ...] = ()
    """Addresses of the DNS Service; empty: there is none with the usual label."""
    servers: tuple[DnsPod, ...] = ()
    has_cache: bool = False
    """Whether there is a DaemonSet of NodeLocal DNSCache."""
    cache_tolerates: bool = False
    """Whether its pods may be on a node with ACK's taint of hybrid nodes."""
    caches: Mapping[str, DnsPod] = field(default_factory=dict)
    """Node -> the pod of its cache."""
    asking_cache: Mapping[str, int] = field(default_factory=dict)
    """Node -> how many of its pods are pointed at its cache."""


async def read_cluster_dns(api: ClusterApi) -> ClusterDns:
    """All of it, read afresh; every pod of the cluster is passed over once. Raises ApiError and ClusterUnreachable."""
    services = await api.list_rows(
        f"/api/v1/namespaces/{_SYSTEM}/services", _addresses, query={"labelSelector": _SERVICE}
    )
    sets = await api.list_rows(f"/apis/apps/v1/namespaces/{_SYSTEM}/daemonsets", lambda item: item)
    caches = [item for item in sets if item["metadata"]["name"].startswith(_CACHE)]
    pods = await api.list_rows("/api/v1/pods", _seen)
    system = [dns_pod for dns_pod, _ in pods if dns_pod is not None]
    return ClusterDns(
        service_ips=tuple(sorted({address for addresses in services for address in addresses})),
        servers=_named(system, _SERVERS),
        has_cache=bool(caches),
        cache_tolerates=any(map(_tolerates, caches)),
        caches={pod.node: pod for pod in _named(system, (_CACHE,)) if pod.node},
        asking_cache=Counter(node for _, node in pods if node),
    )


def _named(pods: Iterable[DnsPod], prefixes: tuple[str, ...]) -> tuple[DnsPod, ...]:
    """Pods by prefix; others that belong to them have that name before their own."""
    found = (p for p in pods if p.name.startswith(prefixes) and not any(other in p.name for other in _OTHERS))
    return tuple(sorted(found, key=lambda pod: pod.name))


def _addresses(service: Json) -> tuple[str, ...]:
    spec = service["spec"]
    given = spec.get("clusterIPs") or [spec.get("clusterIP", "")]
    return tuple(address for address in given if address not in ("", "None"))


def _tolerates(daemon_set: Json) -> bool:
    spec = daemon_set["spec"]["template"]["spec"]
    return parse_needs(spec, _SYSTEM, {}, {}).tolerates(_HYBRID)


def _seen(pod: Json) -> tuple[DnsPod | None, str]:
    """A pod of kube-system as a row, and the node on which a pod asks the node's cache; nothing of all others."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed"):
        return None, ""
    node = spec.get("nodeName") or ""
    asks = NODE_LOCAL in ((spec.get("dnsConfig") or {}).get("nameservers") or ())
    if metadata["namespace"] != _SYSTEM:
        return None, node if asks else ""
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
    return DnsPod(metadata["name"], status.get("podIP") or "", node, ready), node if asks else ""
