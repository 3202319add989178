"""The tables that flows write: one schema each, units in the column names, times in UTC.

Tables change by addition only. The spool adds `run_id`, `batch` and `written_at` to every row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TEXT, INTEGER, NUMBER, FLAG, TIME, STRUCTURE = "text", "integer", "number", "flag", "time", "structure"


@dataclass(frozen=True, slots=True)
class Table:
    """A table's name, meaning and columns."""

    name: str
    meaning: str
    columns: Mapping[str, str]
    """Column -> type. Every column may be null. A fact that could not be read is null; `unknown` has the reason."""


HOST_FACTS = Table(
    "host_facts",
    "one row per host and reading of its facts",
    {
        "host": TEXT,
        "node": TEXT,
        "site": TEXT,
        "pool": TEXT,
        "seen_at": TIME,
        "facts": STRUCTURE,
        "unknown": STRUCTURE,
    },
)
STEPS = Table(
    "steps",
    "one row per phase of a host in a run",
    {
        "host": TEXT,
        "phase": TEXT,
        "attempt": INTEGER,
        "started_at": TIME,
        "duration_s": NUMBER,
        "result": TEXT,
        "detail": TEXT,
    },
)
FINDINGS = Table(
    "findings",
    "one row per finding of a run, and of an audit per earlier one that is `fixed` or `unknown` (its severity says so)",
    {
        "id": TEXT,
        "severity": TEXT,
        "subject_kind": TEXT,
        "subject_name": TEXT,
        "observed": TEXT,
        "expected": TEXT,
        "source": TEXT,
        "seen_at": TIME,
        "next_step": TEXT,
        "host": TEXT,
        "since": TIME,  # of an audit: when the first run in a row that has it began
        "nights": INTEGER,  # and in how many nights it was there since
        "was": TEXT,  # of an earlier one: its severity when it was last there
    },
)
SKIPS = Table(
    "skips",
    "one row per check that was skipped by name",
    {"check": TEXT, "reason": TEXT, "by_run": TEXT},
)
LIFECYCLE = Table(
    "lifecycle",
    "what a bill depends on: one row per event in the life of a cluster or node",
    {
        "resource_id": TEXT,
        "kind": TEXT,
        "event": TEXT,
        "at": TIME,
        "not_before": TIME,
        "vcpus": INTEGER,
        "memory_bytes": INTEGER,
        "gpus": INTEGER,
        "labels": STRUCTURE,
    },
)
CHANGES = Table(
    "changes",
    "one row per mutation that came to the gate",
    {
        "subject_kind": TEXT,
        "subject_name": TEXT,
        "sentence": TEXT,
        "at": TIME,  # when it was first tried
        "outcome": TEXT,  # dry run, unknown (also: the run was killed meanwhile), done, refused or failed
        "why": TEXT,  # it is not done
        "attempts": INTEGER,
    },
)
PROBES = Table(
    "probes",
    "what an audit has measured: one row per source and check of a run, with all of its targets",
    {
        "source": TEXT,
        "check": TEXT,
        "site": TEXT,
        "seen_at": TIME,
        "targets": STRUCTURE,  # target -> [quality, milliseconds or null]
        "evidence": STRUCTURE,  # target -> what was seen, of whatever is not ok
    },
)
RUNS = Table(
    "runs",
    "one row per run, written last: a run without one did not end by itself",
    {
        "flow": TEXT,
        "fleet": TEXT,  # null: it ended before a fleet file was read, or was written before this column was
        "state": TEXT,
        "summary": TEXT,
        "dry_run": FLAG,  # null: its flow changes nothing, or it ended before it knew
        "started_at": TIME,
        "ended_at": TIME,
        "hosts": STRUCTURE,
    },
)

TABLES = {table.name: table for table in (HOST_FACTS, STEPS, FINDINGS, SKIPS, LIFECYCLE, CHANGES, PROBES, RUNS)}
