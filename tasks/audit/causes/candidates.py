"""The candidate causes of a measurement: every part whose failure alone would make it fail. Pure.

Each function is for one kind of check. A measurement has a direction: it depends on that direction of a line, as a
stateful firewall sees it, and on the line as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from poolkeeper.tasks.audit.measurements import CandidateCause, FailureMode, Part
from poolkeeper.tasks.audit.places import CLOUD
from poolkeeper.tasks.fleet.model import Domain, Host

API_SERVER = "api-server"
"""Source of what the API server measures."""


@dataclass(frozen=True, slots=True)
class Server:
    """What a host connects to and is not a host: an API endpoint, a resolver, a declared target."""

    name: str
    """As a reader would write it: `10.1.0.2`, `registry.example.com:443`."""
    place: str = CLOUD
    """A site's name, or the cloud."""


def of_cluster(what: str, cluster: str) -> str:
    """The name of a part that each cluster has: `pods in the cloud of edge`.

    cluster: its name, where the fleet has several clusters; else empty
    """
    return f"{what} of {cluster}" if cluster else what


class Stage(StrEnum):
    """The stages of a request to the API endpoint; a stage after a failed one is not measured."""

    NAME = "name"
    CONNECT = "connect"
    TLS = "tls"
    HTTP = "http"


def candidates_of_connect(source: Host, target: Host, *, is_kubelet: bool = False) -> frozenset[CandidateCause]:
    """A TCP connect from host to host.

    is_kubelet: to the kubelet's port, not to that of sshd
    """
    kubelet = _of(Part.KUBELET, target.name, (FailureMode.DEAD,) if is_kubelet else ())
    return frozenset((*_between(source, target, (FailureMode.CUT,)), *kubelet))


def candidates_of_mtu(source: Host, target: Host | Server) -> frozenset[CandidateCause]:
    """Big packets that must not be fragmented. Where small ones pass, the symptom is `too-big`."""
    return frozenset(_between(source, target, (FailureMode.CUT, FailureMode.BIG)))


def candidates_of_api(
    source: Host, endpoint: Server, stage: Stage, resolvers: Sequence[Server] = ()
) -> frozenset[CandidateCause]:
    """One stage of a request from a host to the API endpoint.

    resolvers: those that the host uses; they matter for the stage NAME only
    """
    if stage is Stage.NAME:
        return candidates_of_stub(source, endpoint.name.partition(":")[0], resolvers)
    modes = (FailureMode.CUT,) if stage is Stage.CONNECT else (FailureMode.CUT, FailureMode.WRONG)
    return frozenset(_served(source, endpoint, Part.ENDPOINT, modes))


def candidates_of_clock(source: Host, endpoint: Server) -> frozenset[CandidateCause]:
    """A host's clock against that of the API endpoint: nothing on the path changes a time."""
    return frozenset(
        {
            _candidate(Part.HOST, source.name, FailureMode.CLOCK),
            _candidate(Part.ENDPOINT, endpoint.name, FailureMode.CLOCK),
        }
    )


def candidates_of_target(source: Host, target: Server, *, answers: bool = False) -> frozenset[CandidateCause]:
    """A declared target, connected to from a host.

    answers: more than a connection is expected: a certificate, a status
    """
    return frozenset(
        _served(source, target, Part.TARGET, (FailureMode.CUT, FailureMode.WRONG) if answers else (FailureMode.CUT,))
    )


def candidates_of_resolver(source: Host, resolver: Server, transport: str, name: str) -> frozenset[CandidateCause]:
    """A lookup of a name at a DNS server, over `udp` or `tcp`."""
    return frozenset(_resolved(source, resolver, transport, name))


def candidates_of_cache(source: Host, name: str) -> frozenset[CandidateCause]:
    """A lookup at a host's node-local cache. The servers behind it are no candidates: a cache answers without them."""
    both = (FailureMode.CUT, FailureMode.WRONG)
    return frozenset((*_of(Part.CACHE, source.name, both), *_of(Part.HOST, source.name, both), *_named(name)))


def candidates_of_stub(source: Host, name: str, resolvers: Sequence[Server] = ()) -> frozenset[CandidateCause]:
    """A lookup as any program on a host does it.

    resolvers: those that the host uses: only a part that all of them depend on would make it fail
    """
    both = (FailureMode.CUT, FailureMode.WRONG)
    ways = [frozenset(_resolved(source, resolver, "udp", name)) for resolver in resolvers]
    common = frozenset.intersection(*ways) if ways else frozenset()
    own = (*_of(Part.STUB, source.name, both), *_of(Part.HOST, source.name, both), *_named(name))
    return common.union(own)


