"""A host's network: names, routes, ranges, clock, proxies, and the path to the API server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.fleet.values import Address, Network
from poolkeeper.tasks.onboard.preflight.check import Batch, HostView, Unsure, Wrong, check
from poolkeeper.tasks.onboard.preflight.identity import addresses_of
from poolkeeper.tasks.outcomes import Severity, Unknown, known

ALIBABA_SERVICES = ip_network("100.64.0.0/10")
"""The range of Alibaba Cloud's internal services, reached over the private line."""
SKEW_FROM_MEDIAN_S = 30.0
"""k0sctl's limit; above it certificates and leases begin to fail."""
SKEW_FROM_API_S = 60.0
"""Above it a join token or certificate may be refused."""
MTU_LEAST = 1450
TUNNELS = ("lo", "wg", "tun", "tap", "tailscale", "zt", "ppp")
"""Prefixes of interface names: tunnels have a small MTU by design, and carry no pods."""


@check("hosts.resolvers.answer", "its resolvers answer", "resolvers", on_unknown=Severity.WARNING)
def resolvers(view: HostView, batch: Batch) -> Wrong | Unsure | None:
    """kubelet and joiner resolve names at start; with a dead resolver a join hangs and the node stays NotReady.

    If another resolver answers, lookups are only slow. On minimal hosts without nslookup the system's own lookup is
    used, which does not show the resolver that answered.
    """
    seen = known(view.facts.resolvers)
    expected = f"every resolver answers {view.host.site.dns.external_name}"
    next_step = (
        f"On the host, try `nslookup {view.host.site.dns.external_name}`; repair the resolver, or replace it in"
        " /etc/resolv.conf or in the program that writes that file."
    )
    if not seen:
        return Wrong("no resolver is configured", expected, next_step)
    by_address = [r for r in seen if _address(r.address) is not None]
    milder = Severity.WARNING if any(r.answers for r in by_address) else None
    strange = [r.address for r in seen if r not in by_address]
    if strange:
        return Wrong(
            f"nameserver {', '.join(strange)}: not an IP address; some programs skip it, others fail",
            "an IP address after each nameserver",
            "Write one address per line, without a port, in /etc/resolv.conf or in the program that writes that file.",
            milder,
        )
    dead = [r.address for r in seen if r.answers is False]
    if dead:
        verb = "does" if len(dead) == 1 else "do"
        return Wrong(f"{', '.join(dead)} {verb} not answer", expected, next_step, milder)
    unclear = [r for r in seen if r.answers is None]
    return Unsure(f"whether {unclear[0].address} answers: {unclear[0].reason}") if unclear else None


@check(
    "hosts.resolvers.declared",
    "it uses its site's resolvers",
    "resolvers",
    severity=Severity.WARNING,
    on_unknown=Severity.INFO,
)
def declared_resolvers(view: HostView, batch: Batch) -> Wrong | Unsure | None:
    """Compared with the site's dns.resolvers. A stub such as systemd-resolved's 127.0.0.53 hides its resolvers."""
    wanted = set(view.host.site.dns.resolvers)
    if not wanted:
        return None
    used = {r.address: _address(r.address) for r in known(view.facts.resolvers)}
    if {_address(address) for address in wanted} <= set(used.values()):
        return None
    stubs = sorted(written for written, address in used.items() if address is not None and address.is_loopback)
    if stubs:
        return Unsure(
            f"{stubs[0]} is a stub on the host itself",
            "Look at `resolvectl status` on the host, and check that kubelet uses the resolv.conf behind the stub.",
        )
    return Wrong(
        f"uses {', '.join(sorted(used)) or 'none'}",
        f"{', '.join(sorted(wanted))}, as the fleet file says",
        "Correct the host's resolvers, or the site's dns.resolvers.",
    )


def _address(resolver: str) -> Address | None:
    """The address of a resolver in resolv.conf; None: it is not an address."""
    try:
        return ip_address(resolver.partition("%")[0])
    except ValueError:
        return None


@check(
    "hosts.name.resolves",
    "it resolves its own name",
    "own_name_resolves",
    severity=Severity.WARNING,
    on_unknown=Severity.INFO,
)
def own_name_resolves(view: HostView, batch: Batch) -> Wrong | None:
    """kubelet and kubeadm look it up, and use the default route's address if the name does not exist."""
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
    return ranges


def _contains(outer: Network, inner: Network) -> bool:
    if isinstance(outer, IPv4Network):
        return isinstance(inner, IPv4Network) and inner.subnet_of(outer)
    return isinstance(inner, IPv6Network) and inner.subnet_of(outer)


def _routes(view: HostView) -> list[Network]:
    """Destinations of routes, without default routes; VPN clients write those as two halves."""
    networks = [ip_network(route, strict=False) for route in known(view.facts.routes) if route != "default"]
    return [network for network in networks if network.prefixlen > 1]


