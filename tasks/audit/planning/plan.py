"""What each host is asked tonight, and what every answer depends on. Pure: from the fleet, the clusters, the date."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from poolkeeper.tasks.audit.causes.candidates import (
    Server,
    Stage,
    candidates_of_api,
    candidates_of_cache,
    candidates_of_clock,
    candidates_of_connect,
    candidates_of_mtu,
    candidates_of_resolver,
    candidates_of_stub,
    candidates_of_target,
    of_cluster,
)
from poolkeeper.tasks.audit.measurements import CandidateCause, FailureMode, Part
from poolkeeper.tasks.audit.places import CLOUD
from poolkeeper.tasks.audit.planning.mesh import Mesh, in_turn, plan_mesh
from poolkeeper.tasks.audit.planning.questions import Kind, Question
from poolkeeper.tasks.cluster.dns import METRICS_PORT, NODE_LOCAL, ClusterDns
from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.fleet.model import AuditName, AuditTarget, Fleet, Host

ABSENT = AuditName("poolkeeper-absent.invalid", absent=True)
"""A name that nobody may answer for (RFC 6761): who does, answers for every mistyped one."""
NEGATIVE_TTL_S = 600.0
"""A name that is created now should not be unknown for longer."""
NEGATIVE_TTL = "negative-ttl"
"""The stage of an answer that tells for how long it is remembered that there is no such name."""
CLOCK = "clock"
"""The stage of the API endpoint's answer that tells what time it is there."""
SERVERS_A_NIGHT = 4
"""At most so many of the cluster's DNS servers are asked by each host, in turn."""
MTU_HEADERS = 50
"""Bytes that VXLAN puts around a packet: the next size to try below the one that is wanted."""
MTU_LEAST = 576
"""Every path carries a packet of this size: where it is lost too, it is not the size."""
KUBELET_PORT = 10250
TRANSPORTS = ("udp", "tcp")
_CLUSTER_AUTHORITY = "cluster"


@dataclass(frozen=True, slots=True)
class ClusterView:
    """What was read of one cluster."""

    api_url: str
    authority: str
    """Its certificates in PEM; empty: the host's own are trusted."""
    nodes: Mapping[str, NodeRow] = field(default_factory=dict)
    dns: ClusterDns = field(default_factory=ClusterDns)
    required: tuple[AuditTarget, ...] = ()
    """What the provider's nodes must reach."""
    label: str = ""
    """Its name, where the fleet has several clusters: another one may have another server at the same address."""
    server_name: str = ""
    """Whom the API server's certificate is for; empty: its URL's host."""

    @property
    def endpoint(self) -> Server:
        """Where its API server is, as a reader would write it."""
        parts = urlsplit(self.api_url)
        name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return Server(f"{name}:{parts.port or 443}")

    def server(self, address: str, place: str = CLOUD) -> Server:
        """One of its DNS servers, as a reader would write it."""
        return Server(of_cluster(address, self.label), place)

    def behind_cache(self, host: Host, name: AuditName) -> frozenset[CandidateCause]:
        """Whom a node's cache asks, or a pod without one: the cluster's DNS, and for others' names the host's."""
        servers = [self.server(address) for address in self.dns.service_ips]
        if name.zone != "in-cluster":
            servers += [Server(address, host.site.name) for address in host.site.dns.resolvers]
        return frozenset[CandidateCause]().union(
            *(candidates_of_resolver(host, s, transport, name.name) for s in servers for transport in TRANSPORTS)
        )


def dns_names(host: Host) -> tuple[AuditName, AuditName]:
    """The two names that every node must resolve: one of the cluster, one from outside."""
    dns = host.site.dns
    inside = AuditName(dns.internal_name.rstrip(".").lower(), zone="in-cluster")
    return inside, AuditName(dns.external_name.rstrip(".").lower())


