"""The time of a lifetime that a rule bills, as three estimates where the evidence has gaps.

The estimate `low` fills each gap in the cheapest way, `high` in the most expensive way. `likely` assumes that nothing
changed in a gap: a resource without an end still exists, and a resource without a beginning existed all the time
before its first event. Invariant: without gaps the three estimates are equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from poolkeeper.tasks.fees.periods import moment
from poolkeeper.tasks.fees.tariff.tariff_model import Rule
from poolkeeper.tasks.fees.tariff.units import Measure
from poolkeeper.tasks.fees.usage.usage_records import Lifetime, UsagePhase, UsageRecord


class Estimate(StrEnum):
    """How gaps in the evidence are filled."""

    LOW = "low"
    LIKELY = "likely"
    HIGH = "high"


class SizeRange(NamedTuple):
    """The estimates for a size that no event reports."""

    low: int
    likely: int
    high: int

    def of(self, estimate: Estimate) -> int:
        """The size for one estimate."""
        return {Estimate.LOW: self.low, Estimate.LIKELY: self.likely, Estimate.HIGH: self.high}[estimate]


@dataclass(frozen=True)
class PeerSizes:
    """The sizes of all nodes. They stand in for the size of a node without one."""

    records: tuple[UsageRecord, ...]
    end_us: int
    """Sizes from this instant on do not count. Invariant: a closed period does not change when the fleet grows."""

    def sizes(self, record: UsageRecord, measure: Measure) -> SizeRange | None:
        """Smallest, middle and largest known size in the same pool, else in all pools; None when no size is known."""
        known = self._known[measure]
        sizes = known.get(record.labels.get("pool", "")) or known.get(None)
        return SizeRange(sizes[0], sizes[(len(sizes) - 1) // 2], sizes[-1]) if sizes else None

    @cached_property
    def _known(self) -> Mapping[Measure, Mapping[str | None, list[int]]]:
        """Measure -> pool (None: all of them) -> sizes in order."""
        found: dict[Measure, dict[str | None, list[int]]] = {Measure.VCPUS: {}, Measure.GPUS: {}, Measure.ITSELF: {}}
        for record in self.records:
            for life in record.lifetimes:
                for measure in (Measure.VCPUS, Measure.GPUS):
                    phases = [phase for phase in life.phases if phase.start_us < self.end_us]
                    size = getattr(phases[-1], measure) if phases else None
                    if size is not None:
                        for pool in (record.labels.get("pool", ""), None):
                            found[measure].setdefault(pool, []).append(size)
        for by_pool in found.values():
            for sizes in by_pool.values():
                sizes.sort()
        return found


@dataclass(frozen=True, slots=True)
class MeteringWindow:
    """The time that is metered, and until when there is evidence for it."""

    start_us: int
    end_us: int
    until_us: int
    """The evidence was gathered at this time; it has nothing later."""
    cut_us: int
    """Time is billed up to here: the end, or now when the end is in the future."""


class BilledInterval(NamedTuple):
    """Billed time of one size within a lifetime."""

    start_us: int
    end_us: int
    size: int
    begins_us: int | None
    """When the lifetime began; None: not known, taken as before the window."""
    ends_us: int | None
    """When the lifetime ended; None: it goes on after the cut."""


def billed_intervals(
    record: UsageRecord, rule: Rule, estimate: Estimate, window: MeteringWindow, sizes: SizeRange | None
) -> Iterator[BilledInterval]:
    """Billed time within the window up to its cut, in order.

    sizes: stands in for sizes that no event reports; None: time without a size is skipped
    """
    measure = rule.unit.measure
    for life in record.lifetimes:
        begins, ends = _bounds(life, estimate, window)
        if (ends is not None and ends <= window.start_us) or (begins is not None and begins >= window.cut_us):
            continue
        for phase in _phases(life, begins, window):
            end = window.cut_us if phase.end_us is None else min(phase.end_us, window.cut_us)
            end = end if ends is None else min(end, ends)
            start = max(phase.start_us, window.start_us)
            if start >= end:
                continue
            billed = rule.bills(phase.state.lower())
            if billed is None and estimate is Estimate.LOW:
                continue
            if billed is False:
                # after the end of the evidence it may have changed to a state that is billed
                if estimate is not Estimate.HIGH or phase.end_us is not None or window.until_us >= end:
                    continue
                start = max(start, window.until_us)
            size = 1 if measure is Measure.ITSELF else getattr(phase, measure)
            if size is None:
                size = sizes.of(estimate) if sizes else 0
            if size:
                yield BilledInterval(start, end, size, begins, ends)


def _bounds(life: Lifetime, estimate: Estimate, window: MeteringWindow) -> tuple[int | None, int | None]:
    begins = life.begins_us if life.begin_is_known or estimate is Estimate.LOW else None
    ends = life.ends_us
    if life.ends_after_us is not None and estimate is Estimate.LOW:
        ends = life.ends_after_us
    if ends is None and estimate is Estimate.LOW and window.until_us < window.cut_us:
        ends = max(window.until_us, life.begins_us)
    return begins, ends


def _phases(life: Lifetime, begins: int | None, window: MeteringWindow) -> Iterable[UsagePhase]:
    """The phases of a lifetime. Before a beginning that is not known, the first size is assumed and no state."""
    if begins is not None or life.begins_us <= window.start_us or not life.phases:
        return life.phases
    first = life.phases[0]
    return (UsagePhase(window.start_us, life.begins_us, "", first.vcpus, first.gpus), *life.phases)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a resource's possible time rests on evidence, for one rule."""

    known_us: int
    possible_us: int
    gaps: tuple[str, ...]
    """What is not known, each as a clause; empty where the three estimates are equal."""


