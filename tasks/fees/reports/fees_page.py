"""The page of a month's fees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from poolkeeper.tasks.fees.bill.reconciliation import BilledResource, ComparedFee, Reconciliation
from poolkeeper.tasks.fees.metering.allocation import Allocation
from poolkeeper.tasks.fees.metering.month_forecast import MonthForecast
from poolkeeper.tasks.fees.metering.statement import Statement
from poolkeeper.tasks.fees.money import money_text, total
from poolkeeper.tasks.fees.periods import moment
from poolkeeper.tasks.fees.reports.month import Month
from poolkeeper.tasks.pages.parts import (
    Card,
    Column,
    ColumnKind,
    Content,
    Status,
    Table,
    Tone,
    card_of,
    columns,
    first_rows,
)
from poolkeeper.tasks.pages.plots import bar_plot
from poolkeeper.tasks.pages.templates import render

SHOWN_LINES = 200
"""At most so many rows of a table; the CSV file has all of them."""
SHOWN_FINDINGS = 100
ALIKE = 5
"""So many lines, or more, that differ only in the resource are one row."""

_TEXT, _NUMBER, _ID = ColumnKind.TEXT, ColumnKind.NUMBER, ColumnKind.ID
_NAME, _SENTENCE = ColumnKind.NAME, ColumnKind.SENTENCE
_BY_RULE = columns({"part": _TEXT, "lines": _NUMBER, "amount": _NUMBER})
_UNPRICED = columns({"part": _TEXT, "resource": _NAME, "why": _SENTENCE})
_LINES = columns(
    {"line": _ID, "resource": _NAME, "part": _TEXT, "quantity": _NUMBER, "unit price": _NUMBER, "amount": _NUMBER}
)
_ADJUSTMENTS = columns({"line": _ID, "because": _SENTENCE, "amount": _NUMBER})
_COMPARED = columns(
    {
        "verdict": _ID,
        "resource": _NAME,
        "part": _TEXT,
        "metered": _NUMBER,
        "on the bill": _NUMBER,
        "difference": _NUMBER,
        "reason": _SENTENCE,
    }
)
_BILLED = {"billing item": _TEXT, "list price": _NUMBER, "amount": _NUMBER}
_BELONGING = columns({"resource": _NAME, "what it is": _SENTENCE, **_BILLED})
_UNKNOWN = columns({"resource": _NAME, "product": _TEXT, **_BILLED})
_OTHERS = columns({"resource": _NAME, "amount": _NUMBER})
_CHANGES = columns({"month": _ID, "difference": _NUMBER, "amount": _NUMBER})


def page(month: Month) -> str:
    """The page as HTML."""
    s, found = month.statement, month.reconciliation
    adjustments = [(line.corrects, line.because, money_text(line.amount)) for line in s.lines if line.corrects]
    sections = {
        "parts": "By fee",
        "unpriced": "Without a price, in no total" if s.unpriced else "",
        "bill": "Compared with the vendor's bill" if found else "",
        "forecast": "Forecast" if month.forecast else "",
        "trend": "Trend",
        "shares": "Allocation" if month.allocations else "",
        "adjustments": "Adjustments of closed months" if adjustments else "",
        "lines": "Lines",
    }
    return render(
        Path(__file__).with_name("fees_page.html.jinja"),
        title=f"Fees of {s.period.name}",
        sections={anchor: name for anchor, name in sections.items() if name},
        month=month,
        statement=s,
        metered_until=moment(s.metered_until_us).isoformat(timespec="seconds"),
        by_rule=Table(_BY_RULE, _by_rule(s)),
        unpriced=_first(_UNPRICED, [(one.rule, one.resource_id, one.reason) for one in s.unpriced]),
        found=found,
        bill=_bill(found) if found else None,
        forecast=[_forecast(month, one) for one in month.forecast],
        trend=bar_plot([(name, amount, money_text(amount)) for name, amount in month.trend], s.tariff.currency),
        shares=[(f"By {label}", _share(label, allocation)) for label, allocation in month.allocations.items()],
        adjustments=Table(_ADJUSTMENTS, adjustments),
        lines=_lines(s),
        money=money_text,
    )


def _first(heads: Sequence[Column], rows: Sequence[Sequence[Content]]) -> Table:
    return first_rows(heads, rows, SHOWN_LINES, "the CSV file has all")


def _by_rule(statement: Statement) -> list[Sequence[Content]]:
    rows: list[Sequence[Content]] = []
    for rule in statement.tariff.rules:
        lines = [line for line in statement.lines if line.rule == rule.name]
        reasons = sorted({line.waiver for line in lines if line.waiver})
        what = f"{rule.title} ({'; '.join(reasons)})" if reasons else rule.title
        rows.append((what, f"{len(lines)}", money_text(total(line.amount for line in lines))))
    return rows


def _share(label: str, allocation: Allocation) -> Table:
    rows = [(group or "(none)", money_text(amount)) for group, amount in allocation.totals().items()]
    return Table(columns({label: _NAME, "amount": _NUMBER}), rows)


def _lines(statement: Statement) -> Table:
    """The lines, by amount, highest first."""
    lines = sorted(statement.lines, key=lambda line: (-abs(line.amount), line.resource_id, line.id))
    rows = [
        (
            line.id,
            line.resource_id,
            line.rule,
            line.unit.amount_of(line.quantity),
            "waived" if line.waiver else money_text(line.unit_price),
            money_text(line.amount),
        )
        for line in lines
    ]
    return _first(_LINES, rows)


# The vendor's bill


@dataclass(frozen=True, slots=True)
class _Bill:
    """What the page shows of the comparison with the bill."""

    metered: Decimal
    billed: Decimal
    findings: Sequence[Card]
    compared: Table
    resources: Sequence[tuple[str, Table]]
    """Other resources on the bill, by owner: heading and table."""


def _bill(found: Reconciliation) -> _Bill:
    return _Bill(
        total(one.metered for one in found.compared),
        total(one.billed for one in found.compared),
        [card_of(finding) for finding in found.findings[:SHOWN_FINDINGS]],
        _first(_COMPARED, list(_compared(found))),
        list(_resources(found)),
    )


def _compared(found: Reconciliation) -> Iterator[Sequence[Content]]:
    """Fees to dispute first. Other fees that differ only in the resource are one row."""
    disputable = {id(one) for one in found.disputable}
    compared = sorted(
        found.compared, key=lambda one: (id(one) not in disputable, -abs(one.difference), one.resource_id)
    )
    alike: dict[object, list[ComparedFee]] = {}
    for one in compared:
        key = (one.verdict, one.rule or one.item, one.reason, one.is_adjustment)
        alike.setdefault(id(one) if id(one) in disputable else key, []).append(one)
    for group in alike.values():
        for of_it in [[one] for one in group] if len(group) < ALIKE else [group]:
            yield _compared_row(of_it, is_disputed=id(of_it[0]) in disputable)


def _compared_row(of_it: Sequence[ComparedFee], *, is_disputed: bool) -> Sequence[Content]:
    first = of_it[0]
    more = f" and {len(of_it) - 1} more" if len(of_it) > 1 else ""
    return (
        Status(Tone.BAD, f"DISPUTE: {first.verdict}") if is_disputed else str(first.verdict),
        (first.resource_id or "no resource") + more,
        (first.rule or first.item) + (" (correction)" if first.is_adjustment else ""),
        money_text(total(one.metered for one in of_it)),
        money_text(total(one.billed for one in of_it)),
        money_text(total(one.difference for one in of_it)),
        first.reason,
    )


def _resources(found: Reconciliation) -> Iterator[tuple[str, Table]]:
    def headed(title: str, charged: Iterable[Decimal]) -> str:
        return f"{title}: {found.bill.currency} {money_text(total(charged))}"

    def row(one: BilledResource, what: str) -> Sequence[Content]:
        return one.instance_id or "no resource", what, one.item, money_text(one.gross), money_text(one.charged)

    if found.cluster_resources:
        rows = [row(one, one.belongs_as or "") for one in found.cluster_resources]
        heading = headed("Cloud resources of the cluster", (one.charged for one in found.cluster_resources))
        yield heading, _first(_BELONGING, rows)
    if found.unknown:
        rows = [row(one, one.product) for one in found.unknown]
        heading = headed("Resources without a declared owner", (one.charged for one in found.unknown))
        yield heading, _first(_UNKNOWN, rows)
    if found.other_clusters:
        heading = headed("Other clusters of the account", (one.charged for one in found.other_clusters))
        of_others = [(one.instance_id, money_text(one.charged)) for one in found.other_clusters]
        yield heading, _first(_OTHERS, of_others)


# Forecast


@dataclass(frozen=True, slots=True)
class _Forecast:
    """The texts and the table of one forecast."""

    hypothetical: str
    """The result at a hypothetical price; empty without one."""
    sentence: str
    """The total at the end of the month; empty when the month is over."""
    unpriced: int
    changes: Table | None


def _forecast(month: Month, one: MonthForecast) -> _Forecast:
    s, end = month.statement, one.end
    amount = f"{s.tariff.currency} {money_text(end.total)}"
    if end.low != end.high:
        amount += f", from {money_text(end.low)} to {money_text(end.high)}"
    hypothetical = sentence = ""
    if one.price:
        verb = "would have added" if s.is_whole else "would add"
        price = f"{end.tariff.rules[0].title} of {s.tariff.currency} {one.price}"
        hypothetical = f"{price} {verb} {amount}. No total includes it."
    elif not s.is_whole:
        sentence = f"Likely total at the end of the month: {amount}."
    rows = [(cost.period.name, money_text(cost.amount), money_text(cost.after)) for cost in one.changes]
    changes = Table(_CHANGES, rows) if rows else None
    return _Forecast(hypothetical, sentence, len(end.unpriced), changes)
