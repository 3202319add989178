"""Rules for windows, freezes and calendars."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from poolkeeper.tasks.fleet.calendars import CalendarInvalid, read_calendar
from poolkeeper.tasks.fleet.draft import Draft
from poolkeeper.tasks.fleet.model import Fleet
from poolkeeper.tasks.fleet.paths import why_unusable
from poolkeeper.tasks.fleet.problems import Mistake, Path_, quoted_value

LONGEST_FREEZE = timedelta(days=3650)
"""What is frozen for longer is not frozen but not to be changed at all."""


def times(draft: Draft, fleet: Fleet, folder: Path) -> Iterator[Mistake]:
    """Windows can open, freezes end."""
    for name, site in fleet.sites.items():
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


def calendars(draft: Draft, fleet: Fleet, folder: Path) -> Iterator[Mistake]:
    """Calendars that are there can be read, every event of them."""
    for name, site in fleet.sites.items():
        for i, calendar in enumerate(site.freeze_calendars):
            path: Path_ = ("sites", name, "freeze_calendars", i)
            if why_unusable(folder, draft.given(*path)) or draft.unread("sites", name, "time_zone"):
                continue
            try:
                read_calendar(calendar, site.time_zone)
            except CalendarInvalid as error:
                yield Mistake(
                    path,
                    f"{quoted_value(draft.given(*path))} is no usable calendar: {error}.",
                    "Correct that event, or export the calendar again as iCalendar (.ics).",
                )
