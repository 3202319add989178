"""Every preflight check and the audit's measurements on some hosts, now. Changes nothing, and writes no spool."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poolkeeper.tasks.audit.measurements import Measurement, Quality
from poolkeeper.tasks.audit.run import open_run as open_audit
from poolkeeper.tasks.fleet import Fleet, Host
from poolkeeper.tasks.fleet.model import SecretRef
from poolkeeper.tasks.ledger import Spool
from poolkeeper.tasks.onboard.run import Preflight, open_run
from poolkeeper.tasks.outcomes import Secret, Verdict, by_severity
from poolkeeper.tasks.provider.endpoints import required_endpoints
from poolkeeper.tasks.runs.recording import Recorder


@dataclass(frozen=True, slots=True)
class HostChecks:
    """One host's preflight, and what it can reach and resolve."""

    preflight: Preflight
    facts: tuple[Measurement, ...]

    def row(self) -> dict[str, Any]:
        """As plain JSON types, in the shape that `poolkeeper probe --json` prints."""
        checks = [
            {"check": c.check, "target": "", "verdict": str(c.verdict), "reason": c.reason}
            for c in self.preflight.checked
        ]
        return {
            "name": self.preflight.host.name,
            "next_action": str(self.preflight.action.step),
            "reason": self.preflight.action.reason,
            "checks": [*checks, *map(_check_row, self.facts)],
            "findings": [finding.row() for finding in by_severity(self.preflight.findings)],
        }


def verdict_of(fact: Measurement) -> Verdict:
    """The verdict on a measurement; a slow one is ok."""
    return {Quality.FAIL: Verdict.FAIL, Quality.UNKNOWN: Verdict.UNKNOWN}.get(fact.quality, Verdict.OK)


def _check_row(fact: Measurement) -> dict[str, str]:
    reason = "" if fact.quality is Quality.OK else fact.evidence
    return {"check": fact.check, "target": fact.target, "verdict": str(verdict_of(fact)), "reason": reason}


async def check_hosts(fleet: Fleet, hosts: Sequence[Host], secret: Callable[[SecretRef], Secret]) -> list[HostChecks]:
    """The checks of each host, in their order. Raises what `tasks.onboard.run.open_run` raises."""
    with tempfile.TemporaryDirectory(prefix="poolkeeper-probe-") as scratch:
        recorder = Recorder(Spool(Path(scratch)), "probe")
        async with open_run(fleet, hosts, secret, recorder, dry_run=True) as run:
            results = run.preflight(await run.observe(list(run.hosts)), {}, {})
        measured = await _network(fleet, hosts, secret, recorder)
    facts: defaultdict[str, list[Measurement]] = defaultdict(list)
    for fact in measured:
        facts[fact.source].append(fact)
    return [HostChecks(result, tuple(facts[result.host.name])) for result in results]


async def _network(
    fleet: Fleet, hosts: Sequence[Host], secret: Callable[[SecretRef], Secret], recorder: Recorder
) -> Sequence[Measurement]:
    """The measurements of the nightly audit, on a few hosts; each connects to the same peers as in the audit."""
    active = [host for host in fleet.hosts.values() if host.active]
    opened = open_audit(fleet, hosts, secret, recorder, required=required_endpoints, peers=active)
    async with opened as run:
        await run.ask(list(run.hosts))
        return run.conclude().facts
