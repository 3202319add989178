"""Meter what the clusters cost for being managed, and close months.

Touches no machine and no cluster. Asks the provider since when the clusters exist, reads the lifecycle rows that other
flows have written to the spool, compares with the vendor's bill if that is wanted, writes page, CSV and FOCUS export.
Needs: the spool of the state folder; for the clusters' own lifetimes the fleet file and the provider's credentials.
Killed at any point: start it again; a month is closed whole or not at all.
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
    ClosedPeriods,
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
from poolkeeper.tasks.fees.bill.reconciliation import check_asked
from poolkeeper.tasks.fees.bill.vendor_bill import Bill, account_bills
from poolkeeper.tasks.fees.metering.month_forecast import Asked
from poolkeeper.tasks.fees.periods import billing_day, instant
from poolkeeper.tasks.fees.reports.month import Month
from poolkeeper.tasks.fees.tariff.model import Tariff
from poolkeeper.tasks.fleet import Fleet, SecretRef
from poolkeeper.tasks.outcomes import RunState, Secret
from poolkeeper.tasks.provider.bss import bill_of_fleet
from poolkeeper.tasks.provider.lifetimes import record_clusters, secrets_of_providers
from poolkeeper.tasks.provider.resources import Billed, billed_of
from poolkeeper.tasks.runs.answer import Answer
from poolkeeper.tasks.runs.recording import Recorder
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
    """Say what a month costs, line by line, how sure that is, and how it will end.

    Args:
        period: Month such as `2026-10`; `last` for the one before this one, empty for this one (in UTC+8).
        tariff: Name of a tariff that comes along, such as `ack-pro`, or a file in a folder that the worker allows.
        close: Close the month for good. What is learned later is charged as an adjustment in the next one.
        share_by: How what is shared is split: `nodes`, `vcpus`, `gpus`, `evenly`, or weights like `web=3,batch=1`.
        bill: `bss` to compare with the bill that the provider has for the account, or a CSV export of the console
            in a folder that the worker allows. Empty: nothing is compared.
        hypothetical_price: Price of the fee that is not charged today, such as `0.029`, to see what it would come to.
        hypothetical_unit: What that price is for, such as `per_vcpu_day` or `per_node_day`.
        planned_joins: Nodes that are planned to join, such as `20x64` (vCPUs) or `4x96x8` (and GPUs), with commas.
        planned_leaves: Nodes that are planned to leave, such as `5:pool=general`, with commas.
        events: CSV file of events in a folder that the worker allows, in place of the spool and the provider.
        fleet: Fleet file in a folder that the worker allows; empty for its $POOLKEEPER_FLEET, else ./fleet.yaml.
    """

    async def carry_out(recorder: Recorder) -> Answer:
        prices, key, month = _tariff(tariff), ShareKey.of(share_by), _month(period, recorder.started_at)
        asked = Asked.of(
            "" if hypothetical_price is None else str(hypothetical_price),
            hypothetical_unit,
            joining=_words(planned_joins),
            leaving=_words(planned_leaves),
        )
        declared, secret = await _declared(fleet, recorder) if not events or bill == "bss" else (None, None)
        theirs, before, billed = await _vendors_bill(bill, prices, month, declared, secret)
        if declared and secret and not events:
            for line in await record_clusters(declared, secret, recorder):
                _log.info("%s", line)
        # after the bill: what it has of a running month, the evidence reaches
        now = datetime.now(UTC)
        evidence = evidence_of_csv(file_of_parameter(events), now) if events else evidence_of_spool(recorder.spool, now)
        closed = ClosedPeriods.of(state_folder(), prices)
        if close:
            close_month(evidence, prices, month, instant(now), closed)
        metered = await steps.meter_month(evidence, prices, month, instant(now), closed, key, asked)
        if theirs:
            metered = await steps.reconcile_month(
                metered, theirs, before, billed.clusters, billed.resources, billed.notes
            )
        return _answer(metered, recorder, await steps.publish(metered, state_folder() / "reports"))

    return await run_of("meter", carry_out)


def _answer(metered: Month, recorder: Recorder, files: Sequence[str]) -> Answer:
    found, state = metered.reconciliation, RunState.COMPLETED
    if found and found.needs_a_person:
        state = RunState.BILL_TO_LOOK_AT
    elif metered.statement.unpriced:
        state = RunState.USAGE_LEFT_OUT
    more = {"reconciliation": found.row()} if found else {}
    return Answer("meter", recorder, state, metered.summary, (), page="", more=more, more_files=tuple(files))


def _tariff(given: str) -> Tariff:
    """One that comes along, by its name, else a file that a parameter may name. Raises FileInvalid."""
    return load_tariff(tariff_path(given) if given in shipped_tariffs() else file_of_parameter(given))


async def _declared(fleet: str, recorder: Recorder) -> tuple[Fleet, ReadSecret]:
    """The fleet, and its providers' secrets. Raises FileInvalid and SecretMissing."""
    declared = load_declared(fleet, recorder)
    return declared, await secrets(secrets_of_providers(declared))


async def _vendors_bill(
    bill: str, prices: Tariff, month: Period, declared: Fleet | None, secret: ReadSecret | None
) -> tuple[Bill | None, Bill | None, Billed]:
    """The month's bill, the one before it, and which ids on it are the fleet's own; nothing where none is wanted.

    Raises NotReconcilable, FileInvalid and ProviderError.
    """
    theirs, before, billed = None, None, Billed(None, {}, ())
    if not bill:
        return theirs, before, billed
    if bill != "bss":
        theirs = bill_of_csv(file_of_parameter(bill), month, prices.currency)
    check_asked(prices, month)
    if declared and secret:
        if bill == "bss":
            theirs, before = await account_bills(bill_of_fleet(declared, secret).instance_bill, month, prices.currency)
        billed = await billed_of(declared, secret)
    return theirs, before, billed


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _month(text: str, now: datetime) -> Period:
    today = billing_day(instant(now))
    if text == "last":
        today = today.replace(day=1) - timedelta(days=1)
    return Period.of(text) if text not in ("", "last") else Period.month(today.year, today.month)
