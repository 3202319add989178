"""Night against night: what is new, what is still so and since when, what is gone, and what nobody has looked at.

Whatever was not measured tonight is neither fixed nor broken. A night is a day (UTC) on which audits ran. It may have
several runs, each over other hosts; a run tells only of what it has looked at.
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
"""So many nights back findings are looked at: for what flaps, and for what nobody could tell of in all of them."""
BASELINE_NIGHTS = 7
BASELINE_AT_LEAST = 5
"""Nights that a path must have been measured in before it has a baseline."""
FLAPS = 2
"""What has starts so many times within the nights that are looked at flaps."""
_LEAST_MS = 100.0
"""A path that is slower by less than this is as it was: a host or a resolver that is busy for a moment does that."""


class FindingStatus(StrEnum):
    """How a finding stands against the nights before."""

    NEW = "new"
    STILL = "still failing"
    FLAPPING = "flapping"


@dataclass(frozen=True, slots=True)
class Seen:
    """A finding as a run leaves it to the next one."""

    observed: str
    since: datetime | None = None
    """When the first of the runs in a row that have it began; those that could not tell are passed over.

    None: rows of older versions do not tell.
    """
    nights: int = 0
    """How many nights these were."""
    last: datetime | None = None
    """When the last of them began."""
    severity: str = ""
    """How bad it was in that one; empty: rows of older versions do not tell, once it could not be measured."""


@dataclass(frozen=True, slots=True)
class PastRun:
    """An earlier run of the audit: whom it asked, and what it tells of findings."""

    run_id: str
    at: datetime
    """When it began."""
    asked: frozenset[str]
    missed: frozenset[str] = frozenset()
    """Those of them of whom nothing was measured."""
    found: Mapping[Key, Seen] = field(default_factory=dict)
    carried: Mapping[Key, Seen] = field(default_factory=dict)
    """Findings of runs before that it could tell nothing of: nobody knows whether they were there."""
    fixed: Collection[Key] = ()
    tells_all: bool = False
    """What it does not name was not there: older versions did not write down what is fixed."""

    @property
    def night(self) -> date:
        """The one that it belongs to."""
        return night_of(self.at)


def night_of(at: datetime) -> date:
    """The night of a run that began then."""
    return at.astimezone(UTC).date()


def first_night(before: Iterable[PastRun]) -> date:
    """The first of the last `NIGHTS` nights; long ago if there are not so many."""
    nights = sorted({run.night for run in before}, reverse=True)
    return nights[NIGHTS - 1] if len(nights) >= NIGHTS else date.min


@dataclass(frozen=True, slots=True)
class FindingChange:
    """A finding of tonight, and its history."""

    finding: Finding
    status: FindingStatus
    since: datetime
    """When the first of the runs in a row that have it began; those that could not tell are passed over."""
    nights: int
    """How many nights these were, tonight among them."""
    was: str = ""
    """Its severity when it was last there; empty: it begins tonight, or nobody knows."""


@dataclass(frozen=True, slots=True)
class PastFinding:
    """A finding that was there when it was last looked for, and that tonight has not."""

    id: str
    subject: Subject
    observed: str
    measured: bool
    """Whether what it was about was measured tonight: if not, nobody knows whether it is fixed."""
    since: datetime | None = None
    nights: int = 0
    last: datetime | None = None
    severity: str = ""
    """These four are as in `Seen`."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Tonight against the nights before."""

    changes: tuple[FindingChange, ...]
    """In the order that the findings were given in: the worst first."""
    gone: tuple[PastFinding, ...]
    elsewhere: tuple[PastFinding, ...] = ()
    """Of the same kind, about what this run was not to look at: it was over some hosts alone."""

    @property
    def fixed(self) -> tuple[PastFinding, ...]:
        return tuple(gone for gone in self.gone if gone.measured)

    @property
    def not_measured(self) -> tuple[PastFinding, ...]:
        return tuple(gone for gone in self.gone if not gone.measured)


@dataclass(frozen=True, slots=True)
class _State:
    """How a finding states when a run had ended."""

    seen: Seen
    is_open: bool = True
    starts: int = 0
    """How many times it has starts, within the runs that were looked at."""


def compare(
    findings: Sequence[Finding],
    known: Callable[[Key], bool],
    looked_at: Callable[[Key], bool],
    started_at: datetime,
    before: Sequence[PastRun],
) -> Comparison:
    """Tonight's findings against earlier runs, the newest first. Pure.

    known: whether tonight tells that such a finding is not there any more
    looked_at: whether tonight's run was to look for it at all
    started_at: when tonight's run began
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
    """How every finding states at last: of each, the last run that tells anything of it counts."""
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
    """Since when and for how many nights a finding is there, and how many times it has starts, after a run that has it.

    was: how it states before that run
    seen: what the run itself tells; it counts where no earlier run does, for the runs that are read end somewhere
    at: when it began
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
    """Hosts that were not measured for at least so many nights in a row, tonight the last, and how many. Pure.

    before: the newest first; runs that did not ask for a host do not count
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
    """The ids of the runs that baselines are made of, night by night, the newest first. Pure.

    Enough of them that each host was asked in so many nights, if there are as many. Of one night the runs that asked
    most come first, and those that asked for no other host are left out: whoever tries one host again and again in an
    inputs makes no week of it.

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
    """Of every path that was measured OK in enough nights. Pure.

    nights: path -> milliseconds, the newest first; of each path the last `BASELINE_NIGHTS` count
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
    """The same facts; what was OK and took much longer than it does as a rule is slow. Pure."""
    return tuple(_against(fact, usual.get(fact.path)) for fact in measured)


def _against(fact: Measurement, usual: Baseline | None) -> Measurement:
    if usual is None or fact.quality is not Quality.OK or fact.duration_ms is None:
        return fact
    if fact.duration_ms <= usual.limit_ms:
        return fact
    evidence = f"{fact.duration_ms:.0f} ms; {usual.median_ms:.1f} ms is the median of {usual.nights} nights"
    return replace(fact, quality=Quality.SLOW, evidence=evidence, symptom="slower-than-usual")
