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
@click.option(
    "--bill", "bill_file", type=click.Path(), help="CSV export of the console. Default: the account's bill (BSS)."
)
@click.option("--before", type=click.Path(), help="CSV export of an earlier month, YYYY-MM:FILE: shows what is new.")
@click.option("--name", "names", multiple=True, help="Id on the bill and id in the events: c-7f3a=main.")
@click.option(
    "--resource", "resources", multiple=True, help="Resource of the cluster: lb-1=load balancer of the API server."
)
@click.option("--fleet", help="Fleet file: ids and the account's key. Default: $POOLKEEPER_FLEET, else ./fleet.yaml.")
@click.option(
    "--site", type=click.Choice(["international", "china"]), help="Site of the account. Default: from the fleet file."
)
@click.option("--endpoint", help="host:port of the billing API. Default: from the fleet file, else by site.")
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
    """Compare a month with the vendor's bill, line by line, with the likely reason for each difference.

    The providers in the fleet file know which clusters and cloud resources are yours. With --bill and --events, the
    fleet file is read only when --fleet names it.
    """
    from poolkeeper.tasks.fees.bill.bill_export import bill_of_csv
    from poolkeeper.tasks.fees.bill.messages import reconciliation_text
    from poolkeeper.tasks.fees.bill.reconciliation import NotComparable, check_comparable, reconcile
    from poolkeeper.tasks.fleet.problems import FileInvalid
    from poolkeeper.tasks.provider import ProviderError
    from poolkeeper.tasks.settings import SecretMissing

    month = a_period(period)
    declared = {"names": _pairs("--name", names), "resources": _pairs("--resource", resources)}
    case = read_case(tariff, events, until, as_json)
    currency = case.tariff.currency
    try:
        check_comparable(case.tariff, month)
        earlier = None
        if before:
            name, _, file = before.partition(":")
            earlier = bill_of_csv(Path(file), a_period(name), currency)
        theirs = bill_of_csv(Path(bill_file), month, currency) if bill_file else None
        answers = _ProviderAnswers()
        if fleet or not bill_file or (not events and fleet_path().exists()):
            wanted = None if bill_file else (month, currency)
            answers = asyncio.run(_ask(fleet, wanted, site or "", endpoint or "", events))
    except NotComparable as error:
        bad_input(error.summary)
    except FileInvalid as error:
        bad_file(error, as_json)
    except (ProviderError, SecretMissing) as error:
        echo(error.summary, err=True)
        sys.exit(COULD_NOT_FIND_OUT)
    if theirs is None:
        theirs = answers.bill
        # read again after the bill, so that in the current month the evidence is not older than the bill
        case = read_case(tariff, events, until, as_json)
    assert theirs is not None
    statement, _ = case.statement(month, fresh=bool(events) and not against_closed)
    try:
        found = reconcile(
            statement,
            theirs,
            read_at=datetime.now(UTC),
            names=declared["names"],
            clusters=answers.clusters,
            cluster_resources={**answers.resources, **declared["resources"]},
            before=earlier or answers.before,
            provider_notes=answers.notes,
        )
    except NotComparable as error:
        bad_input(error.summary)
    echo(json.dumps(found.row(), indent=2) if as_json else reconciliation_text(found))
    sys.exit(WRONG_OUT_THERE if found.needs_a_person else FINE)


@dataclass(frozen=True)
class _ProviderAnswers:
    """The answers of the providers in the fleet."""

    clusters: frozenset[str] | None = None
    resources: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    bill: Bill | None = None
    """The bill of the month, if it was requested."""
    before: Bill | None = None
    """The bill of the month before."""


async def _ask(
    fleet: str | None, wanted: tuple[Period, str] | None, site: str, endpoint: str, events: str | None
) -> _ProviderAnswers:
    """Ask the providers in the fleet for our clusters and cloud resources, and for the bill of a month.

    wanted: month and currency of the bill; None: no bill
    Without a file of events, the creation times of the clusters are read too, and kept in the spool as evidence.
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
    return _ProviderAnswers(billed.clusters, billed.resources, billed.notes, bill, before)


async def _record(declared: Fleet, secret: Callable[[SecretRef], Secret]) -> None:
    """Write the creation times of the clusters to the spool, as evidence."""
    from poolkeeper.tasks.provider.lifetimes import record_clusters
    from poolkeeper.tasks.runs.recording import Recorder

    run_id = f"bill-reconcile-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
    recorder = Recorder(Spool(state_folder() / "spool"), run_id)
    messages = await record_clusters(declared, secret, recorder)
    recorder.end("bill reconcile", RunState.COMPLETED, "; ".join(messages), ())


def _pairs(option: str, given: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            bad_input(f"{option} {text}: write it like ID=TEXT")
        pairs[name] = value
    return pairs
