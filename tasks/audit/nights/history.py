"""What earlier runs of the audit wrote down, read back from the spool; and what this one writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from poolkeeper.tasks.audit.measurements import Measurement, Quality
from poolkeeper.tasks.audit.nights.comparison import (
    Comparison,
    Key,
    PastFinding,
    PastRun,
    PathKey,
    Seen,
    first_night,
    worth_reading,
)
from poolkeeper.tasks.fleet.model import Fleet
from poolkeeper.tasks.ledger import FINDINGS, PROBES, RUNS, Spool
from poolkeeper.tasks.outcomes import HostState, Subject
from poolkeeper.tasks.runs.recording import Recorder, finding_row

FLOW = "audit"
CARRIED = "unknown"
"""In place of a severity: an earlier finding of which the run could tell nothing."""
FIXED = "fixed"
"""In place of a severity: an earlier finding that the run has shown not to be there any more."""


def earlier(spool: Spool, fleet: Fleet, run_id: str, started_at: datetime) -> tuple[PastRun, ...]:
    """The runs of this fleet's audit that began before this one and came to their end, the newest first.

    What they tell of findings is read of the last `NIGHTS` nights; since when one is there is told by its last row.
    """
    alike: dict[frozenset[str], frozenset[str]] = {}  # a year of nights has mostly the same hosts
    runs = []
    for row in spool.rows(RUNS):
        if row["flow"] != FLOW or row["state"] == "invalid" or not row["hosts"] or not _is_of(row, fleet):
            continue
        if row["run_id"] == run_id or row["started_at"] >= started_at:
            continue
        asked = frozenset(row["hosts"])
        missed = frozenset(name for name, state in row["hosts"].items() if state != HostState.DONE)
        asked = alike.setdefault(asked, asked)
        runs.append(PastRun(row["run_id"], row["started_at"], asked, missed, tells_all=row["fleet"] is None))
    runs.sort(key=lambda run: run.at, reverse=True)
    begin = first_night(runs)
    return tuple(_with_findings(spool, run) if run.night >= begin else run for run in runs)


def _is_of(row: Mapping[str, Any], fleet: Fleet) -> bool:
    """Whether a run was about this fleet. Rows of older versions do not tell: then most of its hosts are declared."""
    if row["fleet"] is not None:
        return bool(row["fleet"] == fleet.name)
    return 2 * sum(name in fleet.hosts for name in row["hosts"]) > len(row["hosts"])


def _with_findings(spool: Spool, run: PastRun) -> PastRun:
    found, carried, fixed = dict[Key, Seen](), dict[Key, Seen](), set[Key]()
    for row in spool.rows(FINDINGS, run.run_id):
        key = row["id"], Subject(row["subject_kind"], row["subject_name"])
        if row["severity"] == FIXED:
            fixed.add(key)
            continue
        told, severity = (carried, row["was"]) if row["severity"] == CARRIED else (found, row["severity"])
        told[key] = Seen(row["observed"], row["since"], row["nights"] or 0, row["seen_at"], severity or "")
    return replace(run, found=found, carried=carried, fixed=fixed)


def durations(spool: Spool, before: Sequence[PastRun], hosts: Iterable[str]) -> Iterator[dict[PathKey, float]]:
    """Of each of the last nights: path -> milliseconds, of whatever was OK. The newest first.

    hosts: which are to have a baseline
    """
    for run_ids in worth_reading(before, hosts):
        night: dict[PathKey, float] = {}
        for run_id in reversed(run_ids):  # whatever several runs have measured, the first of them has to say
            night |= _durations(spool, run_id)
        yield night


def _durations(spool: Spool, run_id: str) -> dict[PathKey, float]:
    return {
        (row["check"], row["source"], target): took
        for row in spool.rows(PROBES, run_id)
        for target, (quality, took) in row["targets"].items()
        if quality == Quality.OK and took is not None
    }


def write_findings(recorder: Recorder, compared: Comparison) -> None:
    """What a run found, and what it has to say of findings of earlier runs, so that the next one needs no other."""
    kept = (*compared.not_measured, *compared.elsewhere)
    rows = [
        {**finding_row(change.finding, FLOW), "since": change.since, "nights": change.nights}
        for change in compared.changes
    ]
    rows += [_row(gone, CARRIED) for gone in kept]
    rows += [_row(gone, FIXED) for gone in compared.fixed]
    recorder.write(FINDINGS, "audit.audit", rows)  # also where there are none: a run may be tried again


def _row(gone: PastFinding, how: str) -> dict[str, Any]:
    return {
        "id": gone.id,
        "severity": how,
        "subject_kind": gone.subject.kind,
        "subject_name": gone.subject.name,
        "observed": gone.observed,
        "seen_at": gone.last,
        "since": gone.since,
        "nights": gone.nights,
        "was": gone.severity or None,
    }


def write_facts(recorder: Recorder, facts: Sequence[Measurement], sites: Mapping[str, str], now: datetime) -> None:
    """Every fact of a run, one row a source and check.

    sites: by host
    """
    together: defaultdict[tuple[str, str], list[Measurement]] = defaultdict(list)
    for fact in facts:
        together[fact.source, fact.check].append(fact)
    rows = [
        {
            "source": source,
            "check": check,
            "site": sites.get(source),
            "seen_at": now,
            "targets": {fact.target: [str(fact.quality), _rounded(fact.duration_ms)] for fact in of_one},
            "evidence": {fact.target: fact.evidence for fact in of_one if fact.quality is not Quality.OK},
        }
        for (source, check), of_one in sorted(together.items())
    ]
    if rows:
        recorder.write(PROBES, "probes", rows)


def _rounded(duration_ms: float | None) -> float | None:
    return None if duration_ms is None else round(duration_ms, 2)