@dataclass(frozen=True, slots=True)
class Expected:
    """What an answer has to be, beside being one."""

    addresses: tuple[str, ...] = ()
    """Of a name; empty: those that the others get."""
    absent: bool = False
    negative_ttl_s: float = 0.0
    """For how long at most it may be remembered that there is no such name; 0: for any time."""
    compared: bool = False
    """Whether everyone must get the same answer for this name."""
    scope: str = ""
    """Among whom: the cluster, for a name of its own; empty: the whole fleet."""
    path_mtu: int = 0
    expires_in_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PlannedQuestion:
    """A question, and what its answer means for whom."""

    question: Question
    check: str
    target: str
    """As a reader would write it; with check and host it is the path from night to night."""
    candidates: Mapping[str, frozenset[CandidateCause]]
    """Stage -> whose failure alone would make it fail; mostly there is but one, the empty one."""
    expected: Expected = Expected()
    behind: frozenset[CandidateCause] = frozenset()
    """What a cache or a name hides: whose failure makes it fail, while it may pass from memory without them."""


@dataclass(frozen=True, slots=True)
class NightPlan:
    """All that is asked tonight."""

    asked: Mapping[str, tuple[PlannedQuestion, ...]]
    """Host -> its questions."""
    mesh: Mesh
    authorities: Mapping[str, Mapping[str, str]]
    """Host -> name of an authority -> certificates in PEM."""


def plan_night(
    fleet: Fleet,
    hosts: Sequence[Host],
    views: Mapping[str, ClusterView],
    night: int,
    files: Mapping[str, str],
    only: Collection[str] | None = None,
) -> NightPlan:
    """What hosts are asked on a night, counted in days.

    hosts: those that connect to each other
    only: those of them that are asked, by name; None: all
    views: by cluster; of one that did not answer there is none, and its hosts are asked the rest
    files: path of a declared authority -> certificates in PEM; a target whose file is not there is not asked for
    """
    settings = fleet.audit
    mesh = plan_mesh(hosts, night, every_pair_up_to=settings.every_pair_up_to, neighbours=settings.neighbours)
    by_name = {host.name: host for host in hosts}
    site_of = {host.node_name: host.site.name for host in fleet.hosts.values()}
    asked, authorities = {}, {}
    for host in hosts if only is None else [host for host in hosts if host.name in only]:
        view = views.get(host.pool.cluster.name)
        asker = _Asker(host, views, night, fleet, site_of, files)
        peers = [by_name[name] for name in mesh.targets[host.name]]
        asked[host.name] = tuple(asker.questions(peers))
        named = {str(target.authority): files[str(target.authority)] for target in asker.targets if target.authority}
        if view is not None and view.authority:
            named[_CLUSTER_AUTHORITY] = view.authority
        authorities[host.name] = named
    return NightPlan(asked, mesh, authorities)


