"""`poolkeeper probe`: the preflight checks on hosts, now. Only looks; needs no Prefect."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tasks.fleet import Fleet, Host
from tasks.ledger import Spool
from tasks.onboard.run import open_run
from tasks.outcomes import Verdict, by_severity
from tasks.runs.recording import Recorder
from tasks.settings import secret_reader


async def probe(fleet: Fleet, hosts: Sequence[Host]) -> list[dict[str, Any]]:
    """Every check on every host. Raises what `open_run` raises; leaves nothing in the spool."""
    with tempfile.TemporaryDirectory(prefix="poolkeeper-probe-") as scratch:
        recorder = Recorder(Spool(Path(scratch)), "probe", lambda line: None)
        async with open_run(fleet, hosts, secret_reader(), recorder, dry_run=True) as run:
            results = run.preflight(await run.observe(list(run.hosts)), {}, {})
    return [
        {
            "name": result.host.name,
            "standing": str(result.standing.step),
            "reason": result.standing.reason,
            "checks": [{"check": c.check, "verdict": str(c.verdict), "reason": c.reason} for c in result.checked],
            "findings": [finding.row() for finding in by_severity(result.findings)],
        }
        for result in results
    ]


def show(answer: Sequence[dict[str, Any]]) -> None:
    """Each host with its counts and its findings."""
    console = Console(highlight=False)
    for row in answer:
        verdicts = [check["verdict"] for check in row["checks"]]
        counts = ", ".join(f"{verdicts.count(v)} {v}" for v in Verdict if verdicts.count(v))
        console.print(f"[bold]{row['name']}[/bold]: {row['standing']}: {row['reason']} ({counts or 'not read'})")
        for finding in row["findings"]:
            console.print(
                f"  {finding['severity']} {finding['id']}: {finding['evidence']['observed']}"
                f" (expected: {finding['evidence']['expected']})\n    next: {finding['next_step']}",
                markup=False,
            )
