"""How a host is connected: names, routes, ranges, clock, and the way to the API server."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from tasks.fleet.model import Host, Network
from tasks.onboard.preflight.check import Batch, HostView, Unsure, Wrong, check
from tasks.outcomes import Severity, Unknown, known

ALIBABA_SERVICES = ip_network("100.64.0.0/10")
"""Where Alibaba Cloud's internal services live, reached over the private line."""
SKEW_FROM_MEDIAN_S = 30.0
"""k0sctl's bound; certificates and leases begin to suffer from there on."""
SKEW_FROM_API_S = 60.0
"""A join token or certificate is refused when the clock is further off than its margin."""


@check("hosts.resolvers.answer", "its resolvers answer", "resolvers")
def resolvers(view: HostView, batch: Batch) -> Wrong | Unsure | None:
    """kubelet and joiner resolve names at start; with a dead resolver a join hangs and the node stays NotReady."""
    seen = known(view.facts.resolvers)
    dead = [r.address for r in seen if r.answers is False]
    wanted = set(view.host.site.dns.resolvers)
    missing = sorted(wanted - {r.address for r in seen})
    if dead or not seen:
        return Wrong(
            f"{', '.join(dead)} does not answer" if dead else "no resolver is configured",
            f"every resolver answers {view.host.site.dns.external_name}",
            f"On the host, try `nslookup {view.host.site.dns.external_name}`; mend or replace the resolver in"
            " /etc/resolv.conf or in what writes it.",
        )
    if missing:
        return Wrong(
            f"uses {', '.join(r.address for r in seen)}",
            f"{', '.join(sorted(wanted))}, as the fleet file says",
            "Correct the host's resolvers, or the site's dns.resolvers.",
        )
    unclear = [r for r in seen if r.answers is None]
    return Unsure(f"whether {unclear[0].address} answers: {unclear[0].reason}") if unclear else None


@check("hosts.name.resolves", "it resolves its own name", "own_name_resolves")
def own_name(view: HostView, batch: Batch) -> Wrong | None:
    """kubelet and kubeadm look it up; without an answer a join took 25 s and the node stayed NotReady."""
    if known(view.facts.own_name_resolves):
        return None
    return Wrong(
        "its own hostname does not resolve",
        "its own address",
        "Add a line `ADDRESS HOSTNAME` to the host's /etc/hosts.",
    )


def _cluster_ranges(host: Host) -> dict[str, Network]:
    cluster = host.pool.cluster
    ranges: dict[str, Network] = {f"pod range {c}": c for c in cluster.pod_cidrs}
    ranges |= {f"service range {c}": c for c in cluster.service_cidrs}
    if cluster.container_cidr:
        ranges[f"container range {cluster.container_cidr}"] = cluster.container_cidr
    ranges[f"Alibaba Cloud's own services {ALIBABA_SERVICES}"] = ALIBABA_SERVICES
    return ranges


@check("hosts.routes.apart", "none of its routes overlaps a range of the cluster", "routes")
def routes(view: HostView, batch: Batch) -> Wrong | None:
    """ACK: "node route overlaps"; such pods or services could never be reached from this host."""
    if view.node is not None:
        return None  # the CNI's own routes are there now
    clashes = []
    for route in known(view.facts.routes):
        if route == "default":
            continue
        network = ip_network(route, strict=False)
        if network.prefixlen == 0:
            continue
        clashes += [
            f"route {route} in {name}"
            for name, taken in _cluster_ranges(view.host).items()
            if network.version == taken.version and network.overlaps(taken)
        ]
    if not clashes:
        return None
    return Wrong(
        "; ".join(clashes[:5]),
        "no overlap",
        "Remove the route or move the site's network; the cluster's ranges cannot be changed afterwards.",
    )


@check("hosts.address.apart", "its address is outside the cluster's ranges")
def address(view: HostView, batch: Batch) -> Wrong | None:
    """The declared node address, else the one that SSH goes to, if that is one."""
    try:
        own = view.host.node_address or ip_address(view.host.address)
    except ValueError:
        return None  # a DNS name: the Node's own address is compared in acceptance
    inside = [
        name for name, taken in _cluster_ranges(view.host).items() if own.version == taken.version and own in taken
    ]
    if not inside:
        return None
    return Wrong(f"{own} lies in {', '.join(inside)}", "outside", "Give the host an address of the site's own range.")


@check("hosts.address.own", "the declared node address is one of its own", "addresses")
def own_address(view: HostView, batch: Batch) -> Wrong | None:
    """Behind address translation the control plane could not reach its kubelet."""
    wanted = view.host.node_address
    if wanted is None or str(wanted) in known(view.facts.addresses):
        return None
    return Wrong(
        ", ".join(known(view.facts.addresses)) or "no address",
        str(wanted),
        "Correct node_address in the fleet file.",
    )


