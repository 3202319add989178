"""Events from the spool's `lifecycle` table, as flows write them."""

from __future__ import annotations

import json

from poolkeeper.tasks.fees.periods import instant
from poolkeeper.tasks.fees.usage.events import Event, EventReader, place
from poolkeeper.tasks.fleet.problems import Problem
from poolkeeper.tasks.ledger import LIFECYCLE, Spool


def read_spool(spool: Spool, reader: EventReader) -> tuple[list[Event], list[Problem], set[str]]:
    """The good rows, every problem of the others, and the resources whose rows are not all good.

    A problem's path names the batch's file within the spool.
    """
    events: list[Event] = []
    problems: list[Problem] = []
    broken: set[str] = set()
    places: dict[str, int] = {}
    try:
        for row in spool.rows(LIFECYCLE):
            source = f"{LIFECYCLE.name}/{row['run_id']}/{row['batch']}"
            line = places[source] = places.get(source, 0) + 1
            told_at_us = instant(row["written_at"]) if row["written_at"] else 0
            found = reader.read(row, source, line, told_at_us)
            if isinstance(found, Event):
                events.append(found)
                continue
            broken.add(str(row["resource_id"]))
            problems += [Problem(line, 1, place(source, w.column), w.message, w.fix) for w in found]
    except (OSError, json.JSONDecodeError, KeyError, ValueError, TypeError) as error:
        # the spool writes whole files only: this one was changed by something else
        problem = f"the spool cannot be read ({type(error).__name__}: {error})."
        fix = f"Look at the files below {spool.root / LIFECYCLE.name}; put back the one that was changed."
        problems.append(Problem(1, 1, LIFECYCLE.name, problem, fix))
    return events, problems, broken
