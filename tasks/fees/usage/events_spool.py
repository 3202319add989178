"""Events from the spool's `lifecycle` table, as flows write them."""

from __future__ import annotations

import json

from poolkeeper.tasks.fees.periods import instant
from poolkeeper.tasks.fees.usage.events import EventReader, UsageEvent, place
from poolkeeper.tasks.fleet.problems import Problem
from poolkeeper.tasks.ledger import LIFECYCLE, Spool


def read_spool(spool: Spool, reader: EventReader) -> tuple[list[UsageEvent], list[Problem], set[str]]:
    """The events of valid rows, every problem of the other rows, and the resources that have such rows.

    The path of a problem names the file in the spool.
    """
    events: list[UsageEvent] = []
    problems: list[Problem] = []
    broken: set[str] = set()
    places: dict[str, int] = {}
    try:
        for row in spool.rows(LIFECYCLE):
            source = f"{LIFECYCLE.name}/{row['run_id']}/{row['batch']}"
            line = places[source] = places.get(source, 0) + 1
            recorded_at_us = instant(row["written_at"]) if row["written_at"] else 0
            found = reader.read(row, source, line, recorded_at_us)
            if isinstance(found, UsageEvent):
                events.append(found)
                continue
            broken.add(str(row["resource_id"]))
            problems += [Problem(line, 1, place(source, w.column), w.message, w.fix) for w in found]
    except (OSError, json.JSONDecodeError, KeyError, ValueError, TypeError) as error:
        # the spool writes complete files only: something else has changed this one
        problem = f"the spool cannot be read ({type(error).__name__}: {error})."
        fix = f"Restore the damaged file below {spool.root / LIFECYCLE.name} from a backup."
        problems.append(Problem(1, 1, LIFECYCLE.name, problem, fix))
    return events, problems, broken
