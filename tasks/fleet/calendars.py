"""Freezes from iCalendar files: every event is a freeze, recurrences included, cancelled ones not.

None is lost without a word: an event that no time can be told for is refused by its name. What RFC 5545 leaves open, or
what exporters write in spite of it, is read as the longer freeze.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import icalendar
import recurring_ical_events
from dateutil.rrule import rrulestr  # type: ignore[import-untyped]

from poolkeeper.tasks.fleet.model import Freeze
from poolkeeper.tasks.outcomes import PoolkeeperError

MAX_BYTES = 5_000_000
MAX_EVENTS = 5_000
MAX_REPETITIONS = 300_000
"""Of all events up to today: they are gone through one by one."""
_DAYS = {"DAILY": 1, "WEEKLY": 7, "MONTHLY": 30, "YEARLY": 365}
_UNREADABLE = (ValueError, LookupError, AttributeError, TypeError, ArithmeticError)
"""What libraries raise for a calendar that is not in order."""
_NOT_WITH = {
    "DAILY": ("BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYSETPOS"),
    "WEEKLY": ("BYMONTHDAY", "BYYEARDAY", "BYWEEKNO"),
    "MONTHLY": ("BYYEARDAY", "BYWEEKNO"),
    "YEARLY": (),
}
"""Frequency -> parts of a rule that RFC 5545 rules out with it, or that a wider frequency says better."""


class CalendarInvalid(PoolkeeperError):
    """A calendar file cannot be used for freezes; the message is the reason, as a clause."""

    id = "fleet.calendar.invalid"
    expected = "an iCalendar file (RFC 5545) whose events can be freezes"
    next_step = "Correct the calendar file."
    source = "calendar file"


def read_calendar(path: Path, zone: ZoneInfo) -> Any:
    """The calendar, ready to be asked for what lies between two times. Raises CalendarInvalid.

    zone: the site's, in which whole days and times without a zone count
    """
    try:
        return _read(path, path.stat().st_mtime_ns, zone)
    except OSError as error:
        raise CalendarInvalid(f"it cannot be read ({error.strerror})") from None


def calendar_freezes(path: Path, zone: ZoneInfo, start: datetime, end: datetime) -> tuple[Freeze, ...]:
    """The freezes of a calendar that touch the time from `start` to `end`, in order.

    Whole days and times without a zone count in the site's `zone`. Raises CalendarInvalid.
    """
    # a day more on either side: whole days are looked up without a zone
    day = timedelta(days=1)
    try:
        events = read_calendar(path, zone).between(start - day, end + day)
        freezes = [_freeze(event, zone) for event in events if not _is_cancelled(event)]
    except _UNREADABLE as error:
        _read.cache_clear()  # a rule that was cut off while it was laid out keeps its lock
        raise CalendarInvalid(f"its events cannot be laid out ({_first_line(error)})") from None
    touching = (f for f in freezes if f.start < f.end and f.start < end and start < f.end)
    return tuple(sorted(touching, key=lambda freeze: (freeze.start, freeze.end, freeze.reason)))


@lru_cache(maxsize=64)
def _read(path: Path, changed_at: int, zone: ZoneInfo) -> Any:
    raw = path.read_bytes()
    if len(raw) > MAX_BYTES:
        raise CalendarInvalid("it is larger than 5 MB")
    if not raw.lstrip(b"\xef\xbb\xbf\r\n\t ").upper().startswith(b"BEGIN:VCALENDAR"):
        raise CalendarInvalid("it does not begin with BEGIN:VCALENDAR")
    if not raw.rstrip().upper().endswith(b"END:VCALENDAR"):
        raise CalendarInvalid("it is cut off, END:VCALENDAR is missing")
    try:
        calendars = icalendar.Calendar.from_ical(raw, multiple=True)
    except _UNREADABLE as error:
        raise CalendarInvalid(_first_line(error)) from None
    if len(calendars) != 1:
        raise CalendarInvalid(f"it holds {len(calendars)} calendars in place of one")
    (calendar,) = calendars
    events = calendar.walk("VEVENT")
    if not events:
        raise CalendarInvalid("it has no event")
    if len(events) > MAX_EVENTS:
        raise CalendarInvalid(f"it has {len(events):,} events, which is more than {MAX_EVENTS:,}")
    own_zone, days = _zone_of(calendar), 0.0
    for event in events:
        name = f"event {str(event.get('SUMMARY', '')) or str(event.get('UID', 'without a name'))!r}"[:80]
        try:
            _check(name, event)
            _settle(name, event, zone, own_zone)
        except _UNREADABLE as error:
            raise CalendarInvalid(f"{name} cannot be read ({_first_line(error)})") from None
        days += _days_to_walk(event)
    if days > MAX_REPETITIONS:
        raise CalendarInvalid("its events repeat too often since they started: let them start later")
    _part_namesakes(events)
    try:
        return recurring_ical_events.of(calendar)
    except _UNREADABLE as error:
        raise CalendarInvalid(f"its events cannot be laid out ({_first_line(error)})") from None


def _check(name: str, event: Any) -> None:
    """Raises CalendarInvalid for an event that has no time, or that would take for ever to lay out."""
    if event.errors:
        raise CalendarInvalid(f"{name}: its {event.errors[0][0]} cannot be read")
    if event.get("DTSTART") is None:
        raise CalendarInvalid(f"{name} has no DTSTART")
    for key in ("DTSTART", "DTEND", "RECURRENCE-ID"):
        given = event.get(key)
        if given is not None:
            _check_date(name, key, getattr(given, "dt", None), given)  # None for a list: the property stands twice
    start = event["DTSTART"].dt
    for key in ("RDATE", "EXDATE"):
        for several in _listed(event.get(key)):
            for each in several.dts:
                date_, *_ = each.dt if isinstance(each.dt, tuple) else (each.dt,)
                _check_date(name, key, date_, several)
                if key == "RDATE" and _kind(date_) != _kind(start):
                    raise CalendarInvalid(f"{name}: its RDATE is {_kind(date_)}, and its DTSTART {_kind(start)}")
    for rule in _listed(event.get("RRULE")):
        _check_rule(name, rule, start)


def _check_date(name: str, key: str, value: Any, given: Any) -> None:
    if not isinstance(value, date):
        raise CalendarInvalid(f"{name}: its {key} is no date")
    zone = given.params.get("TZID")
    if zone and isinstance(value, datetime) and value.tzinfo is None:
        raise CalendarInvalid(f"{name} is in the time zone {str(zone)[:40]}, which is not known")
    if not 1970 <= value.year <= 9000:
        raise CalendarInvalid(f"{name} is in the year {value.year}; years from 1970 on can be frozen")


def _kind(value: date) -> str:
    if not isinstance(value, datetime):
        return "a day"
    return "a time without a zone" if value.tzinfo is None else "a time in a zone"


def _zone_of(calendar: Any) -> ZoneInfo | None:
    """X-WR-TIMEZONE: in it times in UTC and times without a zone count. Raises CalendarInvalid."""
    name = str(calendar.get("X-WR-TIMEZONE", ""))
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CalendarInvalid(f"its X-WR-TIMEZONE {name[:40]} is not known") from None


def _settle(name: str, event: Any, zone: ZoneInfo, own_zone: ZoneInfo | None) -> None:
    """Give an event the length and the last day that are meant. Raises CalendarInvalid where it has no length.

    own_zone: the calendar's, if it has one
    """
    start = event["DTSTART"].dt
    if not _is_cancelled(event):
        _settle_end(name, event, start)
        periods = [each.dt for dates in _listed(event.get("RDATE")) for each in dates.dts if isinstance(each.dt, tuple)]
        if any(_length(begin, end) <= timedelta(0) for begin, end in periods):
            raise CalendarInvalid(f"{name}: a period of its RDATE has no length")
        if event.get("RRULE") is None and not _dates_of(event):
            raise CalendarInvalid(f"{name}: its EXDATE leaves nothing of it")
    for rule in _listed(event.get("RRULE")):
        if rule.get("UNTIL"):
            last = _last(rule["UNTIL"][0], _in_zone(start, own_zone), zone)
            rule["UNTIL"] = [last]
            if _moment(last, zone) < _moment(start, own_zone or zone):
                raise CalendarInvalid(f"{name} repeats until before it begins")


def _settle_end(name: str, event: Any, start: date) -> None:
    """RFC 5545, 3.6.1: a whole day without an end, or with its own beginning as the end, lasts that day."""
    end, duration = event.get("DTEND"), event.get("DURATION")
    if end is not None and duration is not None:
        raise CalendarInvalid(f"{name} has both a DTEND and a DURATION")
    if end is not None and _kind(end.dt) != _kind(start):
        raise CalendarInvalid(f"{name}: its DTEND is {_kind(end.dt)}, and its DTSTART {_kind(start)}")
    if end is None and duration is None:
        if isinstance(start, datetime):
            raise CalendarInvalid(f"{name} begins at a time and has no end, so that it freezes nothing")
        return
    length = _length(start, duration.dt if end is None else end.dt)
    if length < timedelta(0):
        raise CalendarInvalid(f"{name} ends before it begins")
    if length > timedelta(0):
        return
    if isinstance(start, datetime):
        raise CalendarInvalid(f"{name} ends as it begins, so that it freezes nothing")
    del event["DURATION" if end is None else "DTEND"]


def _length(start: date, end: date | timedelta) -> timedelta:
    """Of what begins at one time and ends at another, or after a while, within the years that there are."""
    return start + end - start if isinstance(end, timedelta) else end - start


def _in_zone(start: date, own_zone: ZoneInfo | None) -> date:
    """A beginning as a calendar with a zone of its own means it."""
    if own_zone is None or not isinstance(start, datetime):
        return start
    if start.tzinfo is None:
        return start.replace(tzinfo=own_zone)
    return start.astimezone(own_zone) if start.tzname() == "UTC" else start


def _last(until: date, start: date, zone: ZoneInfo) -> date:
    """UNTIL in the manner of DTSTART, as late as it can be meant: a day is a whole day."""
    if not isinstance(start, datetime):
        if not isinstance(until, datetime):
            return until
        return max(until.date(), until.astimezone(zone).date()) if until.tzinfo else until.date()
    if not isinstance(until, datetime):
        until = datetime.combine(until, time(23, 59, 59))
    if start.tzinfo is None:
        return until.astimezone(zone).replace(tzinfo=None) if until.tzinfo else until
    return (until if until.tzinfo else until.replace(tzinfo=start.tzinfo)).astimezone(UTC)


def _dates_of(event: Any) -> set[date]:
    """When an event that follows no rule begins: once, and on the dates of its RDATE, less those of its EXDATE."""
    begins, excluded = {event["DTSTART"].dt}, set()
    for dates in _listed(event.get("RDATE")):
        begins |= {each.dt[0] if isinstance(each.dt, tuple) else each.dt for each in dates.dts}
    for dates in _listed(event.get("EXDATE")):
        excluded |= {each.dt for each in dates.dts}
    return {begin for begin in begins if begin not in excluded and date(*begin.timetuple()[:3]) not in excluded}


def _part_namesakes(events: Sequence[Any]) -> None:
    """Give events that share a UID, and of which none supersedes the other, one of their own: all of them count."""
    taken: dict[tuple[str, Any], int] = {}
    for event in events:
        key = (str(event.get("UID", "")), event.get("SEQUENCE"))
        if event.get("RECURRENCE-ID") is not None or not key[0]:
            continue
        taken[key] = taken.get(key, 0) + 1
        if taken[key] > 1:
            event["UID"] = f"{key[0]} {key[1]} {taken[key]}"


def _days_to_walk(event: Any) -> float:
    """How many repetitions are gone through before today's."""
    rules = _listed(event.get("RRULE"))
    first = date(*event["DTSTART"].dt.timetuple()[:3])
    days = max(0, (datetime.now(UTC).date() - first).days)
    return sum(days / _DAYS.get(str((rule.get("FREQ") or [""])[0]).upper(), 1) for rule in rules)


def _listed(value: Any) -> list[Any]:
    """A property's values: it may stand never, once or several times."""
    return [] if value is None else value if isinstance(value, list) else [value]


def _is_cancelled(event: Any) -> bool:
    return str(event.get("STATUS", "")).upper() == "CANCELLED"


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
    for part in ("INTERVAL", "COUNT"):
        if any(number < 1 for number in rule.get(part, [])):
            raise CalendarInvalid(f"{name} repeats with {'an INTERVAL' if part == 'INTERVAL' else 'a COUNT'} below 1")
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
