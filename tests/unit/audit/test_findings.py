"""A cause in words: how bad it is, what shows it, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from poolkeeper.tasks.audit.causes.findings import finding_of
from poolkeeper.tasks.audit.causes.grouping import Cause
from poolkeeper.tasks.audit.measurements import CandidateCause, FailureMode, Measurement, Part, Quality
from poolkeeper.tasks.outcomes import Finding, Severity
from tests.unit.audit.reports import a_fact

NOW = datetime(2026, 11, 24, 2, tzinfo=UTC)
DB = CandidateCause(Part.TARGET, "db", FailureMode.WRONG)


def failing(symptom: str, count: int, check: str = "https.target") -> list[Measurement]:
    """As many hosts that see the same."""
    return [
        a_fact(check, f"{symptom}-{n}", "db", Quality.FAIL, evidence=f"it is {symptom}", symptom=symptom)
        for n in range(count)
    ]


def told(candidate: CandidateCause, explains: Sequence[Measurement], most: str) -> Finding:
    return finding_of(Cause(candidate, Quality.FAIL, tuple(explains), (), 0, most), {}, NOW)


@pytest.mark.parametrize(
    ("explains", "severity", "shown", "next_step"),
    [
        pytest.param(
            failing("expires-soon", 8),
            Severity.WARNING,
            "8 measurements failed, such as expires-soon-0 -> db: it is expires-soon",
            "Renew the certificate before that day.",
            id="a certificate that ends soon",
        ),
        pytest.param(
            [*failing("expires-soon", 8), *failing("bad-status", 4)],
            Severity.BLOCKER,
            "12 measurements failed, such as bad-status-0 -> db: it is bad-status",
            "Check whether the target runs; if it has moved, correct `audit.targets` in the fleet file.",
            id="the same target answers some hosts with an error",
        ),
        pytest.param(
            [*failing("expires-soon", 8), *failing("bad-status", 1), *failing("untrusted", 2)],
            Severity.BLOCKER,
            "11 measurements failed, such as untrusted-0 -> db: it is untrusted",
            "Compare the certificate's issuer with the declared authority: a proxy may intercept TLS, or the CA has changed.",
            id="of what is not mild the most frequent",
        ),
        pytest.param(
            failing("absent", 10, "cache.pod"),
            Severity.WARNING,
            "10 measurements failed, such as absent-0 -> db: it is absent",
            "Look at the DaemonSet and its tolerations: `kubectl -n kube-system describe ds node-local-dns`.",
            id="nodes without a cache",
        ),
        pytest.param(
            [*failing("absent", 10, "cache.pod"), *failing("not-serving", 3, "cache.pod")],
            Severity.BLOCKER,
            "13 measurements failed, such as not-serving-0 -> db: it is not-serving",
            "Look at the DaemonSet and its tolerations: `kubectl -n kube-system describe ds node-local-dns`.",
            id="nodes without a cache, and some whose cache does not serve",
        ),
        pytest.param(
            [*failing("wrong-answer", 5, "settings.search"), *failing("timeout", 1, "dns.stub")],
            Severity.BLOCKER,
            "6 measurements failed, such as timeout-0 -> db: it is timeout",
            "Check whether the target runs; if it has moved, correct `audit.targets` in the fleet file.",
            id="settings that cost time, and a lookup that fails",
        ),
    ],
)
def test_what_is_mild_does_not_hide_what_is_not(
    explains: list[Measurement], severity: Severity, shown: str, next_step: str
) -> None:
    finding = told(DB, explains, explains[0].symptom)
    assert (finding.severity, finding.evidence.observed, finding.next_step) == (severity, shown, next_step)
    assert finding.evidence.source.startswith(explains[0].check), "what shows it is all of it"