class _Asker:
    """One host's questions."""

    def __init__(
        self,
        host: Host,
        views: Mapping[str, ClusterView],
        night: int,
        fleet: Fleet,
        site_of: Mapping[str, str],
        files: Mapping[str, str],
    ) -> None:
        self._host, self._views, self._night, self._audit = host, views, night, fleet.audit
        self._view = view = views.get(host.pool.cluster.name)
        self._site_of = site_of
        site = host.site.name
        self._resolvers = tuple(Server(address, site) for address in host.site.dns.resolvers)
        self._inside, self._outside = dns_names(host)
        self._names = (
            self._outside,
            *(name for name in fleet.audit.names if not name.sites or site in name.sites),
            ABSENT,
        )
        declared = (target for target in fleet.audit.targets if not target.sites or site in target.sites)
        readable = (target for target in declared if not target.authority or str(target.authority) in files)
        self.targets = (*readable, *(view.required if view else ()))

    def questions(self, peers: Sequence[Host]) -> Iterator[PlannedQuestion]:
        """All of them, the quickest first."""
        settings = frozenset({CandidateCause(Part.STUB, self._host.name, FailureMode.WRONG)})
        yield PlannedQuestion(Question(Kind.SETTINGS), "settings.search", "resolv.conf", _alone(settings))
        yield from self._stub_names()
        for resolver in self._resolvers:
            names = [name for name in self._names if name.zone != "in-cluster"]
            yield from self._dns("dns.resolver", resolver.name, resolver, names)
        if self._view is not None:
            yield self._api(self._view)
            yield from self._cluster_names(self._view)
            yield from self._cloud_nodes(self._view)
        yield from map(self._target, self.targets)
        yield from self._big_packets(peers)
        for peer in peers:
            yield from self._connect(peer)

    # names

    def _stub(self, name: str) -> frozenset[CandidateCause]:
        return candidates_of_stub(self._host, name, self._resolvers)

    def _stub_names(self) -> Iterator[PlannedQuestion]:
        for name in self._names:
            if name.zone != "in-cluster":
                question = Question(Kind.STUB, name=name.name, record=_record(name))
                yield PlannedQuestion(
                    question, "dns.stub", name.name, _alone(self._stub(name.name)), self._expected(name)
                )

    def _expected(self, name: AuditName) -> Expected:
        """An external name may have another address for everyone; of any other, everyone must get the same."""
        scope = self._host.pool.cluster.name if name.zone == "in-cluster" else ""
        has_colons = _record(name) == "AAAA"
        addresses = tuple(address for address in name.addresses if (":" in address) is has_colons)
        # the zone of ABSENT is nobody's to mend
        negative_ttl_s = NEGATIVE_TTL_S if name.absent and name is not ABSENT else 0.0
        return Expected(addresses, name.absent, negative_ttl_s, name.zone != "external" and not name.absent, scope)

    def _dns(self, check: str, address: str, server: Server, names: Iterable[AuditName]) -> Iterator[PlannedQuestion]:
        for name in names:
            for transport in TRANSPORTS:
                question = Question(Kind.DNS, address, 53, name.name, transport, _record(name))
                candidates = _by_stage(name, candidates_of_resolver(self._host, server, transport, name.name))
                target = f"{name.name} at {server.name} {transport}"
                yield PlannedQuestion(question, check, target, candidates, self._expected(name))

    def _cluster_names(self, view: ClusterView) -> Iterator[PlannedQuestion]:
        """By way of the cluster's own DNS, which a node can reach and no other host."""
        node = view.nodes.get(self._host.node_name)
        if node is None or not node.ready:
            return
        names = (self._inside, *self._names)
        for address in view.dns.service_ips:
            yield from self._dns("dns.service", address, view.server(address), names)
        serving = tuple(pod for pod in view.dns.servers if pod.ready and pod.ip)  # the Service uses no others
        for pod in in_turn(serving, self._night, SERVERS_A_NIGHT):
            server = view.server(pod.ip, self._site_of.get(pod.node, CLOUD))
            yield from self._dns("dns.server", pod.ip, server, (self._inside,))
        if self._host.node_name not in view.dns.caches:  # that there is none is a fact of its own
            return
        for name in names:
            behind = view.behind_cache(self._host, name)
            for transport in TRANSPORTS:
                question = Question(Kind.DNS, NODE_LOCAL, 53, name.name, transport, _record(name))
                candidates = _by_stage(name, candidates_of_cache(self._host, name.name))
                target = f"{name.name} at the node's cache {transport}"
                yield PlannedQuestion(question, "dns.cache", target, candidates, self._expected(name), behind)
        question = Question(Kind.METRICS, NODE_LOCAL, METRICS_PORT)
        yield PlannedQuestion(question, "cache.metrics", "metrics of the node's cache", _alone(frozenset()))

    # paths

    def _api(self, view: ClusterView) -> PlannedQuestion:
        parts = urlsplit(view.api_url)
        question = Question(
            Kind.API,
            parts.hostname or "",
            parts.port or 443,
            f"{parts.path}/readyz" if parts.path else "",
            authority=_CLUSTER_AUTHORITY if view.authority else "",
            server_name=view.server_name,
        )
        stages = {str(s): candidates_of_api(self._host, view.endpoint, s, self._resolvers) for s in Stage}
        stages[CLOCK] = candidates_of_clock(self._host, view.endpoint)
        if is_address(question.address):
            stages[Stage.NAME] = frozenset()  # there is nothing to look up
        return PlannedQuestion(question, "api", view.endpoint.name, stages, behind=self._behind_name(question.address))

    def _connect(self, peer: Host) -> Iterator[PlannedQuestion]:
        """To its SSH port, where SSH goes to the node's own address.

        Else that port may be one of whatever forwards it. The kubelet's is asked then, which takes connections on the
        node's own address while the node is Ready; of any other peer nobody knows a port that does.
        """
        port, is_kubelet = peer.ssh.port, _address(peer) != peer.address
        if is_kubelet:
            view = self._views.get(peer.pool.cluster.name)
            node = view.nodes.get(peer.node_name) if view else None
            if node is None or not node.ready:
                return
            port = KUBELET_PORT
        candidates = candidates_of_connect(self._host, peer, is_kubelet=is_kubelet)
        yield PlannedQuestion(Question(Kind.TCP, _address(peer), port), "connect.host", peer.name, _alone(candidates))

    def _cloud_nodes(self, view: ClusterView) -> Iterator[PlannedQuestion]:
        """The kubelets of cloud nodes: one that is Ready takes connections there."""
        ready = [node for node in view.nodes.values() if node.is_cloud_machine and node.ready and node.internal_ips]
        ready.sort(key=lambda node: node.name)
        for node in in_turn(ready, self._night, SERVERS_A_NIGHT):
            server = Server(f"{node.name}:{KUBELET_PORT}")
            question = Question(Kind.TCP, node.internal_ips[0], KUBELET_PORT)
            yield PlannedQuestion(
                question, "connect.cloud", server.name, _alone(candidates_of_target(self._host, server))
            )
            yield self._big_packet(Server(node.name), node.internal_ips[0])

    def _target(self, target: AuditTarget) -> PlannedQuestion:
        kinds = {"tcp": Kind.TCP, "tls": Kind.TLS, "http": Kind.HTTP, "https": Kind.HTTPS}
        authority = str(target.authority) if target.authority else ""
        service = target.service
        name = {"tcp": "", "tls": service.address}.get(service.kind, service.path or "/")
        question = Question(kinds[service.kind], service.address, service.port, name, authority=authority)
        candidates = candidates_of_target(self._host, Server(target.name, target.at), answers=service.kind != "tcp")
        expected = Expected(expires_in_s=target.expires_in_s)
        behind = self._behind_name(service.address)
        return PlannedQuestion(question, f"{service.kind}.target", target.name, _alone(candidates), expected, behind)

    def _behind_name(self, address: str) -> frozenset[CandidateCause]:
        """Whose failure makes an address of a name a wrong one, or none."""
        return frozenset() if is_address(address) else self._stub(address.rstrip(".").lower())

    def _big_packets(self, peers: Sequence[Host]) -> Iterator[PlannedQuestion]:
        """To one host in each site that is among tonight's peers, this host's own site included."""
        sites: dict[str, list[Host]] = {}
        for peer in peers:
            sites.setdefault(peer.site.name, []).append(peer)
        for there in sites.values():
            (peer,) = in_turn(there, self._night, 1)
            yield self._big_packet(peer, _address(peer))

    def _big_packet(self, target: Host | Server, address: str) -> PlannedQuestion:
        wanted = self._audit.path_mtu
        sizes = tuple(sorted({MTU_LEAST, max(MTU_LEAST, wanted - MTU_HEADERS), wanted}))
        check = "mtu.host" if isinstance(target, Host) else "mtu.cloud"
        candidates = _alone(candidates_of_mtu(self._host, target))
        return PlannedQuestion(
            Question(Kind.MTU, address, sizes=sizes), check, target.name, candidates, Expected(path_mtu=wanted)
        )


def _record(name: AuditName) -> str:
    """What it is asked for: AAAA where only IPv6 addresses are declared, for then it need not have others."""
    return "AAAA" if name.addresses and all(":" in address for address in name.addresses) else "A"


def _by_stage(name: AuditName, candidates: frozenset[CandidateCause]) -> Mapping[str, frozenset[CandidateCause]]:
    """Of a name at a DNS server; how long its absence is remembered is its zone's to say, whoever answers."""
    if not name.absent:
        return _alone(candidates)
    return {
        "": candidates,
        NEGATIVE_TTL: frozenset({CandidateCause(Part.NAME, f"absence of {name.name}", FailureMode.WRONG)}),
    }


def _alone(candidates: frozenset[CandidateCause]) -> Mapping[str, frozenset[CandidateCause]]:
    return {"": candidates}


def is_address(text: str) -> bool:
    """Whether it is an IP address, and no name."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _address(host: Host) -> str:
    """Where others reach it: the node's own address; SSH may go another way."""
    return str(host.node_address) if host.node_address else host.address
