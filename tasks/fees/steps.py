"""Fee metering's Prefect tasks: names and artifacts, nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.cache_policies import NO_CACHE

from tasks.fees import report
from tasks.fees.money import money_text

if TYPE_CHECKING:
    from tasks.fees.allocation import ShareKey
    from tasks.fees.closed import ClosedPeriods
    from tasks.fees.evidence import Evidence
    from tasks.fees.periods import Period
    from tasks.fees.tariff import Tariff

TABLE_ROWS = 500


@task(name="meter", task_run_name="meter {period.name}", cache_policy=NO_CACHE)
async def meter_month(
    evidence: Evidence, tariff: Tariff, period: Period, now_us: int, closed: ClosedPeriods, key: ShareKey
) -> report.Month:
    """Count and price a month, beside the event loop: a big fleet takes seconds."""
    return await asyncio.to_thread(report.month_of, evidence, tariff, period, now_us, closed, key)


@task(name="publish fees", cache_policy=NO_CACHE)
async def publish(month: report.Month, folder: Path) -> list[str]:
    """Page, CSV and FOCUS export as files, lines and totals as artifacts; the files' paths."""
    files = await asyncio.to_thread(report.write, month, folder)
    rows: Any = report.line_rows(month.statement)
    more = f" (the first {TABLE_ROWS} of {len(rows)}; all are in the CSV)" if len(rows) > TABLE_ROWS else ""
    await acreate_table_artifact(rows[:TABLE_ROWS], key="fee-lines", description=month.summary + more)
    totals = [
        f"- by {label}: "
        + ", ".join(f"{group or '(none)'} {money_text(amount)}" for group, amount in a.totals().items())
        for label, a in month.allocations.items()
    ]
    page = f"The page: `{files[0]}`"
    text = "\n".join([f"# Fees of {month.statement.period.name}", "", month.summary, "", *totals, "", page])
    await acreate_markdown_artifact(text, key="fees", description=month.summary)
    return files
