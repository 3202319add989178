"""Builders of a night's report that name only what differs from a quiet night."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from poolkeeper.tasks.audit.measurements import CandidateCause, Measurement, Part, Quality
from poolkeeper.tasks.audit.nights.comparison import Baseline, Comparison, FindingChange, FindingStatus, PastFinding
from poolkeeper.tasks.audit.places import Place
from poolkeeper.tasks.audit.report.audit_report import AuditReport
from poolkeeper.tasks.outcomes import Evidence, Finding, Severity, Subject

NIGHT = datetime(2026, 11, 23, 2, tzinfo=UTC)
HOSTS = {
    "fra1-n01": Place("fra1", "fra1-a"),
    "fra1-n02": Place("fra1", "fra1-b"),
    "ams1-n01": Place("ams1", "ams1-a"),
}


def a_fact(
    check: str = "connect.host",
    source: str = "fra1-n01",
    target: str = "ams1-n01",
    quality: Quality = Quality.OK,
    **more: Any,
) -> Measurement:
    fields = {
        "evidence": f"{quality}",
        "candidates": frozenset({CandidateCause(Part.HOST, source)}),
        "duration_ms": 8.0,
        **more,
    }
    return Measurement(check, source, target, quality, **fields)


def a_finding(
    id: str = "audit.line",
    name: str = "fra1 -- ams1",
    severity: Severity = Severity.BLOCKER,
    kind: str = "site",
    observed: str = "no connection passed from fra1 to ams1",
    next_step: str = "Trace the line from a host at fra1: `mtr -T -P 10250 ams1-n01`.",
) -> Finding:
    evidence = Evidence(observed, "connections pass both ways", "connects between hosts", NIGHT)
    return Finding(id, severity, Subject(kind, name), evidence, next_step)


def change(finding: Finding, status: FindingStatus = FindingStatus.NEW, nights: int = 1) -> FindingChange:
    return FindingChange(finding, status, NIGHT - timedelta(days=nights - 1), nights)


def a_report(**more: Any) -> AuditReport:
    """Three hosts that all connect to each other."""
    facts = tuple(a_fact(source=a, target=b) for a in HOSTS for b in HOSTS if a != b)
    fields: dict[str, Any] = {
        "fleet": "practice",
        "run_id": "run-1",
        "started_at": NIGHT,
        "ended_at": NIGHT + timedelta(seconds=252),
        "compared": Comparison((), ()),
        "facts": facts,
        "hosts": HOSTS,
        "unread": {},
        "silent": {},
        "pairs": 6,
        "earlier_nights": 5,
    }
    return AuditReport(**{**fields, **more})


def a_bad_night() -> AuditReport:
    """A line is cut one way, DNS over TCP fails at one site, a host is cordoned and another does not answer."""
    quiet = a_report()
    failing = tuple(
        replace(fact, quality=Quality.FAIL, evidence="timed out after 3 s", symptom="timeout", duration_ms=None)
        if (fact.source, fact.target) == ("fra1-n01", "ams1-n01")
        else fact
        for fact in quiet.facts
    )
    dns = (
        a_fact("dns.stub", "fra1-n01", "kubernetes.default", duration_ms=14.0),
        a_fact("dns.cache", "fra1-n01", "169.254.20.10 kubernetes.default udp", duration_ms=3.0),
        a_fact("dns.server", "fra1-n01", "172.20.0.9 kubernetes.default udp", duration_ms=6.0),
        a_fact("dns.server", "fra1-n01", "172.20.0.9 kubernetes.default tcp", Quality.FAIL, duration_ms=None),
        a_fact("dns.resolver", "ams1-n01", "10.2.0.2 example.com udp", duration_ms=21.0),
    )
    slow = a_fact(
        "api.tls", "ams1-n01", "api.example:6443", Quality.SLOW, duration_ms=310.0, symptom="slower-than-usual"
    )
    big = a_fact("mtu.host", "fra1-n02", "ams1-n01", Quality.FAIL, symptom="too-big")
    cut = a_finding()
    dns_tcp = a_finding("audit.dns.tcp", "fra1", Severity.WARNING, observed="DNS over TCP fails at fra1")
    cordoned = a_finding("audit.node.cordoned", "fra1-n02", Severity.INFO, "host", "it is cordoned")
    gone = (
        PastFinding("audit.kubelet", Subject("host", "fra1-n02"), "port 10250 refuses", True),
        PastFinding("audit.clock", Subject("host", "ams1-n02"), "its clock is 40 s off", False),
    )
    return replace(
        quiet,
        facts=(*failing, *dns, slow, big),
        hosts={**HOSTS, "ams1-n02": Place("ams1", "ams1-a", note="a rollout works on it")},
        compared=Comparison((change(cut), change(dns_tcp, FindingStatus.STILL, 4), change(cordoned)), gone),
        unread={"ams1-n02": "no login: connection refused"},
        silent={"ams1-n02": 6},
        usual={slow.path: Baseline(42.0, 3.0, 7)},
        explains={("audit.line", cut.subject): tuple(fact for fact in failing if fact.quality is Quality.FAIL)},
        notes=("Cluster edge did not answer, and nothing of it was looked at.",),
    )


def an_expected_night(*more: Measurement) -> AuditReport:
    """A host that is cordoned does not answer; and whatever else there is."""
    failed = tuple(a_fact(source=host, target="fra1-n02", quality=Quality.FAIL) for host in ("fra1-n01", "ams1-n01"))
    cordoned = a_finding("audit.host.cut", "fra1-n02", Severity.INFO, "host", "no connection; the node is cordoned")
    return a_report(
        facts=(a_fact(), *failed, *more),
        compared=Comparison((change(cordoned),), ()),
        explains={(cordoned.id, cordoned.subject): failed},
    )


def a_big_night(hosts: int = 1000, facts: int = 60_000, sites: int = 12, domains: int = 10) -> AuditReport:
    """Many hosts, a third of all facts in trouble, and more findings than anybody reads."""
    placed = {
        f"s{i % sites:02}-n{i:04}": Place(f"s{i % sites:02}", f"s{i % sites:02}-d{i // sites % domains}")
        for i in range(hosts)
    }
    names = list(placed)
    checks = ("connect.host", "mtu.host", "api.tls", "dns.stub", "dns.server")
    qualities = (*[Quality.OK] * 6, Quality.FAIL, Quality.SLOW, Quality.UNKNOWN)
    many = tuple(
        a_fact(
            checks[i % 5],
            names[i % hosts],
            names[(i * 7 + 1 + i // hosts) % hosts] + (" udp" if i % 5 > 2 else ""),
            qualities[i % 9],
            evidence="timed out after 3 s" * (qualities[i % 9] is Quality.FAIL),
            duration_ms=float(i % 97),
        )
        for i in range(facts)
    )
    findings = [a_finding(name=f"line {i}", severity=list(Severity)[i % 3]) for i in range(2000)]
    return a_report(
        hosts=placed,
        facts=many,
        compared=Comparison(
            tuple(change(one) for one in findings),
            tuple(
                PastFinding("audit.clock", Subject("host", name), "its clock is off", bool(i % 2))
                for i, name in enumerate(names)
            ),
        ),
        explains={(one.id, one.subject): many[:4000] for one in findings},
        unread={name: f"no login: {i}" for i, name in enumerate(names[:500])},
        silent=dict.fromkeys(names[:300], 9),
        pairs=8000,
        nights_to_cover=167,
        notes=tuple(f"Note {i}." for i in range(500)),
    )
