"""Whose failure alone would make a fact fail: from the declared world and the kind of fact. Pure.

Each function answers for one kind of check. A fact is directed: it depends on its own direction of a line, as a
stateful firewall sees it, and on the line as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from poolkeeper.tasks.audit.measurements import Fault, Part, Suspect
from poolkeeper.tasks.audit.places import CLOUD
from poolkeeper.tasks.fleet.model import Domain, Host

API_SERVER = "api-server"
"""The source of what the API server measures for us."""


@dataclass(frozen=True, slots=True)
class Server:
    """What hosts reach and is no host: an API endpoint, a resolver, a declared target."""

    name: str
    """As a reader would write it: `10.1.0.2`, `registry.example.com:443`."""
    place: str = CLOUD
    """A site's name, or the cloud."""


def of_cluster(what: str, cluster: str) -> str:
    """The name of what each cluster has one of.

    cluster: its name, where the fleet has several; else empty
    """
    return f"{what} of {cluster}" if cluster else what


class Stage(StrEnum):
    """How far a request to the API endpoint gets; a stage after a failed one is not measured."""

    NAME = "name"
    CONNECT = "connect"
    TLS = "tls"
    HTTP = "http"


def suspects_of_connect(source: Host, target: Host, *, is_kubelet: bool = False) -> frozenset[Suspect]:
    """A TCP connect from host to host.

    is_kubelet: it is the kubelet that takes it, not sshd
    """
    kubelet = _of(Part.KUBELET, target.name, (Fault.DEAD,) if is_kubelet else ())
    return frozenset((*_between(source, target, (Fault.CUT,)), *kubelet))


def suspects_of_mtu(source: Host, target: Host | Server) -> frozenset[Suspect]:
    """Big packets that must not be fragmented. Where small ones pass, its symptom is `too-big`."""
    return frozenset(_between(source, target, (Fault.CUT, Fault.BIG)))


def suspects_of_api(
    source: Host, endpoint: Server, stage: Stage, resolvers: Sequence[Server] = ()
) -> frozenset[Suspect]:
    """One stage of a request from a host to the API endpoint.

    resolvers: those that the host is configured to ask; they count for the name only
    """
    if stage is Stage.NAME:
        return suspects_of_stub(source, endpoint.name.partition(":")[0], resolvers)
    faults = (Fault.CUT,) if stage is Stage.CONNECT else (Fault.CUT, Fault.WRONG)
    return frozenset(_served(source, endpoint, Part.ENDPOINT, faults))


def suspects_of_clock(source: Host, endpoint: Server) -> frozenset[Suspect]:
    """A host's clock against that of the API endpoint, once it has answered: nothing on the way alters a time."""
    return frozenset(
        {_suspect(Part.HOST, source.name, Fault.CLOCK), _suspect(Part.ENDPOINT, endpoint.name, Fault.CLOCK)}
    )


def suspects_of_target(source: Host, target: Server, *, answers: bool = False) -> frozenset[Suspect]:
    """A declared target, connected to from a host.

    answers: more than a connect is wanted of it: a certificate, a status
    """
    return frozenset(_served(source, target, Part.TARGET, (Fault.CUT, Fault.WRONG) if answers else (Fault.CUT,)))


def suspects_of_resolver(source: Host, resolver: Server, transport: str, name: str) -> frozenset[Suspect]:
    """A name asked of a DNS server by a host, over `udp` or `tcp`."""
    return frozenset(_resolved(source, resolver, transport, name))


def suspects_of_cache(source: Host, name: str) -> frozenset[Suspect]:
    """A name asked of a host's node-local cache. What is behind it is not suspected: a cache answers without."""
    both = (Fault.CUT, Fault.WRONG)
    return frozenset((*_of(Part.CACHE, source.name, both), *_of(Part.HOST, source.name, both), *_named(name)))


def suspects_of_stub(source: Host, name: str, resolvers: Sequence[Server] = ()) -> frozenset[Suspect]:
    """A name looked up as any program on a host does.

    resolvers: those that the host is configured to ask: only what all of them depend on would make it fail
    """
    both = (Fault.CUT, Fault.WRONG)
    ways = [frozenset(_resolved(source, resolver, "udp", name)) for resolver in resolvers]
    common = frozenset.intersection(*ways) if ways else frozenset()
    own = (*_of(Part.STUB, source.name, both), *_of(Part.HOST, source.name, both), *_named(name))
    return common.union(own)


