"""A night's audit, ready to be told: by the page, by the artifacts, as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tasks.audit.measured import Measured, Quality
from tasks.audit.nights import Baseline, Compared, PathKey, Since
from tasks.outcomes import Severity

CLOUD = "cloud"
"""Where the control plane and the cloud's own nodes are, in place of a site's name."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a host is, and what is known to be going on with it."""

    site: str
    domain: str
    """Empty: none is declared."""
    note: str = ""
    """Why trouble with it is no surprise: `cordoned`, `a rollout works on it`, ...; empty: nothing is known."""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """All that one run of the audit has to say."""

    fleet: str
    run_id: str
    started_at: datetime
    ended_at: datetime
    compared: Compared
    """Its findings, and how they stand against the nights before."""
    facts: tuple[Measured, ...]
    hosts: Mapping[str, Place]
    """Every host that was asked for."""
    unread: Mapping[str, str]
    """Host -> why it could not be asked tonight."""
    silent: Mapping[str, int]
    """Host -> for how many nights nothing was measured of it, where these are too many."""
    usual: Mapping[PathKey, Baseline] = field(default_factory=dict)
    pairs: int = 0
    """Connections between hosts that were planned for tonight."""
    nights_to_cover: int = 1
    """In how many nights every host has connected to every other one."""
    earlier_nights: int = 0
    """How many earlier runs this one was compared with."""
    notes: tuple[str, ...] = ()
    """What could not be looked at, and why, as sentences: a cluster that does not answer."""

    @property
    def counts(self) -> Counter[Quality]:
        """How many facts are how."""
        return Counter(fact.quality for fact in self.facts)

    @property
    def summary(self) -> str:
        """`3 findings (1 new), 2 fixed; 1,204 measured: 1,190 ok, 14 fail`."""
        told = self.compared.told
        wrong = [one for one in told if one.finding.severity is not Severity.INFO]
        new = sum(one.stands is Since.NEW for one in wrong)
        parts = [f"{len(wrong)} {'finding' if len(wrong) == 1 else 'findings'}{f' ({new} new)' if new else ''}"]
        if self.compared.fixed:
            parts.append(f"{len(self.compared.fixed)} fixed")
        if self.unread:
            parts.append(f"{len(self.unread)} of {len(self.hosts)} hosts not measured")
        counts = self.counts
        how = ", ".join(f"{counts[quality]:,} {quality}" for quality in Quality if counts[quality])
        return f"{', '.join(parts)}; {sum(counts.values()):,} measured{f': {how}' if how else ''}"
