"""Comparison of nights: which findings are new, still there and since when, gone, or not measured.

Invariant: a finding whose subject was not measured tonight is neither fixed nor broken. A night is a day (UTC) on which
audits ran. It may have several runs, each over other hosts; a run says something only about what it has measured.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from itertools import groupby

from poolkeeper.tasks.audit.measurements import Measurement, Quality
from poolkeeper.tasks.outcomes import Finding, Subject

Key = tuple[str, Subject]
"""`(id, subject)` of a finding."""
PathKey = tuple[str, str, str]
"""(check, source, target)."""

NIGHTS = 30
"""Findings of so many past nights are read: to detect flapping, and to drop what was not measured in all of them."""
BASELINE_NIGHTS = 7
BASELINE_AT_LEAST = 5
"""A path has a baseline after so many nights in which it was measured."""
FLAPS = 2
"""A finding that started so many times within the nights that are read is flapping."""
_LEAST_MS = 100.0
"""A path that is slower by less than this counts as unchanged: a host or resolver may be busy for a moment."""


class FindingStatus(StrEnum):
    """How a finding compares with the nights before."""

    NEW = "new"
    STILL = "still failing"
    FLAPPING = "flapping"


@dataclass(frozen=True, slots=True)
class Seen:
    """A finding as a run records it for the next runs."""

    observed: str
    since: datetime | None = None
    """Start of the first of the consecutive runs that have it; runs that could not measure it do not interrupt them.

    None: a row of an older version, which does not record it.
    """
    nights: int = 0
    """The number of nights of these runs."""
    last: datetime | None = None
    """Start of the last of these runs."""
    severity: str = ""
    """Its severity in that run; empty: a row of an older version, after the finding could not be measured."""


@dataclass(frozen=True, slots=True)
class PastRun:
    """An earlier run of the audit: the hosts that it probed, and its findings."""

    run_id: str
    at: datetime
    """When it started."""
    asked: frozenset[str]
    missed: frozenset[str] = frozenset()
    """The hosts in `asked` that were not measured."""
    found: Mapping[Key, Seen] = field(default_factory=dict)
    carried: Mapping[Key, Seen] = field(default_factory=dict)
    """Findings of earlier runs that this run could not measure: whether they were there is unknown."""
    fixed: Collection[Key] = ()
    tells_all: bool = False
    """A finding that it does not name was fixed: older versions did not record what is fixed."""

    @property
    def night(self) -> date:
        """The night that it belongs to."""
        return night_of(self.at)


def night_of(at: datetime) -> date:
    """The night of a run that started at `at`."""
    return at.astimezone(UTC).date()


def first_night(before: Iterable[PastRun]) -> date:
    """The first of the last `NIGHTS` nights; `date.min` if there are fewer."""
    nights = sorted({run.night for run in before}, reverse=True)
    return nights[NIGHTS - 1] if len(nights) >= NIGHTS else date.min


@dataclass(frozen=True, slots=True)
class FindingChange:
    """A finding of tonight, and how it compares with the nights before."""

    finding: Finding
    status: FindingStatus
    since: datetime
    """Start of the first of the consecutive runs that have it; runs that could not measure it do not interrupt them."""
    nights: int
    """The number of nights of these runs, tonight included."""
    was: str = ""
    """Its severity in the last run that has it; empty: it starts tonight, or that is unknown."""


@dataclass(frozen=True, slots=True)
class PastFinding:
    """A finding that was there when last measured, and that tonight does not have."""

    id: str
    subject: Subject
    observed: str
    measured: bool
    """Whether its subject was measured tonight; if not, whether it is fixed is unknown."""
    since: datetime | None = None
    nights: int = 0
    last: datetime | None = None
    severity: str = ""
    """`since`, `nights`, `last` and `severity` are as in `Seen`."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Tonight compared with the nights before."""

    changes: tuple[FindingChange, ...]
    """In the order of the findings: the worst first."""
    gone: tuple[PastFinding, ...]
    elsewhere: tuple[PastFinding, ...] = ()
    """Past findings outside the scope of this run, which was over some hosts only."""

    @property
    def fixed(self) -> tuple[PastFinding, ...]:
        return tuple(gone for gone in self.gone if gone.measured)

    @property
    def not_measured(self) -> tuple[PastFinding, ...]:
        return tuple(gone for gone in self.gone if not gone.measured)


@dataclass(frozen=True, slots=True)
class _State:
    """The state of a finding after a run."""

    seen: Seen
    is_open: bool = True
    starts: int = 0
    """How many times it has started, within the runs that are read."""


def compare(
    findings: Sequence[Finding],
    known: Callable[[Key], bool],
    looked_at: Callable[[Key], bool],
    started_at: datetime,
    before: Sequence[PastRun],
) -> Comparison:
    """Compare tonight's findings with earlier runs, the newest first. Pure.

    known: whether tonight shows that such a finding is gone
    looked_at: whether such a finding is in the scope of tonight's run
    started_at: when tonight's run started
    """
    states, changes = _states(before), []
    for finding in findings:
        was = states.pop((finding.id, finding.subject), None)
        since, nights, starts = _in_a_row(was, Seen(finding.evidence.observed), started_at)
        status = FindingStatus.NEW if since == started_at else FindingStatus.STILL
        if starts >= FLAPS:
            status = FindingStatus.FLAPPING
        severity = was.seen.severity if was and was.is_open else ""
        changes.append(FindingChange(finding, status, since, nights, severity))
    gone, elsewhere = list[PastFinding](), list[PastFinding]()
    for (id, subject), state in sorted(states.items(), key=lambda item: item[0]):
        if state.is_open:
            seen, measured = state.seen, known((id, subject))
            one = PastFinding(id, subject, seen.observed, measured, seen.since, seen.nights, seen.last, seen.severity)
            (gone if measured or looked_at((id, subject)) else elsewhere).append(one)
    return Comparison(tuple(changes), tuple(gone), tuple(elsewhere))


