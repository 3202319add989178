"""A night's audit, ready to be told: by the page, by the artifacts, as JSON."""

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
    """All that one run of the audit has to say."""

    fleet: str
    run_id: str
    started_at: datetime
    ended_at: datetime
    compared: Comparison
    """Its findings, and how they state against the nights before."""
    facts: tuple[Measurement, ...]
    hosts: Mapping[str, Place]
    """Every host that was asked for."""
    unread: Mapping[str, str]
    """Host -> why it could not be asked tonight."""
    silent: Mapping[str, int]
    """Host -> for how many nights nothing was measured of it, where these are too many."""
    explains: Mapping[Key, tuple[Measurement, ...]] = field(default_factory=dict)
    """Finding -> the facts that are as they are because of it."""
    usual: Mapping[PathKey, Baseline] = field(default_factory=dict)
    pairs: int = 0
    """Connections between hosts that were planned for tonight."""
    nights_to_cover: int = 1
    """In how many nights every host has connected to every other one."""
    earlier_nights: int = 0
    """How many earlier nights this one was compared with."""
    caches: str = ""
    """What node-local DNS caches keep off the line, as a sentence; empty: none tells."""
    unread_clusters: Mapping[str, str] = field(default_factory=dict)
    """Cluster -> why nothing is known of it tonight."""
    notes: tuple[str, ...] = ()
    """What could not be looked at, and why, as sentences: a cluster that does not answer."""

    @property
    def counts(self) -> Counter[Quality]:
        """How many facts are how."""
        return Counter(fact.quality for fact in self.facts)

    @property
    def wrong(self) -> tuple[FindingChange, ...]:
        """The findings that nobody expected, the worst first."""
        return tuple(one for one in self.compared.changes if one.finding.severity is not Severity.INFO)

    @property
    def expected(self) -> tuple[FindingChange, ...]:
        """The findings that are no surprise."""
        return tuple(one for one in self.compared.changes if one.finding.severity is Severity.INFO)

    @property
    def failed(self) -> int:
        """How many facts failed, those that are no surprise left out."""
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
