"""The meter: makes fee lines of evidence and a tariff.

Each rule of the tariff counts every resource of its kind, or all of them together. A period in which the price or the
waiver changes is counted in pieces.

Invariants:
- The same evidence gives the same lines, in whatever order its events are read.
- The parts of a period that is cut at midnight in UTC+8 sum up to the whole: no hour or day is in two parts, and a flat
  sum is due on the first day of its month. The one exception is a tariff that rounds each line: it rounds each part.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from operator import attrgetter

from poolkeeper.tasks.fees.metering.fee_lines import FeeLine, SourceEvent, Span, line_id
from poolkeeper.tasks.fees.metering.intervals import (
    BilledInterval,
    Coverage,
    Estimate,
    MeteringWindow,
    PeerSizes,
    SizeRange,
    billed_intervals,
    coverage_of,
)
from poolkeeper.tasks.fees.metering.slots import SlotRange, clipped, merged
from poolkeeper.tasks.fees.money import ZERO, times, total
from poolkeeper.tasks.fees.periods import DAY_US, Period, billing_day, day_start, slot_of, slot_start
from poolkeeper.tasks.fees.tariff.tariff_model import Piece, Rule, Tariff, Tier
from poolkeeper.tasks.fees.tariff.units import Counting, Measure
from poolkeeper.tasks.fees.usage.evidence import UsageEvidence
from poolkeeper.tasks.fees.usage.usage_records import UsagePhase, UsageRecord

ALL = "all"
"""The kind of a line that counts all resources together."""

COVERAGE_STEPS = 1_000_000
"""Coverage has six places and is rounded down: it is 1 only where there is evidence for everything."""


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Usage without a price in the tariff, or without a known size. No total includes it."""

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
    """The share of the priced time with evidence, from 0 to 1."""
    metered_until_us: int

    @property
    def total(self) -> Decimal:
        """The sum of the lines' amounts."""
        return self.tariff.rounding.total(total(line.amount for line in self.lines))

    @property
    def low(self) -> Decimal:
        """The total when each gap in the evidence is filled in the cheapest way."""
        return self.tariff.rounding.total(total(line.low for line in self.lines))

    @property
    def high(self) -> Decimal:
        """The total when each gap in the evidence is filled in the most expensive way."""
        return self.tariff.rounding.total(total(line.high for line in self.lines))

    @property
    def is_whole(self) -> bool:
        """Whether the period is over and was metered to its end."""
        return self.metered_until_us >= self.period.end_us


def meter(
    evidence: UsageEvidence, tariff: Tariff, period: Period, now_us: int, *, only: Set[str] | None = None
) -> Statement:
    """The statement of a period.

    now_us: later time is not billed yet, nor is an hour that has not ended by then
    only: ids of the resources to meter, and names of what is counted together (`collective`); None: everything
    """
    window = MeteringWindow(period.start_us, period.end_us, evidence.until_us, min(period.end_us, now_us))
    lines: list[FeeLine] = []
    unpriced: list[Unpriced] = []
    known_us = possible_us = 0
    peers = PeerSizes(evidence.records, period.end_us)
    for rule in tariff.rules:
        counted = _counted(rule, evidence, window, peers, now_us, only)
        known_us += sum(usage.coverage.known_us for usage in counted)
        possible_us += sum(usage.coverage.possible_us for usage in counted)
        for piece in rule.pieces(period.first, period.after):
            for usage in counted:
                for priced in _priced(tariff, rule, piece, usage, period):
                    if isinstance(priced, FeeLine):
                        lines.append(priced)
                    else:
                        unpriced.append(priced)
    coverage = _share(known_us, possible_us) if possible_us else _nothing_possible(evidence, window)
    return Statement(period, tariff, tuple(lines), tuple(unpriced), coverage, window.cut_us)


