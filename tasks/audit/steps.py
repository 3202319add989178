"""The audit's Prefect tasks: names, artifacts, nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.audit.page import page
from tasks.audit.telling import finding_rows
from tasks.runs.steps import table

if TYPE_CHECKING:
    from tasks.audit.run import AuditRun


@task(name="ask hosts", task_run_name="ask {batch}", cache_policy=NO_CACHE)
async def ask(run: AuditRun, batch: str, names: Sequence[str]) -> None:
    """Let one batch of hosts probe what they depend on."""
    await run.ask(names)


@task(name="try pods", cache_policy=NO_CACHE)
async def try_pods(run: AuditRun, names: Sequence[str]) -> None:
    """Run a short-lived test pod on each of the nodes."""
    await run.try_pods(names)


@task(name="conclude", cache_policy=NO_CACHE)
async def conclude(run: AuditRun) -> None:
    """Judge, compare with other nights, fold into causes."""
    await asyncio.to_thread(run.conclude)


@task(name="publish report", cache_policy=NO_CACHE)
async def publish_report(run: AuditRun, folder: Path) -> str:
    """The page in the run's own folder, and a table with one row a finding; the page's path."""
    folder = folder / run.recorder.run_id
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "audit.html"
    path.write_text(await asyncio.to_thread(page, run.report), encoding="utf-8")
    await table("audit-findings", finding_rows(run.report), run.report.summary)
    return str(path)
