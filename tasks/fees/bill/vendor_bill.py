"""The vendor's bill as rows: the charge for each instance and billing item, in exact decimals.

The columns have the names of `DescribeInstanceBill` (BSS OpenAPI 2017-12-14). This page has their meaning; it also says
that list price, usage and the deduction by a resource package are given by billing item only:
https://www.alibabacloud.com/help/en/user-center/developer-reference/api-bssopenapi-2017-12-14-describeinstancebill
Invariant: a bill is read completely or not at all. A bill with a problem is not evidence in a dispute.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from poolkeeper.tasks.fees.csv_records import BadValue
from poolkeeper.tasks.fees.money import ZERO, total
from poolkeeper.tasks.fees.periods import Period, PeriodInvalid
from poolkeeper.tasks.fleet.problems import FileInvalid, Problem, quoted_value

MAX_DIGITS = 30
"""Digits of an amount, before and after the point; no bill needs more."""

ADJUSTING = frozenset({"Refund", "Adjustment"})
"""The kinds of rows that correct another month."""


class BillInvalid(FileInvalid):
    """A bill with problems. Nothing of it is used."""

    id = "fees.bill.invalid"
    expected = "the complete bill of one month in one currency"
    shown_by = "poolkeeper bill reconcile --bill FILE"


@dataclass(frozen=True, slots=True)
class BillRow:
    """One row: one instance, usually one billing item, one month or day. Amounts are in the currency of the bill."""

    instance_id: str
    """The id of the resource on the bill; empty for a charge without a resource."""
    product_code: str
    product_name: str
    item: str
    """The billing item, such as `ACK Pro Pricing`; its code when it has no name."""
    item_code: str
    kind: str
    """`PayAsYouGoBill`, `SubscriptionOrder`, `Refund` or `Adjustment`; empty when the bill does not have it."""
    day: date | None
    """In UTC+8; None in a monthly bill."""
    currency: str
    gross: Decimal
    """Usage at list price, before deductions."""
    discount: Decimal
    coupons: Decimal
    charged: Decimal
    """The amount to pay, before tax: `PretaxAmount`."""
    usage: Decimal | None
    """In `usage_unit`, summed over the month or day; None when the bill does not have it."""
    usage_unit: str
    list_price: Decimal | None
    list_price_unit: str
    by_package: Decimal | None
    """Usage that a resource package covers."""
    line: int
    """The line in the file, or the number of the row in the response of the API; from 1."""

    @property
    def adjusts(self) -> bool:
        """Whether it corrects another month."""
        return self.kind in ADJUSTING

    @property
    def is_discounted_to_nothing(self) -> bool:
        """Whether usage at a price above zero is discounted to 0, as a bill may show a waiver."""
        if self.charged or self.coupons or self.by_package:
            return False
        return self.gross > 0 or bool(self.list_price and self.usage and self.list_price > 0 and self.usage > 0)


@dataclass(frozen=True, slots=True)
class Bill:
    """All rows of one month in one currency."""

    period: Period
    currency: str
    source: str
    """The name of the file, or the call of the API."""
    rows: tuple[BillRow, ...]
    missing_columns: tuple[str, ...] = ()
    """The columns of `EXPLAINING` that the bill does not have."""

    @property
    def charged(self) -> Decimal:
        """The sum of all rows."""
        return total(row.charged for row in self.rows)

    @property
    def last_day(self) -> date | None:
        """The last day with a row in a daily bill; None in a monthly bill."""
        return max((row.day for row in self.rows if row.day), default=None)


class BillColumn(NamedTuple):
    """One column of a bill, and how it is read."""

    name: str
    field: str
    """The field of `BillRow`; empty for a column that is only compared."""
    is_needed: bool
    read: Callable[[Any], Any]
    """Raises ValueError("what is wrong|How to correct it.")."""
    absent: Any
    """The value for a cell that is empty or missing."""


# values: as in JSON, or as text


def _text(value: Any) -> str:
    if isinstance(value, dict | list | bool):
        raise ValueError("is not text|Read the bill again from its source.")
    return str(value).strip()


_NUMBER = re.compile(r"[-+]?[0-9]{1,30}(\.[0-9]{0,30})?([eE][-+]?[0-9]{1,2})?")
_NUMBER_FIX = (
    "Write it with a decimal point, without separators or a currency sign, like 1234.56; or export the bill again."
)


def amount(value: Any) -> Decimal:
    """An exact amount. Invariant: a float of the SDK is read by its printed digits, not by its binary fraction.

    Raises ValueError("what is wrong|How to correct it.").
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError(f"is not an amount|{_NUMBER_FIX}")
    text = str(value).strip()
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"is not an amount|{_NUMBER_FIX}")
    number = Decimal(text)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -MAX_DIGITS or number.adjusted() >= MAX_DIGITS:
        raise ValueError(f"has too many digits|{_NUMBER_FIX}")
    return number


def _day(value: Any) -> date:
    found = re.match(r"(\d{4})([-/]?)(\d{2})\2(\d{2})(?!\d)", _text(value))
    if not found:
        raise ValueError("is not a date|Write it like 2026-10-05.")
    try:
        return date(int(found[1]), int(found[3]), int(found[4]))
    except ValueError:
        raise ValueError("is not in the calendar|Correct the day or the month.") from None


def _month(value: Any) -> Period:
    found = re.fullmatch(r"(\d{4})[-/]?(\d{2})", _text(value))
    if not found:
        raise ValueError("is not a month|Write it like 2026-10.")
    try:
        return Period.of(f"{found[1]}-{found[2]}")
    except PeriodInvalid:
        raise ValueError("is not in the calendar|Correct the month.") from None