def _share(known_us: int, possible_us: int) -> Decimal:
    return Decimal(known_us * COVERAGE_STEPS // possible_us) / COVERAGE_STEPS


def _nothing_possible(evidence: UsageEvidence, window: MeteringWindow) -> Decimal:
    """The coverage where no resource has a price: the share of the window with evidence; 0 without any evidence."""
    if not evidence.records:
        return ZERO
    known_us = min(window.until_us, window.end_us) - window.start_us
    return _share(max(0, known_us), window.end_us - window.start_us)


@dataclass(frozen=True, slots=True)
class _Usage:
    """What one rule counts for one resource, or for all of them together, by estimate."""

    resource_id: str
    kind: str
    ranges: Mapping[Estimate, Sequence[SlotRange]]
    coverage: Coverage
    present_us: Sequence[tuple[int, int]]
    """When the resource existed, billed or not: from, to."""
    size_is_open: bool
    """Whether its size is not known, nor the size of any other node."""
    records: tuple[UsageRecord, ...]


def collective(rule: Rule) -> str:
    """The name for the resources that a rule counts together; empty where it counts each of them."""
    if rule.counting is Counting.FLAT:
        return ALL
    return f"{ALL} {rule.unit.kind}s" if rule.counting is Counting.DAILY_MAXIMUM else ""


def _counted(
    rule: Rule, evidence: UsageEvidence, window: MeteringWindow, peers: PeerSizes, now_us: int, only: Set[str] | None
) -> list[_Usage]:
    name = collective(rule)
    if name and only is not None and name not in only:
        return []
    if rule.counting is Counting.FLAT:
        return list(_flat(rule, evidence, window, now_us))
    records = [
        record
        for record in evidence.records
        if record.kind == rule.unit.kind and (name or only is None or record.resource_id in only)
    ]
    counting = _Counting(rule, window, peers)
    each = [usage for record in records if (usage := counting.of_one(record))]
    if rule.counting is Counting.DAILY_MAXIMUM:
        return [counting.of_all(each)] if each else []
    return each


@dataclass(frozen=True, slots=True)
class _Counting:
    """Counts by one rule over one window."""

    rule: Rule
    window: MeteringWindow
    peers: PeerSizes

    def of_one(self, record: UsageRecord) -> _Usage | None:
        """The usage of one resource; None when it did not exist in the window."""
        present = list(_present(record, self.window))
        if not present:
            return None
        sizes, size_is_open = self._sizes(record)
        coverage = coverage_of(record, self.rule, self.window, sizes)
        if self.rule.counting is Counting.DAILY_MAXIMUM:
            ranges: Mapping[Estimate, Sequence[SlotRange]] = {}  # `of_all` counts the sum of all nodes at one time
        else:
            ranges = self._by_estimate(
                coverage, lambda estimate: self._ranges(self._intervals(record, estimate, sizes))
            )
        return _Usage(record.resource_id, record.kind, ranges, coverage, present, size_is_open, (record,))

    def of_all(self, each: Sequence[_Usage]) -> _Usage:
        """The usage of all resources together."""
        coverage = Coverage(
            sum(usage.coverage.known_us for usage in each),
            sum(usage.coverage.possible_us for usage in each),
            tuple(f"{usage.resource_id}: {gap}" for usage in each for gap in usage.coverage.gaps),
        )
        records = tuple(record for usage in each for record in usage.records)

        def ranges(estimate: Estimate) -> Sequence[SlotRange]:
            found = (s for record in records for s in self._intervals(record, estimate, self._sizes(record)[0]))
            return self._ranges(_at_one_time(found))

        present = [
            (min(start for u in each for start, _ in u.present_us), max(end for u in each for _, end in u.present_us))
        ]
        open_ = any(usage.size_is_open for usage in each)
        return _Usage(
            collective(self.rule), ALL, self._by_estimate(coverage, ranges), coverage, present, open_, records
        )

    def _by_estimate(
        self, coverage: Coverage, ranges: Callable[[Estimate], Sequence[SlotRange]]
    ) -> Mapping[Estimate, Sequence[SlotRange]]:
        if coverage.gaps:
            return {estimate: ranges(estimate) for estimate in Estimate}
        return dict.fromkeys(Estimate, ranges(Estimate.LIKELY))

    def _sizes(self, record: UsageRecord) -> tuple[SizeRange | None, bool]:
        """The sizes that stand in for one that is not known; whether there are none."""
        measure = self.rule.unit.measure
        if measure is Measure.ITSELF or all(_has_size(life.phases, measure) for life in record.lifetimes):
            return None, False
        sizes = self.peers.sizes(record, measure)
        return sizes, sizes is None

    def _intervals(self, record: UsageRecord, estimate: Estimate, sizes: SizeRange | None) -> Iterator[BilledInterval]:
        return billed_intervals(record, self.rule, estimate, self.window, sizes)

    def _ranges(self, found: Iterable[BilledInterval]) -> Sequence[SlotRange]:
        length = self.rule.unit.slot_us
        if self.rule.counting is not Counting.CLOCK_HOURS_INSIDE:
            return merged(
                SlotRange(slot_of(part.start_us, length), slot_of(part.end_us - 1, length), part.size) for part in found
            )
        ended = slot_of(self.window.cut_us, length) - 1
        ranges = []
        for part in found:
            # the hour that is not over may become the hour of the release, which is free
            last = ended if part.ends_us is None else slot_of(part.ends_us, length) - 1
            last = min(last, slot_of(part.end_us - 1, length))
            first = slot_of(part.start_us, length)
            if part.begins_us is not None:
                first = max(first, slot_of(part.begins_us, length) + 1)
            if first <= last:
                ranges.append(SlotRange(first, last, part.size))
        return merged(ranges)


def _has_size(phases: Sequence[UsagePhase], measure: Measure) -> bool:
    return not phases or getattr(phases[0], measure) is not None


def _present(record: UsageRecord, window: MeteringWindow) -> Iterator[tuple[int, int]]:
    """When a resource existed, or may have existed, up to the cut."""
    for life in record.lifetimes:
        start = life.begins_us if life.begin_is_known else window.start_us
        end = window.cut_us if life.ends_us is None else life.ends_us
        start, end = max(start, window.start_us), min(end, window.cut_us)
        if start < end or (start == end == life.ends_us and start < window.end_us and life.begin_is_known):
            yield start, end


def _at_one_time(found: Iterable[BilledInterval]) -> Iterator[BilledInterval]:
    """The sum of the sizes over time."""
    changes: dict[int, int] = {}
    for part in found:
        changes[part.start_us] = changes.get(part.start_us, 0) + part.size
        changes[part.end_us] = changes.get(part.end_us, 0) - part.size
    level, since = 0, 0
    for at_us in sorted(changes):
        if level:
            yield BilledInterval(since, at_us, level, None, None)
        level, since = level + changes[at_us], at_us


def _flat(rule: Rule, evidence: UsageEvidence, window: MeteringWindow, now_us: int) -> Iterator[_Usage]:
    """One usage for each month that begins in the window and has a billed resource."""
    first = billing_day(window.start_us)
    if first.day > 1:
        first = Period.month(first.year, first.month).after
    month = Period.month(first.year, first.month)
    while month.start_us < window.end_us:
        cut_us = min(month.end_us, now_us)
        within = MeteringWindow(month.start_us, month.end_us, evidence.until_us, cut_us)
        day = slot_of(month.start_us, DAY_US)
        ranges = {
            estimate: [SlotRange(day, day, 1)]
            if any(_any(billed_intervals(record, rule, estimate, within, None)) for record in evidence.records)
            else []
            for estimate in Estimate
        }
        if ranges[Estimate.HIGH]:
            present = [(month.start_us, month.end_us)]
            yield _Usage(ALL, ALL, ranges, Coverage(0, 0, ()), present, False, ())
        month = month.next_month()


def _any(found: Iterator[BilledInterval]) -> bool:
    return next(found, None) is not None


def _priced(tariff: Tariff, rule: Rule, piece: Piece, usage: _Usage, period: Period) -> Iterator[FeeLine | Unpriced]:
    """The lines of one resource for the days of one price: one line for each step of its table."""
    start_us, end_us = day_start(piece.first), day_start(piece.after)
    present = [
        (max(start, start_us), min(end, end_us))
        for start, end in usage.present_us
        if start < end_us and (end > start_us or start == end == start_us)
    ]
    if not present:
        return
    length = rule.unit.slot_us or DAY_US
    first, last = slot_of(start_us, length), slot_of(end_us - 1, length)
    ranges = {estimate: list(clipped(usage.ranges[estimate], first, last)) for estimate in Estimate}
    likely = ranges[Estimate.LIKELY]
    quantity = sum(slots.quantity for slots in likely)
    reason = _why_unpriced(piece, usage)
    if reason:
        if usage.size_is_open or any(ranges[Estimate.HIGH]):
            known = None if usage.size_is_open else quantity
            yield Unpriced(rule.name, usage.resource_id, known, rule.unit.name, piece.first, piece.after, reason)
        return
    price = piece.price
    tiers = price.tiers if price and price.tiers else (Tier(None, ZERO),)
    below = 0
    for step, tier in enumerate(tiers):
        by_estimate = {
            estimate: sum(_within(slots, below, tier.up_to) for slots in ranges[estimate]) for estimate in Estimate
        }
        below = tier.up_to or 0
        if step and not by_estimate[Estimate.HIGH]:
            continue
        charged = ZERO if piece.waiver else tier.price
        amounts = {estimate: tariff.rounding.line(times(n, charged)) for estimate, n in by_estimate.items()}
        starts_us, ends_us = (
            (slot_start(likely[0].first, length), slot_start(likely[-1].last + 1, length)) if likely else present[0]
        )
        if rule.counting is Counting.FLAT:
            ends_us = present[0][1]
        yield FeeLine(
            id=line_id(period.name, tariff.name, rule.name, usage.resource_id, piece.first, step),
            rule=rule.name,
            resource_id=usage.resource_id,
            kind=usage.kind,
            counting=rule.counting,
            unit_name=rule.unit.name,
            quantity=by_estimate[Estimate.LIKELY],
            unit_price=charged,
            list_price=tier.price if price and price.is_known else None,
            amount=amounts[Estimate.LIKELY],
            low=min(amounts.values()),
            high=max(amounts.values()),
            start_us=starts_us,
            end_us=ends_us,
            waiver=piece.waiver.reason if piece.waiver else "",
            price_source=f"{price.source} ({price.dated})" if price else "",
            gaps=usage.coverage.gaps,
            spans=tuple(_spans(likely, length)),
            evidence=tuple(_evidence(usage.records, start_us, end_us)),
            labels=usage.records[0].labels if usage.kind != ALL else {},
        )


def _why_unpriced(piece: Piece, usage: _Usage) -> str:
    if usage.size_is_open and not piece.waiver:
        return "no event reports its size, nor the size of any other node"
    if piece.waiver:
        return ""
    if piece.price is None:
        return f"the tariff has no price for {piece.first} to {piece.after - timedelta(days=1)}"
    return "" if piece.price.is_known else "the provider has published no price, and no waiver is in force"


def _within(slots: SlotRange, below: int, up_to: int | None) -> int:
    """The part of a quantity that is in one step of a cumulative table."""
    size = min(slots.size, up_to) if up_to is not None else slots.size
    return max(0, size - below) * (slots.last - slots.first + 1)


def _spans(ranges: Iterable[SlotRange], length_us: int) -> Iterator[Span]:
    for slots in ranges:
        yield Span(slot_start(slots.first, length_us), slot_start(slots.last + 1, length_us), slots.size)


def _evidence(records: Sequence[UsageRecord], start_us: int, end_us: int) -> Iterator[SourceEvent]:
    """The events that a line is computed from: the beginning of the lifetime, the last event before the time of the
    line, and the events in that time. A line over all resources has no list: it is computed from every event."""
    if len(records) != 1:
        return
    events = records[0].events
    first, after = (bisect_left(events, at_us, key=_at) for at_us in (start_us, end_us))
    began = next((event for event in reversed(events[:first]) if event.begins), None)
    if began is not None and began is not events[first - 1]:
        yield SourceEvent.of(began)
    if first == after == 0:
        # a later event is the reason to assume that the resource existed before
        after = 1
    yield from map(SourceEvent.of, events[max(0, first - 1) : after])


_at = attrgetter("at_us")