def candidates_of_kubelet(target: Host, endpoint: Server, cluster: str = "") -> frozenset[CandidateCause]:
    """The kubelet's port on a host, as the API server reaches it; it cannot be measured while the endpoint is down.

    cluster: its name, where the fleet has several clusters
    """
    here, there = endpoint.place, target.site.name
    return frozenset(
        (
            *_of(Part.KUBELET, target.name, (FailureMode.CUT, FailureMode.DEAD)),
            *_of(Part.WAY_IN, target.name, (FailureMode.CUT,)),
            *_host(target, (FailureMode.CUT,)),
            *_domains(target.domain, None, (FailureMode.CUT,)),
            _candidate(Part.SITE_TARGET, of_cluster(f"{here} -> kubelets at {there}", cluster)),
            *_crossing(here, there, (FailureMode.CUT,)),
        )
    )


def candidates_of_ready(host: Host, endpoint: Server) -> frozenset[CandidateCause]:
    """Whether a node is Ready: its kubelet must work, and report to the API endpoint."""
    here, there = host.site.name, endpoint.place
    return frozenset(
        (
            *_of(Part.KUBELET, host.name, (FailureMode.WRONG, FailureMode.DEAD)),
            *_of(Part.WAY_OUT, host.name, (FailureMode.CUT,)),
            *_host(host, (FailureMode.CUT,)),
            *_domains(host.domain, None, (FailureMode.CUT,)),
            _candidate(Part.ENDPOINT, endpoint.name),
            _candidate(Part.SITE_TARGET, f"{here} -> {endpoint.name}"),
            *_crossing(here, there, (FailureMode.CUT,)),
        )
    )


def candidates_of_pods(host: Host, others: Server, *, outwards: bool, cluster: str = "") -> frozenset[CandidateCause]:
    """A connection between a pod on a host's node and a pod elsewhere.

    outwards: the pod on this host opens it
    cluster: its name, where the fleet has several clusters
    """
    here, there = (host.site.name, others.place) if outwards else (others.place, host.site.name)
    way = f"pods on {host.name} -> {others.name}" if outwards else f"{others.name} -> pods on {host.name}"
    return frozenset(
        (
            _candidate(Part.PATH, way),
            _candidate(Part.WAY_OUT if outwards else Part.WAY_IN, host.name),
            *_host(host, (FailureMode.CUT,)),
            *_domains(host.domain, None, (FailureMode.CUT,)),
            _candidate(Part.TARGET, others.name),
            _candidate(Part.SITE_TARGET, of_cluster(f"pods at {here} -> pods at {there}", cluster)),
            *_crossing(here, there, (FailureMode.CUT,)),
        )
    )


def candidates_from_here(endpoint: Server) -> frozenset[CandidateCause]:
    """A request from where poolkeeper runs to the API endpoint."""
    both = (FailureMode.CUT, FailureMode.WRONG)
    return frozenset(
        (_candidate(Part.PATH, f"poolkeeper -> {endpoint.name}"), *_of(Part.ENDPOINT, endpoint.name, both))
    )


def candidates_of_cloud_node(target: Host) -> frozenset[CandidateCause]:
    """A connection from a cloud node to a host's kubelet port; a rule that blocks the API server may let it pass."""
    return frozenset(
        (
            _candidate(Part.PATH, f"cloud nodes -> {target.name}"),
            _candidate(Part.KUBELET, target.name, FailureMode.DEAD),
            _candidate(Part.WAY_IN, target.name),
            *_host(target, (FailureMode.CUT,)),
            *_domains(target.domain, None, (FailureMode.CUT,)),
            *_crossing(CLOUD, target.site.name, (FailureMode.CUT,)),
        )
    )


def candidates_of_login(host: Host, by: str) -> frozenset[CandidateCause]:
    """An SSH login to a host. by: poolkeeper or its worker; the place of neither is declared."""
    return frozenset(
        (
            _candidate(Part.PATH, f"{by} -> {host.name}"),
            _candidate(Part.WAY_IN, host.name),
            *_host(host, (FailureMode.CUT,)),
            *_domains(host.domain, None, (FailureMode.CUT,)),
        )
    )


