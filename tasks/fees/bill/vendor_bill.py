"""The vendor's bill as rows: what was charged for which instance and billing item, in exact decimals.

Columns have the names of `DescribeInstanceBill` (BSS OpenAPI 2017-12-14). Their meaning, and that list price, usage and
what a resource package paid for are told only per billing item:
https://www.alibabacloud.com/help/en/user-center/developer-reference/api-bssopenapi-2017-12-14-describeinstancebill
A bill is read whole or not at all: one in which anything is wrong is no evidence in a dispute.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from poolkeeper.tasks.fees.money import ZERO, total
from poolkeeper.tasks.fees.periods import Period, PeriodInvalid
from poolkeeper.tasks.fleet.problems import FileInvalid, Problem, quoted_value

MAX_DIGITS = 30
"""Of an amount, before and after the point; no bill needs more."""

ADJUSTING = frozenset({"Refund", "Adjustment"})
"""Kinds of rows that correct another month."""


class BillInvalid(FileInvalid):
    """A bill with problems; nothing of it is used."""

    shown_by = "poolkeeper bill reconcile --bill FILE"


@dataclass(frozen=True, slots=True)
class BillRow:
    """One row: one instance, mostly one billing item, one month or day. Amounts are in the bill's currency."""

    instance_id: str
    """What the bill calls the resource; empty where a charge belongs to none."""
    product_code: str
    product_name: str
    item: str
    """The billing item, such as `ACK Pro Pricing`; its code where it has no name."""
    item_code: str
    kind: str
    """`PayAsYouGoBill`, `SubscriptionOrder`, `Refund` or `Adjustment`; empty where the bill does not tell."""
    day: date | None
    """In UTC+8; None in a bill by month."""
    currency: str
    gross: Decimal
    """Usage at list price, before anything is taken off."""
    discount: Decimal
    coupons: Decimal
    charged: Decimal
    """What is to be paid for it, before tax: `PretaxAmount`."""
    usage: Decimal | None
    """In `usage_unit`, summed over the month or day; None where the bill does not tell."""
    usage_unit: str
    list_price: Decimal | None
    list_price_unit: str
    by_package: Decimal | None
    """Usage that a resource package paid for."""
    line: int
    """Of the file, or the row's number in an answer of the API; from 1."""

    @property
    def adjusts(self) -> bool:
        """Whether it corrects another month."""
        return self.kind in ADJUSTING

    @property
    def is_discounted_to_nothing(self) -> bool:
        """Used, at a price above zero, and all of it taken off as a discount: how a waiver looks on a bill."""
        if self.charged or self.coupons or self.by_package:
            return False
        return self.gross > 0 or bool(self.list_price and self.usage and self.list_price > 0 and self.usage > 0)


@dataclass(frozen=True, slots=True)
class Bill:
    """All rows of one month in one currency."""

    period: Period
    currency: str
    source: str
    """The file's name, or how the API was asked."""
    rows: tuple[BillRow, ...]
    untold: tuple[str, ...] = ()
    """Columns that would say more, and are not there."""

    @property
    def charged(self) -> Decimal:
        """What all rows come to."""
        return total(row.charged for row in self.rows)

    @property
    def last_day(self) -> date | None:
        """The last day that a bill by day tells of; None in a bill by month."""
        return max((row.day for row in self.rows if row.day), default=None)


class Wrong(NamedTuple):
    """One value that cannot be used, before its place is known."""

    column: str
    message: str
    fix: str


class Column(NamedTuple):
    """One column that is read, and whether a bill can do without it."""

    name: str
    field: str
    """Of `BillRow`; empty for what is only compared."""
    is_needed: bool
    read: Callable[[Any], Any]
    """Raises ValueError("what is wrong|How to mend it.")."""
    absent: Any
    """What stands for a value that is empty or not there."""


# values: either as JSON gives them or as text


def _text(value: Any) -> str:
    if isinstance(value, dict | list | bool):
        raise ValueError("is no text|Read the bill again from its source.")
    return str(value).strip()


_NUMBER = re.compile(r"[-+]?[0-9]{1,30}(\.[0-9]{0,30})?([eE][-+]?[0-9]{1,2})?")
_NUMBER_FIX = (
    "Write it with a point and without separators or signs of currency, like 1234.56; or export the bill again."
)


