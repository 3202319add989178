"""Who answers names in a cluster: the DNS Service, its servers, the caches on nodes, and who is pointed at those.

Found by the labels and names that Kubernetes, ACK and OpenYurt give them, in kube-system.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from poolkeeper.tasks.cluster.api import ClusterApi, Json
from poolkeeper.tasks.cluster.fields import Unread, required, section, sections, text, texts, total
from poolkeeper.tasks.cluster.scheduling import Taint, parse_needs

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
    unread: str = ""
    """Why its object cannot be read; empty: it can."""


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
    sets = await api.list_rows(f"/apis/apps/v1/namespaces/{_SYSTEM}/daemonsets", _tolerating)
    caches = [tolerates for name, tolerates in sets if name.startswith(_CACHE)]
    pods = await api.list_rows("/api/v1/pods", _seen)
    system = [dns_pod for dns_pod, _ in pods if dns_pod is not None]
    return ClusterDns(
        service_ips=tuple(sorted({address for addresses in services for address in addresses})),
        servers=_named(system, _SERVERS),
        has_cache=bool(caches),
        cache_tolerates=any(caches),
        caches={pod.node: pod for pod in _named(system, (_CACHE,)) if pod.node},
        asking_cache=Counter(node for _, node in pods if node),
    )


def _named(pods: Iterable[DnsPod], prefixes: tuple[str, ...]) -> tuple[DnsPod, ...]:
    """Pods by prefix; others that belong to them have that name before their own."""
    found = (p for p in pods if p.name.startswith(prefixes) and not any(other in p.name for other in _OTHERS))
    return tuple(sorted(found, key=lambda pod: pod.name))


def _no_addresses(service: Unread) -> tuple[str, ...]:
    return ()


@total(_no_addresses)
def _addresses(service: Json) -> tuple[str, ...]:
    spec = section(service, "spec")
    given = texts(spec, "clusterIPs") or [text(spec, "clusterIP")]
    return tuple(address for address in given if address not in ("", "None"))


def _not_blamed(daemon_set: Unread) -> tuple[str, bool]:
    return daemon_set.name, True


@total(_not_blamed)
def _tolerating(daemon_set: Json) -> tuple[str, bool]:
    """A DaemonSet's name, and whether its pods may be on a hybrid node."""
    spec = section(section(section(daemon_set, "spec"), "template"), "spec")
    name = required(section(daemon_set, "metadata"), "name")
    return name, parse_needs(spec, _SYSTEM, {}, {}).tolerates(_HYBRID)


def _unread(pod: Unread) -> tuple[DnsPod | None, str]:
    if pod.namespace != _SYSTEM:
        return None, ""
    return DnsPod(pod.name, "", pod.text("spec", "nodeName"), ready=False, unread=pod.why), ""


@total(_unread)
def _seen(pod: Json) -> tuple[DnsPod | None, str]:
    """A pod of kube-system as a row, and the node on which a pod asks the node's cache; nothing of all others."""
    metadata, spec, status = section(pod, "metadata"), section(pod, "spec"), section(pod, "status")
    if text(status, "phase") in ("Succeeded", "Failed"):
        return None, ""
    node = text(spec, "nodeName")
    asks = NODE_LOCAL in texts(section(spec, "dnsConfig"), "nameservers")
    if text(metadata, "namespace") != _SYSTEM:
        return None, node if asks else ""
    ready = any(text(c, "type") == "Ready" and text(c, "status") == "True" for c in sections(status, "conditions"))
    row = DnsPod(required(metadata, "name"), text(status, "podIP"), node, ready)
    return row, node if asks else ""
