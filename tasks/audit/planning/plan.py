"""What each host is asked tonight, and what each answer depends on, from the fleet, the clusters and the date. Pure."""

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
"""A name that does not exist (RFC 6761): a resolver that answers it also answers every mistyped name."""
NEGATIVE_TTL_S = 600.0
"""The longest time for which resolvers may cache that a declared absent name does not exist."""
NEGATIVE_TTL = "negative-ttl"
"""The stage of an answer that has the time for which 'no such name' is cached."""
CLOCK = "clock"
"""The stage of the API endpoint's answer that has the endpoint's time."""
SERVERS_A_NIGHT = 4
"""Each host asks at most so many of the cluster's DNS servers in one night, every night the next ones."""
MTU_HEADERS = 50
"""Bytes that VXLAN adds to a packet: the wanted size less these is measured too."""
MTU_LEAST = 576
"""Every path carries a packet of this size: if it is lost too, the size is not the cause."""
KUBELET_PORT = 10250
TRANSPORTS = ("udp", "tcp")
_CLUSTER_AUTHORITY = "cluster"


@dataclass(frozen=True, slots=True)
class ClusterView:
    """What a run has read from one cluster."""

    api_url: str
    authority: str
    """Certificates of the cluster's CA in PEM; empty: those that the host trusts."""
    nodes: Mapping[str, NodeRow] = field(default_factory=dict)
    dns: ClusterDns = field(default_factory=ClusterDns)
    required: tuple[AuditTarget, ...] = ()
    """Endpoints that the provider requires its nodes to reach."""
    label: str = ""
    """Its name, where the fleet has several clusters: another cluster may have another server at the same address."""
    server_name: str = ""
    """The name in the API server's certificate; empty: the host of its URL."""

    @property
    def endpoint(self) -> Server:
        """Its API server, as `HOST:PORT`."""
        parts = urlsplit(self.api_url)
        name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return Server(f"{name}:{parts.port or 443}")

    def server(self, address: str, place: str = CLOUD) -> Server:
        """One of its DNS servers, by address."""
        return Server(of_cluster(address, self.label), place)

    def behind_cache(self, host: Host, name: AuditName) -> frozenset[CandidateCause]:
        """Candidates behind a node's cache: the cluster's DNS; for names of others, the host's resolvers too."""
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
    """What is expected of an answer."""

    addresses: tuple[str, ...] = ()
    """Of a name; empty: those that other hosts get."""
    absent: bool = False
    """The name must not exist."""
    negative_ttl_s: float = 0.0
    """The longest time for which 'no such name' may be cached; 0: any time."""
    compared: bool = False
    """Whether all hosts must get the same answer for this name."""
    scope: str = ""
    """The hosts that must: those of this cluster, for a name of the cluster; empty: those of the whole fleet."""
    path_mtu: int = 0
    expires_in_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PlannedQuestion:
    """A question, its path, and the candidate causes of its failure."""

    question: Question
    check: str
    target: str
    """As the reader knows it. (check, host, target) identifies the measured path from night to night."""
    candidates: Mapping[str, frozenset[CandidateCause]]
    """Stage -> parts whose failure alone would make it fail; most questions have one stage, the empty one."""
    expected: Expected = Expected()
    behind: frozenset[CandidateCause] = frozenset()
    """Candidates hidden by a cache or a name: their failure may fail the answer, but a pass does not clear them."""


@dataclass(frozen=True, slots=True)
class NightPlan:
    """All questions of a night."""

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
    """The questions of a night.

    hosts: those that connect to each other
    night: the number of the day
    only: names of the hosts that are probed; None: all
    views: by cluster; a cluster that did not answer has none, and its hosts get the other questions
    files: path of a declared authority -> certificates in PEM; a target without its file is not measured
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
        """All questions, the quickest first."""
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
        """An external name may have another address at each resolver; any other name must be the same for all."""
        scope = self._host.pool.cluster.name if name.zone == "in-cluster" else ""
        has_colons = _record(name) == "AAAA"
        addresses = tuple(address for address in name.addresses if (":" in address) is has_colons)
        # nobody can change the zone of ABSENT
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
        """Through the cluster's own DNS, which only a node can reach."""
        node = view.nodes.get(self._host.node_name)
        if node is None or not node.ready:
            return
        names = (self._inside, *self._names)
        for address in view.dns.service_ips:
            yield from self._dns("dns.service", address, view.server(address), names)
        serving = tuple(pod for pod in view.dns.servers if pod.ready and pod.ip)  # the Service uses these only
        for pod in in_turn(serving, self._night, SERVERS_A_NIGHT):
            server = view.server(pod.ip, self._site_of.get(pod.node, CLOUD))
            yield from self._dns("dns.server", pod.ip, server, (self._inside,))
        if self._host.node_name not in view.dns.caches:  # `cache.pod` reports a node without a cache
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
        """To the peer's SSH port, if SSH uses the node's own address.

        Otherwise the SSH port may belong to a forwarder. The kubelet's port is used then: it accepts connections on the
        node's own address while the node is Ready. A peer that is not Ready has no port that is known to accept them.
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
        """The kubelets of cloud nodes that are Ready: they accept connections."""
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
        """Candidates behind the name in an address: the host's resolvers. None for an IP address."""
        return frozenset() if is_address(address) else self._stub(address.rstrip(".").lower())

    def _big_packets(self, peers: Sequence[Host]) -> Iterator[PlannedQuestion]:
        """To one of tonight's peers in each site, this host's own site included."""
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
    """The record type to ask for: AAAA if only IPv6 addresses are declared, because others may not exist."""
    return "AAAA" if name.addresses and all(":" in address for address in name.addresses) else "A"


def _by_stage(name: AuditName, candidates: frozenset[CandidateCause]) -> Mapping[str, frozenset[CandidateCause]]:
    """Candidates by stage of a name at a DNS server; the negative TTL comes from the zone, not from the server."""
    if not name.absent:
        return _alone(candidates)
    return {
        "": candidates,
        NEGATIVE_TTL: frozenset({CandidateCause(Part.NAME, f"absence of {name.name}", FailureMode.WRONG)}),
    }


def _alone(candidates: frozenset[CandidateCause]) -> Mapping[str, frozenset[CandidateCause]]:
    return {"": candidates}


def is_address(text: str) -> bool:
    """Whether it is an IP address and not a name."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _address(host: Host) -> str:
    """The address that other hosts use: the node's own; SSH may use another."""
    return str(host.node_address) if host.node_address else host.address
