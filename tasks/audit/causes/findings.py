"""A root cause as a finding: what is broken, the evidence for and against it, and what to do. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from poolkeeper.tasks.audit.causes.grouping import Cause
from poolkeeper.tasks.audit.measurements import CandidateCause, FailureMode, Measurement, Part, Quality
from poolkeeper.tasks.audit.nights.comparison import Key
from poolkeeper.tasks.audit.places import Place
from poolkeeper.tasks.outcomes import Evidence, Finding, Severity, Subject

_KINDS: Mapping[Part, tuple[str, str]] = {
    Part.PATH: ("path", "path"),
    Part.KUBELET: ("kubelet", "host"),
    Part.CACHE: ("node-cache", "host"),
    Part.STUB: ("stub", "host"),
    Part.WAY_IN: ("way-in", "host"),
    Part.WAY_OUT: ("way-out", "host"),
    Part.HOST: ("host", "host"),
    Part.RESOLVER: ("resolver", "resolver"),
    Part.NAME: ("name", "name"),
    Part.TARGET: ("target", "target"),
    Part.ENDPOINT: ("endpoint", "endpoint"),
    Part.SITE_TARGET: ("site-target", "path"),
    Part.DOMAIN_EDGE: ("domain-edge", "domain"),
    Part.DOMAIN: ("domain", "domain"),
    Part.LINE_ONE_WAY: ("line-one-way", "line"),
    Part.LINE: ("line", "line"),
    Part.SITE: ("site", "site"),
}
"""Part -> its word in a finding's id, kind of subject."""
_MODES = {
    FailureMode.CUT: "cut",
    FailureMode.BIG: "big-packets",
    FailureMode.WRONG: "wrong",
    FailureMode.DEAD: "dead",
    FailureMode.CLOCK: "clock",
}
_OF_ONE_HOST = (Part.KUBELET, Part.CACHE, Part.STUB, Part.WAY_IN, Part.WAY_OUT, Part.HOST)
_MILD = frozenset({"expires-soon", "absent"})
"""Symptoms of parts that still work: a warning, not a blocker."""
_MILD_CHECKS = frozenset({"settings.search", "settings.negative-ttl"})

_BY_CHECK: Mapping[str, str] = {
    "clock.api": "Look at time synchronisation on the host: `chronyc tracking` or `timedatectl timesync-status`. Where"
    " many hosts have the same offset, look at the time servers that they all follow, and at the control plane's"
    " clock.",
    "settings.search": "Shorten `search` in the host's resolv.conf, and set `options ndots:1` unless a program needs"
    " more.",
    "settings.negative-ttl": "Lower the minimum in the zone's SOA record: a new name cannot be resolved for that time.",
    "cache.pod": "Look at the DaemonSet and its tolerations: `kubectl -n kube-system describe ds node-local-dns`.",
    "worker": "Start a worker in that work pool: `prefect worker start --pool POOL`. Check that the Prefect server has"
    " the deployment `ask-site/POOL`.",
    "node.ready": "Read the kubelet's log on the host: `journalctl -u kubelet -n 100`.",
}
_BY_SYMPTOM: Mapping[str, str] = {
    "expired": "Renew the certificate, and find out why no alarm came before.",
    "expires-soon": "Renew the certificate before that day.",
    "untrusted": "Compare the certificate's issuer with the declared authority: a proxy may intercept TLS, or the CA"
    " has changed.",
    "no-handshake": "Look at what accepts the connection: a load balancer without backends, a proxy, a server without"
    " TLS. Test by hand: `openssl s_client -connect HOST:PORT`.",
    "too-big": "Lower the MTU of interfaces and pods to what the path carries, less 50 bytes for VXLAN, or repair the"
    " line. Let ICMP `fragmentation needed` pass.",
}
_NEXT: Mapping[Part, str] = {
    Part.PATH: "Look at what is between these two only: a route, a firewall rule, a duplicate address (`ip neigh`).",
    Part.KUBELET: "Open TCP 10250 on the host for the control plane, and check that the kubelet runs: `systemctl"
    " status kubelet`.",
    Part.CACHE: "Look at the node's cache: `kubectl -n kube-system get pods -o wide -l k8s-app=node-local-dns`. Each"
    " lookup of pods on that node waits for the cache until it answers.",
    Part.STUB: "Look at /etc/resolv.conf and nsswitch.conf on the host. Test by hand: `getent ahosts NAME`.",
    Part.WAY_IN: "Look at the host's own firewall (`nft list ruleset`), and at filters in front of the host.",
    Part.WAY_OUT: "Look at the host's routes and outgoing filters: `ip route`, `nft list ruleset`.",
    Part.HOST: "Look at the host's console: power, network card, kernel. If the host is gone for good, offboard it.",
    Part.RESOLVER: "Test by hand: `dig @SERVER NAME`. Look at the server's log, and at the servers that it forwards"
    " to.",
    Part.NAME: "Test by hand, for each resolver: `dig @SERVER NAME`. A record was moved or removed, or a resolver"
    " overrides it.",
    Part.TARGET: "Check whether the target runs; if it has moved, correct `audit.targets` in the fleet file.",
    Part.ENDPOINT: "Look at the control plane and its load balancer in the provider's console. The hosts need no"
    " repair.",
    Part.SITE_TARGET: "Look at the site's firewall, and at the target's access list, for this site's addresses,"
    " protocol and port.",
    Part.DOMAIN_EDGE: "Look at the uplink that these hosts share: switch, port, VLAN.",
    Part.DOMAIN: "Look at what these hosts share: power, switch, rack.",
    Part.LINE_ONE_WAY: "Look at routes and firewalls for this direction: replies pass, but new connections do not.",
    Part.LINE: "Look at the line itself: tunnel or dedicated circuit, its BGP session, the routers at both ends. Do"
    " not start a rollout at this site until the line is back.",
    Part.SITE: "Look at the site's edge: its routers and uplinks.",
}
_SLOW_NEXT = (
    "Look at the line's load and errors at that time, and find the biggest sender: `iftop`, the router's counters."
)


