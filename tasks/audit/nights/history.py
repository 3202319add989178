"""Rows of earlier audits, read from the spool, and the rows that this run writes."""

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
"""In place of a severity: an earlier finding that the run could not measure."""
FIXED = "fixed"
"""In place of a severity: an earlier finding that the run has shown to be gone."""


def earlier(spool: Spool, fleet: Fleet, run_id: str, started_at: datetime) -> tuple[PastRun, ...]:
    """The audits of this fleet that started before this run and ended, the newest first.

    Findings are read from the last `NIGHTS` nights; the last row of a finding has the date since when it is there.
    """
    alike: dict[frozenset[str], frozenset[str]] = {}  # most nights of a year have the same hosts
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
    """Whether a run was about this fleet. A row of an older version has no fleet: then, if most hosts are declared."""
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
        target, severity = (carried, row["was"]) if row["severity"] == CARRIED else (found, row["severity"])
        target[key] = Seen(row["observed"], row["since"], row["nights"] or 0, row["seen_at"], severity or "")
    return replace(run, found=found, carried=carried, fixed=fixed)


def durations(spool: Spool, before: Sequence[PastRun], hosts: Iterable[str]) -> Iterator[dict[PathKey, float]]:
    """For each of the last nights: path -> milliseconds, for paths that were OK. The newest first.

    hosts: those that need a baseline
    """
    for run_ids in worth_reading(before, hosts):
        night: dict[PathKey, float] = {}
        for run_id in reversed(run_ids):  # of a path that several runs have measured, the first run counts
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
    """Write a run's findings and the state of earlier ones. Invariant: the next run needs no older row."""
    kept = (*compared.not_measured, *compared.elsewhere)
    rows = [
        {**finding_row(change.finding, FLOW), "since": change.since, "nights": change.nights}
        for change in compared.changes
    ]
    rows += [_row(gone, CARRIED) for gone in kept]
    rows += [_row(gone, FIXED) for gone in compared.fixed]
    recorder.write(FINDINGS, "audit.audit", rows)  # also if there are none: the run may be repeated


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
    """Write every measurement of a run, one row for each source and check.

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
