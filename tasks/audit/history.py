"""What earlier runs of the audit wrote down, read back from the spool; and what this one writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.audit.measured import Measured, Quality
from tasks.audit.nights import BASELINE_NIGHTS, Gone, Key, Night, PathKey
from tasks.fleet.model import Fleet
from tasks.ledger import FINDINGS, PROBES, RUNS, Spool
from tasks.outcomes import HostState, Subject

FLOW = "audit"
CARRIED = "unknown"
"""In place of a severity: an earlier finding whose subject was not measured."""
NIGHTS = 30
"""Earlier runs that tonight is compared with."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """Earlier runs, the newest first."""

    nights: tuple[Night, ...]
    run_ids: tuple[str, ...]


def earlier(spool: Spool, fleet: Fleet, run_id: str, started_at: datetime) -> Earlier:
    """The runs of this fleet's audit that began before this one and came to their end."""
    ended = [
        row
        for row in spool.rows(RUNS)
        if row["flow"] == FLOW and row["state"] != "invalid" and row["hosts"]
        if row["run_id"] != run_id and row["started_at"] < started_at and _is_of(row, fleet)
    ]
    ended.sort(key=lambda row: row["started_at"], reverse=True)
    chosen = ended[:NIGHTS]
    nights = []
    for row in chosen:
        found: dict[bool, dict[Key, str]] = {True: {}, False: {}}
        for f in spool.rows(FINDINGS, row["run_id"]):
            key = f["id"], Subject(f["subject_kind"], f["subject_name"])
            found[f["severity"] == CARRIED][key] = f["observed"]
        measured = {name: state == HostState.DONE for name, state in row["hosts"].items()}
        nights.append(Night(row["started_at"], found[False], measured, found[True]))
    return Earlier(tuple(nights), tuple(row["run_id"] for row in chosen))


def _is_of(row: Mapping[str, Any], fleet: Fleet) -> bool:
    """Whether a run was about this fleet. Rows of older versions do not tell: then most of its hosts are declared."""
    if row["fleet"] is not None:
        return bool(row["fleet"] == fleet.name)
    return 2 * sum(name in fleet.hosts for name in row["hosts"]) > len(row["hosts"])


def durations(spool: Spool, before: Earlier) -> Iterator[Mapping[PathKey, float]]:
    """Of each of the last nights: path -> milliseconds, of whatever was OK."""
    for run_id in before.run_ids[:BASELINE_NIGHTS]:
        yield {
            (row["check"], row["source"], target): took
            for row in spool.rows(PROBES, run_id)
            for target, (quality, took) in row["targets"].items()
            if quality == Quality.OK and took is not None
        }


def write_carried(spool: Spool, run_id: str, not_measured: Sequence[Gone]) -> None:
    """Earlier findings of which a run can tell nothing, so that the next one still knows of them."""
    rows = [
        {
            "id": gone.id,
            "severity": CARRIED,
            "subject_kind": gone.subject.kind,
            "subject_name": gone.subject.name,
            "observed": gone.observed,
        }
        for gone in not_measured
    ]
    if rows:
        spool.append(FINDINGS, run_id, "audit.carried", rows)


def write_facts(spool: Spool, run_id: str, facts: Sequence[Measured], sites: Mapping[str, str], now: datetime) -> None:
    """Every fact of a run, one row a source and check.

    sites: by host
    """
    together: defaultdict[tuple[str, str], list[Measured]] = defaultdict(list)
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
        spool.append(PROBES, run_id, "probes", rows)


def _rounded(duration_ms: float | None) -> float | None:
    return None if duration_ms is None else round(duration_ms, 2)
