"""A slow meter, written from the text of the rules alone: it walks through every minute and asks who is there.

It shares nothing with `tasks.fees` and works on events at whole minutes. The rules, as on the provider's billing pages:

- Pro fee: hours are aligned to the top of the hour in UTC+8; the hour that creation lies in and the hour that release
  lies in are free; only some states are billable.
- Edge fee: per vCPU and day; less than a day is a day, in UTC+8.
- Lingjun fee: tiers by the number of GPUs on the daily maximum, cumulative.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from typing import Any

CHINA = timezone(timedelta(hours=8))
MINUTE = timedelta(minutes=1)

OracleEvent = tuple[str, str, datetime, int | None]
"""resource, event, time, size."""


def minutes(start: datetime, end: datetime) -> Iterator[datetime]:
    at = start
    while at < end:
        yield at
        at += MINUTE


def alive(events: list[OracleEvent], minute: datetime) -> tuple[str, int] | None:
    """State and size of a resource in a minute, or None when it is not there. `events` is in the order of time."""
    there, state, size = False, "", 0
    for _, event, at, new_size in events:
        if at > minute:
            break
        if event in ("created", "joined"):
            there, state = True, ""
        if event in ("released", "left"):
            there = False
        if event.startswith("state:"):
            state = event.removeprefix("state:")
        size = new_size or size
    return (state, size) if there else None


def grouped(events: list[OracleEvent]) -> dict[str, list[OracleEvent]]:
    found: dict[str, list[OracleEvent]] = defaultdict(list)
    for row in events:
        found[row[0]].append(row)
    return {resource: sorted(rows, key=lambda row: row[2]) for resource, rows in found.items()}


def pro_hours(events: list[OracleEvent], start: datetime, end: datetime) -> dict[str, int]:
    """Billed clock hours of each cluster."""
    billed: dict[str, int] = {}
    for cluster, rows in grouped(events).items():
        free = {f"{row[2].astimezone(CHINA):%F %H}" for row in rows if row[1] in ("created", "released")}
        hours = set()
        for minute in minutes(start, end):
            found = alive(rows, minute)
            if found and found[0] not in ("Failed", "Inactive"):
                hours.add(f"{minute.astimezone(CHINA):%F %H}")
        billed[cluster] = len(hours - free)
    return billed


def edge_vcpu_days(
    events: list[OracleEvent], start: datetime, end: datetime, free: tuple[str, ...] = ()
) -> dict[str, int]:
    """Billed vCPU-days of each node: on each day the most vCPUs that it had on it."""
    billed: dict[str, int] = {}
    for node, rows in grouped(events).items():
        most: dict[str, int] = defaultdict(int)
        for minute in minutes(start, end):
            found = alive(rows, minute)
            if found and found[0] not in free:
                day = f"{minute.astimezone(CHINA):%F}"
                most[day] = max(most[day], found[1])
        billed[node] = sum(most.values())
    return billed


def lingjun_fee(
    events: list[OracleEvent], start: datetime, end: datetime, steps: list[tuple[Any, Fraction]]
) -> Fraction:
    """The fee for all nodes: of each day's maximum, each GPU at the price of the step that it falls into."""
    most: dict[str, int] = defaultdict(int)
    nodes = grouped(events)
    for minute in minutes(start, end):
        found = [alive(rows, minute) for rows in nodes.values()]
        day = f"{minute.astimezone(CHINA):%F}"
        most[day] = max(most[day], sum(one[1] for one in found if one))
    fee = Fraction(0)
    for gpus in most.values():
        for gpu in range(1, gpus + 1):
            fee += next(price for up_to, price in steps if up_to is None or gpu <= up_to)
    return fee
