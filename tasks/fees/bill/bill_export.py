"""The vendor's bill from a CSV export of its console (Expenses and Costs > Bill Details > Billable Item).

The console has several names for the same column: by the API's names (files in OSS,
https://www.alibabacloud.com/help/en/boa/latest/detailed-file-format), in English or Chinese words, and in newer bills
with the group before a slash. Columns that are not needed are skipped. For a needed column with an unknown name, the
problem shows the most similar name in the file.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from poolkeeper.tasks.fees.bill.vendor_bill import BILL_COLUMNS, EXPLAINING, Bill, BillInvalid, BillReader, BillRow
from poolkeeper.tasks.fees.csv_records import MAX_PROBLEMS, csv_records, csv_text, not_read_on, separator_problem
from poolkeeper.tasks.fees.periods import Period
from poolkeeper.tasks.fleet.problems import Problem, nearest
from poolkeeper.tasks.fleet.source import TextInvalid

_EXPORT = "Export the bill again: Expenses and Costs > Bill Details, statistic item Billable Item."

HEADINGS: Mapping[str, Sequence[str]] = {
    "InstanceID": ("Instance ID", "实例ID", "实例ID(出账粒度)"),
    "Currency": ("Pricing Currency", "币种", "定价币种"),
    "PretaxGrossAmount": ("Pretax Gross Amount", "Catalogue Gross Amount", "目录总价", "原价"),
    "PretaxAmount": ("Pretax Amount", "应付金额", "应付金额(含税)"),
    "BillingItem": ("Billing Item", "Billable Item", "Billable Item Name", "计费项", "计费项名称"),
    "BillingCycle": ("Billing Cycle", "Billing Month", "账期", "账单月份"),
    "BillingDate": ("Billing Date", "账单日期"),
    "BillingItemCode": ("Billing Item Code", "Billable Item Code", "计费项Code"),
    "ProductCode": ("Product Code", "产品Code"),
    "ProductName": ("Product Name", "产品", "产品名称"),
    "Item": ("Bill Type", "账单类型"),
    "InvoiceDiscount": ("Invoice Discount", "Discount Amount", "优惠金额"),
    "DeductedByCoupons": ("Deducted By Coupons", "优惠券抵扣", "优惠券抵扣金额"),
    "DeductedByResourcePackage": ("Deducted By Resource Package", "资源包抵扣"),
    "Usage": ("用量",),
    "UsageUnit": ("Usage Unit", "用量单位"),
    "ListPrice": ("List Price", "官网目录价", "单价"),
    "ListPriceUnit": ("List Price Unit", "Price Unit", "单价单位", "价格单位"),
}
"""Column of `DescribeInstanceBill` -> its names in exports."""


def _plain(heading: str) -> str:
    """A heading without the differences between exports: the group before a slash, blanks, case, widths."""
    words = unicodedata.normalize("NFKC", heading).rpartition("/")[2]
    return re.sub(r"[\s_]", "", words).casefold()


_KNOWN = {_plain(word): name for name, words in HEADINGS.items() for word in (name, *words)}


def bill_of_csv(path: Path, period: Period, currency: str) -> Bill:
    """The bill of a month in an export.

    currency: of the tariff that the bill is compared with
    Raises BillInvalid with every problem, by line.
    """
    try:
        text = csv_text(path, "--bill", "Export only one product or account.")
    except TextInvalid as error:
        raise BillInvalid(path.name, [error.problem]) from None
    reading = _Reading(BillReader(period, currency, f"Export only {period.name}."))
    reading.read(text)
    if reading.problems:
        raise BillInvalid(path.name, sorted(reading.problems))
    missing_columns = tuple(name for name in EXPLAINING if name not in reading.places)
    return Bill(period, currency, path.name, tuple(reading.rows), missing_columns)


class _Reading:
    """Reads one file: its rows, or its problems."""

    def __init__(self, reader: BillReader) -> None:
        self.rows: list[BillRow] = []
        self.problems: list[Problem] = []
        self.places: dict[str, int] = {}
        """Column -> its place in a line, from 0."""
        self._reader = reader
        self._heading: list[str] = []
        self._broken = False
        """Whether a line is not a record; then a file that ends within a line is not a further problem."""

    def read(self, text: str) -> None:
        """Every record of a text."""
        seen: dict[tuple[str, ...], int] = {}
        repeats: list[tuple[int, int]] = []
        for line, fields in csv_records(text, _EXPORT):
            if len(self.problems) >= MAX_PROBLEMS:
                self.problems.append(not_read_on(line))
                return
            if isinstance(fields, Problem):
                self._broken = True
                self.problems.append(fields)
            elif not self._heading:
                self._heading = fields
                self._read_heading(fields, line)
                if self.problems:
                    return
            elif fields == self._heading:
                self._problem(line, "", "the headings are repeated here.", f"The file contains two exports. {_EXPORT}")
            elif len(fields) != len(self._heading):
                self._broken = True
                self._problem(
                    line,
                    "",
                    f"this line has {len(fields)} values for {len(self._heading)} columns: it is incomplete.",
                    _EXPORT,
                )
            elif (first := seen.setdefault(tuple(fields), line)) != line:
                repeats.append((line, first))
            else:
                self._read_row(fields, line)
        self._add_repeats(repeats)
        for line, wrong in self._reader.others():
            self._problem(line, wrong.column, wrong.message, wrong.fix)
        if not self._heading:
            self._problem(1, "", "the file is empty.", _EXPORT)
        elif not text.endswith("\n") and not self._broken:
            # lost digits at the end of the last amount cannot be found in any other way
            self._problem(
                text.count("\n") + 1,
                "",
                "the file ends in the middle of a line: it is incomplete.",
                f"{_EXPORT} If nothing is missing, end the last line with a line break.",
            )
        elif len(seen) == 0 and not self.problems:
            self._problem(1, "", "there are headings, but no rows.", _EXPORT)

    def _read_heading(self, fields: list[str], line: int) -> None:
        if separated := separator_problem(fields, line):
            self.problems.append(separated)
            return
        strange: list[str] = []
        for place, heading in enumerate(fields):
            name = _KNOWN.get(_plain(heading))
            if name is None:
                strange.append(heading.strip()[:60])
            elif name in self.places:
                self._problem(
                    line, name, f"two columns are {name}: one of them is {heading.strip()[:60]}.", "Delete one of them."
                )
            else:
                self.places[name] = place
        needed = [name for name, column in BILL_COLUMNS.items() if column.is_needed and name not in self.places]
        if "BillingCycle" not in self.places and "BillingDate" not in self.places:
            needed.append("BillingCycle")
        if "BillingItemCode" in self.places and "BillingItem" in needed:
            needed.remove("BillingItem")
        for name in needed:
            similar = nearest(name, strange) if strange else ""
            asked = similar if similar.startswith("Did you mean") else "It may have another name."
            self._problem(
                line,
                name,
                f"there is no column {name} ({', '.join(HEADINGS[name])}).",
                f"{asked} Rename it to {name}, or add the column in the console and export again.",
            )

    def _read_row(self, fields: list[str], line: int) -> None:
        found = self._reader.read({name: fields[place] for name, place in self.places.items()}, line)
        if isinstance(found, BillRow):
            self.rows.append(found)
            return
        for wrong in found:
            self._problem(line, wrong.column, wrong.message, wrong.fix)

    def _add_repeats(self, repeats: list[tuple[int, int]]) -> None:
        """The problems of repeated lines: one problem for each block of them."""
        blocks: list[list[int]] = []
        for line, first in repeats:
            if blocks and blocks[-1][1] + 1 == line and blocks[-1][3] + 1 == first:
                blocks[-1][1], blocks[-1][3] = line, first
            else:
                blocks.append([line, line, first, first])
        for start, end, first, last in blocks:
            message = (
                f"this line repeats line {first}."
                if start == end
                else f"lines {start} to {end} repeat lines {first} to {last}: the file has a page twice."
            )
            fix = f"{_EXPORT} If both were charged, include a column in which they differ."
            self._problem(start, "", message, fix)

    def _problem(self, line: int, column: str, message: str, fix: str) -> None:
        self.problems.append(Problem(line, 1, column, message, fix))
