"""The vendor's bill as rows: whole, in exact decimals, or every reason why not, with its line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from poolkeeper.tasks.fees.bill.bill_export import bill_of_csv
from poolkeeper.tasks.fees.bill.vendor_bill import Bill, BillInvalid, account_bills, amount, bill_of_items
from poolkeeper.tasks.fees.periods import Period
from tests.unit.fees.billed import item
from tests.unit.fees.builders import OCTOBER

NAMES = ("BillingCycle", "InstanceID", "BillingItem", "PretaxGrossAmount", "PretaxAmount", "Currency", "Usage")
ROWS = [
    ["2026-10", "c1", "ACK Pro Pricing", "66.78", "66.78", "USD", "742"],
    ["2026-10", "i-1", "Instance", "10.5", "9.45", "USD", "744"],
    ["2026-10", "n1", "ACK Hybrid", "0", "0", "USD", "31"],
]


def text_of(rows: Iterable[Iterable[str]], names: Iterable[str] = NAMES) -> str:
    return "".join(",".join(row) + "\n" for row in [list(names), *rows])


def read(folder: Path, text: str | bytes) -> Bill:
    path = folder / "bill.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return bill_of_csv(path, OCTOBER, "USD")


def refused(folder: Path, text: str | bytes) -> list[str]:
    """Every problem as `line: message fix`."""
    with pytest.raises(BillInvalid) as caught:
        read(folder, text)
    return [f"{p.line}: {p.message} {p.fix}" for p in caught.value.problems]


def test_an_export(tmp_path: Path) -> None:
    bill = read(tmp_path, text_of(ROWS))
    assert [(row.instance_id, row.item, row.gross, row.charged, row.usage, row.line) for row in bill.rows] == [
        ("c1", "ACK Pro Pricing", Decimal("66.78"), Decimal("66.78"), Decimal(742), 2),
        ("i-1", "Instance", Decimal("10.5"), Decimal("9.45"), Decimal(744), 3),
        ("n1", "ACK Hybrid", Decimal(0), Decimal(0), Decimal(31), 4),  # no charge is a charge of nothing
    ]
    assert bill.charged == Decimal("76.23")
    assert bill.missing_columns == ("ListPrice", "InvoiceDiscount", "DeductedByCoupons", "DeductedByResourcePackage")


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(
            (
                "Billing Cycle",
                "Instance ID",
                "Billable Item",
                "pretax gross amount",
                "Pretax_Amount",
                "Currency",
                "Usage",
            ),
            id="English words",
        ),
        pytest.param(
            (
                "账单信息/账单月份",
                "资源信息/实例ID\uff08出账粒度\uff09",
                "产品信息/计费项名称",
                "费用信息/目录总价",
                "应付信息/应付金额\uff08含税\uff09",
                "定价信息/定价币种",
                "用量信息/用量",
            ),
            id="Chinese words with groups",
        ),
    ],
)
def test_what_other_exports_call_the_columns(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert read(tmp_path, text_of(ROWS, names)).rows == read(tmp_path, text_of(ROWS)).rows


def test_all_columns_of_an_english_export(tmp_path: Path) -> None:
    names = (
        "Billing Month", "Billing Date", "Instance ID", "Billable Item Name", "Billable Item Code", "Product Code",
        "Product Name", "Bill Type", "Pricing Currency", "Catalogue Gross Amount", "Pretax Amount", "Discount Amount",
        "Deducted By Coupons", "Deducted By Resource Package", "Usage", "Usage Unit", "List Price", "List Price Unit",
    )  # fmt: skip
    values = (
        "2026-10", "2026-10-05", "c1", "ACK Pro Pricing", "pro", "csk", "ACK", "PayAsYouGoBill", "USD", "9", "4", "3",
        "2", "1", "100", "Hour", "0.09", "USD/Hour",
    )  # fmt: skip
    bill = read(tmp_path, text_of([values], names))
    (row,) = bill.rows
    assert bill.missing_columns == ()
    assert (row.instance_id, row.day, row.item, row.item_code) == ("c1", date(2026, 10, 5), "ACK Pro Pricing", "pro")
    assert (row.product_code, row.product_name, row.kind, row.currency) == ("csk", "ACK", "PayAsYouGoBill", "USD")
    assert (row.gross, row.charged, row.discount, row.coupons, row.by_package) == (9, 4, 3, 2, 1)
    assert (row.usage, row.usage_unit, row.list_price, row.list_price_unit) == (
        100,
        "Hour",
        Decimal("0.09"),
        "USD/Hour",
    )


def test_a_byte_order_mark_quotes_and_dates_without_dashes(tmp_path: Path) -> None:
    text = '\ufeffInstanceID,BillingDate,BillingItemCode,PretaxGrossAmount,PretaxAmount,Currency\r\n"a\nb",20261005,x,1,1,USD\r\n'
    (row,) = read(tmp_path, text).rows
    assert (row.instance_id, row.day, row.item) == ("a\nb", date(2026, 10, 5), "x")


def changed(line: int, place: int, value: str) -> str:
    rows = [list(NAMES), *[list(row) for row in ROWS]]
    rows[line - 1][place] = value
    return text_of(rows[1:], rows[0])


@pytest.mark.parametrize(
    ("text", "line", "message", "fix"),
    [
        pytest.param("", 1, "the file is empty", "Export the bill again", id="empty"),
        pytest.param(text_of([]), 1, "headings, but no rows", "Export", id="no rows"),
        pytest.param(text_of(ROWS).replace(",", ";"), 1, "not separated by commas", "Save", id="semicolons"),
        pytest.param(
            changed(1, 4, "PretaxAmounts"),
            1,
            "no column PretaxAmount (Pretax Amount, 应付金额, 应付金额(含税))",
            "Did you mean PretaxAmounts? Rename it to PretaxAmount",
            id="renamed column",
        ),
        pytest.param(
            changed(1, 4, "Net"), 1, "no column PretaxAmount", "It may have another name", id="missing column"
        ),
        pytest.param(changed(1, 0, "Month"), 1, "no column BillingCycle", "Rename it", id="no month"),
        pytest.param(changed(1, 6, "Currency"), 1, "two columns are Currency", "Delete one", id="column twice"),
        pytest.param(text_of(ROWS)[:-3], 4, "in the middle of a line", "Export", id="cut in the last value"),
        pytest.param(text_of(ROWS)[:-9], 4, "5 values for 7 columns", "Export", id="cut between values"),
        pytest.param(text_of(ROWS) + '2026-10,"c2', 5, "a quote begins here", "Export", id="cut in a quote"),
        pytest.param(changed(3, 5, "CNY"), 3, "this row is in CNY, but the tariff is in USD", "Use", id="currency"),
        pytest.param(changed(3, 5, "$"), 3, "'$' is not a currency", "three capital letters", id="sign of a currency"),
        pytest.param(
            changed(3, 0, "2026-09"), 3, "is of 2026-09, but the requested month is 2026-10", "Export", id="month"
        ),
        pytest.param(changed(3, 0, "2026-13"), 3, "is not in the calendar", "Correct", id="thirteenth month"),
        pytest.param(
            changed(3, 4, "1.234,5".replace(",", " ")), 3, "is not an amount", "with a decimal point", id="separators"
        ),
        pytest.param(changed(3, 4, ""), 3, "PretaxAmount is empty", "Export", id="no amount"),
        pytest.param(changed(3, 4, "NaN"), 3, "'NaN' is not an amount", "with a decimal point", id="not a number"),
        pytest.param(changed(3, 4, "1e99"), 3, "too many digits", "with a decimal point", id="beyond all amounts"),
        pytest.param(text_of([*ROWS, ROWS[1]]), 5, "this line repeats line 3", "Export", id="repeated line"),
        pytest.param(
            text_of([*ROWS, *ROWS]),
            5,
            "lines 5 to 7 repeat lines 2 to 4: the file has a page twice",
            "",
            id="repeated page",
        ),
        pytest.param(text_of([*ROWS, list(NAMES)]), 5, "headings are repeated here", "two exports", id="two exports"),
        pytest.param(text_of(ROWS).encode("utf-16"), 1, "the file is UTF-16", "UTF-8", id="UTF-16"),
    ],
)
def test_a_bill_that_is_not_whole(tmp_path: Path, text: str | bytes, line: int, message: str, fix: str) -> None:
    (problem,) = refused(tmp_path, text)
    assert problem.startswith(f"{line}: ")
    assert message in problem
    assert fix in problem


def test_every_problem_at_once(tmp_path: Path) -> None:
    rows = [[*row[:5], "CNY", row[6]] for row in ROWS]
    rows[1][3] = "?"
    assert [problem.split(": ")[0] for problem in refused(tmp_path, text_of(rows))] == ["2", "3"]


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(BillInvalid, match=r"there is no file .* Name a file with --bill"):
        bill_of_csv(tmp_path / "bill.csv", OCTOBER, "USD")


def test_cut_anywhere_it_is_refused_unless_a_whole_line_is_gone(tmp_path: Path) -> None:
    text = text_of(ROWS)
    for end in range(len(text)):
        if text[:end].endswith("\n") and text[:end].count("\n") > 1:
            assert read(tmp_path, text[:end]).rows
        else:
            assert refused(tmp_path, text[:end])


# rows of the API


def test_floats_are_what_they_print_as() -> None:
    answer = json.loads(json.dumps([item("c1", gross=66.78, charged=0.1), item("c2", gross=1e-05, charged=0.2)]))
    bill = bill_of_items(answer, OCTOBER, "USD", "DescribeInstanceBill")
    assert [row.gross for row in bill.rows] == [Decimal("66.78"), Decimal("0.00001")]
    assert bill.charged == Decimal("0.3")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"PretaxAmount": float("nan")}, "nan is not an amount", id="not a number"),
        pytest.param({"PretaxAmount": True}, "True is not an amount", id="truth"),
        pytest.param({"PretaxAmount": [1]}, "a list is not an amount", id="list"),
        pytest.param({"PretaxAmount": None}, "PretaxAmount is empty", id="nothing"),
        pytest.param({"InstanceID": {"id": "x"}}, "a block of keys is not text", id="no text"),
        pytest.param({"Currency": "JPY"}, "this row is in JPY, but the tariff is in USD", id="currency"),
        pytest.param({"BillingDate": "2026-09-30"}, "is of 2026-09, but the requested month is 2026-10", id="month"),
    ],
)
def test_rows_that_are_none(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BillInvalid) as caught:
        bill_of_items([item("c1"), item("c2") | changes], OCTOBER, "USD", "the API")
    (problem,) = caught.value.problems
    assert problem.line == 2
    assert message in problem.message
    assert problem.fix


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.1, "0.1"), (1e-07, "0.0000001"), (3, "3"), ("0.090000", "0.09"), (" 7 ", "7"), (-2.5, "-2.5")],
)
def test_amounts(value: Any, expected: str) -> None:
    assert amount(value) == Decimal(expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"gross": 31.0, "charged": 0.0, "discount": 31.0}, True, id="a discount takes all"),
        pytest.param(
            {"gross": 0.0, "charged": 0.0, "usage": "31", "price": "1"}, True, id="used at a price, no charge"
        ),
        pytest.param({"gross": 0.0, "charged": 0.0, "usage": "31", "price": "0"}, False, id="no price"),
        pytest.param({"gross": 0.0, "charged": 0.0}, False, id="nothing at all"),
        pytest.param({"gross": 31.0, "charged": 0.0, "coupons": 31.0}, False, id="a coupon paid"),
        pytest.param({"gross": 31.0, "charged": 0.0, "package": "31"}, False, id="a package paid"),
        pytest.param({"gross": 31.0, "charged": 1.0, "discount": 30.0}, False, id="some is left"),
    ],
)
def test_what_a_waiver_looks_like(changes: dict[str, Any], expected: bool) -> None:
    (row,) = bill_of_items([item("n1", **changes)], OCTOBER, "USD", "the API").rows
    assert row.is_discounted_to_nothing is expected


def test_an_export_with_every_column_reads_as_the_api(tmp_path: Path) -> None:
    row = item("c1", day="2026-10-05", gross=2.16, charged=1.08, discount=1.08, usage="24", price="0.09", package="0")
    path = tmp_path / "bill.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    (of_file,), (of_api,) = bill_of_csv(path, OCTOBER, "USD").rows, bill_of_items([row], OCTOBER, "USD", "the API").rows
    assert replace(of_file, line=1) == replace(of_api, line=1)


@pytest.mark.parametrize("has_earlier", [True, False], ids=["with the month before", "an account that is new"])
async def test_the_account_s_bills(has_earlier: bool) -> None:
    asked = []

    async def ask(cycle: str) -> list[dict[str, Any]]:
        asked.append(cycle)
        return [item("c1", gross=1.0, charged=1.0)] if has_earlier or cycle == "2026-01" else []

    bill, before = await account_bills(ask, Period.month(2026, 1), "USD")
    assert asked == ["2026-01", "2025-12"]
    assert (bill.period.name, bill.charged, bill.source) == ("2026-01", 1, "DescribeInstanceBill 2026-01")
    assert (before.period.name if before else None) == ("2025-12" if has_earlier else None)
