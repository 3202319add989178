"""Meter the management fees of the clusters and their nodes, and close months.

It changes no machine and no cluster. It asks the provider when the clusters were created, reads the lifecycle rows
that other flows have written to the spool, compares with the vendor's bill on request, and writes page, CSV and FOCUS
export.
Needs: the spool of the state folder; for the lifetimes of clusters the fleet file and the provider's credentials.
Killed at any point: start it again; a month is closed completely or not at all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from poolkeeper.flows.surroundings import load_declared, run_of, secrets
from poolkeeper.tasks.fees import (
    ClosedMonths,
    Period,
    ShareKey,
    evidence_of_csv,
    evidence_of_spool,
    load_tariff,
    shipped_tariffs,
    steps,
    tariff_path,
)
from poolkeeper.tasks.fees import (
    close as close_month,
)
from poolkeeper.tasks.fees.bill.bill_export import bill_of_csv
from poolkeeper.tasks.fees.bill.reconciliation import check_comparable
from poolkeeper.tasks.fees.bill.vendor_bill import Bill, account_bills
from poolkeeper.tasks.fees.metering.month_forecast import ForecastRequest
from poolkeeper.tasks.fees.periods import billing_day, instant
from poolkeeper.tasks.fees.reports.month import Month
from poolkeeper.tasks.fees.tariff.tariff_model import Tariff
from poolkeeper.tasks.fleet import Fleet, SecretRef
from poolkeeper.tasks.outcomes import RunState, Secret
from poolkeeper.tasks.provider.bss import bill_of_fleet
from poolkeeper.tasks.provider.lifetimes import record_clusters, secrets_of_providers
from poolkeeper.tasks.provider.resources import Billed, billed_of
from poolkeeper.tasks.runs.recording import Recorder
from poolkeeper.tasks.runs.result import RunResult
from poolkeeper.tasks.settings import file_of_parameter, state_folder

_log = logging.getLogger(__name__)

ReadSecret = Callable[[SecretRef], Secret]


def _run_name() -> str:
    asked = flow_run.parameters
    return f"{'close' if asked.get('close') else 'meter'} {asked.get('period') or 'this month'}"


@flow(name="meter", flow_run_name=_run_name)
async def meter(
    period: str = "",
    tariff: str = "ack-pro",
    close: bool = False,
    share_by: str = "nodes",
    bill: str = "",
    hypothetical_price: Decimal | None = None,
    hypothetical_unit: str = "per_vcpu_day",
    planned_joins: str = "",
    planned_leaves: str = "",
    events: str = "",
    fleet: str = "",
) -> State[Any]:
    """Meter a month, line by line, with its range and its forecast.

    Args:
        period: Month such as `2026-10`; `last` for the last month, empty for the current month (in UTC+8).
        tariff: Name of a tariff of poolkeeper, such as `ack-pro`, or a file in a folder that the worker allows.
        close: Close the month for good. Later evidence is charged as an adjustment in the next month.
        share_by: How to split shared lines: `nodes`, `vcpus`, `gpus`, `evenly`, or weights like `web=3,batch=1`.
        bill: `bss` to compare with the account's bill at the provider, or a CSV export of the console in a folder
            that the worker allows. Empty: no comparison.
        hypothetical_price: Price of the fee that is not charged today, such as `0.029`, to see its cost.
        hypothetical_unit: Unit of that price, such as `per_vcpu_day` or `per_node_day`.
        planned_joins: Nodes that are planned to join, such as `20x64` (vCPUs) or `4x96x8` (and GPUs), with commas.
        planned_leaves: Nodes that are planned to leave, such as `5:pool=general`, with commas.
        events: CSV file of events in a folder that the worker allows, instead of the spool and the provider.
        fleet: Fleet file in a folder that the worker allows; empty for $POOLKEEPER_FLEET, else ./fleet.yaml.
    """

    async def metered_month(recorder: Recorder) -> RunResult:
        prices, key, month = _tariff(tariff), ShareKey.of(share_by), _month(period, recorder.started_at)
        request = ForecastRequest.of(
            "" if hypothetical_price is None else str(hypothetical_price),
            hypothetical_unit,
            joining=_list(planned_joins),
            leaving=_list(planned_leaves),
        )
        declared, secret = await _declared(fleet, recorder) if not events or bill == "bss" else (None, None)
        theirs, before, billed = await _vendors_bill(bill, prices, month, declared, secret)
        if declared and secret and not events:
            for line in await record_clusters(declared, secret, recorder):
                _log.info("%s", line)
        # read after the bill, so that in the current month the evidence is not older than the bill
        now = datetime.now(UTC)
        evidence = evidence_of_csv(file_of_parameter(events), now) if events else evidence_of_spool(recorder.spool, now)
        closed = ClosedMonths.of(state_folder(), prices)
        if close:
            close_month(evidence, prices, month, instant(now), closed)
        metered = await steps.meter_month(evidence, prices, month, instant(now), closed, key, request)
        if theirs:
            metered = await steps.reconcile_month(
                metered, theirs, before, billed.clusters, billed.resources, billed.notes
            )
        return _answer(metered, recorder, await steps.publish(metered, state_folder() / "reports"))

    return await run_of("meter", metered_month)


def _answer(metered: Month, recorder: Recorder, files: Sequence[str]) -> RunResult:
    found, state = metered.reconciliation, RunState.COMPLETED
    if found and found.needs_a_person:
        state = RunState.BILL_DIFFERS
    elif metered.statement.unpriced:
        state = RunState.UNPRICED_USAGE
    more = {"reconciliation": found.row()} if found else {}
    return RunResult(
        "meter", recorder, state, metered.summary, (), text_so_far="", extra=more, extra_files=tuple(files)
    )


def _tariff(given: str) -> Tariff:
    """A tariff that comes with poolkeeper, by its name, else a file that a parameter may name. Raises FileInvalid."""
    return load_tariff(tariff_path(given) if given in shipped_tariffs() else file_of_parameter(given))


async def _declared(fleet: str, recorder: Recorder) -> tuple[Fleet, ReadSecret]:
    """The fleet, and the secrets of its providers. Raises FileInvalid and SecretMissing."""
    declared = load_declared(fleet, recorder)
    return declared, await secrets(secrets_of_providers(declared))


async def _vendors_bill(
    bill: str, prices: Tariff, month: Period, declared: Fleet | None, secret: ReadSecret | None
) -> tuple[Bill | None, Bill | None, Billed]:
    """The bill of the month, the bill of the month before, and the ids of the fleet on it; without `bill`, none.

    Raises NotComparable, FileInvalid and ProviderError.
    """
    theirs, before, billed = None, None, Billed(None, {}, ())
    if not bill:
        return theirs, before, billed
    if bill != "bss":
        theirs = bill_of_csv(file_of_parameter(bill), month, prices.currency)
    check_comparable(prices, month)
    if declared and secret:
        if bill == "bss":
            theirs, before = await account_bills(bill_of_fleet(declared, secret).instance_bill, month, prices.currency)
        billed = await billed_of(declared, secret)
    return theirs, before, billed


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _month(text: str, now: datetime) -> Period:
    today = billing_day(instant(now))
    if text == "last":
        today = today.replace(day=1) - timedelta(days=1)
    return Period.of(text) if text not in ("", "last") else Period.month(today.year, today.month)
