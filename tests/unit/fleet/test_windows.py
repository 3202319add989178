"""When work may run at a site. 2026: clocks in Berlin go forward on 29 March and back on 25 October, at 01:00 UTC."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, timezone
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolkeeper.tasks.fleet import Interval, Site, open_intervals
from poolkeeper.tasks.fleet.model import Freeze, Window

BERLIN, SHANGHAI = "Europe/Berlin", "Asia/Shanghai"
EVERY_DAY, SATURDAY, SUNDAY = frozenset(range(7)), frozenset({5}), frozenset({6})


def utc(text: str) -> datetime:
    """`10-25 01:00` of 2026, in UTC."""
    return datetime.strptime(f"2026-{text}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


def window(start: str, duration_h: float, days: frozenset[int] = EVERY_DAY) -> Window:
    return Window(days, time.fromisoformat(start), timedelta(hours=duration_h))


def freeze(start: str, end: str) -> Freeze:
    return Freeze(utc(start), utc(end), "test")


def spans(*pairs: tuple[str, str]) -> tuple[Interval, ...]:
    return tuple(Interval(utc(start), utc(end)) for start, end in pairs)


def row(phrase: str, asked: tuple[str, str], *opened: tuple[str, str], zone: str = BERLIN, **site: Any) -> Any:
    return pytest.param(Site("s", ZoneInfo(zone), **site), asked, opened, id=phrase)


@pytest.mark.parametrize(
    ("site", "asked", "opened"),
    [
        row("no window: at any time", ("06-01 00:00", "06-03 00:00"), ("06-01 00:00", "06-03 00:00")),
        row("nothing is asked for", ("06-01 00:00", "06-01 00:00")),
        row("the end is before the start", ("06-03 00:00", "06-01 00:00")),
        row(
            "every night, in the site's zone in summer",
            ("06-01 12:00", "06-03 12:00"),
            ("06-02 00:00", "06-02 04:00"),
            ("06-03 00:00", "06-03 04:00"),
            windows=(window("02:00", 4),),
        ),
        row(
            "every night, far to the east",
            ("06-01 12:00", "06-02 12:00"),
            ("06-01 18:00", "06-01 22:00"),
            zone=SHANGHAI,
            windows=(window("02:00", 4),),
        ),
        row(
            "Saturdays by the site's calendar, which are Fridays in UTC",
            ("06-01 00:00", "06-08 00:00"),
            ("06-05 22:00", "06-06 00:00"),
            windows=(window("00:00", 2, SATURDAY),),
        ),
        row(
            "asked for the middle of a window",
            ("06-02 01:00", "06-02 02:00"),
            ("06-02 01:00", "06-02 02:00"),
            windows=(window("02:00", 4),),
        ),
        row(
            "a window that began the day before",
            ("06-02 00:30", "06-02 12:00"),
            ("06-02 00:30", "06-02 02:00"),
            windows=(window("22:00", 6),),
        ),
        row(
            "a window of days that began last week",
            ("06-08 00:00", "06-09 00:00"),
            ("06-08 00:00", "06-08 22:00"),
            windows=(window("00:00", 72, SATURDAY),),
        ),
        row(
            "windows that overlap or touch are one",
            ("06-02 00:00", "06-02 12:00"),
            ("06-02 00:00", "06-02 06:00"),
            windows=(window("02:00", 2), window("03:00", 3), window("06:00", 2)),
        ),
        row(
            "the end of a window is not in it",
            ("06-02 04:00", "06-02 05:00"),
            windows=(window("02:00", 4),),
        ),
        row(
            "spring: a beginning that is skipped moves on by an hour, its length stays",
            ("03-28 12:00", "03-29 12:00"),
            ("03-29 01:30", "03-29 03:30"),
            windows=(window("02:30", 2),),
        ),
        row(
            "spring: over the gap it lasts its length, and ends later by the clock",
            ("03-28 12:00", "03-29 12:00"),
            ("03-29 00:00", "03-29 04:00"),
            windows=(window("01:00", 4),),
        ),
        row(
            "spring: the night after is an hour earlier in UTC",
            ("03-27 12:00", "03-30 12:00"),
            ("03-28 03:00", "03-28 04:00"),
            ("03-29 02:00", "03-29 03:00"),
            ("03-30 02:00", "03-30 03:00"),
            windows=(window("04:00", 1),),
        ),
        row(
            "autumn: of a beginning that comes twice, the first counts",
            ("10-24 12:00", "10-25 12:00"),
            ("10-25 00:30", "10-25 01:00"),
            windows=(window("02:30", 0.5),),
        ),
        row(
            "autumn: over the hour that comes twice it lasts its length",
            ("10-24 12:00", "10-25 12:00"),
            ("10-25 00:00", "10-25 04:00"),
            windows=(window("02:00", 4),),
        ),
        row(
            "spring: 23 hours from midnight are the whole of that Sunday",
            ("03-28 00:00", "03-30 00:00"),
            ("03-28 23:00", "03-29 22:00"),
            windows=(window("00:00", 23, SUNDAY),),
        ),
        row(
            "a freeze cuts the middle out",
            ("06-01 00:00", "06-02 00:00"),
            ("06-01 00:00", "06-01 08:00"),
            ("06-01 10:00", "06-02 00:00"),
            freezes=(freeze("06-01 08:00", "06-01 10:00"),),
        ),
        row(
            "freezes at both ends, and one beyond",
            ("06-01 00:00", "06-02 00:00"),
            ("06-01 01:00", "06-01 22:00"),
            freezes=(freeze("05-01 00:00", "06-01 01:00"), freeze("06-01 22:00", "07-01 00:00"), freeze("06-03 00:00", "06-04 00:00")),
        ),
        row(
            "a freeze over all of it",
            ("06-01 00:00", "06-02 00:00"),
            windows=(window("02:00", 4),),
            freezes=(freeze("05-31 00:00", "06-03 00:00"),),
        ),
        row(
            "freezes that overlap count once",
            ("06-01 00:00", "06-02 00:00"),
            ("06-01 12:00", "06-02 00:00"),
            freezes=(freeze("06-01 00:00", "06-01 09:00"), freeze("06-01 08:00", "06-01 12:00")),
        ),
        row(
            "the moment a freeze ends is open",
            ("06-01 10:00", "06-01 11:00"),
            ("06-01 10:00", "06-01 11:00"),
            freezes=(freeze("06-01 08:00", "06-01 10:00"),),
        ),
        row(
            "a freeze without length freezes nothing",
            ("06-01 00:00", "06-02 00:00"),
            ("06-01 00:00", "06-02 00:00"),
            freezes=(freeze("06-01 08:00", "06-01 08:00"),),
        ),
    ],
)  # fmt: skip
def test_when_work_may_run(site, asked, opened):
    assert open_intervals(site, *map(utc, asked)) == spans(*opened)


def test_the_question_may_come_in_any_zone():
    site = Site("s", ZoneInfo(BERLIN), windows=(window("02:00", 1),))
    east = timezone(timedelta(hours=9))
    asked = (utc("06-02 00:00").astimezone(east), utc("06-02 12:00").astimezone(east))
    (found,) = open_intervals(site, *asked)
    assert (found.start, found.start.tzinfo) == (utc("06-02 00:00"), UTC)


def test_a_day_that_a_zone_skipped_has_its_window_a_day_later():
    """Apia had no Friday 30 December 2011; 10:00 of it is carried over the gap to 10:00 of the Saturday."""
    friday = Site("s", ZoneInfo("Pacific/Apia"), windows=(window("10:00", 1, frozenset({4})),))
    start = datetime(2011, 12, 29, tzinfo=UTC)
    opened = datetime(2011, 12, 30, 20, tzinfo=UTC)
    found = open_intervals(friday, start, start + timedelta(days=4))
    assert found == (Interval(opened, opened + timedelta(hours=1)),)


moments = st.integers(0, 60 * 24 * 365).map(lambda minutes: utc("01-01 00:00") + timedelta(minutes=minutes))
windows = st.builds(
    Window,
    st.frozensets(st.integers(0, 6), min_size=1),
    st.builds(time, st.integers(0, 23), st.sampled_from([0, 15, 30, 59])),
    st.integers(1, 7 * 24 * 60).map(lambda minutes: timedelta(minutes=minutes)),
)
freezes = st.builds(
    lambda start, hours: Freeze(start, start + timedelta(hours=hours), "f"), moments, st.integers(0, 900)
)
sites = st.builds(
    lambda zone, windows, freezes: Site("s", ZoneInfo(zone), windows=tuple(windows), freezes=tuple(freezes)),
    st.sampled_from([BERLIN, SHANGHAI, "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]),
    st.lists(windows, max_size=3),
    st.lists(freezes, max_size=3),
)


@given(sites, moments, st.integers(0, 40 * 24))
def test_what_is_open_is_sorted_apart_inside_what_was_asked_and_never_frozen(site, start, hours):
    end = start + timedelta(hours=hours)
    found = open_intervals(site, start, end)
    assert all(one.start < one.end for one in found)
    assert all(one.end <= other.start for one, other in pairwise(found))
    assert all(start <= one.start and one.end <= end for one in found)
    assert not any(f.start < one.end and one.start < f.end for one in found for f in site.freezes if f.start < f.end)


@given(sites, moments, st.integers(1, 20 * 24), st.integers(1, 20 * 24))
def test_asking_in_two_halves_gives_the_same_time(site, start, first_h, second_h):
    middle = start + timedelta(hours=first_h)
    end = middle + timedelta(hours=second_h)

    def total(found: tuple[Interval, ...]) -> timedelta:
        return sum((one.end - one.start for one in found), timedelta())

    halves = total(open_intervals(site, start, middle)) + total(open_intervals(site, middle, end))
    assert total(open_intervals(site, start, end)) == halves
