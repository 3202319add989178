"""Freezes from iCalendar files: every event is a freeze, recurrences included, cancelled ones not."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import icalendar
import recurring_ical_events
from dateutil.rrule import rrulestr  # type: ignore[import-untyped]

from tasks.fleet.model import Freeze

MAX_BYTES = 5_000_000
MAX_EVENTS = 5_000
_NOT_WITH = {
    "DAILY": ("BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYSETPOS"),
    "WEEKLY": ("BYMONTHDAY", "BYYEARDAY", "BYWEEKNO"),
    "MONTHLY": ("BYYEARDAY", "BYWEEKNO"),
    "YEARLY": (),
}
"""Frequency -> parts of a rule that RFC 5545 rules out with it, or that a wider frequency says better."""


class CalendarInvalid(Exception):
    """A file that is no calendar, has no event, or one that cannot be a freeze; the message says which and why."""


def read_calendar(path: Path) -> Any:
    """The parsed calendar, every event of which can be expanded. Raises CalendarInvalid."""
    try:
        return _read(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise CalendarInvalid(f"it cannot be read ({error.strerror})") from None


def calendar_freezes(path: Path, zone: ZoneInfo, start: datetime, end: datetime) -> tuple[Freeze, ...]:
    """The freezes of a calendar that touch the time from `start` to `end`, in order.

    Whole days and times without a zone count in the site's `zone`. Raises CalendarInvalid.
    """
    # a day more on either side: whole days are looked up without a zone
    day = timedelta(days=1)
    try:
        events = recurring_ical_events.of(read_calendar(path)).between(start - day, end + day)
        freezes = [_freeze(event, zone) for event in events if str(event.get("STATUS", "")).upper() != "CANCELLED"]
    except (ValueError, KeyError, AttributeError, TypeError, OverflowError) as error:
        raise CalendarInvalid(f"its events cannot be laid out ({_first_line(error)})") from None
    touching = (f for f in freezes if f.start < f.end and f.start < end and start < f.end)
    return tuple(sorted(touching, key=lambda freeze: (freeze.start, freeze.end, freeze.reason)))


@lru_cache(maxsize=64)
def _read(path: Path, changed_at: int) -> Any:
    raw = path.read_bytes()
    if len(raw) > MAX_BYTES:
        raise CalendarInvalid("it is larger than 5 MB")
    if not raw.lstrip(b"\xef\xbb\xbf\r\n\t ").upper().startswith(b"BEGIN:VCALENDAR"):
        raise CalendarInvalid("it does not begin with BEGIN:VCALENDAR")
    if not raw.rstrip().upper().endswith(b"END:VCALENDAR"):
        raise CalendarInvalid("it is cut off, END:VCALENDAR is missing")
    try:
        calendars = icalendar.Calendar.from_ical(raw, multiple=True)
    except (ValueError, LookupError, AttributeError) as error:
        raise CalendarInvalid(_first_line(error)) from None
    if len(calendars) != 1:
        raise CalendarInvalid(f"it holds {len(calendars)} calendars in place of one")
    (calendar,) = calendars
    events = calendar.walk("VEVENT")
    if not events:
        raise CalendarInvalid("it has no event")
    if len(events) > MAX_EVENTS:
        raise CalendarInvalid(f"it has {len(events):,} events, which is more than {MAX_EVENTS:,}")
    for event in events:
        _check(event)
    return calendar


def _check(event: Any) -> None:
    """Raises CalendarInvalid for an event that has no time, or that would take for ever to lay out."""
    name = f"event {str(event.get('SUMMARY', '')) or str(event.get('UID', 'without a name'))!r}"[:80]
    if event.errors:
        raise CalendarInvalid(f"{name}: its {event.errors[0][0]} cannot be read")
    for key in ("DTSTART", "DTEND"):
        given = event.get(key)
        if given is None and key == "DTSTART":
            raise CalendarInvalid(f"{name} has no DTSTART")
        if given is None:
            continue
        value = getattr(given, "dt", None)  # None for a list: the property stands twice
        if not isinstance(value, date):
            raise CalendarInvalid(f"{name}: its {key} is no date")
        zone = given.params.get("TZID")
        if zone and isinstance(value, datetime) and value.tzinfo is None:
            raise CalendarInvalid(f"{name} is in the time zone {str(zone)[:40]}, which is not known")
        if not 1970 <= value.year <= 9000:
            raise CalendarInvalid(f"{name} is in the year {value.year}; years from 1970 on can be frozen")
    rules = event.get("RRULE", [])
    for rule in rules if isinstance(rules, list) else [rules]:
        _check_rule(name, rule, event["DTSTART"].dt)


def _check_rule(name: str, rule: Any, start: date) -> None:
    """The expansion looks for a rule's next date up to the year 9999: what makes that long is refused."""
    frequency = str((rule.get("FREQ") or [""])[0]).upper()
    if not frequency:
        raise CalendarInvalid(f"{name} has an RRULE without FREQ")
    if frequency not in _NOT_WITH:
        raise CalendarInvalid(f"{name} repeats {frequency.lower()}; freezes repeat daily, weekly, monthly or yearly")
    for part in ("BYHOUR", "BYMINUTE", "BYSECOND", *_NOT_WITH[frequency]):
        if rule.get(part):
            raise CalendarInvalid(f"{name} repeats {frequency.lower()} with {part}, which cannot be laid out")
    if any(number < 1 for number in rule.get("INTERVAL", [])):
        raise CalendarInvalid(f"{name} repeats with an INTERVAL below 1")
    text = ";".join(part for part in rule.to_ical().decode().split(";") if not part.startswith(("UNTIL=", "COUNT=")))
    try:
        first = next(iter(rrulestr(text, dtstart=datetime.combine(start, time()))), None)
    except ValueError as error:
        raise CalendarInvalid(f"{name}: its RRULE cannot be read ({_first_line(error)})") from None
    if first is None:
        raise CalendarInvalid(f"{name} repeats by a rule that no date fits")


def _freeze(event: Any, zone: ZoneInfo) -> Freeze:
    start = event["DTSTART"].dt
    end = event["DTEND"].dt if "DTEND" in event else start
    return Freeze(_moment(start, zone), _moment(end, zone), str(event.get("SUMMARY", "calendar")))


def _moment(value: date, zone: ZoneInfo) -> datetime:
    if not isinstance(value, datetime):
        value = datetime.combine(value, time(), zone)
    return (value if value.tzinfo else value.replace(tzinfo=zone)).astimezone(UTC)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:120] or type(error).__name__
