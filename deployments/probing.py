"""`poolkeeper probe`: the preflight checks and the audit's questions on hosts, now. Only looks; needs no Prefect."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from poolkeeper.deployments.terminal import console
from poolkeeper.tasks.audit.measured import Measured, Quality
from poolkeeper.tasks.audit.report import AuditReport
from poolkeeper.tasks.audit.run import open_run as open_audit
from poolkeeper.tasks.fleet import Fleet, Host
from poolkeeper.tasks.ledger import Spool
from poolkeeper.tasks.onboard.run import open_run
from poolkeeper.tasks.outcomes import Verdict, by_severity
from poolkeeper.tasks.provider.endpoints import required_endpoints
from poolkeeper.tasks.runs.recording import Recorder
from poolkeeper.tasks.settings import secret_reader


async def probe(fleet: Fleet, hosts: Sequence[Host]) -> list[dict[str, Any]]:
    """Every preflight check on every host, and what it can reach and resolve. Raises what `open_run` raises.

    Nothing is left in the spool.
    """
    with tempfile.TemporaryDirectory(prefix="poolkeeper-probe-") as scratch:
        recorder = Recorder(Spool(Path(scratch)), "probe", lambda line: None)
        async with open_run(fleet, hosts, secret_reader(), recorder, dry_run=True) as run:
            results = run.preflight(await run.observe(list(run.hosts)), {}, {})
        report = await _network(fleet, hosts, recorder)
    facts: defaultdict[str, list[Measured]] = defaultdict(list)
    for fact in report.facts:
        facts[fact.source].append(fact)
    return [
        {
            "name": result.host.name,
            "standing": str(result.standing.step),
            "reason": result.standing.reason,
            "checks": [
                *(
                    {"check": c.check, "target": "", "verdict": str(c.verdict), "reason": c.reason}
                    for c in result.checked
                ),
                *map(_checked, facts[result.host.name]),
            ],
            "findings": [finding.row() for finding in by_severity(result.findings)],
        }
        for result in results
    ]


async def _network(fleet: Fleet, hosts: Sequence[Host], recorder: Recorder) -> AuditReport:
    """The same questions as the nightly audit's, put to a few hosts; to its peers each connects as on that night."""
    active = [host for host in fleet.hosts.values() if host.active]
    opened = open_audit(fleet, hosts, secret_reader(), recorder, required=required_endpoints, peers=active)
    async with opened as run:
        await run.ask(list(run.hosts))
        return run.conclude()


def _checked(fact: Measured) -> dict[str, str]:
    """A fact as a check; slow is not wrong."""
    verdict = {Quality.FAIL: Verdict.FAIL, Quality.UNKNOWN: Verdict.UNKNOWN}.get(fact.quality, Verdict.OK)
    reason = "" if fact.quality is Quality.OK else fact.evidence
    return {"check": fact.check, "target": fact.target, "verdict": str(verdict), "reason": reason}


def show(answer: Sequence[dict[str, Any]]) -> None:
    """Each host with its counts and its findings."""
    terminal = console(markup=True)
    for row in answer:
        verdicts = [check["verdict"] for check in row["checks"]]
        counts = ", ".join(f"{verdicts.count(v)} {v}" for v in Verdict if verdicts.count(v))
        told = f"{row['standing']}: {row['reason']} ({counts or 'not read'})"
        terminal.print(f"[bold]{escape(row['name'])}[/bold]: {escape(told)}")
        for check in row["checks"]:
            if check["verdict"] in ("fail", "unknown") and check["target"]:  # of the others there are findings
                terminal.print(
                    f"  {check['verdict']} {check['check']} {check['target']}: {check['reason']}", markup=False
                )
        for finding in row["findings"]:
            terminal.print(
                f"  {finding['severity']} {finding['id']}: {finding['evidence']['observed']}"
                f" (expected: {finding['evidence']['expected']})\n    next: {finding['next_step']}",
                markup=False,
            )
