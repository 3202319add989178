"""`poolkeeper bill meter`."""

from __future__ import annotations

import json
import sys

import click

from poolkeeper.deployments.cli.asking import COULD_NOT_FIND_OUT, FINE, json_option
from poolkeeper.deployments.cli.bill.inputs import (
    a_period,
    against_closed_option,
    bad_input,
    inputs,
    period_option,
    read_case,
)
from poolkeeper.deployments.cli.bill.render import answer_of, money_of, show
from poolkeeper.deployments.terminal import echo


@click.command("meter")
@inputs
@period_option
@against_closed_option
@click.option("--by", help="Split the total by this label, such as site, pool or team.")
@click.option(
    "--share-by",
    default="nodes",
    show_default=True,
    help="How to split shared lines: nodes, vcpus, gpus, evenly, or weights like web=3,batch=1.",
)
@json_option
def meter_command(
    tariff: str,
    events: str | None,
    until: str | None,
    period: str,
    against_closed: bool,
    by: str | None,
    share_by: str,
    as_json: bool,
) -> None:
    """Meter a period. A closed month is shown as it was closed."""
    from poolkeeper.tasks.fees.metering.allocation import ShareKey, ShareKeyInvalid, allocate

    case = read_case(tariff, events, until, as_json)
    try:
        key = ShareKey.of(share_by)
    except ShareKeyInvalid as error:
        bad_input(error.summary)
    statement, is_closed = case.statement(a_period(period), fresh=bool(events) and not against_closed)
    answer = answer_of(statement) | {"closed": is_closed}
    allocation = allocate(statement, case.evidence, by, key) if by else None
    if allocation:
        answer["allocation"] = allocation.row()
    if as_json:
        echo(json.dumps(answer, indent=2))
    else:
        show(statement, is_closed=is_closed)
        for group, amount in allocation.totals().items() if allocation else ():
            echo(f"  {by} {group or '(none)'}: {money_of(amount, statement.tariff)}")
    sys.exit(COULD_NOT_FIND_OUT if statement.unpriced else FINE)
