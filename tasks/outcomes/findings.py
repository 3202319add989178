"""Findings and verdicts: what is wrong, how severe it is, how it was observed, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How severe a finding is: a blocker excludes its subject from the run."""

    BLOCKER = "blocker"
    WARNING = "warning"
    INFO = "info"


class Verdict(StrEnum):
    """How a check ended. `unknown` and `skipped` are counted apart from `ok` and `fail`."""

    OK = "ok"
    FAIL = "fail"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """What a finding or a change is about, by Kubernetes' and the fleet file's own names."""

    kind: str
    """`host`, `node`, `pool`, `site`, `domain`, `cluster` or `fleet`; `pod` or `pdb`, named `namespace/name`."""
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was observed and what was expected, for a reader."""

    observed: str
    expected: str
    source: str
    """How it was read: a command, an API path, a fact's name."""
    seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; `(id, subject)` identifies it from night to night."""

    id: str
    """Stable dotted slug without any name in it, such as `hosts.clock.skew`."""
    severity: Severity
    subject: Subject
    evidence: Evidence
    next_step: str
    """One imperative sentence, with its command where there is one; never a secret."""

    def row(self) -> dict[str, Any]:
        """The finding as plain JSON types."""
        row = asdict(self)
        seen_at = self.evidence.seen_at
        row["subject"] = str(self.subject)
        row["severity"] = str(self.severity)
        row["evidence"]["seen_at"] = seen_at.isoformat() if seen_at else None
        return row

    def __str__(self) -> str:
        return (
            f"{self.subject}: {self.id}: {self.evidence.observed} (expected {self.evidence.expected}). {self.next_step}"
        )


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of one named check on one subject."""

    check: str
    """The check's name, which is also the id of the finding it can raise."""
    verdict: Verdict
    subject: Subject
    finding: Finding | None = None
    """Present for `fail`, and for `unknown` where that is not good enough."""
    reason: str = ""
    """Why it is unknown or was skipped."""


def by_severity(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Worst first, then by id and subject, so that output never flickers."""
    rank = {severity: position for position, severity in enumerate(Severity)}
    return tuple(sorted(findings, key=lambda f: (rank[f.severity], f.id, f.subject)))


def blockers(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings that exclude their subject from the run."""
    return tuple(finding for finding in findings if finding.severity is Severity.BLOCKER)
