"""Small worlds in which every pair is measured, and what a night tells of them once parts are broken."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from poolkeeper.tasks.audit.causes.candidates import (
    API_SERVER,
    Server,
    Stage,
    candidates_of_api,
    candidates_of_cache,
    candidates_of_clock,
    candidates_of_connect,
    candidates_of_kubelet,
    candidates_of_mtu,
    candidates_of_ready,
    candidates_of_resolver,
    candidates_of_stub,
    candidates_of_target,
)
from poolkeeper.tasks.audit.measurements import (
    NOT_READY,
    TOO_BIG,
    WRONG_TIME,
    CandidateCause,
    FailureMode,
    Measurement,
    Part,
    Quality,
)
from poolkeeper.tasks.fleet.model import Domain, Host, Site
from tests.unit.onboard.builders import a_host

ENDPOINT = Server("api.example:6443")
REGISTRY = Server("registry.example:443")
NAMES = ("kubernetes.default.svc", "aliyun.com")


@dataclass(frozen=True)
class World:
    """Site -> domain -> number of hosts. A host is named `a11`: site, number of the domain, number in it."""

    sites: Mapping[str, Mapping[str, int]]
    resolvers: tuple[Server, ...] = (Server("10.0.0.2"), Server("10.0.0.3"))
    targets: tuple[Server, ...] = (REGISTRY,)
    hosts: tuple[Host, ...] = field(init=False)

    def __post_init__(self) -> None:
        hosts = []
        for name, domains in self.sites.items():
            site = Site(name, ZoneInfo("UTC"))
            for place, (domain, count) in enumerate(domains.items(), 1):
                for number in range(1, count + 1):
                    found = a_host(f"{name}{place}{number}", site={"name": name})
                    object.__setattr__(found, "domain", Domain(domain, site) if domain else None)
                    hosts.append(found)
        object.__setattr__(self, "hosts", tuple(hosts))

    def paths(self) -> Iterator[tuple[str, str, str, frozenset[CandidateCause]]]:
        """Check, source, target and candidates of all that can be measured."""
        for source in self.hosts:
            for target in self.hosts:
                if source is not target:
                    yield "connect.host", source.name, target.name, candidates_of_connect(source, target)
                    yield "mtu.host", source.name, target.name, candidates_of_mtu(source, target)
            for stage in Stage:
                candidates = candidates_of_api(source, ENDPOINT, stage, self.resolvers)
                yield f"api.{stage}", source.name, ENDPOINT.name, candidates
            yield "api.clock", source.name, ENDPOINT.name, candidates_of_clock(source, ENDPOINT)
            for resolver in self.resolvers:
                for transport in ("udp", "tcp"):
                    for name in NAMES:
                        candidates = candidates_of_resolver(source, resolver, transport, name)
                        yield "dns.resolver", source.name, f"{resolver.name} {transport}/53 {name}", candidates
            for name in NAMES:
                yield "dns.cache", source.name, f"{source.name} {name}", candidates_of_cache(source, name)
                yield "dns.stub", source.name, name, candidates_of_stub(source, name, self.resolvers)
            for server in self.targets:
                yield "target.connect", source.name, server.name, candidates_of_target(source, server)
            yield "kubelet.connect", API_SERVER, source.name, candidates_of_kubelet(source, ENDPOINT)
            yield "node.ready", API_SERVER, source.name, candidates_of_ready(source, ENDPOINT)

    def parts(self) -> list[CandidateCause]:
        """Everything that can break, in order."""
        return sorted(
            {candidate for *_, candidates in self.paths() for candidate in candidates}, key=lambda each: each.order
        )

    def night(
        self,
        *broken: CandidateCause,
        quality: Quality = Quality.FAIL,
        checks: Collection[str] = (),
        lucky: Collection[tuple[str, str, str]] = (),
    ) -> list[Measurement]:
        """What is measured with these parts broken.

        checks: what alone is measured; empty: everything
        lucky: paths (check, source, target) that pass all the same
        """
        down = {each.name for each in broken if each.part is Part.HOST and each.mode is FailureMode.CUT}
        domains = {each.name for each in broken if each.part is Part.DOMAIN}
        down |= {host.name for host in self.hosts if host.domain and host.domain.name in domains}
        no_api = any(each.part is Part.ENDPOINT and each.mode is FailureMode.CUT for each in broken)
        if quality is not Quality.FAIL:
            down, no_api = set(), False
        facts, stopped = [], set[tuple[str, str]]()
        for check, source, target, candidates in self.paths():
            if checks and check not in checks:
                continue
            guilty = candidates.intersection(broken)
            found = quality if guilty and (check, source, target) not in lucky else Quality.OK
            if source in down or (check == "kubelet.connect" and no_api) or (source, target) in stopped:
                found = Quality.UNKNOWN
            if check.startswith("api.") and found is Quality.FAIL:
                stopped.add((source, target))
            symptom = _symptom(check, guilty) if found is Quality.FAIL else ""
            facts.append(Measurement(check, source, target, found, symptom or str(found), candidates, symptom=symptom))
        return facts


def _symptom(check: str, guilty: Collection[CandidateCause]) -> str:
    modes = {candidate.mode for candidate in guilty}
    if check == "node.ready":
        return NOT_READY
    if modes == {FailureMode.BIG}:
        return TOO_BIG
    if modes == {FailureMode.CLOCK}:
        return WRONG_TIME
    if modes == {FailureMode.WRONG}:
        return "wrong-answer" if check.startswith("dns.") else "expired"
    return "refused" if FailureMode.DEAD in modes else "timeout"
