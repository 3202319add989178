"""A cause as a finding: what is broken, what shows it, what speaks against it, and what to do. Pure."""

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
"""Symptoms of what still works."""
_MILD_CHECKS = frozenset({"settings.search", "settings.negative-ttl"})

_BY_CHECK: Mapping[str, str] = {
    "clock.api": "Look at time synchronisation on the host: `chronyc tracking` or `timedatectl timesync-status`. Where"
    " many hosts differ alike, look at the servers that they all follow, and at the control plane's own clock.",
    "settings.search": "Shorten `search` in the host's resolv.conf, and set `options ndots:1` if nothing needs more.",
    "settings.negative-ttl": "Lower the minimum in that zone's SOA: a new name stays unknown for as long.",
    "cache.pod": "Look at the DaemonSet and its tolerations: `kubectl -n kube-system describe ds node-local-dns`.",
    "worker": "Start a worker in that work pool, `prefect worker start --pool POOL`, and see that the Prefect server"
    " has the deployment `ask-site/POOL`.",
    "node.ready": "Read the kubelet's log on the host: `journalctl -u kubelet -n 100`.",
}
_BY_SYMPTOM: Mapping[str, str] = {
    "expired": "Renew the certificate, and see why nobody was told before.",
    "expires-soon": "Renew the certificate before that day.",
    "untrusted": "Compare its issuer with the declared authority: a proxy may stand between, or a CA was changed.",
    "no-handshake": "Look at what takes the connection: a load balancer with nobody behind it, a proxy, a server"
    " without TLS; ask by hand: `openssl s_client -connect HOST:PORT`.",
    "too-big": "Lower the MTU of interfaces and pods to what the path carries, less 50 bytes for VXLAN, or mend the"
    " line; let ICMP `fragmentation needed` pass.",
}
_NEXT: Mapping[Part, str] = {
    Part.PATH: "Look at what is between these two alone: a route, a rule, a duplicate address (`ip neigh`).",
    Part.KUBELET: "Open TCP 10250 on the host for the control plane, and see that its kubelet runs: `systemctl status"
    " kubelet`.",
    Part.CACHE: "Look at the node's cache: `kubectl -n kube-system get pods -o wide -l k8s-app=node-local-dns`. Pods"
    " there wait for it with each lookup until it answers.",
    Part.STUB: "Look at /etc/resolv.conf and nsswitch.conf on the host; ask by hand: `getent ahosts NAME`.",
    Part.WAY_IN: "Look at the host's own firewall (`nft list ruleset`) and at what filters towards it.",
    Part.WAY_OUT: "Look at the host's routes and outgoing filters: `ip route`, `nft list ruleset`.",
    Part.HOST: "Look at the host's console: power, network card, kernel. If it is gone for good, offboard it.",
    Part.RESOLVER: "Ask it by hand: `dig @SERVER NAME`; look at its log and at what it forwards to.",
    Part.NAME: "Ask by hand, `dig @SERVER NAME` for each resolver: a record was moved or removed, or one of them"
    " overrides it.",
    Part.TARGET: "See whether it runs; if it has moved, correct the fleet file's audit.targets.",
    Part.ENDPOINT: "Look at the control plane and its load balancer in the provider's console; there is nothing to mend"
    " on the hosts.",
    Part.SITE_TARGET: "Look at the site's firewall, and at the access list of what is reached, for this site's"
    " addresses, protocol and port.",
    Part.DOMAIN_EDGE: "Look at the uplink that these hosts share: switch, port, VLAN.",
    Part.DOMAIN: "Look at what these hosts share: power, switch, rack.",
    Part.LINE_ONE_WAY: "Look at routes and firewalls for this direction: replies pass, new connections do not.",
    Part.LINE: "Look at the line itself: tunnel or dedicated circuit, its BGP session, the routers at both ends. Start"
    " no rollout at this site until it is back.",
    Part.SITE: "Look at the site's edge: its routers and uplinks.",
}
_SLOW_NEXT = (
    "Compare with the line's load and its errors at that time; look who sends much: `iftop`, the router's counters."
)


def key_of(candidate: CandidateCause, quality: Quality) -> Key:
    """What identifies a finding about it from night to night."""
    word, kind = _KINDS[candidate.part]
    how = "slow" if quality is Quality.SLOW else _MODES[candidate.mode]
    return f"audit.{word}.{how}", Subject(kind, candidate.name)


def finding_of(cause: Cause, places: Mapping[str, Place], now: datetime) -> Finding:
    """The finding of one cause.

    places: by host; a host that something is known to be going on with makes a finding about it no surprise
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
            expected="as on other nights" if cause.symptom == "slower-than-usual" else "all of it passes",
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
    """Those that it is told by: what is mild, be it frequent, does not hide what is not."""
    return [fact for fact in cause.explains if not _is_mild(fact)] or cause.explains


def _next_step(cause: Cause) -> str:
    worst = _worst(cause)
    checks = _checks(worst)
    if len(checks) == 1 and checks[0] in _BY_CHECK:
        return _BY_CHECK[checks[0]]
    return _BY_SYMPTOM.get(_symptom(worst)) or _NEXT[cause.candidate.part]


def _checks(facts: Iterable[Measurement]) -> list[str]:
    """What shows it, the most frequent first."""
    return _frequent(fact.check for fact in facts)


def _symptom(facts: Iterable[Measurement]) -> str:
    return _frequent(fact.symptom for fact in facts)[0]


def _frequent(words: Iterable[str]) -> list[str]:
    """Each word once, the most frequent first."""
    counts = Counter(words)
    return sorted(counts, key=lambda word: (-counts[word], word))


def _observed(cause: Cause) -> str:
    """What fails with an example, what passes all the same, what could not be measured."""
    how = "slow" if cause.quality is Quality.SLOW else "failed"
    count = len(cause.explains)
    parts = [f"{count:,} {'measurement' if count == 1 else 'measurements'} {how}, such as {_example(cause)}"]
    if cause.against:
        passed = cause.against[0]
        parts.append(f"{len(cause.against):,} passed all the same, such as {passed.source} -> {passed.target}")
    if cause.unknown:
        parts.append(f"{cause.unknown:,} could not be measured")
    return "; ".join(parts)


def _example(cause: Cause) -> str:
    """One with the symptom that most have of the worst."""
    worst = _worst(cause)
    fact = next(fact for fact in worst if fact.symptom == _symptom(worst))
    return f"{fact.source} -> {fact.target}: {fact.evidence}"
