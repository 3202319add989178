"""The vendor's bill from a CSV export of its console (Expenses and Costs > Bill Details > Billable Item).

The console names the same columns in several ways: by the API's names (files that are subscribed to in OSS,
https://www.alibabacloud.com/help/en/boa/latest/detailed-file-format), in English or Chinese words, and in newer bills
with the group before a slash. Columns that nobody asks for are passed over; one that is asked for and has another name
is told with the name that comes next.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from poolkeeper.tasks.fees.bill.vendor_bill import COLUMNS, TELLING, Bill, BillInvalid, BillReader, BillRow
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
"""The names of `DescribeInstanceBill` -> what exports call the same."""


def _plain(heading: str) -> str:
    """A heading without what differs from export to export: the group before a slash, blanks, case, widths."""
    words = unicodedata.normalize("NFKC", heading).rpartition("/")[2]
    return re.sub(r"[\s_]", "", words).casefold()


_KNOWN = {_plain(word): name for name, words in HEADINGS.items() for word in (name, *words)}


def bill_of_csv(path: Path, period: Period, currency: str) -> Bill:
    """The bill of a month that an export holds.

    currency: of the tariff that it is compared with. Raises BillInvalid with every problem, by line.
    """
    try:
        text = csv_text(path, "--bill", "Export one product or account alone.")
    except TextInvalid as error:
        raise BillInvalid(path.name, [error.problem]) from None
    reading = _Reading(BillReader(period, currency, f"Export {period.name} alone."))
    reading.read(text)
    if reading.problems:
        raise BillInvalid(path.name, sorted(reading.problems))
    untold = tuple(name for name in TELLING if name not in reading.places)
    return Bill(period, currency, path.name, tuple(reading.rows), untold)


class _Reading:
    """One file on its way to rows, or to problems."""

    def __init__(self, reader: BillReader) -> None:
        self.rows: list[BillRow] = []
        self.problems: list[Problem] = []
        self.places: dict[str, int] = {}
        """The columns that are read -> their places in a line."""
        self._reader = reader
        self._heading: list[str] = []
        self._broken = False
        """Whether a line was told that is no record; where the text ends is then no news."""

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
                self._problem(line, "", "the headings stand here again.", f"It is two exports in one. {_EXPORT}")
            elif len(fields) != len(self._heading):
                self._broken = True
                self._problem(
                    line,
                    "",
                    f"this line has {len(fields)} values for {len(self._heading)} columns: it is cut short or broken.",
                    _EXPORT,
                )
            elif (first := seen.setdefault(tuple(fields), line)) != line:
                repeats.append((line, first))
            else:
                self._read_row(fields, line)
        self._tell_repeats(repeats)
        for line, wrong in self._reader.others():
            self._problem(line, wrong.column, wrong.message, wrong.fix)
        if not self._heading:
            self._problem(1, "", "the file is empty.", _EXPORT)
        elif not text.endswith("\n") and not self._broken:
            # what is lost of an amount's last digits cannot be seen in any other way
            self._problem(
                text.count("\n") + 1,
                "",
                "the file ends in the middle of a line: it is cut short.",
                f"{_EXPORT} If nothing is missing, end the last line with a line break.",
            )
        elif len(seen) == 0 and not self.problems:
            self._problem(1, "", "there are headings and no rows.", _EXPORT)

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
                self._problem(line, name, f"two columns are {name}: {heading.strip()[:60]} is one.", "Delete one.")
            else:
                self.places[name] = place
        needed = [name for name, column in COLUMNS.items() if column.is_needed and name not in self.places]
        if "BillingCycle" not in self.places and "BillingDate" not in self.places:
            needed.append("BillingCycle")
        if "BillingItemCode" in self.places and "BillingItem" in needed:
            needed.remove("BillingItem")
        for name in needed:
            similar = nearest(name, strange) if strange else ""
            asked = similar if similar.startswith("Did you mean") else "Is it there by another name?"
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

    def _tell_repeats(self, repeats: list[tuple[int, int]]) -> None:
        """Lines that say every word of an earlier one, told as the blocks that they make."""
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
                else f"lines {start} to {end} repeat lines {first} to {last}: a page stands here twice."
            )
            fix = f"{_EXPORT} If both were charged, export with the column that tells them apart."
            self._problem(start, "", message, fix)

    def _problem(self, line: int, column: str, message: str, fix: str) -> None:
        self.problems.append(Problem(line, 1, column, message, fix))
