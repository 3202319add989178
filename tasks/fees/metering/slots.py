"""Billed hours and days, as run-length ranges of slots.

A slot is one hour or one day of the provider's calendar (`tasks.fees.periods`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class SlotRange(NamedTuple):
    """Slots from `first` to `last`, both included, each with the same size (in the units of the price)."""

    first: int
    last: int
    size: int

    @property
    def quantity(self) -> int:
        """Slots times size."""
        return (self.last - self.first + 1) * self.size


@dataclass(slots=True)
class _SlotRanges:
    """Ranges in order of time. No slot is in two ranges: where two intervals share a slot, the larger size counts."""

    ranges: list[SlotRange]

    def add(self, first: int, last: int, size: int) -> None:
        """Add slots. The first of them is the last slot so far, or a later one."""
        while self.ranges and first <= last:
            before = self.ranges[-1]
            if before.last < first:
                break
            if before.size >= size:
                first = before.last + 1
                break
            # the shared slot takes the larger size; the slots before it keep theirs
            self.ranges.pop()
            if before.first < first:
                self.ranges.append(SlotRange(before.first, first - 1, before.size))
                break
        if first > last:
            return
        if self.ranges and self.ranges[-1].last == first - 1 and self.ranges[-1].size == size:
            first = self.ranges.pop().first
        self.ranges.append(SlotRange(first, last, size))


def merged(ranges: Iterable[SlotRange]) -> tuple[SlotRange, ...]:
    """The ranges without overlap.

    ranges: in order of time; one may begin in the slot in which the one before it ends
    """
    found = _SlotRanges([])
    for slots in ranges:
        found.add(*slots)
    return tuple(found.ranges)


def clipped(ranges: Sequence[SlotRange], first: int, last: int) -> Iterator[SlotRange]:
    """The parts of the ranges from slot `first` to slot `last`, both included."""
    for slots in ranges:
        if slots.last >= first and slots.first <= last:
            yield SlotRange(max(slots.first, first), min(slots.last, last), slots.size)
