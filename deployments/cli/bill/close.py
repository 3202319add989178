"""`poolkeeper bill close`."""

from __future__ import annotations

import json
import sys

import click

from poolkeeper.deployments.cli.asking import COULD_NOT_FIND_OUT, json_option
from poolkeeper.deployments.cli.bill.inputs import (
    a_period,
    bad_input,
    from_closed_months,
    inputs,
    period_option,
    read_case,
)
from poolkeeper.deployments.cli.bill.render import answer_of, show
from poolkeeper.deployments.terminal import echo


@click.command("close")
@inputs
@period_option
@json_option
def close_command(tariff: str, events: str | None, until: str | None, period: str, as_json: bool) -> None:
    """Close a month for good; a second call does nothing. Later evidence is charged in the next month."""
    from poolkeeper.tasks.fees.closing.close import NotClosable, PriceMissing, close

    case = read_case(tariff, events, until, as_json)
    try:
        closing = from_closed_months(
            lambda: close(case.evidence, case.tariff, a_period(period), case.now_us, case.closed)
        )
    except PriceMissing as error:
        echo(error.summary, err=True)
        sys.exit(COULD_NOT_FIND_OUT)
    except NotClosable as error:
        bad_input(error.summary)
    if as_json:
        answer = answer_of(closing.statement) | {"closed": True, "was_closed": closing.was_closed}
        echo(json.dumps(answer, indent=2))
    else:
        show(closing.statement, is_closed=True)
        echo("the month was closed before: nothing changed" if closing.was_closed else "closed")
