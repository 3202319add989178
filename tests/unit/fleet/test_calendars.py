"""Freezes from iCalendar files."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolkeeper.tasks.fleet import Site, calendars, open_intervals
from poolkeeper.tasks.fleet.calendars import CalendarInvalid, calendar_freezes, read_calendar
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
        row("cancelled, without an end", ["DTSTART:20261224T100000Z", "STATUS:CANCELLED"]),
        row(
            "a whole day that ends on the day that it begins",
            ["DTSTART;VALUE=DATE:20261224", "DTEND;VALUE=DATE:20261224"],
            ("12-23 23:00", "12-24 23:00"),
        ),
        row(
            "a whole day that lasts no time",
            ["DTSTART;VALUE=DATE:20261224", "DURATION:PT0S"],
            ("12-23 23:00", "12-24 23:00"),
        ),
        row(
            "whole days by their number",
            ["DTSTART;VALUE=DATE:20261224", "DURATION:P2D"],
            ("12-23 23:00", "12-25 23:00"),
        ),
        row(
            "until a day: that day too",
            [
                "DTSTART;TZID=Europe/Berlin:20261220T080000",
                "DTEND;TZID=Europe/Berlin:20261220T180000",
                "RRULE:FREQ=DAILY;UNTIL=20261224",
            ],
            ("12-23 07:00", "12-23 17:00"),
            ("12-24 07:00", "12-24 17:00"),
        ),
        row(
            "until a day, in UTC",
            ["DTSTART:20261220T220000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;UNTIL=20261224"],
            ("12-23 22:00", "12-23 23:00"),
            ("12-24 22:00", "12-24 23:00"),
        ),
        row(
            "until a day, without a zone",
            ["DTSTART:20261220T100000", "DURATION:PT1H", "RRULE:FREQ=DAILY;UNTIL=20261224"],
            ("12-23 02:00", "12-23 03:00"),
            ("12-24 02:00", "12-24 03:00"),
            zone=SHANGHAI,
        ),
        row(
            "until a time without a zone: that of its beginning",
            [
                "DTSTART;TZID=America/New_York:20261220T080000",
                "DURATION:PT1H",
                "RRULE:FREQ=DAILY;UNTIL=20261224T080000",
            ],
            ("12-23 13:00", "12-23 14:00"),
            ("12-24 13:00", "12-24 14:00"),
        ),
        row(
            "without a zone, until a time in UTC: the site's",
            ["DTSTART:20261220T080000", "DURATION:PT1H", "RRULE:FREQ=DAILY;UNTIL=20261224T070000Z"],
            ("12-23 07:00", "12-23 08:00"),
            ("12-24 07:00", "12-24 08:00"),
        ),
        row(
            "whole days until a time in UTC: the site's day",
            ["DTSTART;VALUE=DATE:20261223", "RRULE:FREQ=DAILY;UNTIL=20261223T230000Z"],
            ("12-22 23:00", "12-23 23:00"),
            ("12-23 23:00", "12-24 23:00"),
        ),
        row(
            "whole days until a time: the day that is written",
            ["DTSTART;VALUE=DATE:20261223", "RRULE:FREQ=DAILY;UNTIL=20261224T000000Z"],
            ("12-23 05:00", "12-24 05:00"),
            ("12-24 05:00", "12-25 05:00"),
            zone=NEW_YORK,
        ),
        row(
            "a beginning that its rule does not name counts",
            ["DTSTART:20261224T100000Z", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;BYDAY=SA"],
            ("12-24 10:00", "12-24 11:00"),
            ("12-26 10:00", "12-26 11:00"),
        ),
        row(
            "dates of its own, and one of them taken out",
            [
                "DTSTART:20261223T100000Z",
                "DURATION:PT1H",
                "RDATE:20261224T100000Z,20261226T120000Z",
                "EXDATE:20261224T100000Z",
            ],
            ("12-23 10:00", "12-23 11:00"),
            ("12-26 12:00", "12-26 13:00"),
        ),
        row(
            "a period of its own",
            [
                "DTSTART:20261201T100000Z",
                "DURATION:PT1H",
                "RDATE;VALUE=PERIOD:20261224T100000Z/PT5H,20261225T100000Z/20261225T120000Z",
            ],
            ("12-24 10:00", "12-24 15:00"),
            ("12-25 10:00", "12-25 12:00"),
        ),
        row(
            "a day taken out of times",
            [
                "DTSTART;TZID=Europe/Berlin:20261220T080000",
                "DURATION:PT1H",
                "RRULE:FREQ=DAILY",
                "EXDATE;VALUE=DATE:20261224",
            ],
            ("12-23 07:00", "12-23 08:00"),
            ("12-25 07:00", "12-25 08:00"),
            ("12-26 07:00", "12-26 08:00"),
        ),
        row(
            "longer than it takes to come again",
            ["DTSTART:20261201T000000Z", "DURATION:P20D", "RRULE:FREQ=MONTHLY"],
            ("12-01 00:00", "12-21 00:00"),
            asked=("12-20 00:00", "12-25 00:00"),
        ),
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


@pytest.mark.parametrize(("sequences", "count"), [(("", ""), 2), (("SEQUENCE:1", "SEQUENCE:2"), 1)])
def test_events_with_one_uid_all_count_unless_one_supersedes_the_other(tmp_path, sequences, count):
    events = [
        event(f"DTSTART:20261224T{hour}0000Z", "DURATION:PT1H", *filter(None, [sequence]))
        for hour, sequence in zip((10, 14), sequences, strict=True)
    ]
    path = a_calendar(tmp_path, calendar(*events))
    found = calendar_freezes(path, BERLIN, utc("12-24 00:00"), utc("12-25 00:00"))
    assert [f.start for f in found] == [utc("12-24 10:00"), utc("12-24 14:00")][-count:]


def test_a_calendar_with_a_zone_of_its_own(tmp_path):
    """Its times without a zone are in that one, and so is the day until which they repeat."""
    series = event("DTSTART:20261220T220000", "DURATION:PT1H", "RRULE:FREQ=DAILY;UNTIL=20261224")
    text = calendar(series).replace("VERSION:2.0", "VERSION:2.0\r\nX-WR-TIMEZONE:America/New_York")
    found = calendar_freezes(a_calendar(tmp_path, text), BERLIN, utc("12-24 12:00"), utc("12-27 00:00"))
    assert [f.start for f in found] == [utc("12-25 03:00")]


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
HOUR = "DURATION:PT1H"
DAY = "DTSTART;VALUE=DATE:20261224"
GOOD = calendar(event(START, HOUR))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("", "it does not begin with BEGIN:VCALENDAR", id="empty"),
        pytest.param("hello", "it does not begin with BEGIN:VCALENDAR", id="a word"),
        pytest.param(b"\x89PNG\0\xff", "it does not begin with BEGIN:VCALENDAR", id="a picture"),
        pytest.param(GOOD[:90], "it is cut off, END:VCALENDAR is missing", id="cut off"),
        pytest.param(GOOD + GOOD, "it holds 2 calendars in place of one", id="two calendars"),
        pytest.param(calendar(), "it has no event", id="no event"),
        pytest.param(calendar(*[event(START, HOUR)] * 5_001), "it has 5,001 events, which is more than 5,000", id="events without end"),
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
        *(
            pytest.param(
                calendar(event(START, HOUR, "RRULE:FREQ=DAILY", f"{key};TZID=Nowhere/Else:20261224T100000")),
                "event 'change stop' is in the time zone Nowhere/Else, which is not known",
                id=f"{key} in a zone that nobody knows",
            )
            for key in ("RDATE", "EXDATE", "RECURRENCE-ID")
        ),
        pytest.param(
            GOOD.replace("VERSION:2.0", "VERSION:2.0\r\nX-WR-TIMEZONE:Nowhere/Else"),
            "its X-WR-TIMEZONE Nowhere/Else is not known",
            id="a calendar of a zone that nobody knows",
        ),
        pytest.param(
            calendar(event(START)), "event 'change stop' begins at a time and has no end, so that it freezes nothing", id="a time without an end"
        ),
        *(
            pytest.param(calendar(event(*lines)), "event 'change stop' ends as it begins, so that it freezes nothing", id=phrase)
            for phrase, lines in {
                "an end that is the beginning": [START, "DTEND:20261224T100000Z"],
                "the same in another zone": [START, "DTEND;TZID=Europe/Berlin:20261224T110000"],
                "a duration of nothing": [START, "DURATION:PT0S"],
            }.items()
        ),
        *(
            pytest.param(calendar(event(*lines)), "event 'change stop' ends before it begins", id=phrase)
            for phrase, lines in {
                "an end before the beginning": [START, "DTEND:20261224T090000Z"],
                "a day before": [DAY, "DTEND;VALUE=DATE:20261223"],
                "a duration back": [START, "DURATION:-PT1H"],
                "days back": [DAY, "DURATION:-P1D"],
            }.items()
        ),
        pytest.param(
            calendar(event(START, HOUR, "DTEND:20261224T100000Z")), "event 'change stop' has both a DTEND and a DURATION", id="two ends"
        ),
        pytest.param(
            calendar(event(DAY, "DTEND:20261224T100000Z")),
            "event 'change stop': its DTEND is a time in a zone, and its DTSTART a day",
            id="from a day to a time",
        ),
        pytest.param(
            calendar(event(START, HOUR, "RDATE;VALUE=DATE:20261225")),
            "event 'change stop': its RDATE is a day, and its DTSTART a time in a zone",
            id="a day of its own among times",
        ),
        pytest.param(
            calendar(event(START, HOUR, "RDATE;VALUE=PERIOD:20261225T100000Z/PT0S")),
            "event 'change stop': a period of its RDATE has no length",
            id="a period of nothing",
        ),
        pytest.param(
            calendar(event(START, HOUR, "EXDATE:20261224T100000Z")), "event 'change stop': its EXDATE leaves nothing of it", id="nothing left"
        ),
        pytest.param(
            calendar(event(START, HOUR, "RRULE:FREQ=DAILY;UNTIL=20261223")), "event 'change stop' repeats until before it begins", id="over before"
        ),
        pytest.param(
            calendar(event(START, HOUR, "RRULE:FREQ=DAILY;COUNT=0")), "event 'change stop' repeats with a COUNT below 1", id="not once"
        ),
        pytest.param(
            calendar(event(START, "DURATION:P99999999D")),
            "event 'change stop' cannot be read (date value out of range)",
            id="for longer than there are years",
        ),
        pytest.param(
            calendar(*[event("DTSTART:19700101T000000Z", HOUR, "RRULE:FREQ=DAILY")] * 60),
            "its events repeat too often since they started: let them start later",
            id="a thousand years of days",
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
        read_calendar(path, BERLIN)
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
    assert problem.fix == "Correct that event, or export the calendar again as iCalendar (.ics)."


DAY_OF = datetime(2026, 12, 24, tzinfo=UTC)
KINDS = {
    "day": lambda at: f";VALUE=DATE:{at:%Y%m%d}",
    "utc": lambda at: f":{at:%Y%m%dT%H%M%S}Z",
    "floating": lambda at: f":{at:%Y%m%dT%H%M%S}",
    "zone": lambda at: f";TZID=America/New_York:{at:%Y%m%dT%H%M%S}",
}
ZONES = {"day": SHANGHAI, "floating": SHANGHAI, "utc": UTC, "zone": NEW_YORK}
MINUTES = st.integers(-3 * 24 * 60, 3 * 24 * 60).map(lambda minutes: timedelta(minutes=minutes))


@st.composite
def ends(draw: st.DrawFn) -> list[str]:
    after = draw(st.one_of(st.just(timedelta(0)), MINUTES))
    minutes = int(abs(after).total_seconds() // 60)
    sign = "-" if after < timedelta(0) else ""
    end = f"DTEND{KINDS[draw(st.sampled_from(sorted(KINDS)))](DAY_OF + after)}"
    return draw(st.sampled_from([[], [end], [f"DURATION:{sign}PT{minutes}M"], [f"DURATION:{sign}P{minutes // 1440}D"]]))


@st.composite
def rules(draw: st.DrawFn) -> tuple[list[str], timedelta | None]:
    """A rule, and how long after the beginning its last day is, where it ends by a day."""
    frequency, days = draw(st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"])), draw(st.integers(-1, 3))
    until = DAY_OF + timedelta(days=days)
    last = draw(
        st.sampled_from(
            [
                "",
                ";COUNT=2",
                f";UNTIL={until:%Y%m%d}",
                f";UNTIL={until:%Y%m%dT%H%M%S}",
                f";UNTIL={until:%Y%m%d}T235959Z",
            ]
        )
    )
    by_day = frequency == "DAILY" and last == f";UNTIL={until:%Y%m%d}"
    rule = [f"RRULE:FREQ={frequency}{last}"]
    return draw(st.sampled_from([([], None), (rule, timedelta(days=days) if by_day else None)]))


def refusal(path: Path) -> str:
    try:
        read_calendar(path, SHANGHAI)
    except CalendarInvalid as error:
        return str(error)
    return ""


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(KINDS)), ends(), rules(), st.integers(0, 23))
def test_no_event_is_lost_without_a_word(tmp_path, kind, end, rule, hour):
    """It freezes the moment at which it begins, and the one on its last day; or it is refused by its name."""
    begin, lines = DAY_OF.replace(hour=hour), [*end, *rule[0]]
    path = a_calendar(tmp_path, calendar(event(f"DTSTART{KINDS[kind](begin)}", *lines)))
    calendars._read.cache_clear()
    why = refusal(path)
    if why:
        assert why.startswith("event 'change stop'")
        return
    first = (begin.replace(hour=0) if kind == "day" else begin).replace(tzinfo=ZONES[kind])
    for moment in (first, first + (rule[1] or timedelta(0))):
        found = calendar_freezes(path, SHANGHAI, moment, moment + timedelta(microseconds=1))
        assert any(freeze.start <= moment < freeze.end for freeze in found), moment
