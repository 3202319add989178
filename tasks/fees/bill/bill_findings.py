"""What on a bill announces a change of the fees: a new billing item, a list price with a discount of the whole amount.

A waived fee is on the bill without a charge, or at a list price with a discount of the whole amount. When the waiver
ends, or another fee begins, the bill shows it first. There is one finding for each billing item, not for each node: a
waived fee of 5,000 nodes is one finding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from poolkeeper.tasks.fees.bill.vendor_bill import Bill, BillRow
from poolkeeper.tasks.fees.metering.statement import Statement
from poolkeeper.tasks.fees.money import money_text, total
from poolkeeper.tasks.outcomes import Evidence, Finding, Severity, Subject, by_severity

NEW_ITEM = "fees.bill.item.new"
WHOLLY_DISCOUNTED = "fees.bill.item.discounted"
CHARGED_WHILE_WAIVED = "fees.bill.waiver.ended"


def bill_findings(
    statement: Statement, bill: Bill, fees: Sequence[BillRow], cluster_resources: Mapping[str, str], before: Bill | None
) -> tuple[Finding, ...]:
    """Every finding, worst first.

    fees: the rows that are fees of the cluster's product
    cluster_resources: ids of the cloud resources of the cluster
    before: as in `reconcile`
    Other rows give findings of severity `info`: the rest of the account may have another owner.
    """
    ours = {row.line for row in fees} | {row.line for row in bill.rows if row.instance_id in cluster_resources}
    named = {rule.bill_item.casefold() for rule in statement.tariff.rules if rule.bill_item}
    known = {_key(row) for row in before.rows} if before else None
    fee_lines = {row.line for row in fees}
    found: list[Finding] = []
    for rows in _by_item(bill.rows):
        is_ours = any(row.line in ours for row in rows)
        severity = Severity.WARNING if is_ours else Severity.INFO
        is_named = rows[0].item.casefold() in named or rows[0].item_code.casefold() in named
        is_new = _key(rows[0]) not in known if known is not None else any(row.line in fee_lines for row in rows)
        if is_new and not is_named:
            found.append(_new(rows, bill, severity, before))
        free = [row for row in rows if row.is_discounted_to_nothing]
        if free:
            found.append(_discounted(free, bill, severity))
    found += _waivers(statement, bill, fees)
    return by_severity(found)


def _key(row: BillRow) -> tuple[str, str]:
    return row.product_code, row.item.casefold()


def _by_item(rows: Iterable[BillRow]) -> Iterator[tuple[BillRow, ...]]:
    # a correction of another month is of an item of that month, so it is not new
    ordered = sorted((row for row in rows if not row.adjusts), key=lambda row: (_key(row), row.line))
    for _, group in groupby(ordered, key=_key):
        yield tuple(group)


def _subject(row: BillRow) -> Subject:
    return Subject("billing item", row.item or row.product_name or row.product_code or "without a name")


def _of(rows: Sequence[BillRow]) -> str:
    ids = list(dict.fromkeys(row.instance_id for row in rows))
    return f"{ids[0] or 'no resource'}" + (f" and {len(ids) - 1} more" if len(ids) > 1 else "")


def _new(rows: Sequence[BillRow], bill: Bill, severity: Severity, before: Bill | None) -> Finding:
    charged = total(row.charged for row in rows)
    last = f" but not on the bill of {before.period.name}" if before else ""
    return Finding(
        NEW_ITEM,
        severity,
        _subject(rows[0]),
        Evidence(
            f"on the bill of {bill.period.name}{last}, for {_of(rows)}, charged {bill.currency} {money_text(charged)}",
            "a billing item that a rule of the tariff names, or that an earlier bill has",
            f"{bill.source} line {rows[0].line}",
        ),
        "Ask the provider what the item is for and since when, then add a rule with this bill_item to the tariff.",
    )


def _discounted(rows: Sequence[BillRow], bill: Bill, severity: Severity) -> Finding:
    gross = total(row.gross for row in rows)
    prices = sorted({row.list_price for row in rows if row.list_price})
    price = f", list price {money_text(prices[0])} {rows[0].list_price_unit}".rstrip() if prices else ""
    return Finding(
        WHOLLY_DISCOUNTED,
        severity,
        _subject(rows[0]),
        Evidence(
            f"{bill.currency} {money_text(gross)} at list price for {_of(rows)}, discounted to 0{price}",
            "no list price for an item that is not charged",
            f"{bill.source} line {rows[0].line}",
        ),
        "Ask the provider when the discount ends; `poolkeeper bill forecast --price PRICE` shows the cost after it.",
    )


def _waivers(statement: Statement, bill: Bill, fees: Sequence[BillRow]) -> Iterator[Finding]:
    waived: dict[str, str] = {}
    charging: set[str] = set()
    for line in statement.lines:
        if line.waiver:
            waived[line.rule] = line.waiver
        else:
            charging.add(line.rule)
    by_item: dict[str, list[BillRow]] = defaultdict(list)
    for row in fees:
        if row.charged > 0 and not row.adjusts:
            by_item[row.item.casefold()].append(row)
    for rule in statement.tariff.rules:
        rows = by_item.get(rule.bill_item.casefold(), []) if rule.bill_item else []
        if rows and rule.name in waived and rule.name not in charging:
            charged = total(row.charged for row in rows)
            yield Finding(
                CHARGED_WHILE_WAIVED,
                Severity.WARNING,
                _subject(rows[0]),
                Evidence(
                    f"charged {bill.currency} {money_text(charged)} for {_of(rows)}",
                    f"no charge: {waived[rule.name]}",
                    f"{bill.source} line {rows[0].line}",
                ),
                f"Ask the provider since when it charges the fee, then end the waiver of {rule.name} on that day.",
            )
