"""Whether a host may start now, and when its site lets work start next. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from poolkeeper.tasks.fleet.calendars import CalendarInvalid
from poolkeeper.tasks.fleet.model import Site
from poolkeeper.tasks.fleet.windows import open_intervals

WINDOWS_AHEAD = timedelta(days=32)
"""How far ahead the next window is looked for."""


def start_refusal(site: Site, now: datetime, expected_s: float) -> str:
    """Why a host that is expected to take `expected_s` may not start now; empty when it may.

    It may when all of that time lies in one window, with no freeze in it.
    """
    needed = timedelta(seconds=expected_s)
    try:
        ahead = open_intervals(site, now, now + WINDOWS_AHEAD)
    except (OSError, CalendarInvalid) as error:
        return f"the freezes of site {site.name} cannot be read: {error}"
    if ahead and ahead[0].start <= now and now + needed <= ahead[0].end:
        return ""
    fitting = next((i for i in ahead if i.end - i.start >= needed and i.start > now), None)
    then = f"the next that fits begins at {fitting.start.isoformat()}" if fitting else "none within 32 days fits"
    if ahead and ahead[0].start <= now:
        left_min = (ahead[0].end - now).total_seconds() / 60
        return (
            f"site {site.name}'s window ends in {left_min:.0f} min, and a host takes {expected_s / 60:.0f} min; {then}"
        )
    return f"site {site.name} has no window now; {then}"