def coverage_of(record: UsageRecord, rule: Rule, window: MeteringWindow, sizes: SizeRange | None) -> Coverage:
    """The coverage of one resource over the whole window. Time in the future is possible and not known."""
    known_us = possible_us = 0
    gaps: list[str] = []
    measure = rule.unit.measure
    start, end = window.start_us, window.end_us
    for life in record.lifetimes:
        ends = end if life.ends_us is None else min(life.ends_us, end)
        if ends <= start or (life.begins_us >= end and life.begin_is_known):
            continue
        if not life.begin_is_known and life.begins_us >= start:
            possible_us += min(life.begins_us, ends) - start
            # a lifetime that is known by its end alone begins an instant before that end
            first = _time(life.begins_us + 1)
            gaps.append(f"no event reports when it started; its first event is of {first}")
        if life.ends_us is None and window.until_us < window.cut_us:
            gaps.append(f"there is no evidence after {_time(window.until_us)}")
        seen_until_us = window.until_us
        if life.ends_after_us is not None and life.ends_us is not None and life.ends_after_us < min(life.ends_us, end):
            seen_until_us = min(seen_until_us, life.ends_after_us)
            gaps.append(f"it ended at some time from {_time(life.ends_after_us)} to {_time(life.ends_us)}")
        for phase in life.phases:
            phase_start = max(phase.start_us, start)
            phase_end = ends if phase.end_us is None else min(phase.end_us, ends)
            if phase_start >= phase_end:
                continue
            possible_us += phase_end - phase_start
            bills = rule.bills(phase.state.lower())
            if bills is None:
                gaps.append(f"the tariff does not define whether state {phase.state} is billed")
            elif bills and measure is not Measure.ITSELF and getattr(phase, measure) is None:
                range_ = f"; {sizes.low} to {sizes.high} is assumed, from other nodes" if sizes else ""
                gaps.append(f"no event reports its {measure}{range_}")
            else:
                known_us += max(0, min(phase_end, seen_until_us) - phase_start)
    return Coverage(known_us, possible_us, tuple(dict.fromkeys(gaps)))


def _time(instant_us: int) -> str:
    return moment(instant_us).isoformat(timespec="seconds")
