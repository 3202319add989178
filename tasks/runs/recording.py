"""Writes the record of a run while it goes on: phases, facts, findings, changes, lifecycle events and the end."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import HostFacts
from poolkeeper.tasks.ledger import (
    CHANGES,
    FINDINGS,
    HOST_FACTS,
    LIFECYCLE,
    RUNS,
    SKIPS,
    STEPS,
    RowInvalid,
    Spool,
    Table,
    write_whole,
)
from poolkeeper.tasks.outcomes import ChangeRecord, ChangeState, Finding, HostOutcome, Known, Observed, named
from poolkeeper.tasks.runs.watching import watcher

_log = logging.getLogger(__name__)

KEPT = 20_000
"""The batches that are kept for a retry if they could not be written; others are only counted as lost."""


class Batch(NamedTuple):
    """Rows to be written to the spool."""

    table: Table
    name: str
    rows: Sequence[Mapping[str, Any]]


@dataclass(slots=True)
class Recorder:
    """Writes one run's record. Every method writes one batch to the spool at once, and none of them raises.

    Keeps: what a run does to hosts and nodes never depends on a row. A batch that cannot be written, as on a full disk,
    is logged once, tried again at the end, and then reported in the run's answer and in its state.
    """

    spool: Spool
    run_id: str
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    fleet: str | None = None
    """Name of the fleet, once its file is read: several fleets may share a spool."""
    dry_run: bool | None = None
    """None: the flow changes nothing, or it is not known yet."""
    phase_s: dict[str, dict[str, float]] = field(default_factory=dict)
    """Host -> phase -> seconds."""
    run_findings: list[Finding] = field(default_factory=list)
    """Findings about the run as a whole and about no host, such as an unverified connection to the cluster."""
    _attempts: dict[tuple[str, str], int] = field(default_factory=dict)
    _changes: dict[ChangeRecord, int] = field(default_factory=dict)
    """The number of each change, which is in the name of its batch."""
    _planned: list[tuple[ChangeRecord, Mapping[str, Any]]] = field(default_factory=list)
    _unwritten: dict[tuple[str, str], Batch] = field(default_factory=dict)
    """(table, batch) -> the latest batch of that name."""
    _lost: list[str] = field(default_factory=list)
    """Names of files and batches that are not tried again."""
    _why: str = ""

    def write(self, table: Table, batch: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows of this run. A batch of the same name is replaced."""
        key = table.name, batch
        self._unwritten.pop(key, None)
        if self._written(one := Batch(table, batch, rows)):
            return
        if len(self._unwritten) < KEPT:
            self._unwritten[key] = one
        else:
            self._lost.append("/".join(key))

    def file(self, path: Path, text: str) -> bool:
        """Write one of the run's own files; False if it could not be written."""
        try:
            write_whole(path, text)
        except OSError as error:
            self._log_once(error)
            self._lost.append(path.name)
            return False
        return True

    def _written(self, one: Batch) -> bool:
        try:
            self.spool.append(one.table, self.run_id, one.name, one.rows)
        except (OSError, RecursionError, RowInvalid, TypeError, ValueError) as error:
            # a full or read-only disk, or invalid rows
            self._log_once(error)
            return False
        return True

    def _log_once(self, error: Exception) -> None:
        first, self._why = not self._why, (getattr(error, "strerror", None) or str(error) or type(error).__name__)[:200]
        if first:
            message = "the record of this run cannot be written (%s); the run continues, and tries again at its end"
            _log.warning(message, self._why)

    @property
    def unrecorded(self) -> str:
        """What could not be written, as a clause; empty if all is written."""
        if not self._unwritten and not self._lost:
            return ""
        names = [*map("/".join, self._unwritten), *self._lost]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return f"{', '.join(names[:3])}{more} could not be written below {self.spool.root.parent}: {self._why}"

    @property
    def unrecorded_events(self) -> tuple[str, ...]:
        """The lifecycle events that could not be written, as lines of an event file: `resource_id,kind,event,at`."""
        rows = [row for batch in self._unwritten.values() if batch.table is LIFECYCLE for row in batch.rows]
        return tuple(f"{row['resource_id']},{row['kind']},{row['event']},{row['at'].isoformat()}" for row in rows)

    @asynccontextmanager
    async def phase(self, host: str, phase: str) -> AsyncIterator[None]:
        """Time one phase of a host and write its row, also if it fails. A dry run writes no phases."""
        if self.dry_run:
            yield
            return
        attempt = self._attempts[host, phase] = self._attempts.get((host, phase), 0) + 1
        started_at, start = datetime.now(UTC), time.monotonic()
        _log.info("%s: %s", host, phase)
        watcher().phase(host, phase)
        result, detail = "ended", ""
        try:
            yield
        except BaseException as error:
            result, detail = "aborted", named(error)
            raise
        finally:
            watcher().phase_ended(host, phase)
            duration_s = time.monotonic() - start
            spent = self.phase_s.setdefault(host, {})
            spent[phase] = spent.get(phase, 0.0) + duration_s
            row = {
                "host": host,
                "phase": phase,
                "attempt": attempt,
                "started_at": started_at,
                "duration_s": round(duration_s, 3),
                "result": result,
                "detail": detail,
            }
            self.write(STEPS, f"{host}.{phase}.{attempt}", [row])

    def facts(self, host: Host, seen_at: datetime, known: Mapping[str, Any], unknown: Mapping[str, str]) -> None:
        """Write the facts of a host. unknown: fact -> why it could not be read"""
        row = {
            "host": host.name,
            "node": host.node_name,
            "site": host.site.name,
            "pool": host.pool.name,
            "seen_at": seen_at,
            "facts": known,
            "unknown": unknown,
        }
        self.write(HOST_FACTS, f"{host.name}.facts", [row])

    def findings(self, host: str, phase: str, findings: Iterable[Finding]) -> None:
        """Write a host's findings of one phase."""
        rows = [finding_row(finding, host) for finding in findings]
        if rows:
            self.write(FINDINGS, f"{host}.{phase}", rows)

    def add_run_findings(self, findings: Iterable[Finding]) -> None:
        """Findings about no host: each once in the log, in the spool and in the summary."""
        known = {(finding.id, finding.subject) for finding in self.run_findings}
        for finding in (finding for finding in findings if (finding.id, finding.subject) not in known):
            self.run_findings.append(finding)
            _log.warning("%s", finding)
            self.write(FINDINGS, f"{finding.subject.name}.{finding.id}", [finding_row(finding, "")])

    def skips(self, skips: Mapping[str, str]) -> None:
        """Write the checks that were skipped by name. skips: check -> reason"""
        rows = [{"check": name, "reason": reason, "by_run": self.run_id} for name, reason in skips.items()]
        if rows:
            self.write(SKIPS, "skips", rows)

    def change(self, record: ChangeRecord) -> None:
        """Write a change when it begins, and again when it has ended: of a killed run it stays *unknown*.

        Keeps: a resumed run has the same id and overwrites no row of the process before it.
        """
        change = record.change
        if record.state is ChangeState.DRY_RUN:
            _log.info("would %s", change.sentence)
            watcher().change(change.subject.name, change.sentence)
        elif record.state is ChangeState.UNKNOWN and not record.why:
            _log.info("%s", change.sentence)
            watcher().change(change.subject.name, change.sentence)
        row = {
            "subject_kind": change.subject.kind,
            "subject_name": change.subject.name,
            "sentence": change.sentence,
            "at": record.at,
            "outcome": str(record.state),
            "why": record.why,
            "attempts": record.attempts,
        }
        if record.state is ChangeState.DRY_RUN:
            self._planned.append((record, row))  # there may be very many: one batch, at the end
            return
        number = self._changes.setdefault(record, len(self._changes) + 1)
        self.write(CHANGES, f"{self.started_at:%Y%m%dT%H%M%S.%f}-{number:06}", [row])

    def lifecycle(self, host: Host, event: str, node: NodeRow, at: datetime, facts: HostFacts | None = None) -> None:
        """Write that a node joined, left, was resized or changed state; the fees are computed from these rows.

        facts: of the host, if the event has its size; a fact that could not be read is null
        The same event written by two runs counts once: the Node's uid is in its resource id.
        """
        row = {
            "resource_id": f"{host.pool.cluster.name}/{node.name}/{node.uid}",
            "kind": "node",
            "event": event,
            "at": at,
            "vcpus": node.cpus or None,
            "memory_bytes": _known(facts.memory_bytes) if facts else None,
            "gpus": _known(facts.gpus) if facts else None,
            "labels": {**host.labels, "pool": host.pool.name, "site": host.site.name},
        }
        batch = f"{host.name}.{event.replace(':', '-')}.{node.uid}"  # one run may see two Nodes of a host leave
        self.write(LIFECYCLE, batch, [row])

    def write_rest(self) -> None:
        """Write the changes of a dry run, and try again what could not be written: the disk may have free space now."""
        if planned := [row for record, row in self._planned if not record.repeated]:
            self.write(CHANGES, "dry-run", planned)
        self._unwritten = {key: one for key, one in self._unwritten.items() if not self._written(one)}

    def end(self, flow: str, state: str, summary: str, outcomes: Iterable[HostOutcome]) -> None:
        """Write the run's own row; it is the last one."""
        row = {
            "flow": flow,
            "fleet": self.fleet,
            "state": state,
            "summary": summary,
            "dry_run": self.dry_run,
            "started_at": self.started_at,
            "ended_at": datetime.now(UTC),
            "hosts": {outcome.name: str(outcome.state) for outcome in outcomes},
        }
        self.write(RUNS, "run", [row])


def finding_row(finding: Finding, host: str) -> dict[str, Any]:
    """A finding as a row of its table. host: the host whose step found it; empty: none"""
    return {
        "id": finding.id,
        "severity": str(finding.severity),
        "subject_kind": finding.subject.kind,
        "subject_name": finding.subject.name,
        "observed": finding.evidence.observed,
        "expected": finding.evidence.expected,
        "source": finding.evidence.source,
        "seen_at": finding.evidence.seen_at,
        "next_step": finding.next_step,
        "host": host,
    }


def _known(fact: Observed[int]) -> int | None:
    return fact.value if isinstance(fact, Known) else None
