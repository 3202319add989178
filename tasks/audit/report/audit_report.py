"""The result of an audit, for the page, the artifacts and the JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from poolkeeper.tasks.audit.measurements import Measurement, Quality
from poolkeeper.tasks.audit.nights.comparison import Baseline, Comparison, FindingChange, FindingStatus, Key, PathKey
from poolkeeper.tasks.audit.places import Place
from poolkeeper.tasks.outcomes import Severity


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The result of one run of the audit."""

    fleet: str
    run_id: str
    started_at: datetime
    ended_at: datetime
    compared: Comparison
    """Its findings, and how they compare with the nights before."""
    facts: tuple[Measurement, ...]
    hosts: Mapping[str, Place]
    """Every chosen host."""
    unread: Mapping[str, str]
    """Host -> why it could not be measured tonight."""
    silent: Mapping[str, int]
    """Host -> for how many nights it was not measured, if these are too many."""
    explains: Mapping[Key, tuple[Measurement, ...]] = field(default_factory=dict)
    """Finding -> the measurements that it explains."""
    usual: Mapping[PathKey, Baseline] = field(default_factory=dict)
    pairs: int = 0
    """Connections between hosts that were planned for tonight."""
    nights_to_cover: int = 1
    """The number of nights in which every host connects to every other."""
    earlier_nights: int = 0
    """The number of earlier nights with which this one was compared."""
    caches: str = ""
    """What node-local DNS caches save on the line, as a sentence; empty: unknown."""
    unread_clusters: Mapping[str, str] = field(default_factory=dict)
    """Cluster -> why it could not be read tonight."""
    notes: tuple[str, ...] = ()
    """What could not be measured, and why, as sentences: a cluster that does not answer."""

    @property
    def counts(self) -> Counter[Quality]:
        """The number of measurements of each quality."""
        return Counter(fact.quality for fact in self.facts)

    @property
    def wrong(self) -> tuple[FindingChange, ...]:
        """The findings that are not expected, the worst first."""
        return tuple(one for one in self.compared.changes if one.finding.severity is not Severity.INFO)

    @property
    def expected(self) -> tuple[FindingChange, ...]:
        """The findings that known work on the host explains."""
        return tuple(one for one in self.compared.changes if one.finding.severity is Severity.INFO)

    @property
    def failed(self) -> int:
        """How many measurements failed, without those that expected findings explain."""
        expected = (self.explains.get((one.finding.id, one.finding.subject), ()) for one in self.expected)
        return self.counts[Quality.FAIL] - sum(fact.quality is Quality.FAIL for facts in expected for fact in facts)

    @property
    def summary(self) -> str:
        """`3 findings (1 new), 2 fixed; 1,204 measured: 1,190 ok, 14 fail; 6 unknown`."""
        new = sum(one.status is FindingStatus.NEW for one in self.wrong)
        parts = [f"{counted(len(self.wrong), 'finding')}{f' ({new:,} new)' if new else ''}"]
        if self.compared.fixed:
            parts.append(f"{len(self.compared.fixed):,} fixed")
        if self.unread:
            parts.append(f"{len(self.unread):,} of {counted(len(self.hosts), 'host')} not measured")
        if self.unread_clusters:
            parts.append(f"{counted(len(self.unread_clusters), 'cluster')} not read")
        counts = self.counts
        unknown = counts.pop(Quality.UNKNOWN, 0)
        how = ", ".join(f"{counts[quality]:,} {quality}" for quality in Quality if counts[quality])
        measured = f"{counts.total():,} measured{f': {how}' if how else ''}"
        return "; ".join([", ".join(parts), measured, *([f"{unknown:,} unknown"] if unknown else [])])


def counted(count: int, what: str) -> str:
    """`1 host`, `1,204 hosts`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
