"""Writing down what a run sees and does, while it does it: phases, facts, findings, events, the end."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tasks.cluster.nodes import NodeRow
from tasks.fleet.model import Host
from tasks.hosts import HostFacts
from tasks.ledger import CHANGES, FINDINGS, HOST_FACTS, LIFECYCLE, RUNS, SKIPS, STEPS, Spool
from tasks.outcomes import Change, Finding, HostOutcome, Known, Observed, RunState, named


@dataclass(slots=True)
class Recorder:
    """One run's pen. Every method writes one batch to the spool at once."""

    spool: Spool
    run_id: str
    say: Callable[[str], None]
    """The run's log, which people watch while it runs."""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    fleet: str | None = None
    """Name of the fleet that the run is about, once its file is read: several may share a spool."""
    phase_s: dict[str, dict[str, float]] = field(default_factory=dict)
    """Host -> phase -> seconds."""
    beside: list[Finding] = field(default_factory=list)
    """What is wrong with no host: with the way to the cluster."""
    _attempts: dict[tuple[str, str], int] = field(default_factory=dict)
    _changes: int = 0

    @asynccontextmanager
    async def phase(self, host: str, phase: str) -> AsyncIterator[None]:
        """Time one phase of a host and write its row, however it ends."""
        attempt = self._attempts[host, phase] = self._attempts.get((host, phase), 0) + 1
        started_at, start = datetime.now(UTC), time.monotonic()
        self.say(f"{host}: {phase}")
        result, detail = "ended", ""
        try:
            yield
        except BaseException as error:
            result, detail = "broke off", named(error)
            raise
        finally:
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
            self.spool.append(STEPS, self.run_id, f"{host}.{phase}.{attempt}", [row])

    def facts(self, host: Host, seen_at: datetime, known: Mapping[str, Any], unknown: Mapping[str, str]) -> None:
        """What was read of a host, and what could not be read and why."""
        row = {
            "host": host.name,
            "node": host.node_name,
            "site": host.site.name,
            "pool": host.pool.name,
            "seen_at": seen_at,
            "facts": known,
            "unknown": unknown,
        }
        self.spool.append(HOST_FACTS, self.run_id, f"{host.name}.facts", [row])

    def findings(self, host: str, phase: str, findings: Iterable[Finding]) -> None:
        """A host's findings of one phase."""
        rows = [finding_row(finding, host) for finding in findings]
        if rows:
            self.spool.append(FINDINGS, self.run_id, f"{host}.{phase}", rows)

    def about_the_run(self, findings: Iterable[Finding]) -> None:
        """Findings about no host of it: told in the log, in the spool, and in the summary at the end."""
        for finding in findings:
            self.beside.append(finding)
            self.say(str(finding))
            self.spool.append(FINDINGS, self.run_id, f"{finding.subject.name}.{finding.id}", [finding_row(finding, "")])

    def skips(self, skips: Mapping[str, str]) -> None:
        """The checks that were skipped by name, and why."""
        rows = [{"check": name, "reason": reason, "by_run": self.run_id} for name, reason in skips.items()]
        if rows:
            self.spool.append(SKIPS, self.run_id, "skips", rows)

    def change(self, change: Change) -> None:
        """A mutation that the gate let pass, before it is made."""
        self._changes += 1
        self.say(change.sentence)
        row = {
            "subject_kind": change.subject.kind,
            "subject_name": change.subject.name,
            "sentence": change.sentence,
            "at": datetime.now(UTC),
        }
        self.spool.append(CHANGES, self.run_id, f"{self._changes:06}", [row])

    def lifecycle(self, host: Host, event: str, node: NodeRow, at: datetime, facts: HostFacts | None = None) -> None:
        """A node joined, left, was resized or changed state: what a bill depends on.

        facts: of the host, where the event is to tell its size; what could not be read of it is null
        The same event written by two runs is one event: the Node's uid is in its resource id.
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
        self.spool.append(LIFECYCLE, self.run_id, batch, [row])

    def end(self, flow: str, state: RunState, summary: str, outcomes: Iterable[HostOutcome]) -> None:
        """The run's own row, last."""
        row = {
            "flow": flow,
            "fleet": self.fleet,
            "state": str(state),
            "summary": summary,
            "started_at": self.started_at,
            "ended_at": datetime.now(UTC),
            "hosts": {outcome.name: str(outcome.state) for outcome in outcomes},
        }
        self.spool.append(RUNS, self.run_id, "run", [row])


def finding_row(finding: Finding, host: str) -> dict[str, Any]:
    """A finding as a row of its table. host: whose step has found it."""
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
