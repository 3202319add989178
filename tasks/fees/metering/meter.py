"""The meter: evidence and a tariff to fee lines.

Each rule of the tariff is counted over every resource of its kind (or over all together), piece by piece where the
price or the waiver changes. The same evidence gives the same lines, in whatever order it comes.

Cutting a period at midnight in UTC+8 and summing gives the whole, for every rule: no hour or day is in two periods, and
a flat sum is due on the first day of its month. The one exception is a tariff that rounds lines: each cut
can move a line by as much as its rounding does.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from operator import attrgetter

from poolkeeper.tasks.fees.metering.fee_lines import FeeLine, Span, Told, line_id
from poolkeeper.tasks.fees.metering.intervals import (
    Horizon,
    Known,
    Peers,
    Reading,
    Sizes,
    Stretch,
    known_time,
    stretches,
)
from poolkeeper.tasks.fees.metering.slots import Run, clipped, merged
from poolkeeper.tasks.fees.money import ZERO, times, total
from poolkeeper.tasks.fees.periods import DAY_US, Period, billing_day, day_start, slot_of, slot_start
from poolkeeper.tasks.fees.tariff.model import Piece, Rule, Tariff, Tier
from poolkeeper.tasks.fees.tariff.units import Counting, Measure
from poolkeeper.tasks.fees.usage.evidence import Evidence
from poolkeeper.tasks.fees.usage.usage_records import History, Phase

ALL = "all"
"""The kind of a line that is counted over all resources together."""

COVERAGE_STEPS = 1_000_000
"""Coverage is told to six places, rounded down: only what is whole is 1."""


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Usage that the tariff has no price for, or that nobody told the size of: it is in no total."""

    rule: str
    resource_id: str
    quantity: int | None
    unit_name: str
    first: date
    after: date
    reason: str


@dataclass(frozen=True, slots=True)
class Statement:
    """What a period costs by one tariff."""

    period: Period
    tariff: Tariff
    lines: tuple[FeeLine, ...]
    unpriced: tuple[Unpriced, ...]
    coverage: Decimal
    """The share of the priced time for which there is evidence, from 0 to 1."""
    metered_until_us: int

    @property
    def total(self) -> Decimal:
        """The sum of the lines' amounts."""
        return self.tariff.rounding.total(total(line.amount for line in self.lines))

    @property
    def low(self) -> Decimal:
        """The same with every gap read the way that costs least."""
        return self.tariff.rounding.total(total(line.low for line in self.lines))

    @property
    def high(self) -> Decimal:
        """The same with every gap read the way that costs most."""
        return self.tariff.rounding.total(total(line.high for line in self.lines))

    @property
    def is_whole(self) -> bool:
        """Whether the period is over and was metered to its end."""
        return self.metered_until_us >= self.period.end_us


def meter(
    evidence: Evidence, tariff: Tariff, period: Period, now_us: int, *, only: Set[str] | None = None
) -> Statement:
    """What a period costs.

    now_us: what is later is not billed yet; hours that have not ended by then are not either
    only: the resources whose lines are wanted, and the names of what is counted over all (`collective`); None: all
    """
    horizon = Horizon(period.start_us, period.end_us, evidence.until_us, min(period.end_us, now_us))
    lines: list[FeeLine] = []
    unpriced: list[Unpriced] = []
    known_us = possible_us = 0
    peers = Peers(evidence.histories, period.end_us)
    for rule in tariff.rules:
        counted = _counted(rule, evidence, horizon, peers, now_us, only)
        known_us += sum(usage.known.known_us for usage in counted)
        possible_us += sum(usage.known.possible_us for usage in counted)
        for piece in rule.pieces(period.first, period.after):
            for usage in counted:
                for priced in _priced(tariff, rule, piece, usage, period):
                    if isinstance(priced, FeeLine):
                        lines.append(priced)
                    else:
                        unpriced.append(priced)
    coverage = _share(known_us, possible_us) if possible_us else _nothing_possible(evidence, horizon)
    return Statement(period, tariff, tuple(lines), tuple(unpriced), coverage, horizon.cut_us)


