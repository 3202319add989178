"""`poolkeeper bill`: what the cluster and its nodes cost for being managed, and why.

Evidence is the spool of the state folder, or a CSV file with --events, which needs neither ledger nor cluster.
Months are closed in the state folder. Exit codes: 0 fine, 1 a closed period was tampered with or a line of the vendor's
bill is to be disputed, 2 bad input, 3 a price or size is missing or the vendor could not be asked.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from deployments.cli import BAD_INPUT, COULD_NOT_FIND_OUT, FINE, WRONG_OUT_THERE, json_option

if TYPE_CHECKING:
    from tasks.fees.evidence import Evidence
    from tasks.fees.lines import FeeLine
    from tasks.fees.metering import Statement
    from tasks.fees.periods import Period
    from tasks.fees.tariff import Tariff

F = TypeVar("F", bound=Callable[..., Any])

SHOWN_LINES = 40
"""At most so many lines on a terminal; --json has all of them."""


def _inputs(command: F) -> F:
    """The options by which every command learns what to count by which prices."""
    for option in (
        click.option("--tariff", default="ack-pro", show_default=True, help="File, or name of one that comes along."),
        click.option("--events", type=click.Path(), help="CSV file of events; else the spool of the state folder."),
        click.option("--until", help="When the events were gathered, in ISO 8601 with a zone; else now."),
    ):
        command = option(command)
    return command


period_option = click.option("--period", required=True, help="Month like 2026-10; to look at, also a day or a year.")
against_closed_option = click.option(
    "--against-closed", is_flag=True, help="With --events: mind closed periods and adjustments, as `close` does."
)


@click.group()
def bill() -> None:
    """Tell what being managed costs, to the cent, and why."""


@bill.command("meter")
@_inputs
@period_option
@against_closed_option
@click.option("--by", help="Split the lines by this label, such as site, pool or team.")
@click.option("--share-by", default="nodes", show_default=True, help="nodes, vcpus, gpus, evenly, or web=3,batch=1.")
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
    """Count a period and price it. A closed period is told as it was closed."""
    from tasks.fees.allocation import KeyInvalid, ShareKey, allocate

    case = _case(tariff, events, until, as_json)
    try:
        key = ShareKey.of(share_by)
    except KeyInvalid as error:
        _bad_input(str(error))
    statement, is_closed = case.statement(_period(period), fresh=bool(events) and not against_closed)
    answer = _answer(statement) | {"closed": is_closed}
    allocation = allocate(statement, case.evidence, by, key) if by else None
    if allocation:
        answer["allocation"] = allocation.row()
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        _show(statement, is_closed=is_closed)
        for group, amount in allocation.totals().items() if allocation else ():
            click.echo(f"  {by} {group or '(none)'}: {_money(amount, statement.tariff)}")
    sys.exit(COULD_NOT_FIND_OUT if statement.unpriced else FINE)


@bill.command("close")
@_inputs
@period_option
@json_option
def close_command(tariff: str, events: str | None, until: str | None, period: str, as_json: bool) -> None:
    """Close a month for good; a second time does nothing. What is learnt later is charged in the next month."""
    from tasks.fees.closing import NotClosable, PriceMissing, close

    case = _case(tariff, events, until, as_json)
    try:
        closing = _sound(lambda: close(case.evidence, case.tariff, _period(period), case.now_us, case.closed))
    except PriceMissing as error:
        click.echo(str(error), err=True)
        sys.exit(COULD_NOT_FIND_OUT)
    except NotClosable as error:
        _bad_input(str(error))
    if as_json:
        answer = _answer(closing.statement) | {"closed": True, "was_closed": closing.was_closed}
        click.echo(json.dumps(answer, indent=2))
    else:
        _show(closing.statement, is_closed=True)
        click.echo("it was closed before: nothing was done" if closing.was_closed else "closed")


@bill.command("explain")
@click.argument("line")
@_inputs
@against_closed_option
@json_option
def explain_command(
    line: str, tariff: str, events: str | None, until: str | None, against_closed: bool, as_json: bool
) -> None:
    """Tell in words what a LINE follows from: rule, inputs, price, evidence. Ids of lines are in `bill meter`."""
    from tasks.fees.explaining import explain

    case = _case(tariff, events, until, as_json)
    period = _period(line.rpartition("-")[0])
    statement, _ = case.statement(period, fresh=bool(events) and not against_closed)
    found = next((one for one in statement.lines if one.id == line), None)
    if found is None:
        _bad_input(f"there is no line {line} in {period.name}: `poolkeeper bill meter --json` lists their ids.")
    words = explain(found, statement.tariff)
    if as_json:
        click.echo(json.dumps({"line": found.record(), "explanation": words.splitlines()}, indent=2))
    else:
        click.echo(words)


@bill.command("outlook")
@_inputs
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

    case = _case(tariff, events, until, as_json)
    today = billing_day(case.now_us)
    month = _period(period) if period else Period.month(today.year, today.month)
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
                    {"period": cost.period.name, "amount": _text(cost.amount), "total": _text(cost.after)}
                    for cost in costs
                ]
            answer["outlook"].append(row)
    except outlook.ChangeInvalid as error:
        _bad_input(str(error))
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        _show_outlook(answer)


@bill.command("reconcile")
@_inputs
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

    case, month = _case(tariff, events, until, as_json), _period(period)
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
            earlier = bill_of_csv(Path(file), _period(name), currency)
    except FileInvalid as error:
        _bad_file(error, as_json)
    except (ProviderError, SecretMissing) as error:
        click.echo(str(error), err=True)
        sys.exit(COULD_NOT_FIND_OUT)
    statement, _ = case.statement(month, fresh=bool(events) and not against_closed)
    try:
        found = reconcile(
            statement, theirs, read_at=datetime.now(UTC), names=_pairs("--name", names),
            belonging=_pairs("--resource", resources), before=earlier,
        )  # fmt: skip
    except NotReconcilable as error:
        _bad_input(str(error))
    click.echo(json.dumps(found.row(), indent=2) if as_json else reconciled_words(found))
    sys.exit(WRONG_OUT_THERE if found.needs_a_person else FINE)


@dataclass(frozen=True)
class _Case:
    """What a command was given: prices, evidence, the time, and the periods that are closed."""

    tariff: Tariff
    evidence: Evidence
    now_us: int

    @property
    def closed(self) -> Any:
        from tasks.fees.closed import ClosedPeriods
        from tasks.settings import state_folder

        return ClosedPeriods.of(state_folder(), self.tariff)

    def statement(self, period: Period, *, fresh: bool) -> tuple[Statement, bool]:
        """A period's statement, and whether it is closed. `fresh`: counted as if nothing had ever been closed."""
        from tasks.fees.closing import statement_of
        from tasks.fees.metering import meter

        if fresh:
            return meter(self.evidence, self.tariff, period, self.now_us), False
        return _sound(lambda: statement_of(self.evidence, self.tariff, period, self.now_us, self.closed))


