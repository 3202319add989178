"""Hours and days that are billed, as runs of slots of one size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Run(NamedTuple):
    """Slots from `first` to `last`, both included, each of the same size."""

    first: int
    last: int
    size: int

    @property
    def quantity(self) -> int:
        """Slots times size."""
        return (self.last - self.first + 1) * self.size


@dataclass(slots=True)
class _Runs:
    """Runs in order; where two stretches of time share a slot, the larger size counts for it."""

    runs: list[Run]

    def add(self, first: int, last: int, size: int) -> None:
        """Add slots that begin at the last one there is, or later."""
        while self.runs and first <= last:
            before = self.runs[-1]
            if before.last < first:
                break
            if before.size >= size:
                first = before.last + 1
                break
            # the slot that both touch takes the larger size; before it nothing changes
            self.runs.pop()
            if before.first < first:
                self.runs.append(Run(before.first, first - 1, before.size))
                break
        if first > last:
            return
        if self.runs and self.runs[-1].last == first - 1 and self.runs[-1].size == size:
            first = self.runs.pop().first
        self.runs.append(Run(first, last, size))


def merged(runs: Iterable[Run]) -> tuple[Run, ...]:
    """Runs that follow on each other in time, and may share the slot where one ends and the next begins."""
    found = _Runs([])
    for run in runs:
        found.add(*run)
    return tuple(found.runs)


def clipped(runs: Sequence[Run], first: int, last: int) -> Iterator[Run]:
    """The part of runs that lies within some slots, both included."""
    for run in runs:
        if run.last >= first and run.first <= last:
            yield Run(max(run.first, first), min(run.last, last), run.size)