@check("hosts.routes.apart", "none of its routes overlaps a range of the cluster", "routes")
def routes(view: HostView, batch: Batch) -> Wrong | None:
    """ACK: "node route overlaps"; pods or services behind such a route cannot be reached from this host.

    A route that is wider than a range is only a warning: it is often the route to the cloud, and the CNI's own routes
    are narrower and win.
    """
    if view.join_started:
        return None  # the CNI's own routes are there now
    inside, around = [], []
    for route in _routes(view):
        for name, taken in _cluster_ranges(view.host).items():
            if _contains(taken, route):
                inside.append(f"route {route} in {name}")
            elif _contains(route, taken):
                around.append(f"route {route} around {name}")
    if inside:
        return Wrong(
            "; ".join(inside[:5]),
            "no overlap",
            "Remove the route (`ip route`; docker's by its `bip`) or move the site's network; the cluster's ranges"
            " cannot be changed afterwards.",
        )
    if around:
        return Wrong(
            "; ".join(around[:5]),
            "no overlap, except the route to the cloud",
            "Check that no machine of the site has an address in that range: a pod could get the same address.",
            Severity.WARNING,
        )
    return None


@check("hosts.address.apart", "its address is outside the cluster's ranges", "addresses", on_unknown=Severity.WARNING)
def address(view: HostView, batch: Batch) -> Wrong | None:
    """The declared node address, else the SSH address, else all addresses of the host."""
    if view.join_started:
        return None  # the CNI's own addresses are there now, and its Node has one
    inside = [
        f"{own} lies in {name}"
        for own in addresses_of(view)
        for name, taken in _cluster_ranges(view.host).items()
        if own in taken
    ]
    if not inside:
        return None
    return Wrong("; ".join(inside[:5]), "outside", "Give the host an address of the site's own range.")


@check(
    "hosts.alibaba-services.apart",
    "no address or route of the site hides Alibaba Cloud's services",
    "addresses",
    "routes",
    severity=Severity.WARNING,
)
def alibaba_services(view: HostView, batch: Batch) -> Wrong | None:
    """100.64.0.0/10 is also carrier NAT's and Tailscale's range; on a private line ACK's registry and OSS are there.

    A route to the whole range, or a wider one, is the route to these services.
    """
    own = [a for a in map(ip_address, known(view.facts.addresses)) if a in ALIBABA_SERVICES]
    narrow = [r for r in _routes(view) if r != ALIBABA_SERVICES and _contains(ALIBABA_SERVICES, r)]
    if not own and not narrow:
        return None
    return Wrong(
        ", ".join([*(f"address {a}" for a in own), *(f"route {r}" for r in narrow)][:5]),
        f"nothing of the site in {ALIBABA_SERVICES}",
        "Check from the host that the registry's and OSS' internal names resolve and answer (`curl -v`); if they do"
        " not, use PrivateLink endpoints.",
    )


@check("hosts.address.own", "the declared node address is one of its own", "addresses")
def own_address(view: HostView, batch: Batch) -> Wrong | None:
    """Behind address translation the control plane cannot reach its kubelet."""
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
    "the MTU of its interfaces is large enough",
    "mtus",
    severity=Severity.WARNING,
    on_unknown=Severity.INFO,
)
def mtu(view: HostView, batch: Batch) -> Wrong | None:
    """Overlay mode uses 50 bytes of each packet; below 1450 packets are dropped silently on some paths."""
    small = {
        name: size for name, size in known(view.facts.mtus).items() if size < MTU_LEAST and not name.startswith(TUNNELS)
    }
    if not small:
        return None
    return Wrong(
        ", ".join(f"{name} {size}" for name, size in sorted(small.items())),
        f"at least {MTU_LEAST} bytes",
        "Raise the MTU, or set the CNI's MTU below it.",
    )


@check("hosts.clock.fleet", "its clock agrees with the fleet's median", "clock_offset_s")
def clock_fleet(view: HostView, batch: Batch) -> Wrong | Unsure | None:
    """A host that disagrees with all others is wrong, whatever the control plane's clock says.

    Two halves, or two hosts, have no majority: then the API server's clock decides.
    """
    skew = batch.clock_skew_s[view.host.name]
    if isinstance(skew, Unknown):
        return Unsure(skew.reason)
    if batch.median_skews_s is None:
        return Unsure("no host's clock could be read")
    off_s = min((skew.value - median for median in batch.median_skews_s), key=abs)
    if abs(off_s) <= SKEW_FROM_MEDIAN_S:
        return None
    return Wrong(
        f"{off_s:+.0f} s from the fleet's median",
        f"within {SKEW_FROM_MEDIAN_S:.0f} s",
        "Set the clock from the site's time server and keep it synchronised: `chronyc makestep`, `systemctl enable"
        " --now chronyd`.",
    )


