"""Freezes from iCalendar files."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tasks.fleet import Site, open_intervals
from tasks.fleet.calendars import CalendarInvalid, calendar_freezes, read_calendar
from tests.unit.fleet.builders import changed, problems_of

BERLIN, SHANGHAI, NEW_YORK = (ZoneInfo(name) for name in ("Europe/Berlin", "Asia/Shanghai", "America/New_York"))


def utc(text: str) -> datetime:
    """`12-24 10:00` of 2026, in UTC."""
    return datetime.strptime(f"2026-{text}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


def event(*lines: str) -> str:
    return "\n".join(["BEGIN:VEVENT", "UID:1", "DTSTAMP:20260101T000000Z", "SUMMARY:change stop", *lines, "END:VEVENT"])


def calendar(*events: str) -> str:
    return "\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//x//EN", *events, "END:VCALENDAR", ""]).replace(
        "\n", "\r\n"
    )


def a_calendar(folder: Path, text: str | bytes) -> Path:
    path = folder / "freezes.ics"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def row(phrase: str, lines: list[str], *freezes: tuple[str, str], zone: ZoneInfo = BERLIN, asked: Any = None) -> Any:
    return pytest.param(lines, zone, asked or ("12-23 00:00", "12-27 00:00"), freezes, id=phrase)


@pytest.mark.parametrize(
    ("lines", "zone", "asked", "freezes"),
    [
        row("UTC", ["DTSTART:20261224T100000Z", "DTEND:20261224T120000Z"], ("12-24 10:00", "12-24 12:00")),
        row(
            "a zone of its own",
            ["DTSTART;TZID=America/New_York:20261224T100000", "DTEND;TZID=America/New_York:20261224T120000"],
            ("12-24 15:00", "12-24 17:00"),
        ),
        row(
            "a zone by the name that Windows has for it",
            ["DTSTART;TZID=W. Europe Standard Time:20261224T100000", "DURATION:PT1H"],
            ("12-24 09:00", "12-24 10:00"),
            zone=SHANGHAI,
        ),
        row(
            "no zone: the site's",
            ["DTSTART:20261224T100000", "DTEND:20261224T120000"],
            ("12-24 02:00", "12-24 04:00"),
            zone=SHANGHAI,
        ),
        row(
            "a whole day is the site's day",
            ["DTSTART;VALUE=DATE:20261224"],
            ("12-23 16:00", "12-24 16:00"),
            zone=SHANGHAI,
        ),
        row(
            "whole days, the last one exclusive",
            ["DTSTART;VALUE=DATE:20261224", "DTEND;VALUE=DATE:20261226"],
            ("12-23 23:00", "12-25 23:00"),
        ),
        row(
            "a whole day, asked for while it has begun there and not in UTC",
            ["DTSTART;VALUE=DATE:20261224"],
            ("12-23 16:00", "12-24 16:00"),
            zone=SHANGHAI,
            asked=("12-23 17:00", "12-23 18:00"),
        ),
        row(
            "a whole day, asked for when it is over in UTC and not there",
            ["DTSTART;VALUE=DATE:20261224"],
            ("12-24 05:00", "12-25 05:00"),
            zone=NEW_YORK,
            asked=("12-25 03:00", "12-25 04:00"),
        ),
        row(
            "a whole day that has 25 hours",
            ["DTSTART;VALUE=DATE:20261025"],
            ("10-24 22:00", "10-25 23:00"),
            asked=("10-25 00:00", "10-26 00:00"),
        ),
        row("a duration in place of an end", ["DTSTART:20261224T100000Z", "DURATION:P1DT2H"], ("12-24 10:00", "12-25 12:00")),
        row("no end: no time", ["DTSTART:20261224T100000Z"]),
        row("cancelled", ["DTSTART:20261224T100000Z", "DTEND:20261224T120000Z", "STATUS:CANCELLED"]),
        row("before what is asked", ["DTSTART:20261221T100000Z", "DTEND:20261223T000000Z"]),
        row(
            "over all that is asked",
            ["DTSTART:20261201T000000Z", "DTEND:20261230T000000Z"],
            ("12-01 00:00", "12-30 00:00"),
        ),
        row(
            "daily, except one day",
            ["DTSTART:20260101T100000Z", "DTEND:20260101T110000Z", "RRULE:FREQ=DAILY", "EXDATE:20261224T100000Z"],
            ("12-23 10:00", "12-23 11:00"),
            ("12-25 10:00", "12-25 11:00"),
            ("12-26 10:00", "12-26 11:00"),
        ),
        row(
            "weekly since 1970",
            ["DTSTART:19700101T100000Z", "DTEND:19700101T110000Z", "RRULE:FREQ=WEEKLY;BYDAY=TH"],
            ("12-24 10:00", "12-24 11:00"),
        ),
        row(
            "weekly by the clock of its zone, over the change to winter time",
            ["DTSTART;TZID=Europe/Berlin:20261018T100000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY"],
            ("10-18 08:00", "10-18 09:00"),
            ("10-25 09:00", "10-25 10:00"),
            asked=("10-18 00:00", "10-26 00:00"),
        ),
        row(
            "yearly whole days",
            ["DTSTART;VALUE=DATE:20001225", "DTEND;VALUE=DATE:20001227", "RRULE:FREQ=YEARLY"],
            ("12-24 23:00", "12-26 23:00"),
        ),
        row(
            "the last Friday of the month",
            ["DTSTART:20260130T100000Z", "DURATION:PT1H", "RRULE:FREQ=MONTHLY;BYDAY=-1FR"],
            ("12-25 10:00", "12-25 11:00"),
        ),
        row("ended before", ["DTSTART:20260101T100000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=3"]),
        row("until before", ["DTSTART:20260101T100000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;UNTIL=20261222T235959Z"]),
    ],
)  # fmt: skip
def test_events_are_freezes(tmp_path, lines, zone, asked, freezes):
    found = calendar_freezes(a_calendar(tmp_path, calendar(event(*lines))), zone, *map(utc, asked))
    assert [(f.start, f.end) for f in found] == [(utc(start), utc(end)) for start, end in freezes]
    assert {f.reason for f in found} <= {"change stop"}


def test_one_of_a_series_that_was_moved_is_where_it_was_moved_to(tmp_path):
    series = event("DTSTART:20261201T100000Z", "DTEND:20261201T110000Z", "RRULE:FREQ=DAILY")
    moved = event("RECURRENCE-ID:20261224T100000Z", "DTSTART:20261224T180000Z", "DTEND:20261224T190000Z")
    path = a_calendar(tmp_path, calendar(series, moved))
    (found,) = calendar_freezes(path, BERLIN, utc("12-24 00:00"), utc("12-25 00:00"))
    assert (found.start, found.end) == (utc("12-24 18:00"), utc("12-24 19:00"))


def test_one_of_a_series_that_was_cancelled_is_none(tmp_path):
    series = event("DTSTART:20261201T100000Z", "DTEND:20261201T110000Z", "RRULE:FREQ=DAILY")
    gone = event(
        "RECURRENCE-ID:20261224T100000Z", "DTSTART:20261224T100000Z", "DTEND:20261224T110000Z", "STATUS:CANCELLED"
    )
    path = a_calendar(tmp_path, calendar(series, gone))
    assert calendar_freezes(path, BERLIN, utc("12-24 00:00"), utc("12-25 00:00")) == ()


def test_a_site_is_closed_while_its_calendar_says_so(tmp_path):
    path = a_calendar(tmp_path, calendar(event("DTSTART;VALUE=DATE:20261224", "RRULE:FREQ=YEARLY")))
    site = Site("s", SHANGHAI, freeze_calendars=(path,))
    found = open_intervals(site, utc("12-23 00:00"), utc("12-25 00:00"))
    assert [(one.start, one.end) for one in found] == [
        (utc("12-23 00:00"), utc("12-23 16:00")),
        (utc("12-24 16:00"), utc("12-25 00:00")),
    ]


def test_a_calendar_that_is_changed_is_read_again(tmp_path):
    path = a_calendar(tmp_path, calendar(event("DTSTART;VALUE=DATE:20261224")))
    assert len(calendar_freezes(path, BERLIN, utc("12-20 00:00"), utc("12-30 00:00"))) == 1
    path.write_text(calendar(event("DTSTART;VALUE=DATE:20271224")))
    assert calendar_freezes(path, BERLIN, utc("12-20 00:00"), utc("12-30 00:00")) == ()


START = "DTSTART:20261224T100000Z"
GOOD = calendar(event(START))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("", "it does not begin with BEGIN:VCALENDAR", id="empty"),
        pytest.param("hello", "it does not begin with BEGIN:VCALENDAR", id="a word"),
        pytest.param(b"\x89PNG\0\xff", "it does not begin with BEGIN:VCALENDAR", id="a picture"),
        pytest.param(GOOD[:90], "it is cut off, END:VCALENDAR is missing", id="cut off"),
        pytest.param(GOOD + GOOD, "it holds 2 calendars in place of one", id="two calendars"),
        pytest.param(calendar(), "it has no event", id="no event"),
        pytest.param(calendar(*[event(START)] * 5_001), "it has 5,001 events, which is more than 5,000", id="events without end"),
        pytest.param(b"BEGIN:VCALENDAR" + b"\n" * 5_000_001, "it is larger than 5 MB", id="larger than any"),
        pytest.param(calendar(event()), "event 'change stop' has no DTSTART", id="no start"),
        pytest.param(calendar(event("DTSTART:soon")), "event 'change stop': its DTSTART cannot be read", id="no date"),
        pytest.param(calendar(event("DTSTART:20261399T100000Z")), "event 'change stop': its DTSTART cannot be read", id="no such date"),
        pytest.param(calendar(event(START, START)), "event 'change stop': its DTSTART is no date", id="two starts"),
        pytest.param(
            calendar(event("DTSTART;TZID=Nowhere/Else:20261224T100000")),
            "event 'change stop' is in the time zone Nowhere/Else, which is not known",
            id="a zone that nobody knows",
        ),
        pytest.param(
            calendar(event("DTSTART:00010101T000000Z", "RRULE:FREQ=DAILY")),
            "event 'change stop' is in the year 1; years from 1970 on can be frozen",
            id="since the year 1",
        ),
        pytest.param(calendar(event(START, "RRULE:nonsense")), "event 'change stop' has an RRULE without FREQ", id="a rule without frequency"),
        pytest.param(calendar(event(START, "RRULE:FREQ=SOMETIMES")), "event 'change stop': its RRULE cannot be read", id="no such frequency"),
        pytest.param(
            calendar(event(START, "RRULE:FREQ=SECONDLY")),
            "event 'change stop' repeats secondly; freezes repeat daily, weekly, monthly or yearly",
            id="every second",
        ),
        pytest.param(
            calendar(event(START, "RRULE:FREQ=HOURLY")),
            "event 'change stop' repeats hourly; freezes repeat daily, weekly, monthly or yearly",
            id="every hour",
        ),
        pytest.param(
            calendar(event(START, "RRULE:FREQ=DAILY;BYSECOND=0,1,2,3")),
            "event 'change stop' repeats daily with BYSECOND, which cannot be laid out",
            id="every second of a day",
        ),
        pytest.param(
            calendar(event(START, "RRULE:FREQ=DAILY;INTERVAL=0")),
            "event 'change stop' repeats with an INTERVAL below 1",
            id="every 0 days, which never ends",
        ),
        pytest.param(
            calendar(event(START, "RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30")),
            "event 'change stop' repeats daily with BYMONTHDAY, which cannot be laid out",
            id="a day that no February has, daily",
        ),
        pytest.param(
            calendar(event(START, "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30")),
            "event 'change stop' repeats by a rule that no date fits",
            id="a day that no February has, yearly",
        ),
        pytest.param(
            calendar(event(START, "RRULE:FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30;COUNT=3")),
            "event 'change stop' repeats by a rule that no date fits",
            id="three days that no February has",
        ),
        pytest.param(
            calendar(event(START, "RRULE:FREQ=DAILY;INTERVAL=7;BYDAY=MO")),
            "event 'change stop' repeats by a rule that no date fits",
            id="every seventh day from a Thursday, if it is a Monday",
        ),
    ],
)  # fmt: skip
def test_what_is_no_calendar_says_why_and_quickly(tmp_path, content, message):
    path = a_calendar(tmp_path, content)
    began = time.process_time()
    with pytest.raises(CalendarInvalid) as raised:
        read_calendar(path)
    assert str(raised.value) == message
    with pytest.raises(CalendarInvalid):
        calendar_freezes(path, BERLIN, utc("01-01 00:00"), utc("12-31 00:00"))
    assert time.process_time() - began < 20


def test_a_calendar_that_is_gone_is_not_an_open_window(tmp_path):
    site = Site("s", BERLIN, freeze_calendars=(tmp_path / "gone.ics",))
    with pytest.raises(CalendarInvalid, match="it cannot be read"):
        open_intervals(site, utc("12-23 00:00"), utc("12-25 00:00"))


@pytest.mark.parametrize("rule", ["DAILY", "WEEKLY", "MONTHLY", "YEARLY"])
def test_a_rule_without_end_is_laid_out_quickly(tmp_path, rule):
    path = a_calendar(tmp_path, calendar(event("DTSTART:19700101T000000Z", "DURATION:PT1H", f"RRULE:FREQ={rule}")))
    began = time.process_time()
    found = calendar_freezes(path, BERLIN, utc("01-01 00:00"), utc("12-31 00:00"))
    assert 1 <= len(found) <= 366
    assert time.process_time() - began < 10


def test_a_broken_calendar_is_a_problem_of_the_fleet_file(tmp_path):
    a_calendar(tmp_path, calendar(event("DTSTART:soon")))
    site = "    time_zone: Europe/Berlin\n"
    (problem,) = problems_of(tmp_path, changed((site, site + "    freeze_calendars: [freezes.ics]\n")))
    assert (problem.line, problem.column, problem.path) == (20, 24, "sites.fra1.freeze_calendars[0]")
    assert problem.message == "'freezes.ics' is no usable calendar: event 'change stop': its DTSTART cannot be read."
    assert problem.fix == "Correct that event, or export the calendar anew as iCalendar (.ics)."
