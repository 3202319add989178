"""What of a lifetime a rule bills, under each of three readings of what the evidence leaves open.

`low` takes every gap the way that costs least, `high` the way that costs most, `likely` as if nothing happened that
nobody told: who is there stays, who was there when first seen had been there before. Without gaps all three are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from poolkeeper.tasks.fees.periods import moment
from poolkeeper.tasks.fees.tariff.model import Rule
from poolkeeper.tasks.fees.tariff.units import Measure
from poolkeeper.tasks.fees.usage.usage_records import History, Lifetime, Phase


class Reading(StrEnum):
    """How gaps in the evidence are read."""

    LOW = "low"
    LIKELY = "likely"
    HIGH = "high"


class Sizes(NamedTuple):
    """A size that nobody told, as a range."""

    low: int
    likely: int
    high: int

    def of(self, reading: Reading) -> int:
        """The size under one reading."""
        return {Reading.LOW: self.low, Reading.LIKELY: self.likely, Reading.HIGH: self.high}[reading]


@dataclass(frozen=True)
class Peers:
    """The sizes of all nodes: what a node that told none is measured by."""

    histories: tuple[History, ...]
    end_us: int
    """What was told of later times does not count: a closed period must not move when the fleet grows."""

    def sizes(self, history: History, measure: Measure) -> Sizes | None:
        """Smallest, middle and largest size told in the same pool, else anywhere; None when nobody told one."""
        known = self._known[measure]
        sizes = known.get(history.labels.get("pool", "")) or known.get(None)
        return Sizes(sizes[0], sizes[(len(sizes) - 1) // 2], sizes[-1]) if sizes else None

    @cached_property
    def _known(self) -> Mapping[Measure, Mapping[str | None, list[int]]]:
        """Measure -> pool (None: all of them) -> sizes in order."""
        found: dict[Measure, dict[str | None, list[int]]] = {Measure.VCPUS: {}, Measure.GPUS: {}, Measure.ITSELF: {}}
        for history in self.histories:
            for life in history.lifetimes:
                for measure in (Measure.VCPUS, Measure.GPUS):
                    told = [phase for phase in life.phases if phase.start_us < self.end_us]
                    size = getattr(told[-1], measure) if told else None
                    if size is not None:
                        for pool in (history.labels.get("pool", ""), None):
                            found[measure].setdefault(pool, []).append(size)
        for by_pool in found.values():
            for sizes in by_pool.values():
                sizes.sort()
        return found


@dataclass(frozen=True, slots=True)
class Horizon:
    """The time that is looked at, and how far into it evidence reaches."""

    start_us: int
    end_us: int
    until_us: int
    """Evidence was gathered until then."""
    cut_us: int
    """What is billed is billed up to here: the end, or now when the end is still to come."""


class Stretch(NamedTuple):
    """Billed time of one size within a lifetime."""

    start_us: int
    end_us: int
    size: int
    begins_us: int | None
    """When the lifetime began; None: before the horizon, by whatever."""
    ends_us: int | None
    """When it ended; None: it goes on beyond the cut."""


def stretches(
    history: History, rule: Rule, reading: Reading, horizon: Horizon, sizes: Sizes | None
) -> Iterator[Stretch]:
    """Billed time within the horizon up to its cut, in order.

    sizes: stands in for sizes that no event told; None: such time is left out
    """
    measure = rule.unit.measure
    for life in history.lifetimes:
        begins, ends = _bounds(life, reading, horizon)
        if (ends is not None and ends <= horizon.start_us) or (begins is not None and begins >= horizon.cut_us):
            continue
        for phase in _phases(life, begins, horizon):
            end = horizon.cut_us if phase.end_us is None else min(phase.end_us, horizon.cut_us)
            end = end if ends is None else min(end, ends)
            start = max(phase.start_us, horizon.start_us)
            if start >= end:
                continue
            billed = rule.bills(phase.state.lower())
            if billed is None and reading is Reading.LOW:
                continue
            if billed is False:
                # once nobody looks any more, it may have gone into a state that is billed
                if reading is not Reading.HIGH or phase.end_us is not None or horizon.until_us >= end:
                    continue
                start = max(start, horizon.until_us)
            size = 1 if measure is Measure.ITSELF else getattr(phase, measure)
            if size is None:
                size = sizes.of(reading) if sizes else 0
            if size:
                yield Stretch(start, end, size, begins, ends)


def _bounds(life: Lifetime, reading: Reading, horizon: Horizon) -> tuple[int | None, int | None]:
    begins = life.begins_us if life.begin_is_told or reading is Reading.LOW else None
    ends = life.ends_us
    if life.ends_after_us is not None and reading is Reading.LOW:
        ends = life.ends_after_us
    if ends is None and reading is Reading.LOW and horizon.until_us < horizon.cut_us:
        ends = max(horizon.until_us, life.begins_us)
    return begins, ends


def _phases(life: Lifetime, begins: int | None, horizon: Horizon) -> Iterable[Phase]:
    """A lifetime's phases; one whose beginning is open had the first size before, and told no state."""
    if begins is not None or life.begins_us <= horizon.start_us or not life.phases:
        return life.phases
    first = life.phases[0]
    return (Phase(horizon.start_us, life.begins_us, "", first.vcpus, first.gpus), *life.phases)


@dataclass(frozen=True, slots=True)
class Known:
    """How much of a resource's possible time rests on evidence, for one rule."""

    known_us: int
    possible_us: int
    gaps: tuple[str, ...]
    """What is open, each as a clause; empty where all readings are one."""


def known_time(history: History, rule: Rule, horizon: Horizon, sizes: Sizes | None) -> Known:
    """Weigh the evidence of one resource over a whole horizon; time still to come is possible and not known."""
    known_us = possible_us = 0
    gaps: list[str] = []
    measure = rule.unit.measure
    start, end = horizon.start_us, horizon.end_us
    for life in history.lifetimes:
        ends = end if life.ends_us is None else min(life.ends_us, end)
        if ends <= start or (life.begins_us >= end and life.begin_is_told):
            continue
        if not life.begin_is_told and life.begins_us >= start:
            possible_us += min(life.begins_us, ends) - start
            # who is known by leaving was there an instant before
            first = _told(life.begins_us + 1)
            gaps.append(f"nobody told when it began; the first that is known of it is of {first}")
        if life.ends_us is None and horizon.until_us < horizon.cut_us:
            gaps.append(f"there is no evidence after {_told(horizon.until_us)}")
        surely_us = horizon.until_us
        if life.ends_after_us is not None and life.ends_us is not None and life.ends_after_us < min(life.ends_us, end):
            surely_us = min(surely_us, life.ends_after_us)
            gaps.append(f"it ended at some time from {_told(life.ends_after_us)} to {_told(life.ends_us)}")
        for phase in life.phases:
            phase_start = max(phase.start_us, start)
            phase_end = ends if phase.end_us is None else min(phase.end_us, ends)
            if phase_start >= phase_end:
                continue
            possible_us += phase_end - phase_start
            bills = rule.bills(phase.state.lower())
            if bills is None:
                gaps.append(f"the tariff does not say whether state {phase.state} is billed")
            elif bills and measure is not Measure.ITSELF and getattr(phase, measure) is None:
                between = f"; taken as {sizes.low} to {sizes.high}, as others have" if sizes else ""
                gaps.append(f"nobody told its {measure}{between}")
            else:
                known_us += max(0, min(phase_end, surely_us) - phase_start)
    return Known(known_us, possible_us, tuple(dict.fromkeys(gaps)))


def _told(instant_us: int) -> str:
    return moment(instant_us).isoformat(timespec="seconds")