@lru_cache(maxsize=1 << 17)
def _candidate(part: Part, name: str, mode: FailureMode = FailureMode.CUT) -> CandidateCause:
    return CandidateCause(part, name, mode)  # one object for all measurements that have it


def _of(part: Part, name: str, modes: Iterable[FailureMode]) -> Iterator[CandidateCause]:
    return (_candidate(part, name, mode) for mode in modes)


def _host(host: Host, modes: Iterable[FailureMode]) -> Iterator[CandidateCause]:
    return _of(Part.HOST, host.name, modes)


def _domains(one: Domain | None, other: Domain | None, modes: Sequence[FailureMode]) -> Iterator[CandidateCause]:
    """The domains at both ends, and their edges where the path leaves them."""
    within = one is not None and other is not None and one.name == other.name
    for domain in (one, other):
        if domain is not None:
            yield from _of(Part.DOMAIN, domain.name, modes)
            if not within:
                yield from _of(Part.DOMAIN_EDGE, domain.name, modes)


def _crossing(here: str, there: str, modes: Sequence[FailureMode]) -> Iterator[CandidateCause]:
    """The parts between two places; none if they are the same."""
    if here == there:
        return
    yield from _of(Part.LINE_ONE_WAY, f"{here} -> {there}", modes)
    yield from _of(Part.LINE, " -- ".join(sorted((here, there))), modes)
    yield from _of(Part.SITE, here, modes)
    yield from _of(Part.SITE, there, modes)


def _between(source: Host, target: Host | Server, modes: Sequence[FailureMode]) -> Iterator[CandidateCause]:
    """The path from a host to another host, or to a server."""
    yield from _of(Part.PATH, f"{source.name} -> {target.name}", modes)
    yield from _of(Part.WAY_OUT, source.name, modes)
    yield from _host(source, modes)
    if isinstance(target, Host):
        yield from _of(Part.WAY_IN, target.name, modes)
        yield from _host(target, modes)
        yield from _domains(source.domain, target.domain, modes)
        yield from _crossing(source.site.name, target.site.name, modes)
    else:
        yield from _domains(source.domain, None, modes)
        yield from _crossing(source.site.name, target.place, modes)


def _served(source: Host, server: Server, part: Part, modes: Sequence[FailureMode]) -> Iterator[CandidateCause]:
    """The path to a server, the server, and its answer where that matters."""
    yield from _between(source, server, (FailureMode.CUT,))
    yield from _of(part, server.name, modes)
    yield from _of(Part.SITE_TARGET, f"{source.site.name} -> {server.name}", modes)
    if FailureMode.WRONG in modes:
        yield _candidate(Part.PATH, f"{source.name} -> {server.name}", FailureMode.WRONG)
        # a wrong clock makes every certificate fail on a host, an intercepting proxy does so at a site
        yield _candidate(Part.HOST, source.name, FailureMode.WRONG)
        yield _candidate(Part.SITE, source.site.name, FailureMode.WRONG)


def _resolved(source: Host, resolver: Server, transport: str, name: str) -> Iterator[CandidateCause]:
    both = (FailureMode.CUT, FailureMode.WRONG)
    port = f"{resolver.name} {transport}/53"
    yield from _between(source, Server(port, resolver.place), (FailureMode.CUT,))
    yield _candidate(Part.PATH, f"{source.name} -> {port}", FailureMode.WRONG)
    yield _candidate(Part.PATH, f"{source.name} -> {resolver.name}")
    yield from _of(Part.RESOLVER, resolver.name, both)
    yield from _of(Part.RESOLVER, port, (FailureMode.CUT,))
    yield from _of(Part.SITE_TARGET, f"{source.site.name} -> {resolver.name}", both)
    yield from _of(Part.SITE_TARGET, f"{source.site.name} -> {port}", (FailureMode.CUT,))
    yield _candidate(Part.SITE_TARGET, f"{source.site.name} -> {transport}/53")
    yield _candidate(Part.SITE, source.site.name, FailureMode.WRONG)
    yield from _named(name)
    yield _candidate(Part.NAME, f"{name} at {resolver.name}", FailureMode.WRONG)


def _named(name: str) -> Iterator[CandidateCause]:
    yield _candidate(Part.NAME, name, FailureMode.WRONG)