def suspects_of_kubelet(target: Host, endpoint: Server, cluster: str = "") -> frozenset[Suspect]:
    """The kubelet's port on a host, as the API server reaches it. With the endpoint down it is not measured at all.

    cluster: its name, where the fleet has several
    """
    here, there = endpoint.place, target.site.name
    return frozenset(
        (
            *_of(Part.KUBELET, target.name, (Fault.CUT, Fault.DEAD)),
            *_of(Part.WAY_IN, target.name, (Fault.CUT,)),
            *_host(target, (Fault.CUT,)),
            *_domains(target.domain, None, (Fault.CUT,)),
            _suspect(Part.SITE_TARGET, of_cluster(f"{here} -> kubelets at {there}", cluster)),
            *_crossing(here, there, (Fault.CUT,)),
        )
    )


def suspects_of_ready(host: Host, endpoint: Server) -> frozenset[Suspect]:
    """Whether a node is Ready: its kubelet must work, and tell the API endpoint so."""
    here, there = host.site.name, endpoint.place
    return frozenset(
        (
            *_of(Part.KUBELET, host.name, (Fault.WRONG, Fault.DEAD)),
            *_of(Part.WAY_OUT, host.name, (Fault.CUT,)),
            *_host(host, (Fault.CUT,)),
            *_domains(host.domain, None, (Fault.CUT,)),
            _suspect(Part.ENDPOINT, endpoint.name),
            _suspect(Part.SITE_TARGET, f"{here} -> {endpoint.name}"),
            *_crossing(here, there, (Fault.CUT,)),
        )
    )


def suspects_of_pods(host: Host, others: Server, *, outwards: bool, cluster: str = "") -> frozenset[Suspect]:
    """A connection between a pod on a host's node and a pod elsewhere.

    outwards: it is opened by the pod on this host
    cluster: its name, where the fleet has several
    """
    here, there = (host.site.name, others.place) if outwards else (others.place, host.site.name)
    way = f"pods on {host.name} -> {others.name}" if outwards else f"{others.name} -> pods on {host.name}"
    return frozenset(
        (
            _suspect(Part.PATH, way),
            _suspect(Part.WAY_OUT if outwards else Part.WAY_IN, host.name),
            *_host(host, (Fault.CUT,)),
            *_domains(host.domain, None, (Fault.CUT,)),
            _suspect(Part.TARGET, others.name),
            _suspect(Part.SITE_TARGET, of_cluster(f"pods at {here} -> pods at {there}", cluster)),
            *_crossing(here, there, (Fault.CUT,)),
        )
    )


def suspects_from_here(endpoint: Server) -> frozenset[Suspect]:
    """A request from where poolkeeper runs to the API endpoint."""
    both = (Fault.CUT, Fault.WRONG)
    return frozenset((_suspect(Part.PATH, f"poolkeeper -> {endpoint.name}"), *_of(Part.ENDPOINT, endpoint.name, both)))


def suspects_of_cloud_node(target: Host) -> frozenset[Suspect]:
    """A connection from a node in the cloud to the kubelet's port of a host; who filters the API server lets it."""
    return frozenset(
        (
            _suspect(Part.PATH, f"cloud nodes -> {target.name}"),
            _suspect(Part.KUBELET, target.name, Fault.DEAD),
            _suspect(Part.WAY_IN, target.name),
            *_host(target, (Fault.CUT,)),
            *_domains(target.domain, None, (Fault.CUT,)),
            *_crossing(CLOUD, target.site.name, (Fault.CUT,)),
        )
    )


def suspects_of_login(host: Host, by: str) -> frozenset[Suspect]:
    """A connection from where poolkeeper or a worker of it runs to a host; which place that is, nobody has declared."""
    return frozenset(
        (
            _suspect(Part.PATH, f"{by} -> {host.name}"),
            _suspect(Part.WAY_IN, host.name),
            *_host(host, (Fault.CUT,)),
            *_domains(host.domain, None, (Fault.CUT,)),
        )
    )


