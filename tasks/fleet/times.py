"""Rules for time zones, windows, freezes and calendars."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from poolkeeper.tasks.fleet.calendars import CalendarInvalid, read_calendar
from poolkeeper.tasks.fleet.document import Document
from poolkeeper.tasks.fleet.draft import Draft
from poolkeeper.tasks.fleet.paths import from_folder, why_unusable
from poolkeeper.tasks.fleet.problems import Mistake, Path_, nearest, told

LONGEST_FREEZE = timedelta(days=3650)
"""What is frozen for longer is not frozen but not to be changed at all."""


def times(draft: Draft, document: Document, folder: Path) -> Iterator[Mistake]:
    """Zones exist, windows can open, freezes end."""
    for name, site in document.sites.items():
        if not _is_time_zone(site.time_zone):
            near = nearest(site.time_zone, _time_zones()) if "/" in site.time_zone else ""
            yield Mistake(
                ("sites", name, "time_zone"),
                f"there is no time zone {told(site.time_zone)}.",
                near if near.startswith("Did") else "Write an IANA name, like Europe/Berlin or Asia/Shanghai.",
            )
        for i, window in enumerate(site.windows):
            path: Path_ = ("sites", name, "windows", i)
            if not window.days and not draft.unread(*draft.as_written(path), "days"):
                yield Mistake(
                    (*path, "days"),
                    "a window without days can never open.",
                    "Name at least one day, or leave days out for every day.",
                )
            if window.duration <= timedelta(0):
                yield Mistake(
                    (*path, "duration"), "this window can never open: it has no length.", "Write a duration like 4h."
                )
            elif window.duration > timedelta(days=7):
                yield Mistake(
                    (*path, "duration"),
                    "a window longer than a week overlaps itself.",
                    "Write a shorter one, or delete the site's windows: without any, work may start at any time.",
                )
        for i, freeze in enumerate(site.freezes):
            path = ("sites", name, "freezes", i)
            if draft.unread(*draft.as_written(path)):
                continue
            if freeze.end <= freeze.start:
                yield Mistake((*path, "to"), "this freeze ends before it begins.", "Put `to` after `from`.")
            elif freeze.end - freeze.start > LONGEST_FREEZE:
                yield Mistake(
                    (*path, "to"),
                    "under a freeze of more than ten years no window can ever open.",
                    "Use mode: observe for a site that must not be changed.",
                )


def _is_time_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())


def calendars(draft: Draft, document: Document, folder: Path) -> Iterator[Mistake]:
    """Calendars that are there can be read, every event of them."""
    for name, site in document.sites.items():
        for i, file in enumerate(site.freeze_calendars):
            if why_unusable(folder, file) or not _is_time_zone(site.time_zone):
                continue
            try:
                read_calendar(from_folder(folder, file), ZoneInfo(site.time_zone))
            except CalendarInvalid as error:
                yield Mistake(
                    ("sites", name, "freeze_calendars", i),
                    f"{told(file)} is no usable calendar: {error}.",
                    "Correct that event, or export the calendar anew as iCalendar (.ics).",
                )
