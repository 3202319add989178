"""`poolkeeper bill reconcile`."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from deployments.bill.inputs import (
    a_period,
    against_closed_option,
    bad_file,
    bad_input,
    inputs,
    period_option,
    read_case,
)
from deployments.cli import COULD_NOT_FIND_OUT, FINE, WRONG_OUT_THERE, json_option


@click.command("reconcile")
@inputs
@period_option
@against_closed_option
@click.option("--bill", "bill_file", type=click.Path(), help="CSV export of the console; else it is asked for (BSS).")
@click.option("--before", type=click.Path(), help="Export of an earlier month, YYYY-MM:FILE, to know what is new.")
@click.option("--name", "names", multiple=True, help="What the bill calls a resource: c-7f3a=main.")
@click.option("--resource", "resources", multiple=True, help="Of the cluster: lb-1=load balancer of the API server.")
@click.option("--fleet", help="Fleet file with the account's key; else $POOLKEEPER_FLEET, else ./fleet.yaml.")
@click.option("--site", type=click.Choice(["international", "china"]), default="international", show_default=True)
@click.option("--endpoint", help="host:port in place of the site's own.")
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
    site: str,
    endpoint: str | None,
    as_json: bool,
) -> None:
    """Compare a month with the vendor's bill, line by line, with the likely reason of each difference."""
    from tasks.fees.bill import bill_of_items
    from tasks.fees.bill_csv import bill_of_csv
    from tasks.fees.reconciled_words import reconciled_words
    from tasks.fees.reconciling import NotReconcilable, reconcile
    from tasks.fleet.problems import FileInvalid
    from tasks.provider import ProviderError
    from tasks.settings import SecretMissing

    case, month = read_case(tariff, events, until, as_json), a_period(period)
    currency = case.tariff.currency
    try:
        if bill_file:
            theirs = bill_of_csv(Path(bill_file), month, currency)
        else:
            items = asyncio.run(_account_bill(fleet, site, endpoint).instance_bill(month.name))
            theirs = bill_of_items(items, month, currency, f"DescribeInstanceBill {month.name}")
        earlier = None
        if before:
            name, _, file = before.partition(":")
            earlier = bill_of_csv(Path(file), a_period(name), currency)
    except FileInvalid as error:
        bad_file(error, as_json)
    except (ProviderError, SecretMissing) as error:
        click.echo(str(error), err=True)
        sys.exit(COULD_NOT_FIND_OUT)
    statement, _ = case.statement(month, fresh=bool(events) and not against_closed)
    try:
        found = reconcile(
            statement, theirs, read_at=datetime.now(UTC), names=pairs("--name", names),
            belonging=pairs("--resource", resources), before=earlier,
        )  # fmt: skip
    except NotReconcilable as error:
        bad_input(str(error))
    click.echo(json.dumps(found.row(), indent=2) if as_json else reconciled_words(found))
    sys.exit(WRONG_OUT_THERE if found.needs_a_person else FINE)


def _account_bill(fleet: str | None, site: str, endpoint: str | None) -> Any:
    from tasks.fleet import load_fleet
    from tasks.fleet.model import AckProvider
    from tasks.provider.bss import bill_of_account
    from tasks.settings import fleet_path, secret_reader

    declared = load_fleet(fleet_path(fleet))
    accounts = [c.provider for c in declared.clusters.values() if isinstance(c.provider, AckProvider)]
    if not accounts:
        bad_input("no cluster of the fleet file has provider ack: name an export with --bill")
    return bill_of_account(accounts[0], secret_reader(), site=site, endpoint=endpoint)


def pairs(option: str, given: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            bad_input(f"{option} {text}: write it like ID=WORDS")
        pairs[name] = value
    return pairs
