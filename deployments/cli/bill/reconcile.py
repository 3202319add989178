"""`poolkeeper bill reconcile`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from poolkeeper.deployments.cli.asking import COULD_NOT_FIND_OUT, FINE, WRONG_OUT_THERE, json_option
from poolkeeper.deployments.cli.bill.inputs import (
    a_period,
    against_closed_option,
    bad_file,
    bad_input,
    inputs,
    period_option,
    read_case,
)
from poolkeeper.deployments.terminal import echo
from poolkeeper.tasks.ledger import Spool
from poolkeeper.tasks.outcomes import RunState
from poolkeeper.tasks.settings import fleet_path, secret_reader, state_folder

if TYPE_CHECKING:
    from poolkeeper.tasks.fees.bill.vendor_bill import Bill
    from poolkeeper.tasks.fees.periods import Period
    from poolkeeper.tasks.fleet.model import Fleet, SecretRef
    from poolkeeper.tasks.outcomes import Secret


@click.command("reconcile")
@inputs
@period_option
@against_closed_option
@click.option("--bill", "bill_file", type=click.Path(), help="CSV export of the console; else it is asked for (BSS).")
@click.option("--before", type=click.Path(), help="Export of an earlier month, YYYY-MM:FILE, to know what is new.")
@click.option("--name", "names", multiple=True, help="What the bill calls a resource: c-7f3a=main.")
@click.option("--resource", "resources", multiple=True, help="Of the cluster: lb-1=load balancer of the API server.")
@click.option("--fleet", help="Fleet file, for ids and the account's key; else $POOLKEEPER_FLEET, else ./fleet.yaml.")
@click.option(
    "--site", type=click.Choice(["international", "china"]), help="Of the account; else as the fleet file says."
)
@click.option("--endpoint", help="host:port in place of the site's own; else as the fleet file says.")
@json_option
def reconcile_command(
    tariff: str,
    events: str | None,
    until: str | None,
    period: str,
    against_closed: bool,
    bill_file: str | None,
    before: str | None,
    names: tuple[str, ...],
    resources: tuple[str, ...],
    fleet: str | None,
    site: str | None,
    endpoint: str | None,
    as_json: bool,
) -> None:
    """Compare a month with the vendor's bill, line by line, with the likely reason of each difference.

    With a fleet file, its providers tell which clusters and cloud resources are ours; with --bill and --events none is
    read unless --fleet names it.
    """
    from poolkeeper.tasks.fees.bill.bill_export import bill_of_csv
    from poolkeeper.tasks.fees.bill.messages import reconciled_words
    from poolkeeper.tasks.fees.bill.reconciliation import NotReconcilable, check_asked, reconcile
    from poolkeeper.tasks.fleet.problems import FileInvalid
    from poolkeeper.tasks.provider import ProviderError
    from poolkeeper.tasks.settings import SecretMissing

    month = a_period(period)
    told = {"names": _pairs("--name", names), "resources": _pairs("--resource", resources)}
    case = read_case(tariff, events, until, as_json)
    currency = case.tariff.currency
    try:
        check_asked(case.tariff, month)
        earlier = None
        if before:
            name, _, file = before.partition(":")
            earlier = bill_of_csv(Path(file), a_period(name), currency)
        theirs = bill_of_csv(Path(bill_file), month, currency) if bill_file else None
        asked = _Asked()
        if fleet or not bill_file or (not events and fleet_path().exists()):
            wanted = None if bill_file else (month, currency)
            asked = asyncio.run(_ask(fleet, wanted, site or "", endpoint or "", events))
    except NotReconcilable as error:
        bad_input(str(error))
    except FileInvalid as error:
        bad_file(error, as_json)
    except (ProviderError, SecretMissing) as error:
        echo(str(error), err=True)
        sys.exit(COULD_NOT_FIND_OUT)
    if theirs is None:
        theirs = asked.bill
        # after the bill: what it has of a running month, the evidence reaches
        case = read_case(tariff, events, until, as_json)
    assert theirs is not None
    statement, _ = case.statement(month, fresh=bool(events) and not against_closed)
    try:
        found = reconcile(
            statement, theirs, read_at=datetime.now(UTC), names=told["names"], clusters=asked.clusters,
            belonging={**asked.resources, **told["resources"]}, before=earlier or asked.before, unasked=asked.notes,
        )  # fmt: skip
    except NotReconcilable as error:
        bad_input(str(error))
    echo(json.dumps(found.row(), indent=2) if as_json else reconciled_words(found))
    sys.exit(WRONG_OUT_THERE if found.needs_a_person else FINE)


@dataclass(frozen=True)
class _Asked:
    """What the fleet's providers told."""

    clusters: frozenset[str] | None = None
    resources: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    bill: Bill | None = None
    """Of the month, if it was asked for."""
    before: Bill | None = None
    """Of the month before."""


async def _ask(
    fleet: str | None, wanted: tuple[Period, str] | None, site: str, endpoint: str, events: str | None
) -> _Asked:
    """Ask the fleet's providers for what is ours, and for the bill of a month.

    wanted: whose bill, and in which currency; None: no bill
    Without a file of events, since when the clusters exist is asked too, and kept in the spool as evidence.
    Raises FileInvalid, ProviderError and SecretMissing.
    """
    from poolkeeper.tasks.fees.bill.vendor_bill import account_bills
    from poolkeeper.tasks.fleet import load_fleet
    from poolkeeper.tasks.provider.bss import bill_of_fleet
    from poolkeeper.tasks.provider.resources import billed_of

    declared, secret = load_fleet(fleet_path(fleet)), secret_reader()
    bill = before = None
    if wanted:
        account = bill_of_fleet(declared, secret, site=site, endpoint=endpoint)
        bill, before = await account_bills(account.instance_bill, *wanted)
        if not events:
            await _record(declared, secret)
    billed = await billed_of(declared, secret)
    return _Asked(billed.clusters, billed.resources, billed.notes, bill, before)


async def _record(declared: Fleet, secret: Callable[[SecretRef], Secret]) -> None:
    """Since when the clusters exist, as evidence in the spool."""
    from poolkeeper.tasks.provider.lifetimes import record_clusters
    from poolkeeper.tasks.runs.recording import Recorder

    run_id = f"bill-reconcile-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
    recorder = Recorder(Spool(state_folder() / "spool"), run_id)
    told = await record_clusters(declared, secret, recorder)
    recorder.end("bill reconcile", RunState.COMPLETED, "; ".join(told), ())


def _pairs(option: str, given: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            bad_input(f"{option} {text}: write it like ID=WORDS")
        pairs[name] = value
    return pairs