@check(
    "hosts.mtu.enough",
    "its interfaces take full packets",
    "mtus",
    severity=Severity.WARNING,
    on_unknown=Severity.INFO,
)
def mtu(view: HostView, batch: Batch) -> Wrong | None:
    """Overlay mode takes 50 bytes of each packet; below 1450 paths begin to drop silently."""
    small = {name: size for name, size in known(view.facts.mtus).items() if name != "lo" and size < 1450}
    if not small:
        return None
    return Wrong(
        ", ".join(f"{name} {size}" for name, size in sorted(small.items())),
        "at least 1450 bytes",
        "Raise the MTU, or set the CNI's below it.",
    )


@check("hosts.clock.fleet", "its clock agrees with the fleet's median")
def clock_fleet(view: HostView, batch: Batch) -> Wrong | Unsure | None:
    """A host that disagrees with all others is wrong, whatever the control plane's clock says."""
    skew = batch.clock_skew_s[view.host.name]
    if isinstance(skew, Unknown):
        return Unsure(skew.reason)
    if batch.median_skew_s is None:
        return Unsure("no host's clock could be read")
    off_s = skew.value - batch.median_skew_s
    if abs(off_s) <= SKEW_FROM_MEDIAN_S:
        return None
    return Wrong(
        f"{off_s:+.0f} s from the fleet's median",
        f"within {SKEW_FROM_MEDIAN_S:.0f} s",
        "Set the clock by the site's time server and keep it so: `chronyc makestep`, `systemctl enable --now chrony`.",
    )


@check("hosts.clock.api", "its clock agrees with the API server's")
def clock_api(view: HostView, batch: Batch) -> Wrong | Unsure | None:
    """ACK answers TOKEN_EXPIRED for a fresh token when the node's clock is wrong."""
    skew = batch.clock_skew_s[view.host.name]
    if isinstance(skew, Unknown):
        return Unsure(skew.reason)
    if abs(skew.value) <= SKEW_FROM_API_S:
        return None
    return Wrong(
        f"{skew.value:+.0f} s from the API server's Date",
        f"within {SKEW_FROM_API_S:.0f} s",
        "Set the clock by the site's time server: `chronyc makestep`, then `chronyc tracking`.",
    )


@check(
    "hosts.clock.synchronised",
    "its clock is kept by NTP",
    "clock_synchronised",
    severity=Severity.WARNING,
    on_unknown=Severity.INFO,
)
def clock_kept(view: HostView, batch: Batch) -> Wrong | None:
    """A right clock that nobody keeps will be wrong later."""
    if known(view.facts.clock_synchronised):
        return None
    return Wrong("not synchronised", "synchronised", "Enable a time service: `systemctl enable --now chrony`.")


@check("hosts.api.reachable", "it reaches the API server, whose certificate it can verify", "api_answer")
def api(view: HostView, batch: Batch) -> Wrong | None:
    """From the host, by the address that kubelet will use, with the cluster's own certificate authority."""
    if known(view.facts.api_answer) == "":
        return None
    return Wrong(
        known(view.facts.api_answer),
        "an answer, verified with the cluster's CA",
        "Check route, firewall and the load balancer's access list from the site to the API server; a"
        " certificate error means that something in between answers in its place.",
    )


@check(
    "hosts.proxy.none",
    "no proxy stands between it and the API server",
    "proxies",
    severity=Severity.WARNING,
    on_unknown=Severity.INFO,
)
def proxy(view: HostView, batch: Batch) -> Wrong | None:
    """kubelet and joiner take proxy settings from the environment unless no_proxy excludes the cluster."""
    settings = {name.lower(): value for name, value in known(view.facts.proxies).items()}
    if not any(name in settings for name in ("http_proxy", "https_proxy", "all_proxy")):
        return None
    if settings.get("no_proxy"):
        return None
    return Wrong(
        ", ".join(f"{name}={value}" for name, value in sorted(settings.items())),
        "none, or no_proxy naming the API server and the pod and service ranges",
        "Set no_proxy on the host, or take the proxy settings out.",
    )


@check("pools.container-range.enough", "the container range has room for the pool's hosts")
def container_range(view: HostView, batch: Batch) -> Wrong | None:
    """2^(mask - prefix) nodes: each takes one part of the hybrid container range."""
    cluster = view.host.pool.cluster
    if cluster.container_cidr is None or cluster.node_mask is None:
        return None
    room = 2 ** (cluster.node_mask - cluster.container_cidr.prefixlen)
    hybrid = {row.name for row in batch.nodes.values() if row.is_hybrid}
    wanted = hybrid | {
        other.host.node_name for other in batch.views.values() if other.host.pool.cluster.name == cluster.name
    }
    if len(wanted) <= room:
        return None
    return Wrong(
        f"{len(wanted)} hybrid nodes, with those now joining",
        f"at most {room}: {cluster.container_cidr} in parts of /{cluster.node_mask}",
        "Join fewer hosts, or have the container range extended before.",
    )
