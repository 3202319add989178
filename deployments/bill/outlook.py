"""`poolkeeper bill outlook`."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import click

from deployments.bill.inputs import a_period, bad_input, inputs, read_case
from deployments.bill.shown import text_of
from deployments.cli import json_option

if TYPE_CHECKING:
    from tasks.fees.metering import Statement
    from tasks.fees.tariff import Tariff


@click.command("outlook")
@inputs
@click.option("--period", help="Month that is running or to come; else the running one.")
@click.option("--price", help="Hypothetical price of a fee that is not charged today.")
@click.option("--unit", default="per_vcpu_day", show_default=True, help="What that price is for.")
@click.option("--rule", help="Which fee, where the tariff has several that are not charged.")
@click.option("--add", multiple=True, help="Planned: nodes that join, like 20x64 (vCPUs) or 4x96x8 (and GPUs).")
@click.option("--remove", multiple=True, help="Planned: nodes that leave, like 5:pool=general.")
@json_option
def outlook_command(
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
    """Estimate the month's end; the exposure to a fee at a hypothetical price; the cost of a planned change."""
    from tasks.fees import outlook
    from tasks.fees.periods import Period, billing_day

    case = read_case(tariff, events, until, as_json)
    today = billing_day(case.now_us)
    month = a_period(period) if period else Period.month(today.year, today.month)
    try:
        tariffs = {"as published": case.tariff}
        if price is not None:
            charged = _uncharged(case.tariff, rule, max(today, month.first))
            tariffs["hypothetical"] = outlook.hypothetical(
                case.tariff, charged, outlook.unit_named(unit), _price(price)
            )
        changes = [*map(outlook.Change.joining, add), *map(outlook.Change.leaving, remove)]
        answer: dict[str, Any] = {"period": month.name, "currency": case.tariff.currency, "outlook": []}
        for name, by in tariffs.items():
            row = _estimate(outlook.month_end(case.evidence, by, month)) | {"hypothetical": name == "hypothetical"}
            if changes:
                costs = outlook.cost_of(changes, case.evidence, by, month, max(case.now_us, month.start_us))
                row["planned_change"] = [
                    {"period": cost.period.name, "amount": text_of(cost.amount), "total": text_of(cost.after)}
                    for cost in costs
                ]
            answer["outlook"].append(row)
    except outlook.ChangeInvalid as error:
        bad_input(str(error))
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        _show_outlook(answer)


def _price(text: str) -> Decimal:
    try:
        price = Decimal(text)
    except InvalidOperation:
        price = Decimal("NaN")
    if not price.is_finite() or not 0 <= price < 1_000_000:
        bad_input(f"--price {text}: write a price like 0.029")
    return price


def _uncharged(tariff: Tariff, name: str | None, day: Any) -> Any:
    """The fee whose beginning is asked about."""
    from tasks.fees.outlook import uncharged_rules

    if name is not None:
        if name not in {rule.name for rule in tariff.rules}:
            bad_input(f"tariff {tariff.name} has no rule {name}: there are {', '.join(r.name for r in tariff.rules)}")
        return tariff.rule(name)
    rules = uncharged_rules(tariff, day)
    if len(rules) != 1:
        names = ", ".join(rule.name for rule in rules or tariff.rules)
        bad_input(f"tariff {tariff.name} has {len(rules)} fees that are not charged: choose with --rule ({names})")
    return rules[0]


def _estimate(statement: Statement) -> dict[str, Any]:
    return {
        "tariff": statement.tariff.title,
        "low": text_of(statement.low),
        "likely": text_of(statement.total),
        "high": text_of(statement.high),
        "unpriced": len(statement.unpriced),
    }


def _show_outlook(answer: dict[str, Any]) -> None:
    currency = answer["currency"]
    for row in answer["outlook"]:
        label = "HYPOTHETICAL, nobody has published this price: " if row["hypothetical"] else ""
        click.echo(f"{label}{row['tariff']}")
        click.echo(
            f"  {answer['period']} will come to some {currency} {row['likely']}, from {row['low']} (all goes now)"
            f" to {row['high']}"
        )
        if row["unpriced"]:
            click.echo(f"  and {row['unpriced']} usages without a price, in no total")
        for cost in row.get("planned_change", ()):
            click.echo(f"  the planned change adds {currency} {cost['amount']} in {cost['period']}: {cost['total']}")
