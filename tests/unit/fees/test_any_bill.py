"""A bill that differs from a statement in known ways is reconciled to exactly these, whatever the statement is."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolkeeper.tasks.fees.bill.bill_export import bill_of_csv
from poolkeeper.tasks.fees.bill.reconciliation import FeeVerdict, Reconciliation, reconcile
from poolkeeper.tasks.fees.bill.vendor_bill import BillInvalid
from poolkeeper.tasks.fees.metering.statement import Statement
from poolkeeper.tasks.fees.money import EXACT, money_text
from poolkeeper.tasks.fees.tariff.tariff_file import tariff_of
from tests.unit.fees.builders import OCTOBER, metered
from tests.unit.fees.random_usage import rows

LATER = datetime(2026, 12, 1, tzinfo=UTC)
ITEMS = {"clusters": "ACK Pro Pricing", "nodes": "Node Management"}
_PRICES = "prices: [{from: 2020-01-01, price: %s, source: test, dated: 2026-01-01}]"
TARIFF, _PROBLEMS = tariff_of(
    "tariff: test\ntitle: a test\ncurrency: USD\nregion: anywhere\nrounding: {of: none}\nrules:\n"
    "  clusters:\n    title: clusters\n    bill_item: ACK Pro Pricing\n    unit: per_cluster_hour\n"
    f"    counts: clock_hours_inside\n    {_PRICES % '0.09'}\n"
    "  nodes:\n    title: nodes\n    bill_item: Node Management\n    unit: per_node_day\n"
    f"    counts: calendar_days_started\n    {_PRICES % '0.333'}\n"
)
BILL_COLUMNS = (
    "BillingCycle",
    "InstanceID",
    "ProductCode",
    "BillingItem",
    "PretaxGrossAmount",
    "PretaxAmount",
    "Currency",
)
NEEDED = ("BillingCycle", "InstanceID", "BillingItem", "PretaxGrossAmount", "PretaxAmount", "Currency")

Line = tuple[str, str]
"""Resource and rule."""


@dataclass
class Edited:
    """A bill, and what was done to it."""

    rows: list[dict[str, str]]
    verdicts: dict[Line, tuple[FeeVerdict, Decimal]] = field(default_factory=dict)
    """Each fee's verdict, and what the bill has more."""
    resources: dict[str, Decimal] = field(default_factory=dict)
    """Cloud resources and what they are charged."""
    others: dict[str, Decimal] = field(default_factory=dict)
    """Other clusters, likewise."""

    def text(self) -> str:
        """As an export."""
        out = io.StringIO()
        writer = csv.DictWriter(out, BILL_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return out.getvalue()


def row(resource: str, item: str, amount: Decimal, product: str = "csk") -> dict[str, str]:
    text = money_text(amount)
    return dict(zip(BILL_COLUMNS, ("2026-10", resource, product, item, text, text, "USD"), strict=True))


_cents = st.integers(1, 100_000).map(lambda cents: Decimal(cents).scaleb(-2))


@st.composite
def edited(draw: st.DrawFn) -> tuple[Statement, Edited]:
    """A statement of random usage, and its bill with some lines dropped, changed and added."""
    assert TARIFF is not None, _PROBLEMS
    statement = metered(draw(rows()), TARIFF, OCTOBER)
    bill = Edited([])
    for line in statement.lines:
        key, item = (line.resource_id, line.rule), ITEMS[line.rule]
        edit = draw(st.sampled_from(["keep", "keep", "drop", "more", "less"]))
        if edit == "drop":
            bill.verdicts[key] = FeeVerdict.NOT_BILLED, line.amount.copy_negate()
            continue
        by = Decimal(0) if edit == "keep" else draw(_cents).copy_sign(1 if edit == "more" else -1)
        bill.rows.append(row(line.resource_id, item, EXACT.add(line.amount, by)))
        bill.verdicts[key] = (FeeVerdict.DIFFERS if by else FeeVerdict.AGREES), by
    for number, what in enumerate(draw(st.lists(st.sampled_from(["node", "cloud", "cluster"]), max_size=4))):
        amount = draw(_cents)
        if what == "node":
            bill.rows.append(row(f"x{number}", ITEMS["nodes"], amount))
            bill.verdicts[f"x{number}", "nodes"] = FeeVerdict.NOT_METERED, amount
        elif what == "cluster":
            bill.rows.append(row(f"other{number}", ITEMS["clusters"], amount))
            bill.others[f"other{number}"] = amount
        else:
            bill.rows.append(row(f"lb{number}", "LCU", amount, "slb"))
            bill.resources[f"lb{number}"] = amount
    # an export without rows is no bill
    bill.rows.append(row("lb", "LCU", Decimal("3.10"), "slb"))
    bill.resources["lb"] = Decimal("3.10")
    bill.rows = draw(st.permutations(bill.rows))
    return statement, bill


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bills") / "bill.csv"


any_bill = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def reconciled(export: Path, statement: Statement, text: str) -> Reconciliation:
    export.write_text(text)
    ours = frozenset(line.resource_id for line in statement.lines if line.kind == "cluster")
    return reconcile(statement, bill_of_csv(export, OCTOBER, "USD"), read_at=LATER, clusters=ours)


@any_bill
@given(edited())
def test_exactly_the_edited_rows_differ(export: Path, made: tuple[Statement, Edited]) -> None:
    statement, bill = made
    found = reconciled(export, statement, bill.text())
    verdicts = {(one.resource_id, one.rule): (one.verdict, one.difference) for one in found.compared}
    assert verdicts == bill.verdicts
    assert {one.instance_id: one.charged for one in found.resources} == bill.resources
    assert {one.instance_id: one.charged for one in found.other_clusters} == bill.others
    untouched = {key for key, (verdict, _) in bill.verdicts.items() if verdict is FeeVerdict.AGREES}
    assert {(one.resource_id, one.rule) for one in found.compared if not one.reason} == untouched
    assert all(one.difference for one in found.disputable)


@any_bill
@given(edited(), st.data())
def test_a_repeated_page_is_reported_with_its_lines(
    export: Path, made: tuple[Statement, Edited], data: st.DataObject
) -> None:
    statement, bill = made
    head, *lines = bill.text().splitlines(keepends=True)
    first = data.draw(st.integers(0, len(lines) - 1))
    last = data.draw(st.integers(first, len(lines) - 1))
    with pytest.raises(BillInvalid) as caught:
        reconciled(export, statement, "".join([head, *lines, *lines[first : last + 1]]))
    (problem,) = caught.value.problems
    assert problem.line == len(lines) + 2
    places = f"lines {first + 2} to {last + 2}" if last > first else f"line {first + 2}"
    assert places in problem.message


@any_bill
@given(edited(), st.sampled_from(NEEDED))
def test_a_column_with_another_name_is_reported(export: Path, made: tuple[Statement, Edited], column: str) -> None:
    statement, bill = made
    with pytest.raises(BillInvalid) as caught:
        reconciled(export, statement, bill.text().replace(column, "Strange", 1))
    (problem,) = caught.value.problems
    assert (problem.line, problem.path) == (1, column)
    assert problem.fix


@any_bill
@given(edited(), st.data())
def test_rows_in_another_currency_are_reported_once_with_their_number(
    export: Path, made: tuple[Statement, Edited], data: st.DataObject
) -> None:
    statement, bill = made
    chosen = data.draw(st.sets(st.integers(0, len(bill.rows) - 1), min_size=1))
    for number in chosen:
        bill.rows[number] = bill.rows[number] | {"Currency": "CNY"}
    with pytest.raises(BillInvalid) as caught:
        reconciled(export, statement, bill.text())
    (problem,) = caught.value.problems
    assert (problem.line, problem.path) == (min(chosen) + 2, "Currency")
    rows_ = "this row is" if len(chosen) == 1 else f"{len(chosen)} rows, beginning with this one, are"
    assert problem.message == f"{rows_} in CNY, but the tariff is in USD."


@any_bill
@given(edited(), st.data())
def test_a_file_that_is_cut_short_is_never_taken_for_a_bill(
    export: Path, made: tuple[Statement, Edited], data: st.DataObject
) -> None:
    statement, bill = made
    text = bill.text()
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    if cut.endswith("\n") and cut.count("\n") > 1:
        return  # cut between two lines, which no reader can see: its lines are not billed
    with pytest.raises(BillInvalid):
        reconciled(export, statement, cut)