@lru_cache(maxsize=1 << 17)
def _suspect(part: Part, name: str, fault: Fault = Fault.CUT) -> Suspect:
    return Suspect(part, name, fault)  # one object for all the facts that name it


def _of(part: Part, name: str, faults: Iterable[Fault]) -> Iterator[Suspect]:
    return (_suspect(part, name, fault) for fault in faults)


def _host(host: Host, faults: Iterable[Fault]) -> Iterator[Suspect]:
    return _of(Part.HOST, host.name, faults)


def _domains(one: Domain | None, other: Domain | None, faults: Sequence[Fault]) -> Iterator[Suspect]:
    """The domains at both ends, and their edges where the way leaves them."""
    within = one is not None and other is not None and one.name == other.name
    for domain in (one, other):
        if domain is not None:
            yield from _of(Part.DOMAIN, domain.name, faults)
            if not within:
                yield from _of(Part.DOMAIN_EDGE, domain.name, faults)


def _crossing(here: str, there: str, faults: Sequence[Fault]) -> Iterator[Suspect]:
    """What lies between two places; nothing where they are one."""
    if here == there:
        return
    yield from _of(Part.LINE_ONE_WAY, f"{here} -> {there}", faults)
    yield from _of(Part.LINE, " -- ".join(sorted((here, there))), faults)
    yield from _of(Part.SITE, here, faults)
    yield from _of(Part.SITE, there, faults)


def _between(source: Host, target: Host | Server, faults: Sequence[Fault]) -> Iterator[Suspect]:
    """The way from a host to another host, or to a server."""
    yield from _of(Part.PATH, f"{source.name} -> {target.name}", faults)
    yield from _of(Part.WAY_OUT, source.name, faults)
    yield from _host(source, faults)
    if isinstance(target, Host):
        yield from _of(Part.WAY_IN, target.name, faults)
        yield from _host(target, faults)
        yield from _domains(source.domain, target.domain, faults)
        yield from _crossing(source.site.name, target.site.name, faults)
    else:
        yield from _domains(source.domain, None, faults)
        yield from _crossing(source.site.name, target.place, faults)


def _served(source: Host, server: Server, part: Part, faults: Sequence[Fault]) -> Iterator[Suspect]:
    """The way to a server, the server, and its answer where that counts."""
    yield from _between(source, server, (Fault.CUT,))
    yield from _of(part, server.name, faults)
    yield from _of(Part.SITE_TARGET, f"{source.site.name} -> {server.name}", faults)
    if Fault.WRONG in faults:
        yield _suspect(Part.PATH, f"{source.name} -> {server.name}", Fault.WRONG)
        # a clock that is wrong spoils every certificate on a host, a proxy that meddles those of a site
        yield _suspect(Part.HOST, source.name, Fault.WRONG)
        yield _suspect(Part.SITE, source.site.name, Fault.WRONG)


def _resolved(source: Host, resolver: Server, transport: str, name: str) -> Iterator[Suspect]:
    both = (Fault.CUT, Fault.WRONG)
    port = f"{resolver.name} {transport}/53"
    yield from _between(source, Server(port, resolver.place), (Fault.CUT,))
    yield _suspect(Part.PATH, f"{source.name} -> {port}", Fault.WRONG)
    yield _suspect(Part.PATH, f"{source.name} -> {resolver.name}")
    yield from _of(Part.RESOLVER, resolver.name, both)
    yield from _of(Part.RESOLVER, port, (Fault.CUT,))
    yield from _of(Part.SITE_TARGET, f"{source.site.name} -> {resolver.name}", both)
    yield from _of(Part.SITE_TARGET, f"{source.site.name} -> {port}", (Fault.CUT,))
    yield _suspect(Part.SITE_TARGET, f"{source.site.name} -> {transport}/53")
    yield _suspect(Part.SITE, source.site.name, Fault.WRONG)
    yield from _named(name)
    yield _suspect(Part.NAME, f"{name} at {resolver.name}", Fault.WRONG)


def _named(name: str) -> Iterator[Suspect]:
    yield _suspect(Part.NAME, name, Fault.WRONG)
