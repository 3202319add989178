"""`poolkeeper bill forecast`."""

from __future__ import annotations

import json
from typing import Any

import click

from poolkeeper.deployments.cli.asking import json_option
from poolkeeper.deployments.cli.bill.inputs import a_period, bad_input, inputs, read_case
from poolkeeper.deployments.terminal import echo


@click.command("forecast")
@inputs
@click.option("--period", help="Current or future month. Default: the current month.")
@click.option("--price", help="Hypothetical price of a fee that is not charged today.")
@click.option("--unit", default="per_vcpu_day", show_default=True, help="What that price is for.")
@click.option("--rule", help="The rule of that fee, when several fees of the tariff are not charged.")
@click.option("--add", multiple=True, help="Planned: nodes that join, like 20x64 (vCPUs) or 4x96x8 (and GPUs).")
@click.option("--remove", multiple=True, help="Planned: nodes that leave, like 5:pool=general.")
@json_option
def forecast_command(
    tariff: str,
    events: str | None,
    until: str | None,
    period: str | None,
    price: str | None,
    unit: str,
    rule: str | None,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    as_json: bool,
) -> None:
    """Forecast a month: its total, a fee at a hypothetical price, a planned change."""
    from poolkeeper.tasks.fees.metering.month_forecast import ForecastInvalid, ForecastRequest, estimates
    from poolkeeper.tasks.fees.periods import Period, billing_day

    case = read_case(tariff, events, until, as_json)
    today = billing_day(case.now_us)
    month = a_period(period) if period else Period.month(today.year, today.month)
    try:
        request = ForecastRequest.of(price or "", unit, rule or "", add, remove)
        found = estimates(case.evidence, case.tariff, month, case.now_us, request)
    except ForecastInvalid as error:
        bad_input(error.summary)
    answer = {"period": month.name, "currency": case.tariff.currency, "forecast": [one.row() for one in found]}
    if as_json:
        echo(json.dumps(answer, indent=2))
    else:
        _show(answer)


def _show(answer: dict[str, Any]) -> None:
    currency = answer["currency"]
    for row in answer["forecast"]:
        label = "HYPOTHETICAL, this price is not published: " if row["hypothetical"] else ""
        echo(f"{label}{row['tariff']}")
        echo(
            f"  {answer['period']}: likely {currency} {row['likely']}, at least {row['low']} (all nodes leave now),"
            f" at most {row['high']}"
        )
        if row["unpriced"]:
            echo(f"  usage without a price, in no total: {row['unpriced']}")
        for cost in row.get("planned_change", ()):
            total = f"to a total of {cost['total']}"
            echo(f"  the planned change adds {currency} {cost['amount']} in {cost['period']}, {total}")
