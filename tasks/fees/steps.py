"""The Prefect tasks of fee metering: names and artifacts, nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from poolkeeper.tasks.fees.bill.messages import reconciliation_text
from poolkeeper.tasks.fees.bill.reconciliation import reconcile
from poolkeeper.tasks.fees.money import money_text
from poolkeeper.tasks.fees.reports import month, report_files
from poolkeeper.tasks.runs.steps import page, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolkeeper.tasks.fees.bill.vendor_bill import Bill
    from poolkeeper.tasks.fees.closing.closed_months import ClosedMonths
    from poolkeeper.tasks.fees.metering.allocation import ShareKey
    from poolkeeper.tasks.fees.metering.month_forecast import ForecastRequest
    from poolkeeper.tasks.fees.periods import Period
    from poolkeeper.tasks.fees.reports.month import Month
    from poolkeeper.tasks.fees.tariff.tariff_model import Tariff
    from poolkeeper.tasks.fees.usage.evidence import UsageEvidence


@task(name="meter", task_run_name="meter {period.name}", cache_policy=NO_CACHE)
async def meter_month(
    evidence: UsageEvidence,
    tariff: Tariff,
    period: Period,
    now_us: int,
    closed: ClosedMonths,
    key: ShareKey,
    request: ForecastRequest,
) -> Month:
    """Count and price a month in a thread: a big fleet takes seconds."""
    return await asyncio.to_thread(month.month_of, evidence, tariff, period, now_us, closed, key, request)


@task(name="reconcile", cache_policy=NO_CACHE)
async def reconcile_month(
    metered: Month,
    bill: Bill,
    before: Bill | None,
    clusters: frozenset[str] | None,
    cluster_resources: Mapping[str, str],
    provider_notes: tuple[str, ...],
) -> Month:
    """Compare a month with its bill in a thread. Raises NotComparable."""

    def compare() -> Month:
        found = reconcile(
            metered.statement,
            bill,
            read_at=datetime.now(UTC),
            clusters=clusters,
            cluster_resources=cluster_resources,
            before=before,
            provider_notes=provider_notes,
        )
        return replace(metered, reconciliation=found)

    return await asyncio.to_thread(compare)


@task(name="publish fees", cache_policy=NO_CACHE)
async def publish(metered: Month, folder: Path) -> list[str]:
    """Write page, CSV and FOCUS export as files, lines and totals as artifacts. Returns the paths of the files."""
    files = await asyncio.to_thread(report_files.write, metered, folder)
    await table("fee-lines", report_files.line_rows(metered.statement), metered.summary)
    if metered.reconciliation:
        rows = report_files.compared_rows(metered.reconciliation)
        await table("fee-bill", rows, metered.reconciliation.summary)
    text = "\n".join([*_sections(metered), "", f"The page: `{files[0]}`"])
    await page("fees", text, metered.summary)
    return files


def _sections(metered: Month) -> Iterator[str]:
    """The month as markdown."""
    currency = metered.statement.tariff.currency
    yield from (f"# Fees of {metered.statement.period.name}", "", metered.summary, "")
    for label, allocation in metered.allocations.items():
        groups = (f"{group or '(none)'} {money_text(amount)}" for group, amount in allocation.totals().items())
        yield f"- by {label}: {', '.join(groups)}"
    if metered.forecast:
        yield from ("", "## Forecast", "")
    for one in metered.forecast:
        end = one.end
        title = (
            f"**Hypothetical, this price is not published:** {end.tariff.rules[0].title} of {currency} {one.price}"
            if one.price
            else "At the end of the month"
        )
        yield f"- {title}: {currency} {money_text(end.total)}, from {money_text(end.low)} to {money_text(end.high)}"
        for cost in one.changes:
            yield f"  - the planned change: {money_text(cost.amount)} in {cost.period.name}"
    if metered.reconciliation:
        yield from ("", "## Compared with the vendor's bill", "")
        yield from (f"- {line.strip()}" for line in reconciliation_text(metered.reconciliation).splitlines())