@check("hosts.clock.api", "its clock agrees with the API server's", "clock_offset_s")
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
        "Set the clock from the site's time server: `chronyc makestep`, then `chronyc tracking`.",
    )


@check(
    "hosts.clock.synchronised",
    "NTP synchronises its clock",
    "clock_synchronised",
    severity=Severity.WARNING,
    on_unknown=Severity.INFO,
)
def clock_kept(view: HostView, batch: Batch) -> Wrong | None:
    """A correct clock without synchronisation will be wrong later."""
    if known(view.facts.clock_synchronised):
        return None
    return Wrong("not synchronised", "synchronised", "Enable a time service: `systemctl enable --now chronyd`.")


@check("hosts.api.reachable", "it reaches the API server, whose certificate it can verify", "api_answer")
def api(view: HostView, batch: Batch) -> Wrong | None:
    """From the host, by the address that kubelet will use, with the cluster's own certificate authority."""
    if known(view.facts.api_answer) == "":
        return None
    return Wrong(
        known(view.facts.api_answer),
        "an answer, verified with the cluster's CA",
        "Check route, firewall and the load balancer's access list from the site to the API server; a"
        " certificate error means that another server answers in its place.",
    )


@check(
    "hosts.proxy.bypassed",
    "it reaches the cluster without a proxy",
    "proxies",
    "service_proxies",
    severity=Severity.WARNING,
    on_unknown=Severity.INFO,
)
def proxy(view: HostView, batch: Batch) -> Wrong | None:
    """kubelet, runtime and joiner take proxy settings from their environment; no_proxy must name the cluster.

    It must cover the API server and the ranges of services and pods, as Go programs read it: names, their domains,
    addresses, and ranges. The environment of a systemd unit, with its no_proxy, counts for that unit only.
    """
    wanted = [*([batch.api_host] if batch.api_host else []), *map(str, _cluster_ranges(view.host).values())]
    services = known(view.facts.service_proxies)
    places = {"": known(view.facts.proxies), **services}
    caught = {place: lacking for place, settings in places.items() if (lacking := _caught(settings, wanted))}
    if not caught:
        return None
    where = [
        f"`systemctl cat {place}`"
        if place.endswith(".service")
        else place or "/etc/environment, the login user's profile"
        for place in caught
    ]
    missing = dict.fromkeys(target for lacking in caught.values() for target in lacking)
    return Wrong(
        "; ".join(
            f"{f'{place}: ' if place else ''}{_proxies_of(places[place])}; no_proxy lacks {', '.join(lacking)}"
            for place, lacking in caught.items()
        ),
        "no proxy, or all of them in no_proxy",
        f"Add {','.join(missing)} to no_proxy where the proxy is set ({'; '.join(where)}).",
    )


def _caught(settings: Mapping[str, str], wanted: Sequence[str]) -> list[str]:
    """Targets in the cluster that a proxy would be used for."""
    if not _proxies_of(settings):
        return []
    excluded = [
        entry.strip() for name, value in settings.items() if name.lower() == "no_proxy" for entry in value.split(",")
    ]
    return [target for target in wanted if not any(_covers(entry, target) for entry in excluded if entry)]


def _proxies_of(settings: Mapping[str, str]) -> str:
    """The proxies that are set, as `https_proxy=http://proxy.example:3128`."""
    names = {"http_proxy", "https_proxy", "all_proxy"}
    set_ = {name.lower(): value for name, value in settings.items() if name.lower() in names and value}
    return ", ".join(f"{name}={value}" for name, value in sorted(set_.items()))


def _covers(entry: str, target: str) -> bool:
    """Whether a no_proxy entry covers a name, an address or a range."""
    if entry == "*":
        return True
    try:
        return _contains(ip_network(entry, strict=False), ip_network(target))
    except ValueError:
        domain = entry.lower().removeprefix("*").removeprefix(".")
        return target.lower() == domain or target.lower().endswith(f".{domain}")


@check("pools.container-range.enough", "the container range is large enough for the pool's hosts")
def container_range(view: HostView, batch: Batch) -> Wrong | None:
    """2^(mask - prefix) nodes: each gets one block of the hybrid container range. A node has its block already."""
    cluster = view.host.pool.cluster
    if view.node is not None or cluster.container_cidr is None or cluster.node_mask is None:
        return None
    capacity = int(2.0 ** (cluster.node_mask - cluster.container_cidr.prefixlen))
    hybrid = {row.name for row in batch.nodes.values() if row.is_hybrid}
    wanted = hybrid | {
        other.host.node_name for other in batch.views.values() if other.host.pool.cluster.name == cluster.name
    }
    if len(wanted) <= capacity:
        return None
    return Wrong(
        f"{len(wanted)} hybrid nodes, including the hosts of this run",
        f"at most {capacity}: {cluster.container_cidr} in blocks of /{cluster.node_mask}",
        f"Join {len(wanted) - capacity} fewer hosts, or extend the container range before the join.",
    )
