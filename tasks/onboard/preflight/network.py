"""How a host is connected: names, routes, ranges, clock, proxies, and the way to the API server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.fleet.values import Address, Network
from poolkeeper.tasks.onboard.preflight.check import Batch, HostView, Unsure, Wrong, check
from poolkeeper.tasks.onboard.preflight.identity import addresses_of
from poolkeeper.tasks.outcomes import Severity, Unknown, known

ALIBABA_SERVICES = ip_network("100.64.0.0/10")
"""Where Alibaba Cloud's internal services live, reached over the private line."""
SKEW_FROM_MEDIAN_S = 30.0
"""k0sctl's bound; certificates and leases begin to suffer from there on."""
SKEW_FROM_API_S = 60.0
"""A join token or certificate is refused when the clock is further off than its margin."""
MTU_LEAST = 1450
TUNNELS = ("lo", "wg", "tun", "tap", "tailscale", "zt", "ppp")
"""Interfaces by the beginning of their name whose packets are small by trade, and which carry no pods."""


@check("hosts.resolvers.answer", "its resolvers answer", "resolvers", on_unknown=Severity.WARNING)
def resolvers(view: HostView, batch: Batch) -> Wrong | Unsure | None:
    """kubelet and joiner resolve names at start; with a dead resolver a join hangs and the node stays NotReady.

    With one that answers beside it, lookups are slow only. On minimal hosts without nslookup the system's own lookup
    tells, but not which one it was.
    """
    seen = known(view.facts.resolvers)
    expected = f"every resolver answers {view.host.site.dns.external_name}"
    next_step = (
        f"On the host, try `nslookup {view.host.site.dns.external_name}`; mend or replace the resolver in"
        " /etc/resolv.conf or in what writes it."
    )
    if not seen:
        return Wrong("no resolver is configured", expected, next_step)
    by_address = [r for r in seen if _address(r.address) is not None]
    milder = Severity.WARNING if any(r.answers for r in by_address) else None
    strange = [r.address for r in seen if r not in by_address]
    if strange:
        return Wrong(
            f"nameserver {', '.join(strange)}: no IP address, so that some programs pass it over and others end",
            "an IP address after each nameserver",
            "Write one address a line, without a port, in /etc/resolv.conf or in what writes it.",
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
    """Against the site's dns.resolvers; a stub such as systemd-resolved's 127.0.0.53 hides which ones it asks."""
    wanted = set(view.host.site.dns.resolvers)
    if not wanted:
        return None
    told = {r.address: _address(r.address) for r in known(view.facts.resolvers)}
    if {_address(address) for address in wanted} <= set(told.values()):
        return None
    stubs = sorted(written for written, address in told.items() if address is not None and address.is_loopback)
    if stubs:
        return Unsure(
            f"{stubs[0]} is a stub on the host itself",
            "Look at `resolvectl status` on the host, and see that kubelet gets the resolv.conf behind the stub.",
        )
    return Wrong(
        f"uses {', '.join(sorted(told)) or 'none'}",
        f"{', '.join(sorted(wanted))}, as the fleet file says",
        "Correct the host's resolvers, or the site's dns.resolvers.",
    )


def _address(resolver: str) -> Address | None:
    """The address of a resolver as resolv.conf has it; None: it is none."""
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
    """kubelet and kubeadm look it up, and go on with the default route's address where they get a plain no."""
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
    """Where routes lead, without default routes, also those cut in two halves as VPN clients do."""
    networks = [ip_network(route, strict=False) for route in known(view.facts.routes) if route != "default"]
    return [network for network in networks if network.prefixlen > 1]


@check("hosts.routes.apart", "none of its routes overlaps a range of the cluster", "routes")
def routes(view: HostView, batch: Batch) -> Wrong | None:
    """ACK: "node route overlaps"; pods or services behind such a route could never be reached from this host.

    A route that is wider than a range is a warning only: it is often the way to the cloud's side of it, and the
    CNI's own routes are narrower and win.
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
            "no overlap, unless it is the way to the cloud",
            "See that no machine of the site has an address in that range: pods would get it a second time.",
            Severity.WARNING,
        )
    return None


@check("hosts.address.apart", "its address is outside the cluster's ranges", "addresses", on_unknown=Severity.WARNING)
def address(view: HostView, batch: Batch) -> Wrong | None:
    """The declared node address, else the one that SSH goes to, else all of its own."""
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
    "nothing of the site hides Alibaba Cloud's own services",
    "addresses",
    "routes",
    severity=Severity.WARNING,
)
def alibaba_services(view: HostView, batch: Batch) -> Wrong | None:
    """100.64.0.0/10 is also carrier NAT's and Tailscale's range; on a private line ACK's registry and OSS are there.

    A route to the whole of it, or wider, is the way to them.
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
    small = {
        name: size for name, size in known(view.facts.mtus).items() if size < MTU_LEAST and not name.startswith(TUNNELS)
    }
    if not small:
        return None
    return Wrong(
        ", ".join(f"{name} {size}" for name, size in sorted(small.items())),
        f"at least {MTU_LEAST} bytes",
        "Raise the MTU, or set the CNI's below it.",
    )


@check("hosts.clock.fleet", "its clock agrees with the fleet's median", "clock_offset_s")
def clock_fleet(view: HostView, batch: Batch) -> Wrong | Unsure | None:
    """A host that disagrees with all others is wrong, whatever the control plane's clock says.

    Between two halves that disagree, or two hosts, there is no majority: then the API server's clock decides.
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
        "Set the clock by the site's time server and keep it so: `chronyc makestep`, `systemctl enable --now chronyd`.",
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
        " certificate error means that something in between answers in its place.",
    )


@check(
    "hosts.proxy.bypassed",
    "no proxy stands between it and the cluster",
    "proxies",
    "service_proxies",
    severity=Severity.WARNING,
    on_unknown=Severity.INFO,
)
def proxy(view: HostView, batch: Batch) -> Wrong | None:
    """kubelet, runtime and joiner take proxy settings from their environment; no_proxy must name the cluster.

    It must cover the API server and the ranges of services and pods, as Go's programs read it: names, their
    domains, addresses, and ranges. What a unit of systemd is started with is that unit's alone, no_proxy included.
    """
    wanted = [*([batch.api_host] if batch.api_host else []), *map(str, _cluster_ranges(view.host).values())]
    services = known(view.facts.service_proxies)
    places = {"": known(view.facts.proxies), **services}
    told = {place: lacking for place, settings in places.items() if (lacking := _caught(settings, wanted))}
    if not told:
        return None
    where = [
        f"`systemctl cat {place}`"
        if place.endswith(".service")
        else place or "/etc/environment, the login user's profile"
        for place in told
    ]
    missing = dict.fromkeys(target for lacking in told.values() for target in lacking)
    return Wrong(
        "; ".join(
            f"{f'{place}: ' if place else ''}{_proxies_of(places[place])}; no_proxy lacks {', '.join(lacking)}"
            for place, lacking in told.items()
        ),
        "no proxy, or all of these in no_proxy",
        f"Add {','.join(missing)} to no_proxy where the proxy is set ({'; '.join(where)}).",
    )


def _caught(settings: Mapping[str, str], wanted: Sequence[str]) -> list[str]:
    """What of the cluster would be asked for through a proxy."""
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


@check("pools.container-range.enough", "the container range has room for the pool's hosts")
def container_range(view: HostView, batch: Batch) -> Wrong | None:
    """2^(mask - prefix) nodes: each takes one part of the hybrid container range. A node has its part already."""
    cluster = view.host.pool.cluster
    if view.node is not None or cluster.container_cidr is None or cluster.node_mask is None:
        return None
    room = int(2.0 ** (cluster.node_mask - cluster.container_cidr.prefixlen))
    hybrid = {row.name for row in batch.nodes.values() if row.is_hybrid}
    wanted = hybrid | {
        other.host.node_name for other in batch.views.values() if other.host.pool.cluster.name == cluster.name
    }
    if len(wanted) <= room:
        return None
    return Wrong(
        f"{len(wanted)} hybrid nodes, with those now joining",
        f"at most {room}: {cluster.container_cidr} in parts of /{cluster.node_mask}",
        f"Join {len(wanted) - room} hosts fewer, or have the container range extended before.",
    )
