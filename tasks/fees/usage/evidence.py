"""The evidence for fees, from a CSV file or the spool: usage records, or every problem at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from poolkeeper.tasks.fees.periods import instant
from poolkeeper.tasks.fees.usage.events import EventReader, EvidenceInvalid, UsageEvent
from poolkeeper.tasks.fees.usage.events_csv import read_csv
from poolkeeper.tasks.fees.usage.events_spool import read_spool
from poolkeeper.tasks.fees.usage.usage_records import UsageRecord, usage_records_of
from poolkeeper.tasks.fleet.problems import Problem
from poolkeeper.tasks.ledger import Spool


@dataclass(frozen=True, slots=True)
class UsageEvidence:
    """The usage records of all resources, and until when their events were gathered."""

    records: tuple[UsageRecord, ...]
    until_us: int
    """The evidence has nothing that is later."""
    source: str
    """Where it is from, as messages show it."""


def evidence_of_csv(path: Path, until: datetime) -> UsageEvidence:
    """The evidence in a CSV file. Raises EvidenceInvalid with every problem.

    until: when the file was exported; a later event is in the future
    """
    reader = EventReader(instant(until))
    return _evidence(path.name, reader, *read_csv(path, reader))


def evidence_of_spool(spool: Spool, until: datetime) -> UsageEvidence:
    """The evidence in the spool. Raises EvidenceInvalid with every problem."""
    reader = EventReader(instant(until))
    try:
        return _evidence(str(spool.root), reader, *read_spool(spool, reader))
    except EvidenceInvalid as error:  # no parameter names this file: runs have written it
        ours = [replace(problem, is_ours=True) for problem in error.problems]
        raise EvidenceInvalid(str(spool.root), ours) from None


def _evidence(
    source: str, reader: EventReader, events: list[UsageEvent], problems: list[Problem], broken: set[str]
) -> UsageEvidence:
    records, contradictions = usage_records_of(events, broken)
    if problems or contradictions:
        raise EvidenceInvalid(source, sorted(set(problems + contradictions)))
    return UsageEvidence(records, reader.until_us, source)
