"""Night against night: what is new, what is still so and since when, what is gone, and what nobody has looked at.

Whatever was not measured tonight is neither fixed nor broken. A night is one run of the audit.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from tasks.audit.measured import Measured, Quality
from tasks.outcomes import Finding, Subject

Key = tuple[str, Subject]
"""`(id, subject)` of a finding."""
PathKey = tuple[str, str, str]
"""(check, source, target)."""

BASELINE_NIGHTS = 7
BASELINE_AT_LEAST = 5
"""Nights that a path must have been measured in before it has a baseline."""
FLAPS = 3
"""So many changes between there and not there within the nights looked at: it flaps."""
_LEAST_MS = 100.0
"""A path that is slower by less than this is as it was: a host or a resolver that is busy for a moment does that."""


class Since(StrEnum):
    """How a finding stands against the nights before."""

    NEW = "new"
    STILL = "still failing"
    FLAPPING = "flapping"


@dataclass(frozen=True, slots=True)
class Night:
    """What an earlier run found, and whom it measured."""

    at: datetime
    findings: Mapping[Key, str]
    """Key -> what was observed."""
    hosts: Mapping[str, bool]
    """Every host that was asked -> whether anything was measured of it."""
    carried: Mapping[Key, str] = field(default_factory=dict)
    """Findings of nights before whose subjects it did not measure: nobody knows whether they were there."""


@dataclass(frozen=True, slots=True)
class Told:
    """A finding of tonight, and its history."""

    finding: Finding
    stands: Since
    since: datetime
    """The first of the nights in a row that have it; those that could not tell are passed over."""
    nights: int
    """How many these are, tonight among them."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A finding of the night before, or of one before whose subject was not measured since, that tonight has not."""

    id: str
    subject: Subject
    observed: str
    measured: bool
    """Whether what it was about was measured tonight: if not, nobody knows whether it is fixed."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Tonight against the nights before."""

    told: tuple[Told, ...]
    """In the order that the findings were given in: the worst first."""
    gone: tuple[Gone, ...]

    @property
    def fixed(self) -> tuple[Gone, ...]:
        return tuple(gone for gone in self.gone if gone.measured)

    @property
    def not_measured(self) -> tuple[Gone, ...]:
        return tuple(gone for gone in self.gone if not gone.measured)


def compare(
    findings: Sequence[Finding], known: Callable[[Key], bool], now: datetime, before: Sequence[Night]
) -> Compared:
    """Tonight's findings against earlier nights, the newest first. Pure.

    known: whether tonight tells that such a finding is not there any more
    """
    told = []
    for finding in findings:
        key = (finding.id, finding.subject)
        telling = [night for night in before if key not in night.carried]
        history = [key in night.findings for night in telling]
        row = history.index(False) if False in history else len(history)
        changes = sum(a != b for a, b in zip([True, *history], history, strict=False))
        stands = Since.FLAPPING if changes >= FLAPS else Since.STILL if row else Since.NEW
        told.append(Told(finding, stands, telling[row - 1].at if row else now, row + 1))
    tonight = {(finding.id, finding.subject) for finding in findings}
    last = {**before[0].carried, **before[0].findings} if before else {}
    gone = [
        Gone(id, subject, observed, known((id, subject)))
        for (id, subject), observed in sorted(last.items())
        if (id, subject) not in tonight
    ]
    return Compared(tuple(told), tuple(gone))


def silent(hosts: Iterable[str], measured: Collection[str], before: Sequence[Night], nights: int) -> dict[str, int]:
    """Hosts that were not measured for at least so many nights in a row, tonight the last, and how many. Pure.

    Nights that did not ask for a host do not count.
    """
    found = {}
    for host in hosts:
        if host in measured:
            continue
        asked = [night.hosts[host] for night in before if host in night.hosts]
        row = 1 + (asked.index(True) if True in asked else len(asked))
        if row >= nights:
            found[host] = row
    return found


@dataclass(frozen=True, slots=True)
class Baseline:
    """How long a path takes as a rule."""

    median_ms: float
    spread_ms: float
    """Median absolute deviation, scaled to a standard deviation: one bad night does not move it."""
    nights: int

    @property
    def limit_ms(self) -> float:
        """Above it, tonight is not as the other nights were."""
        return max(self.median_ms + 4 * self.spread_ms, 3 * self.median_ms, self.median_ms + _LEAST_MS)


def baselines(nights: Iterable[Mapping[PathKey, float]]) -> dict[PathKey, Baseline]:
    """Of every path that was measured OK in enough of the nights; each gives its durations in milliseconds. Pure."""
    durations: defaultdict[PathKey, list[float]] = defaultdict(list)
    for night in nights:
        for path, duration_ms in night.items():
            durations[path].append(duration_ms)
    found = {}
    for path, seen in durations.items():
        if len(seen) >= BASELINE_AT_LEAST:
            median = statistics.median(seen)
            spread = 1.4826 * statistics.median(abs(value - median) for value in seen)
            found[path] = Baseline(median, spread, len(seen))
    return found


def against_baseline(measured: Iterable[Measured], usual: Mapping[PathKey, Baseline]) -> tuple[Measured, ...]:
    """The same facts; what was OK and took much longer than it does as a rule is slow. Pure."""
    return tuple(_against(fact, usual.get(fact.path)) for fact in measured)


def _against(fact: Measured, usual: Baseline | None) -> Measured:
    if usual is None or fact.quality is not Quality.OK or fact.duration_ms is None:
        return fact
    if fact.duration_ms <= usual.limit_ms:
        return fact
    evidence = f"{fact.duration_ms:.0f} ms; {usual.median_ms:.1f} ms is the median of {usual.nights} nights"
    return replace(fact, quality=Quality.SLOW, evidence=evidence, symptom="slower-than-usual")
