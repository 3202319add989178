"""When work may run at a site: its windows minus its freezes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain

from poolkeeper.tasks.fleet.calendars import calendar_freezes
from poolkeeper.tasks.fleet.model import Freeze, Site, Window


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """A stretch of time, UTC; the end is exclusive."""

    start: datetime
    end: datetime


def open_intervals(site: Site, start: datetime, end: datetime) -> tuple[Interval, ...]:
    """When work may run between `start` and `end`: sorted, disjoint, never inside a freeze.

    A window begins at the wall clock's time and lasts its duration in elapsed time. A beginning that the wall clock
    skips in spring moves forward by the hour that was skipped; of one that comes twice in autumn, the first counts.
    """
    whole = Interval(start.astimezone(UTC), end.astimezone(UTC))
    if whole.start >= whole.end:
        return ()
    opened = [whole] if not site.windows else _merged(o for w in site.windows for o in _openings(w, site, whole))
    frozen = [Interval(f.start.astimezone(UTC), f.end.astimezone(UTC)) for f in site.freezes]
    for path in site.freeze_calendars:
        found = calendar_freezes(path, site.time_zone, whole.start, whole.end)
        frozen += [Interval(f.start, f.end) for f in found]
    for freeze in _merged(f for f in frozen if f.start < f.end):
        opened = [part for interval in opened for part in _minus(interval, freeze)]
    return tuple(opened)


def _openings(window: Window, site: Site, whole: Interval) -> Iterable[Interval]:
    day = (whole.start - window.duration).astimezone(site.time_zone).date() - timedelta(days=1)
    last = whole.end.astimezone(site.time_zone).date() + timedelta(days=1)
    while day <= last:
        if day.weekday() in window.days:
            # fold 0: in the gap the offset before it applies, which lands after the gap; twice: the first one
            start = datetime.combine(day, window.start, site.time_zone).astimezone(UTC)
            clipped = Interval(max(start, whole.start), min(start + window.duration, whole.end))
            if clipped.start < clipped.end:
                yield clipped
        day += timedelta(days=1)


def _merged(intervals: Iterable[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for interval in sorted(intervals):
        if merged and interval.start <= merged[-1].end:
            merged[-1] = Interval(merged[-1].start, max(merged[-1].end, interval.end))
        else:
            merged.append(interval)
    return merged


def _minus(interval: Interval, taken: Interval) -> list[Interval]:
    if taken.end <= interval.start or interval.end <= taken.start:
        return [interval]
    parts = [Interval(interval.start, taken.start), Interval(taken.end, interval.end)]
    return [part for part in parts if part.start < part.end]


def freeze_at(site: Site, now: datetime) -> Freeze | None:
    """The freeze, of the fleet file or of a calendar, that covers a moment. Raises CalendarInvalid."""
    declared = (freeze for freeze in site.freezes if freeze.start <= now < freeze.end)
    found = (
        freeze
        for path in site.freeze_calendars
        for freeze in calendar_freezes(path, site.time_zone, now, now + timedelta(microseconds=1))
        if freeze.start <= now < freeze.end
    )
    return next(chain(declared, found), None)