def _case(tariff: str, events: str | None, until: str | None, as_json: bool) -> _Case:
    """Read prices and evidence; what is wrong with either is told whole."""
    from tasks.fees.evidence import evidence_of_csv, evidence_of_spool
    from tasks.fees.periods import instant
    from tasks.fees.tariff_loading import load_tariff, tariff_path
    from tasks.fleet.problems import FileInvalid
    from tasks.ledger import Spool
    from tasks.settings import state_folder

    now = datetime.now(UTC)
    gathered = _moment(until) if until else now
    if gathered > now:
        _bad_input(f"--until {until} lies in the future")
    try:
        prices = load_tariff(tariff_path(tariff))
        if events:
            evidence = evidence_of_csv(Path(events), gathered)
        else:
            evidence = evidence_of_spool(Spool(state_folder() / "spool"), gathered)
    except FileInvalid as error:
        _bad_file(error, as_json)
    return _Case(prices, evidence, instant(now))


def _account_bill(fleet: str | None, site: str, endpoint: str | None) -> Any:
    from tasks.fleet import load_fleet
    from tasks.fleet.model import AckProvider
    from tasks.provider.bss import bill_of_account
    from tasks.settings import fleet_path, secret_reader

    declared = load_fleet(fleet_path(fleet))
    accounts = [c.provider for c in declared.clusters.values() if isinstance(c.provider, AckProvider)]
    if not accounts:
        _bad_input("no cluster of the fleet file has provider ack: name an export with --bill")
    return bill_of_account(accounts[0], secret_reader(), site=site, endpoint=endpoint)


