"""Freezes from iCalendar files: every event is a freeze, recurrences included."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import icalendar
import recurring_ical_events

from tasks.fleet.model import Freeze


class CalendarInvalid(Exception):
    """A file that is no calendar, or has no event; the message says which."""


def read_calendar(path: Path) -> Any:
    """The parsed calendar. Raises CalendarInvalid."""
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _read(path: Path, changed_at: int) -> Any:
    try:
        calendar = icalendar.Calendar.from_ical(path.read_bytes())
    except (ValueError, IndexError, KeyError) as error:
        raise CalendarInvalid(str(error).splitlines()[0][:120] or "it cannot be parsed") from None
    if not list(calendar.walk("VEVENT")):
        raise CalendarInvalid("it has no event")
    return calendar


def calendar_freezes(path: Path, zone: ZoneInfo, start: datetime, end: datetime) -> tuple[Freeze, ...]:
    """The freezes of a calendar that touch the time from `start` to `end`; whole days count in the site's zone."""
    events = recurring_ical_events.of(read_calendar(path)).between(start, end)
    return tuple(
        Freeze(
            _moment(event["DTSTART"].dt, zone),
            _moment(event["DTEND"].dt if "DTEND" in event else event["DTSTART"].dt, zone),
            str(event.get("SUMMARY", "calendar")),
        )
        for event in events
    )


def _moment(value: date, zone: ZoneInfo) -> datetime:
    if not isinstance(value, datetime):
        value = datetime.combine(value, time(), zone)
    return (value if value.tzinfo else value.replace(tzinfo=zone)).astimezone(UTC)
