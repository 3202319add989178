"""Renders a statement: for scripts, and for a terminal."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from poolkeeper.deployments.terminal import console

if TYPE_CHECKING:
    from poolkeeper.tasks.fees.metering.fee_lines import FeeLine
    from poolkeeper.tasks.fees.metering.statement import Statement
    from poolkeeper.tasks.fees.tariff.tariff_model import Tariff

WIDTH = 200
SHOWN_LINES = 40
"""At most so many lines on a terminal; --json has all of them."""


def answer_of(statement: Statement) -> dict[str, Any]:
    from poolkeeper.tasks.fees.periods import moment

    return {
        "period": statement.period.name,
        "tariff": statement.tariff.name,
        "comparator": statement.tariff.comparator,
        "currency": statement.tariff.currency,
        "total": text_of(statement.total),
        "low": text_of(statement.low),
        "high": text_of(statement.high),
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


def show(statement: Statement, *, is_closed: bool) -> None:
    """Show the statement on a terminal: lines by amount, highest first; problems and the total last."""
    from rich.table import Table

    # a file or pipe gets full lines, so that grep finds an id
    terminal = console(width=None if sys.stdout.isatty() else WIDTH)
    tariff = statement.tariff
    table = Table(box=None, header_style="bold", pad_edge=False)
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
            "waived" if line.waiver else text_of(line.unit_price),
            _amount(line),
        )
    terminal.print(table)
    if len(lines) > SHOWN_LINES:
        terminal.print(f"and {len(lines) - SHOWN_LINES} more lines: --json has all")
    if tariff.comparator:
        terminal.print(f"For comparison, not a bill: {tariff.title}.")
    for usage in statement.unpriced:
        terminal.print(f"no price: {usage.rule} of {usage.resource_id}: {usage.reason}")
    kind = "closed" if is_closed else "open" if statement.is_whole else "still running"
    terminal.print(
        f"\n{statement.period.name} ({kind}): {money_of(statement.total, tariff)},"
        f" evidence for {float(statement.coverage):.1%}" + _range(statement),
    )


def _range(statement: Statement) -> str:
    if statement.low == statement.total == statement.high:
        return ""
    return f"; between {text_of(statement.low)} and {text_of(statement.high)}"


def _amount(line: FeeLine) -> str:
    text = text_of(line.amount)
    return text if line.low == line.high else f"{text} ({text_of(line.low)} to {text_of(line.high)})"


def text_of(amount: Decimal) -> str:
    from poolkeeper.tasks.fees.money import money_text

    return money_text(amount)


def money_of(amount: Decimal, tariff: Tariff) -> str:
    return f"{tariff.currency} {text_of(amount)}"