def _currency(value: Any) -> str:
    text = _text(value)
    if not re.fullmatch(r"[A-Z]{3}", text):
        raise ValueError("is not a currency|Write its code of three capital letters, like USD or CNY.")
    return text


BILL_COLUMNS: Mapping[str, BillColumn] = {
    column.name: column
    for column in (
        BillColumn("InstanceID", "instance_id", True, _text, ""),
        BillColumn("Currency", "currency", True, _currency, None),
        BillColumn("PretaxGrossAmount", "gross", True, amount, None),
        BillColumn("PretaxAmount", "charged", True, amount, None),
        BillColumn("BillingItem", "item", True, _text, ""),
        BillColumn("BillingCycle", "", False, _month, None),
        BillColumn("BillingDate", "day", False, _day, None),
        BillColumn("BillingItemCode", "item_code", False, _text, ""),
        BillColumn("ProductCode", "product_code", False, _text, ""),
        BillColumn("ProductName", "product_name", False, _text, ""),
        BillColumn("Item", "kind", False, _text, ""),
        BillColumn("InvoiceDiscount", "discount", False, amount, ZERO),
        BillColumn("DeductedByCoupons", "coupons", False, amount, ZERO),
        BillColumn("DeductedByResourcePackage", "by_package", False, amount, None),
        BillColumn("Usage", "usage", False, amount, None),
        BillColumn("UsageUnit", "usage_unit", False, _text, ""),
        BillColumn("ListPrice", "list_price", False, amount, None),
        BillColumn("ListPriceUnit", "list_price_unit", False, _text, ""),
    )
}

EXPLAINING = ("Usage", "ListPrice", "InvoiceDiscount", "DeductedByCoupons", "DeductedByResourcePackage")
"""Columns that explain a difference. Without them, a difference is found but not explained."""


class BillReader:
    """Reads the rows of one month in one currency, and collects their problems.

    A wrong month or currency is one problem, at the first row that has it.
    """

    def __init__(self, period: Period, currency: str, fix: str) -> None:
        """fix: how to get the bill of the right month"""
        self.period, self.currency = period, currency
        self._fix = fix
        self._others: dict[tuple[str, str], list[int]] = {}

    def read(self, values: Mapping[str, Any], line: int) -> BillRow | list[BadValue]:
        """One row. values: column -> value; None and empty text mean a missing value"""
        read: dict[str, Any] = {}
        wrong: list[BadValue] = []
        for name, column in BILL_COLUMNS.items():
            value = values.get(name)
            if value is None or (isinstance(value, str) and not value.strip()):
                read[name] = column.absent
                if column.is_needed and column.absent is None:
                    wrong.append(BadValue(name, f"{name} is empty.", "Export the bill again with this column."))
                continue
            try:
                read[name] = column.read(value)
            except ValueError as error:
                message, _, fix = str(error).partition("|")
                wrong.append(BadValue(name, f"{quoted_value(value)} {message}.", fix))
        if wrong:
            return wrong
        self._compare("Currency", read["Currency"], self.currency, line)
        day: date | None = read["BillingDate"]
        cycle: Period | None = read["BillingCycle"]
        month = cycle or (Period.month(day.year, day.month) if day else None)
        if month is not None:
            self._compare("BillingCycle", month.name, self.period.name, line)
        if day and cycle and not cycle.first <= day < cycle.after:
            return [BadValue("BillingDate", f"{day} is not in {cycle.name}.", "Export the bill again.")]
        fields = {column.field: read[name] for name, column in BILL_COLUMNS.items() if column.field}
        fields["item"] = fields["item"] or fields["item_code"]
        return BillRow(line=line, **fields)

    def _compare(self, column: str, found: str, expected: str, line: int) -> None:
        if found != expected:
            self._others.setdefault((column, found), []).append(line)

    def others(self) -> Iterable[tuple[int, BadValue]]:
        """The problems of wrong currencies and months, each at the first line that has it."""
        for (column, found), lines in self._others.items():
            rows = "this row is" if len(lines) == 1 else f"{len(lines)} rows, beginning with this one, are"
            if column == "Currency":
                fix = f"Use the bill of the account that pays in {self.currency}, or a tariff in {found}."
                yield lines[0], BadValue(column, f"{rows} in {found}, but the tariff is in {self.currency}.", fix)
            else:
                yield (
                    lines[0],
                    BadValue(column, f"{rows} of {found}, but the requested month is {self.period.name}.", self._fix),
                )


async def account_bills(
    ask: Callable[[str], Awaitable[Sequence[Mapping[str, Any]]]], month: Period, currency: str
) -> tuple[Bill, Bill | None]:
    """The bill of a month and the bill of the month before, which shows what is new; None when that one has no rows.

    ask: returns the rows of `DescribeInstanceBill` for a month like `2026-10`
    Raises BillInvalid.
    """
    found = [
        bill_of_items(await ask(one.name), one, currency, f"DescribeInstanceBill {one.name}")
        for one in (month, month.previous_month())
    ]
    return found[0], found[1] if found[1].rows else None


def bill_of_items(items: Sequence[Mapping[str, Any]], period: Period, currency: str, source: str) -> Bill:
    """The bill of rows of `DescribeInstanceBill`, as in its JSON.

    Raises BillInvalid with every problem; the line of a problem is the number of the row, from 1.
    """
    reader = BillReader(period, currency, "Call DescribeInstanceBill with BillingCycle of this month.")
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
    missing_columns = tuple(name for name in EXPLAINING if name not in present) if items else ()
    return Bill(period, currency, source, tuple(rows), missing_columns)