def amount(value: Any) -> Decimal:
    """An amount by its text: a float of the SDK is what it prints as, never the binary fraction that it holds.

    Raises ValueError("what is wrong|How to mend it.").
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError(f"is no amount|{_NUMBER_FIX}")
    text = str(value).strip()
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"is no amount|{_NUMBER_FIX}")
    number = Decimal(text)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -MAX_DIGITS or number.adjusted() >= MAX_DIGITS:
        raise ValueError(f"has more digits than any amount|{_NUMBER_FIX}")
    return number


def _day(value: Any) -> date:
    found = re.match(r"(\d{4})([-/]?)(\d{2})\2(\d{2})(?!\d)", _text(value))
    if not found:
        raise ValueError("is no date|Write it like 2026-10-05.")
    try:
        return date(int(found[1]), int(found[3]), int(found[4]))
    except ValueError:
        raise ValueError("is not in the calendar|Correct the day or the month.") from None


def _month(value: Any) -> Period:
    found = re.fullmatch(r"(\d{4})[-/]?(\d{2})", _text(value))
    if not found:
        raise ValueError("is no month|Write it like 2026-10.")
    try:
        return Period.of(f"{found[1]}-{found[2]}")
    except PeriodInvalid:
        raise ValueError("is not in the calendar|Correct the month.") from None


def _currency(value: Any) -> str:
    text = _text(value)
    if not re.fullmatch(r"[A-Z]{3}", text):
        raise ValueError("is no currency|Write its code of three capital letters, like USD or CNY.")
    return text


COLUMNS: Mapping[str, Column] = {
    column.name: column
    for column in (
        Column("InstanceID", "instance_id", True, _text, ""),
        Column("Currency", "currency", True, _currency, None),
        Column("PretaxGrossAmount", "gross", True, amount, None),
        Column("PretaxAmount", "charged", True, amount, None),
        Column("BillingItem", "item", True, _text, ""),
        Column("BillingCycle", "", False, _month, None),
        Column("BillingDate", "day", False, _day, None),
        Column("BillingItemCode", "item_code", False, _text, ""),
        Column("ProductCode", "product_code", False, _text, ""),
        Column("ProductName", "product_name", False, _text, ""),
        Column("Item", "kind", False, _text, ""),
        Column("InvoiceDiscount", "discount", False, amount, ZERO),
        Column("DeductedByCoupons", "coupons", False, amount, ZERO),
        Column("DeductedByResourcePackage", "by_package", False, amount, None),
        Column("Usage", "usage", False, amount, None),
        Column("UsageUnit", "usage_unit", False, _text, ""),
        Column("ListPrice", "list_price", False, amount, None),
        Column("ListPriceUnit", "list_price_unit", False, _text, ""),
    )
}

TELLING = ("Usage", "ListPrice", "InvoiceDiscount", "DeductedByCoupons", "DeductedByResourcePackage")
"""Columns without which a difference is seen and not explained."""


class BillReader:
    """Rows of one month's bill in one currency; collects what is wrong with them.

    A month or a currency that is another one is told once, at the first row that has it.
    """

    def __init__(self, period: Period, currency: str, fix: str) -> None:
        """fix: how to get the right month"""
        self.period, self.currency = period, currency
        self._fix = fix
        self._others: dict[tuple[str, str], list[int]] = {}

    def read(self, values: Mapping[str, Any], line: int) -> BillRow | list[Wrong]:
        """One row by the columns' names; a value that is None or empty text is not there."""
        read: dict[str, Any] = {}
        wrong: list[Wrong] = []
        for name, column in COLUMNS.items():
            value = values.get(name)
            if value is None or (isinstance(value, str) and not value.strip()):
                read[name] = column.absent
                if column.is_needed and column.absent is None:
                    wrong.append(Wrong(name, f"{name} is empty.", "Export the bill again with this column."))
                continue
            try:
                read[name] = column.read(value)
            except ValueError as error:
                message, _, fix = str(error).partition("|")
                wrong.append(Wrong(name, f"{quoted_value(value)} {message}.", fix))
        if wrong:
            return wrong
        self._compare("Currency", read["Currency"], self.currency, line)
        day: date | None = read["BillingDate"]
        cycle: Period | None = read["BillingCycle"]
        month = cycle or (Period.month(day.year, day.month) if day else None)
        if month is not None:
            self._compare("BillingCycle", month.name, self.period.name, line)
        if day and cycle and not cycle.first <= day < cycle.after:
            return [Wrong("BillingDate", f"{day} is not in {cycle.name}.", "Export the bill again.")]
        fields = {column.field: read[name] for name, column in COLUMNS.items() if column.field}
        fields["item"] = fields["item"] or fields["item_code"]
        return BillRow(line=line, **fields)

    def _compare(self, column: str, found: str, expected: str, line: int) -> None:
        if found != expected:
            self._others.setdefault((column, found), []).append(line)

    def others(self) -> Iterable[tuple[int, Wrong]]:
        """Currencies and months that are not the bill's, each at the first line that has it."""
        for (column, found), lines in self._others.items():
            rows = "this row is" if len(lines) == 1 else f"{len(lines)} rows from this one on are"
            if column == "Currency":
                fix = f"Take the bill of the account that pays in {self.currency}, or a tariff in {found}."
                yield lines[0], Wrong(column, f"{rows} in {found}, and the tariff is in {self.currency}.", fix)
            else:
                yield lines[0], Wrong(column, f"{rows} of {found}, and asked for is {self.period.name}.", self._fix)


async def account_bills(
    ask: Callable[[str], Awaitable[Sequence[Mapping[str, Any]]]], month: Period, currency: str
) -> tuple[Bill, Bill | None]:
    """A month's bill, and that of the month before, by which it is seen what is new; None where that has no rows.

    ask: gives the rows of `DescribeInstanceBill` for a month like `2026-10`. Raises BillInvalid.
    """
    found = [
        bill_of_items(await ask(one.name), one, currency, f"DescribeInstanceBill {one.name}")
        for one in (month, month.previous_month())
    ]
    return found[0], found[1] if found[1].rows else None


def bill_of_items(items: Sequence[Mapping[str, Any]], period: Period, currency: str, source: str) -> Bill:
    """The bill that the rows of `DescribeInstanceBill` make, as JSON gave them.

    Raises BillInvalid with every problem; their lines are the rows' numbers, from 1.
    """
    reader = BillReader(period, currency, "Ask again with this month as BillingCycle.")
    rows: list[BillRow] = []
    problems: list[Problem] = []
    for number, item in enumerate(items, start=1):
        found = reader.read(item, number)
        if isinstance(found, BillRow):
            rows.append(found)
        else:
            problems += [Problem(number, 1, wrong.column, wrong.message, wrong.fix, is_ours=True) for wrong in found]
    problems += [
        Problem(line, 1, wrong.column, wrong.message, wrong.fix, is_ours=True) for line, wrong in reader.others()
    ]
    if problems:
        raise BillInvalid(source, sorted(problems))
    present = {name for item in items for name, value in item.items() if value is not None}
    untold = tuple(name for name in TELLING if name not in present) if items else ()
    return Bill(period, currency, source, tuple(rows), untold)
