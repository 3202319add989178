"""Meter what the clusters cost for being managed, and close months.

Touches no machine and no cluster. Asks the provider since when the clusters exist, reads the lifecycle rows that other
flows have written to the spool, compares with the vendor's bill if that is wanted, writes page, CSV and FOCUS export.
Needs: the spool of the state folder; for the clusters' own lifetimes the fleet file and the provider's credentials.
Killed at any point: start it again; a month is closed whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from poolkeeper.flows.surroundings import run_log, secrets
from poolkeeper.tasks.fees import (
    ClosedDamaged,
    ClosedPeriods,
    KeyInvalid,
    NotClosable,
    Period,
    PeriodInvalid,
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
from poolkeeper.tasks.fees.bill import Bill, account_bills
from poolkeeper.tasks.fees.bill_csv import bill_of_csv
from poolkeeper.tasks.fees.outlook import Asked, OutlookInvalid
from poolkeeper.tasks.fees.periods import billing_day, instant
from poolkeeper.tasks.fees.reconciling import NotReconcilable, Reconciliation, check_asked
from poolkeeper.tasks.fees.tariff import Tariff
from poolkeeper.tasks.fleet import Fleet, SecretRef, load_fleet
from poolkeeper.tasks.fleet.problems import FileInvalid
from poolkeeper.tasks.ledger import Spool
from poolkeeper.tasks.outcomes import Secret, visible
from poolkeeper.tasks.provider import ProviderError
from poolkeeper.tasks.provider.bss import bill_of_fleet
from poolkeeper.tasks.provider.lifetimes import record_clusters, secrets_of_providers
from poolkeeper.tasks.provider.resources import Billed, billed_of
from poolkeeper.tasks.runs.recording import Recorder
from poolkeeper.tasks.settings import SecretMissing, file_of_parameter, fleet_of_parameter, state_folder

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
    recorder = Recorder(Spool(state_folder() / "spool"), str(flow_run.id), run_log())
    try:
        prices, key, month = _tariff(tariff), ShareKey.of(share_by), _month(period, recorder.started_at)
        asked = Asked.of(
            "" if hypothetical_price is None else str(hypothetical_price),
            hypothetical_unit,
            joining=_words(planned_joins),
            leaving=_words(planned_leaves),
        )
        declared, secret = await _declared(fleet) if not events or bill == "bss" else (None, None)
        theirs, before, billed = await _vendors_bill(bill, prices, month, declared, secret)
        if declared and secret and not events:
            for line in await record_clusters(declared, secret, recorder):
                recorder.say(line)
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
        files = await steps.publish(metered, state_folder() / "reports")
    except (FileInvalid, KeyInvalid, NotReconcilable, OutlookInvalid, PeriodInvalid) as error:
        return _end(recorder, "invalid", str(error), [])
    except (ProviderError, SecretMissing, NotClosable, ClosedDamaged, OSError) as error:
        return _end(recorder, "failed", str(error), [])
    state = "completed"
    if metered.reconciliation and metered.reconciliation.needs_a_person:
        state = "completed with a bill to look at"
    elif metered.statement.unpriced:
        state = "completed with usage left out"
    return _end(recorder, state, metered.summary, files, metered.reconciliation)


def _tariff(given: str) -> Tariff:
    """One that comes along, by its name, else a file that a parameter may name. Raises FileInvalid."""
    return load_tariff(tariff_path(given) if given in shipped_tariffs() else file_of_parameter(given))


async def _declared(fleet: str) -> tuple[Fleet, ReadSecret]:
    """The fleet, and its providers' secrets. Raises FileInvalid and SecretMissing."""
    declared = load_fleet(fleet_of_parameter(fleet))
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


def _end(
    recorder: Recorder, state: str, summary: str, files: list[str], found: Reconciliation | None = None
) -> State[Any]:
    """The run's answer for scripts, its row, and a state that is honest."""
    recorder.try_again()
    answer: dict[str, Any] = {
        "flow": "meter",
        "run_id": recorder.run_id,
        "state": state,
        "summary": summary,
        "hosts": [],
        "files": files,
    }
    if found:
        answer["reconciliation"] = found.row()
    recorder.file(state_folder() / "runs" / recorder.run_id / "outcome.json", json.dumps(answer, indent=2))
    recorder.end("meter", state, summary, ())
    told = visible("; ".join(filter(None, (summary, recorder.unrecorded))))
    if state in ("failed", "invalid"):
        return Failed(message=told)
    if recorder.unrecorded:
        return Failed(name="NotRecorded", message=told)
    if state != "completed":
        return Completed(name="".join(word.capitalize() for word in state.split()), message=told)
    return Completed(message=told)