def key_of(candidate: CandidateCause, quality: Quality) -> Key:
    """What identifies a finding about a candidate cause from night to night."""
    word, kind = _KINDS[candidate.part]
    how = "slow" if quality is Quality.SLOW else _MODES[candidate.mode]
    return f"audit.{word}.{how}", Subject(kind, candidate.name)


def finding_of(cause: Cause, places: Mapping[str, Place], now: datetime) -> Finding:
    """The finding of one cause.

    places: by host; if a host's place has a note, a finding about that host is expected (info)
    """
    candidate = cause.candidate
    id, subject = key_of(candidate, cause.quality)
    slow = cause.quality is Quality.SLOW
    note = places[candidate.name].note if candidate.part in _OF_ONE_HOST and candidate.name in places else ""
    return Finding(
        id=id,
        severity=_severity(cause, note),
        subject=subject,
        evidence=Evidence(
            observed=f"{_observed(cause)}{f'; {note}' if note else ''}",
            expected="as on other nights" if cause.symptom == "slower-than-usual" else "all measurements pass",
            source=", ".join(_checks(cause.explains)),
            seen_at=now,
        ),
        next_step=_SLOW_NEXT if slow else _next_step(cause),
    )


def _severity(cause: Cause, note: str) -> Severity:
    if note:
        return Severity.INFO
    mild = all(map(_is_mild, cause.explains))
    return Severity.WARNING if mild or cause.quality is Quality.SLOW else Severity.BLOCKER


def _is_mild(fact: Measurement) -> bool:
    return fact.symptom in _MILD or fact.check in _MILD_CHECKS


def _worst(cause: Cause) -> Sequence[Measurement]:
    """The measurements that describe a cause: mild ones, however frequent, do not hide the others."""
    return [fact for fact in cause.explains if not _is_mild(fact)] or cause.explains


def _next_step(cause: Cause) -> str:
    worst = _worst(cause)
    checks = _checks(worst)
    if len(checks) == 1 and checks[0] in _BY_CHECK:
        return _BY_CHECK[checks[0]]
    return _BY_SYMPTOM.get(_symptom(worst)) or _NEXT[cause.candidate.part]


def _checks(facts: Iterable[Measurement]) -> list[str]:
    """The checks of these measurements, the most frequent first."""
    return _frequent(fact.check for fact in facts)


def _symptom(facts: Iterable[Measurement]) -> str:
    return _frequent(fact.symptom for fact in facts)[0]


def _frequent(words: Iterable[str]) -> list[str]:
    """Each word once, the most frequent first; equally frequent ones by name."""
    counts = Counter(words)
    return sorted(counts, key=lambda word: (-counts[word], word))


def _observed(cause: Cause) -> str:
    """How many failed, with an example; how many passed nevertheless; how many could not be measured."""
    how = "slow" if cause.quality is Quality.SLOW else "failed"
    count = len(cause.explains)
    parts = [f"{count:,} {'measurement' if count == 1 else 'measurements'} {how}, such as {_example(cause)}"]
    if cause.against:
        passed = cause.against[0]
        parts.append(f"{len(cause.against):,} passed nevertheless, such as {passed.source} -> {passed.target}")
    if cause.unknown:
        parts.append(f"{cause.unknown:,} could not be measured")
    return "; ".join(parts)


def _example(cause: Cause) -> str:
    """A measurement with the most frequent symptom of those that describe the cause."""
    worst = _worst(cause)
    fact = next(fact for fact in worst if fact.symptom == _symptom(worst))
    return f"{fact.source} -> {fact.target}: {fact.evidence}"
