"""The evidence for a bill, from a CSV file or from the spool: histories, or every problem at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from poolkeeper.tasks.fees.periods import instant
from poolkeeper.tasks.fees.usage.events import Event, EventReader, EvidenceInvalid
from poolkeeper.tasks.fees.usage.events_csv import read_csv
from poolkeeper.tasks.fees.usage.events_spool import read_spool
from poolkeeper.tasks.fees.usage.usage_records import History, histories_of
from poolkeeper.tasks.fleet.problems import Problem
from poolkeeper.tasks.ledger import Spool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of every resource, and until when it was gathered."""

    histories: tuple[History, ...]
    until_us: int
    """What happened later nobody could tell."""
    source: str
    """Where it is from, for people."""


def evidence_of_csv(path: Path, until: datetime) -> Evidence:
    """The evidence in a CSV file. Raises EvidenceInvalid with every problem.

    until: when the file was exported; events after it lie in the future
    """
    reader = EventReader(instant(until))
    return _evidence(path.name, reader, *read_csv(path, reader))


def evidence_of_spool(spool: Spool, until: datetime) -> Evidence:
    """The evidence in the spool. Raises EvidenceInvalid with every problem."""
    reader = EventReader(instant(until))
    try:
        return _evidence(str(spool.root), reader, *read_spool(spool, reader))
    except EvidenceInvalid as error:  # nobody has named this file to us: runs have written it
        ours = [replace(problem, is_ours=True) for problem in error.problems]
        raise EvidenceInvalid(str(spool.root), ours) from None


def _evidence(
    source: str, reader: EventReader, events: list[Event], problems: list[Problem], broken: set[str]
) -> Evidence:
    histories, contradictions = histories_of(events, broken)
    if problems or contradictions:
        raise EvidenceInvalid(source, sorted(set(problems + contradictions)))
    return Evidence(histories, reader.until_us, source)
