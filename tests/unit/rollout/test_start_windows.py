"""Whether a host may start: all of its time must lie in one window, with no freeze in it."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from poolkeeper.tasks.fleet.model import Freeze, Site, Window
from poolkeeper.tasks.rollout.start_windows import start_refusal

NIGHT = Window(frozenset(range(7)), time(1), timedelta(hours=4))
BERLIN = ZoneInfo("Europe/Berlin")


def site(*windows: Window, freezes: tuple[Freeze, ...] = ()) -> Site:
    return Site("fra1", BERLIN, windows=windows, freezes=freezes)


def utc(day: int, hour: int, minute: int = 0, month: int = 11) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


UNREADABLE = Site("fra1", BERLIN, freeze_calendars=(Path("/nowhere.ics"),))
FROZEN = (Freeze(utc(23, 2), utc(23, 3), "audit"),)


@pytest.mark.parametrize(
    ("where", "now", "expected_min", "refused"),
    [
        pytest.param(site(), utc(23, 12), 15, "", id="no windows: at any time"),
        pytest.param(site(NIGHT), utc(23, 1), 15, "", id="inside"),
        pytest.param(site(NIGHT), utc(23, 3, 45), 15, "", id="just fits"),
        pytest.param(site(NIGHT), utc(23, 3, 46), 15, "window ends in 14 min", id="does not fit any more"),
        pytest.param(site(NIGHT), utc(23, 12), 15, "has no window now; the next that fits begins at 2026-11-24T00:00", id="outside"),
        pytest.param(site(NIGHT), utc(23, 1), 300, "none within 32 days fits", id="longer than any window"),
        pytest.param(site(NIGHT, freezes=FROZEN), utc(23, 1, 50), 15, "window ends in 10 min", id="a freeze cuts it"),
        pytest.param(site(freezes=FROZEN), utc(23, 2, 30), 15, "no window now", id="in a freeze"),
        pytest.param(UNREADABLE, utc(23, 12), 15, "the freezes of site fra1 cannot be read", id="an unreadable calendar"),
        # 2026-03-29: the clock goes from 2 to 3; the window begins at 1 and lasts four hours all the same
        pytest.param(site(NIGHT), utc(29, 3, 40, month=3), 15, "", id="in the night that loses an hour"),
        pytest.param(site(NIGHT), utc(29, 4, 1, month=3), 15, "no window now", id="after it"),
        # 2026-10-25: the clock goes from 3 to 2
        pytest.param(site(NIGHT), utc(24, 23, 10, month=10), 15, "", id="in the night that gains an hour"),
        pytest.param(site(NIGHT), utc(25, 3, 1, month=10), 15, "no window now", id="four hours later"),
    ],
)  # fmt: skip
def test_starting(where: Site, now: datetime, expected_min: int, refused: str) -> None:
    why = start_refusal(where, now, expected_min * 60)
    assert (refused in why) if refused else (why == "")