def _pairs(option: str, given: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            _bad_input(f"{option} {text}: write it like ID=WORDS")
        pairs[name] = value
    return pairs


def _bad_file(error: Any, as_json: bool) -> NoReturn:
    """Every problem of a file, as the command was asked to tell it."""
    if as_json:
        rows = [
            {"line": p.line, "column": p.column, "path": p.path, "message": p.message, "fix": p.fix}
            for p in error.problems
        ]
        click.echo(json.dumps({"ok": False, "problems": rows}, indent=2))
    click.echo(str(error), err=True)
    sys.exit(BAD_INPUT)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        _bad_input(f"--until {text}: write a time in ISO 8601 with a zone, like 2026-10-20T00:00:00Z")
    if moment.tzinfo is None:
        _bad_input(f"--until {text} has no time zone: write {text}Z, or another offset")
    return moment


def _period(text: str) -> Period:
    from tasks.fees.periods import Period, PeriodInvalid

    try:
        return Period.of(text)
    except PeriodInvalid as error:
        _bad_input(str(error))


def _price(text: str) -> Decimal:
    try:
        price = Decimal(text)
    except InvalidOperation:
        price = Decimal("NaN")
    if not price.is_finite() or not 0 <= price < 1_000_000:
        _bad_input(f"--price {text}: write a price like 0.029")
    return price


def _uncharged(tariff: Tariff, name: str | None, day: Any) -> Any:
    """The fee whose beginning is asked about."""
    from tasks.fees.outlook import uncharged_rules

    if name is not None:
        if name not in {rule.name for rule in tariff.rules}:
            _bad_input(f"tariff {tariff.name} has no rule {name}: there are {', '.join(r.name for r in tariff.rules)}")
        return tariff.rule(name)
    rules = uncharged_rules(tariff, day)
    if len(rules) != 1:
        names = ", ".join(rule.name for rule in rules or tariff.rules)
        _bad_input(f"tariff {tariff.name} has {len(rules)} fees that are not charged: choose with --rule ({names})")
    return rules[0]


T = TypeVar("T")


def _sound(read: Callable[[], T]) -> T:
    """What is read of closed periods; one that is not as it was closed ends the command."""
    from tasks.fees.closed import ClosedDamaged

    try:
        return read()
    except ClosedDamaged as error:
        click.echo(str(error), err=True)
        sys.exit(WRONG_OUT_THERE)


def _answer(statement: Statement) -> dict[str, Any]:
    from tasks.fees.periods import moment

    return {
        "period": statement.period.name,
        "tariff": statement.tariff.name,
        "comparator": statement.tariff.comparator,
        "currency": statement.tariff.currency,
        "total": _text(statement.total),
        "low": _text(statement.low),
        "high": _text(statement.high),
        "coverage": float(statement.coverage),
        "metered_until": moment(statement.metered_until_us).isoformat(),
        "lines": [line.row() for line in statement.lines],
        "unpriced": [
            {
                "resource_id": usage.resource_id,
                "rule": usage.rule,
                "quantity": usage.quantity,
                "unit": usage.unit_name,
                "reason": usage.reason,
            }
            for usage in statement.unpriced
        ],
    }


def _estimate(statement: Statement) -> dict[str, Any]:
    return {
        "tariff": statement.tariff.title,
        "low": _text(statement.low),
        "likely": _text(statement.total),
        "high": _text(statement.high),
        "unpriced": len(statement.unpriced),
    }


def _show(statement: Statement, *, is_closed: bool) -> None:
    """The statement for a terminal: dearest lines first, what needs a person last."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    tariff = statement.tariff
    table = Table(box=None, header_style="bold")
    table.add_column("line", no_wrap=True)
    for column in ("resource", "rule"):
        table.add_column(column, overflow="fold")
    table.add_column("quantity", no_wrap=True)
    for column in ("unit price", "amount"):
        table.add_column(column, overflow="fold", justify="right")
    lines = sorted(statement.lines, key=lambda line: (-abs(line.amount), line.resource_id, line.id))
    for line in lines[:SHOWN_LINES]:
        table.add_row(
            line.id,
            line.resource_id,
            line.rule + (f" (corrects {line.corrects})" if line.corrects else ""),
            line.unit.amount_of(line.quantity),
            "waived" if line.waiver else _text(line.unit_price),
            _amount(line),
        )
    console.print(table)
    if len(lines) > SHOWN_LINES:
        console.print(f"and {len(lines) - SHOWN_LINES} more lines: --json has all")
    if tariff.comparator:
        console.print(f"A comparator, not a bill: {tariff.title}.", markup=False)
    for usage in statement.unpriced:
        console.print(f"no price: {usage.rule} of {usage.resource_id}: {usage.reason}", markup=False)
    kind = "closed" if is_closed else "open" if statement.is_whole else "still running"
    console.print(
        f"\n{statement.period.name} ({kind}): {_money(statement.total, tariff)},"
        f" evidence for {float(statement.coverage):.1%}" + _range(statement),
        markup=False,
    )


def _range(statement: Statement) -> str:
    if statement.low == statement.total == statement.high:
        return ""
    return f"; between {_text(statement.low)} and {_text(statement.high)}"


def _amount(line: FeeLine) -> str:
    text = _text(line.amount)
    return text if line.low == line.high else f"{text} ({_text(line.low)} to {_text(line.high)})"


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


def _text(amount: Decimal) -> str:
    from tasks.fees.money import money_text

    return money_text(amount)


def _money(amount: Decimal, tariff: Tariff) -> str:
    return f"{tariff.currency} {_text(amount)}"


def _bad_input(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(BAD_INPUT)
