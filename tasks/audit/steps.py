"""The audit's Prefect tasks: names, artifacts, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.audit.page import page
from tasks.audit.telling import finding_rows
from tasks.runs.steps import table

if TYPE_CHECKING:
    from tasks.audit.concluding import Heard
    from tasks.audit.proving import Probed
    from tasks.audit.report import AuditReport
    from tasks.audit.run import AuditRun


@task(name="ask hosts", task_run_name="ask {batch}", cache_policy=NO_CACHE)
async def ask(run: AuditRun, batch: str, names: Sequence[str]) -> dict[str, Heard]:
    """Let one batch of hosts probe what they depend on."""
    return await run.ask(names)


@task(name="try pods", cache_policy=NO_CACHE)
async def try_pods(run: AuditRun, names: Sequence[str]) -> dict[str, Probed]:
    """Run a short-lived test pod on each of the nodes."""
    return await run.try_pods(names)


@task(name="conclude", cache_policy=NO_CACHE)
async def conclude(run: AuditRun, heard: dict[str, Heard], tried: dict[str, Probed]) -> AuditReport:
    """Judge, compare with other nights, fold into causes."""
    return run.conclude(heard, tried)


@task(name="publish report", cache_policy=NO_CACHE)
async def publish_report(report: AuditReport, folder: Path) -> str:
    """The page in the run's own folder, and a table with one row a finding; the page's path."""
    folder = folder / report.run_id
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "audit.html"
    path.write_text(page(report), encoding="utf-8")
    await table("audit-findings", finding_rows(report), report.summary)
    return str(path)