def _states(before: Sequence[PastRun]) -> dict[Key, _State]:
    """The last state of every finding. Invariant: the last run that measured a finding decides its state."""
    states: dict[Key, _State] = {}
    for run in reversed(before):
        for key, seen in run.carried.items():
            states.setdefault(key, _State(replace(seen, last=seen.last or run.at)))
        for key, seen in run.found.items():
            since, nights, starts = _in_a_row(states.get(key), seen, run.at)
            states[key] = _State(replace(seen, since=since, nights=nights, last=run.at), starts=starts)
        unnamed = states.keys() - run.found.keys() - run.carried.keys() if run.tells_all else set[Key]()
        for key in states.keys() & {*run.fixed, *unnamed}:
            states[key] = replace(states[key], is_open=False)
    return states


def _in_a_row(was: _State | None, seen: Seen, at: datetime) -> tuple[datetime, int, int]:
    """Since when, and for how many nights, a finding is there after a run that has it; how many times it has started.

    was: its state before that run
    seen: what that run recorded; it matters where no earlier run was read
    at: when that run started
    """
    starts = was.starts if was else 0
    if was and was.is_open and was.seen.since:
        another = was.seen.last is None or night_of(was.seen.last) != night_of(at)
        return was.seen.since, was.seen.nights + another, starts
    if seen.since:
        return seen.since, seen.nights, starts + (seen.since == at)
    return at, 1, starts + 1


def silent(
    hosts: Iterable[str], measured: Collection[str], started_at: datetime, before: Iterable[PastRun], nights: int
) -> dict[str, int]:
    """Hosts that were not measured for at least `nights` consecutive nights up to tonight, with that number. Pure.

    before: the newest first; for a host, only runs that were to probe it count
    """
    missed = {host: {night_of(started_at)} for host in hosts if host not in measured}
    undecided = set(missed)
    for run in before:
        for host in undecided & run.asked:
            if host in run.missed:
                missed[host].add(run.night)
            else:
                missed[host].discard(run.night)
                undecided.remove(host)
        if not undecided:
            break
    return {host: len(silence) for host, silence in missed.items() if len(silence) >= nights}


def worth_reading(
    before: Iterable[PastRun], hosts: Iterable[str], nights: int = BASELINE_NIGHTS
) -> Iterator[tuple[str, ...]]:
    """The ids of the runs from which baselines are computed, night by night, the newest first. Pure.

    Each host was probed in `nights` of these nights, if there are as many. Within a night the runs with the most hosts
    come first, and a run that adds no host is skipped: several audits of one host in one night count as one night.

    before: the newest first
    """
    left = dict.fromkeys(hosts, nights)
    for _, runs in groupby(before, key=lambda run: run.night):
        asked, chosen = set[str](), []
        for run in sorted(runs, key=lambda run: -len(run.asked)):
            if more := (run.asked & left.keys()) - asked:
                asked |= more
                chosen.append(run.run_id)
        if chosen:
            yield tuple(chosen)
        for host in asked:
            left[host] -= 1
            if not left[host]:
                del left[host]
        if not left:
            return


@dataclass(frozen=True, slots=True)
class Baseline:
    """The usual time of a path."""

    median_ms: float
    spread_ms: float
    """Median absolute deviation, scaled to a standard deviation: one bad night does not change it."""
    nights: int

    @property
    def limit_ms(self) -> float:
        """Above it, tonight is slower than usual."""
        return max(self.median_ms + 4 * self.spread_ms, 3 * self.median_ms, self.median_ms + _LEAST_MS)


def baselines(nights: Iterable[Mapping[PathKey, float]]) -> dict[PathKey, Baseline]:
    """Baselines of the paths that were OK in enough nights. Pure.

    nights: path -> milliseconds, the newest first; for each path the last `BASELINE_NIGHTS` count
    """
    durations: defaultdict[PathKey, list[float]] = defaultdict(list)
    for night in nights:
        for path, duration_ms in night.items():
            durations[path].append(duration_ms)
    found = {}
    for path, all_of_it in durations.items():
        seen = all_of_it[:BASELINE_NIGHTS]
        if len(seen) >= BASELINE_AT_LEAST:
            median = statistics.median(seen)
            spread = 1.4826 * statistics.median(abs(value - median) for value in seen)
            found[path] = Baseline(median, spread, len(seen))
    return found


def against_baseline(measured: Iterable[Measurement], usual: Mapping[PathKey, Baseline]) -> tuple[Measurement, ...]:
    """The same measurements, in which those that were OK and took much longer than usual are slow. Pure."""
    return tuple(_against(fact, usual.get(fact.path)) for fact in measured)


def _against(fact: Measurement, usual: Baseline | None) -> Measurement:
    if usual is None or fact.quality is not Quality.OK or fact.duration_ms is None:
        return fact
    if fact.duration_ms <= usual.limit_ms:
        return fact
    evidence = f"{fact.duration_ms:.0f} ms; the median of {usual.nights} nights is {usual.median_ms:.1f} ms"
    return replace(fact, quality=Quality.SLOW, evidence=evidence, symptom="slower-than-usual")
