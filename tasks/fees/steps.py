"""Fee metering's Prefect tasks: names and artifacts, nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from poolkeeper.tasks.fees.bill.messages import reconciled_words
from poolkeeper.tasks.fees.bill.reconciliation import reconcile
from poolkeeper.tasks.fees.money import money_text
from poolkeeper.tasks.fees.reports import month, report_files
from poolkeeper.tasks.runs.steps import page, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolkeeper.tasks.fees.bill.vendor_bill import Bill
    from poolkeeper.tasks.fees.closing.closed_months import ClosedPeriods
    from poolkeeper.tasks.fees.metering.allocation import ShareKey
    from poolkeeper.tasks.fees.metering.month_forecast import Asked
    from poolkeeper.tasks.fees.periods import Period
    from poolkeeper.tasks.fees.reports.month import Month
    from poolkeeper.tasks.fees.tariff.model import Tariff
    from poolkeeper.tasks.fees.usage.evidence import Evidence


@task(name="meter", task_run_name="meter {period.name}", cache_policy=NO_CACHE)
async def meter_month(
    evidence: Evidence,
    tariff: Tariff,
    period: Period,
    now_us: int,
    closed: ClosedPeriods,
    key: ShareKey,
    asked: Asked,
) -> Month:
    """Count and price a month, beside the event loop: a big fleet takes seconds."""
    return await asyncio.to_thread(month.month_of, evidence, tariff, period, now_us, closed, key, asked)


@task(name="reconcile", cache_policy=NO_CACHE)
async def reconcile_month(
    metered: Month,
    bill: Bill,
    before: Bill | None,
    clusters: frozenset[str] | None,
    belonging: Mapping[str, str],
    unasked: tuple[str, ...],
) -> Month:
    """Compare a month with its bill, beside the event loop as well. Raises NotReconcilable."""

    def compare() -> Month:
        found = reconcile(
            metered.statement,
            bill,
            read_at=datetime.now(UTC),
            clusters=clusters,
            belonging=belonging,
            before=before,
            unasked=unasked,
        )
        return replace(metered, reconciliation=found)

    return await asyncio.to_thread(compare)


@task(name="publish fees", cache_policy=NO_CACHE)
async def publish(metered: Month, folder: Path) -> list[str]:
    """Page, CSV and FOCUS export as files, lines and totals as artifacts; the files' paths."""
    files = await asyncio.to_thread(report_files.write, metered, folder)
    await table("fee-lines", report_files.line_rows(metered.statement), metered.summary)
    if metered.reconciliation:
        rows = report_files.compared_rows(metered.reconciliation)
        await table("fee-bill", rows, metered.reconciliation.summary)
    text = "\n".join([*_sections(metered), "", f"The page: `{files[0]}`"])
    await page("fees", text, metered.summary)
    return files


def _sections(metered: Month) -> Iterator[str]:
    """The month in words."""
    currency = metered.statement.tariff.currency
    yield from (f"# Fees of {metered.statement.period.name}", "", metered.summary, "")
    for label, allocation in metered.allocations.items():
        groups = (f"{group or '(none)'} {money_text(amount)}" for group, amount in allocation.totals().items())
        yield f"- by {label}: {', '.join(groups)}"
    if metered.outlook:
        yield from ("", "## Outlook", "")
    for one in metered.outlook:
        end = one.end
        title = (
            f"**Hypothetical, nobody has published this price:** {end.tariff.rules[0].title} of {currency} {one.price}"
            if one.price
            else "When the month is over"
        )
        yield f"- {title}: {currency} {money_text(end.total)}, from {money_text(end.low)} to {money_text(end.high)}"
        for cost in one.changes:
            yield f"  - the planned change: {money_text(cost.amount)} in {cost.period.name}"
    if metered.reconciliation:
        yield from ("", "## Against the vendor's bill", "")
        yield from (f"- {line.strip()}" for line in reconciled_words(metered.reconciliation).splitlines())