def _share(known_us: int, possible_us: int) -> Decimal:
    return Decimal(known_us * COVERAGE_STEPS // possible_us) / COVERAGE_STEPS


def _nothing_possible(evidence: Evidence, horizon: Horizon) -> Decimal:
    """Nothing was there that the tariff prices: how far that is known. Without any evidence nothing is."""
    if not evidence.histories:
        return ZERO
    known_us = min(horizon.until_us, horizon.end_us) - horizon.start_us
    return _share(max(0, known_us), horizon.end_us - horizon.start_us)


@dataclass(frozen=True, slots=True)
class _Usage:
    """What one rule counts of one resource, or of all together, under each reading of the gaps."""

    resource_id: str
    kind: str
    runs: Mapping[Reading, Sequence[Run]]
    known: Known
    there_us: Sequence[tuple[int, int]]
    """When it was there at all, billed or not."""
    size_is_open: bool
    """Nobody told its size, nor that of any other."""
    histories: tuple[History, ...]


def collective(rule: Rule) -> str:
    """What a rule calls the resources that it counts over all of them together; empty where it counts each."""
    if rule.counting is Counting.FLAT:
        return ALL
    return f"{ALL} {rule.unit.kind}s" if rule.counting is Counting.DAILY_MAXIMUM else ""


def _counted(
    rule: Rule, evidence: Evidence, horizon: Horizon, peers: Peers, now_us: int, only: Set[str] | None
) -> list[_Usage]:
    name = collective(rule)
    if name and only is not None and name not in only:
        return []
    if rule.counting is Counting.FLAT:
        return list(_flat(rule, evidence, horizon, now_us))
    histories = [
        history
        for history in evidence.histories
        if history.kind == rule.unit.kind and (name or only is None or history.resource_id in only)
    ]
    counting = _Counting(rule, horizon, peers)
    each = [usage for history in histories if (usage := counting.of_one(history))]
    if rule.counting is Counting.DAILY_MAXIMUM:
        return [counting.of_all(each)] if each else []
    return each


@dataclass(frozen=True, slots=True)
class _Counting:
    """Counting by one rule over one horizon."""

    rule: Rule
    horizon: Horizon
    peers: Peers

    def of_one(self, history: History) -> _Usage | None:
        """One resource's usage; None when it was not there."""
        there = list(_there(history, self.horizon))
        if not there:
            return None
        sizes, size_is_open = self._sizes(history)
        known = known_time(history, self.rule, self.horizon, sizes)
        if self.rule.counting is Counting.DAILY_MAXIMUM:
            runs: Mapping[Reading, Sequence[Run]] = {}  # what counts is the sum of all at one time
        else:
            runs = self._by_reading(known, lambda reading: self._runs(self._stretches(history, reading, sizes)))
        return _Usage(history.resource_id, history.kind, runs, known, there, size_is_open, (history,))

    def of_all(self, each: Sequence[_Usage]) -> _Usage:
        """The usage of all resources at one time."""
        known = Known(
            sum(usage.known.known_us for usage in each),
            sum(usage.known.possible_us for usage in each),
            tuple(f"{usage.resource_id}: {gap}" for usage in each for gap in usage.known.gaps),
        )
        histories = tuple(history for usage in each for history in usage.histories)

        def runs(reading: Reading) -> Sequence[Run]:
            found = (s for history in histories for s in self._stretches(history, reading, self._sizes(history)[0]))
            return self._runs(_at_one_time(found))

        there = [(min(start for u in each for start, _ in u.there_us), max(end for u in each for _, end in u.there_us))]
        open_ = any(usage.size_is_open for usage in each)
        return _Usage(collective(self.rule), ALL, self._by_reading(known, runs), known, there, open_, histories)

    def _by_reading(self, known: Known, runs: Callable[[Reading], Sequence[Run]]) -> Mapping[Reading, Sequence[Run]]:
        if known.gaps:
            return {reading: runs(reading) for reading in Reading}
        return dict.fromkeys(Reading, runs(Reading.LIKELY))

    def _sizes(self, history: History) -> tuple[Sizes | None, bool]:
        """What stands in for a size that was not told; whether nothing can."""
        measure = self.rule.unit.measure
        if measure is Measure.ITSELF or all(_told_size(life.phases, measure) for life in history.lifetimes):
            return None, False
        sizes = self.peers.sizes(history, measure)
        return sizes, sizes is None

    def _stretches(self, history: History, reading: Reading, sizes: Sizes | None) -> Iterator[Stretch]:
        return stretches(history, self.rule, reading, self.horizon, sizes)

    def _runs(self, found: Iterable[Stretch]) -> Sequence[Run]:
        length = self.rule.unit.slot_us
        if self.rule.counting is not Counting.CLOCK_HOURS_INSIDE:
            return merged(
                Run(slot_of(part.start_us, length), slot_of(part.end_us - 1, length), part.size) for part in found
            )
        ended = slot_of(self.horizon.cut_us, length) - 1
        runs = []
        for part in found:
            # an hour that runs still may become the hour of release
            last = ended if part.ends_us is None else slot_of(part.ends_us, length) - 1
            last = min(last, slot_of(part.end_us - 1, length))
            first = slot_of(part.start_us, length)
            if part.begins_us is not None:
                first = max(first, slot_of(part.begins_us, length) + 1)
            if first <= last:
                runs.append(Run(first, last, part.size))
        return merged(runs)


def _told_size(phases: Sequence[Phase], measure: Measure) -> bool:
    return not phases or getattr(phases[0], measure) is not None


def _there(history: History, horizon: Horizon) -> Iterator[tuple[int, int]]:
    """When a resource was there, or may have been, up to the cut."""
    for life in history.lifetimes:
        start = life.begins_us if life.begin_is_told else horizon.start_us
        end = horizon.cut_us if life.ends_us is None else life.ends_us
        start, end = max(start, horizon.start_us), min(end, horizon.cut_us)
        if start < end or (start == end == life.ends_us and start < horizon.end_us and life.begin_is_told):
            yield start, end


def _at_one_time(found: Iterable[Stretch]) -> Iterator[Stretch]:
    """The sum of sizes over time."""
    changes: dict[int, int] = {}
    for part in found:
        changes[part.start_us] = changes.get(part.start_us, 0) + part.size
        changes[part.end_us] = changes.get(part.end_us, 0) - part.size
    level, since = 0, 0
    for at_us in sorted(changes):
        if level:
            yield Stretch(since, at_us, level, None, None)
        level, since = level + changes[at_us], at_us


def _flat(rule: Rule, evidence: Evidence, horizon: Horizon, now_us: int) -> Iterator[_Usage]:
    """One month for each month that begins in the horizon and has anything billable in it."""
    first = billing_day(horizon.start_us)
    if first.day > 1:
        first = Period.month(first.year, first.month).after
    month = Period.month(first.year, first.month)
    while month.start_us < horizon.end_us:
        cut_us = min(month.end_us, now_us)
        within = Horizon(month.start_us, month.end_us, evidence.until_us, cut_us)
        day = slot_of(month.start_us, DAY_US)
        runs = {
            reading: [Run(day, day, 1)]
            if any(_any(stretches(history, rule, reading, within, None)) for history in evidence.histories)
            else []
            for reading in Reading
        }
        if runs[Reading.HIGH]:
            there = [(month.start_us, month.end_us)]
            yield _Usage(ALL, ALL, runs, Known(0, 0, ()), there, False, ())
        month = month.next_month()


def _any(found: Iterator[Stretch]) -> bool:
    return next(found, None) is not None


def _priced(tariff: Tariff, rule: Rule, piece: Piece, usage: _Usage, period: Period) -> Iterator[FeeLine | Unpriced]:
    """One resource's lines for the days of one price, one for each step of its table."""
    start_us, end_us = day_start(piece.first), day_start(piece.after)
    there = [
        (max(start, start_us), min(end, end_us))
        for start, end in usage.there_us
        if start < end_us and (end > start_us or start == end == start_us)
    ]
    if not there:
        return
    length = rule.unit.slot_us or DAY_US
    first, last = slot_of(start_us, length), slot_of(end_us - 1, length)
    runs = {reading: list(clipped(usage.runs[reading], first, last)) for reading in Reading}
    likely = runs[Reading.LIKELY]
    quantity = sum(run.quantity for run in likely)
    reason = _why_unpriced(piece, usage)
    if reason:
        if usage.size_is_open or any(runs[Reading.HIGH]):
            told = None if usage.size_is_open else quantity
            yield Unpriced(rule.name, usage.resource_id, told, rule.unit.name, piece.first, piece.after, reason)
        return
    price = piece.price
    tiers = price.tiers if price and price.tiers else (Tier(None, ZERO),)
    below = 0
    for step, tier in enumerate(tiers):
        by_reading = {reading: sum(_within(run, below, tier.up_to) for run in runs[reading]) for reading in Reading}
        below = tier.up_to or 0
        if step and not by_reading[Reading.HIGH]:
            continue
        charged = ZERO if piece.waiver else tier.price
        amounts = {reading: tariff.rounding.line(times(n, charged)) for reading, n in by_reading.items()}
        starts_us, ends_us = (
            (slot_start(likely[0].first, length), slot_start(likely[-1].last + 1, length)) if likely else there[0]
        )
        if rule.counting is Counting.FLAT:
            ends_us = there[0][1]
        yield FeeLine(
            id=line_id(period.name, tariff.name, rule.name, usage.resource_id, piece.first, step),
            rule=rule.name,
            resource_id=usage.resource_id,
            kind=usage.kind,
            counting=rule.counting,
            unit_name=rule.unit.name,
            quantity=by_reading[Reading.LIKELY],
            unit_price=charged,
            list_price=tier.price if price and price.is_known else None,
            amount=amounts[Reading.LIKELY],
            low=min(amounts.values()),
            high=max(amounts.values()),
            start_us=starts_us,
            end_us=ends_us,
            waiver=piece.waiver.reason if piece.waiver else "",
            price_source=f"{price.source} ({price.dated})" if price else "",
            gaps=usage.known.gaps,
            spans=tuple(_spans(likely, length)),
            evidence=tuple(_evidence(usage.histories, start_us, end_us)),
            labels=usage.histories[0].labels if usage.kind != ALL else {},
        )


def _why_unpriced(piece: Piece, usage: _Usage) -> str:
    if usage.size_is_open and not piece.waiver:
        return "nobody told its size, nor that of any other node"
    if piece.waiver:
        return ""
    if piece.price is None:
        return f"the tariff has no price for {piece.first} to {piece.after - timedelta(days=1)}"
    return "" if piece.price.is_known else "the provider has published no price, and no waiver holds"


def _within(run: Run, below: int, up_to: int | None) -> int:
    """The part of a run's quantity that lies within one step of a cumulative table."""
    size = min(run.size, up_to) if up_to is not None else run.size
    return max(0, size - below) * (run.last - run.first + 1)


def _spans(runs: Iterable[Run], length_us: int) -> Iterator[Span]:
    for run in runs:
        yield Span(slot_start(run.first, length_us), slot_start(run.last + 1, length_us), run.size)


def _evidence(histories: Sequence[History], start_us: int, end_us: int) -> Iterator[Told]:
    """The events that a line rests on: what began the lifetime, the last one before the time in question, and those in
    it. Of lines over all resources there is no list: it is every event."""
    if len(histories) != 1:
        return
    events = histories[0].events
    first, after = (bisect_left(events, at_us, key=_at) for at_us in (start_us, end_us))
    began = next((event for event in reversed(events[:first]) if event.begins), None)
    if began is not None and began is not events[first - 1]:
        yield Told.by(began)
    if first == after == 0:
        # one that came later is why something is thought to have been there
        after = 1
    yield from map(Told.by, events[max(0, first - 1) : after])


_at = attrgetter("at_us")
