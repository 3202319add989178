"""`poolkeeper bill explain`."""

from __future__ import annotations

import json

import click

from poolkeeper.deployments.cli.asking import json_option
from poolkeeper.deployments.cli.bill.inputs import a_period, against_closed_option, bad_input, inputs, read_case
from poolkeeper.deployments.terminal import echo


@click.command("explain")
@click.argument("line")
@inputs
@against_closed_option
@json_option
def explain_command(
    line: str, tariff: str, events: str | None, until: str | None, against_closed: bool, as_json: bool
) -> None:
    """Explain how a LINE is computed: rule, quantity, price, events. `bill meter` shows the ids of lines."""
    from poolkeeper.tasks.fees.metering.explanation import explain

    case = read_case(tariff, events, until, as_json)
    period = a_period(line.rpartition("-")[0])
    statement, _ = case.statement(period, fresh=bool(events) and not against_closed)
    found = next((one for one in statement.lines if one.id == line), None)
    if found is None:
        command = f"poolkeeper bill meter --period {period.name} --json"
        bad_input(f"{period.name} has no line {line}. `{command}` shows the ids of all lines.")
    text = explain(found, statement.tariff)
    if as_json:
        echo(json.dumps({"line": found.record(), "explanation": text.splitlines()}, indent=2))
    else:
        echo(text)
