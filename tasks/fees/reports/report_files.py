"""The files of a month: page, CSV file of all lines, FOCUS export, comparison with the vendor's bill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from poolkeeper.tasks.fees.bill.reconciliation import Reconciliation
from poolkeeper.tasks.fees.metering.statement import Statement
from poolkeeper.tasks.fees.reports.fees_page import page
from poolkeeper.tasks.fees.reports.focus import FOCUS_COLUMNS, focus_rows
from poolkeeper.tasks.fees.reports.month import Month
from poolkeeper.tasks.ledger import write_whole
from poolkeeper.tasks.pages.spreadsheet import csv_text


def write(month: Month, folder: Path) -> list[str]:
    """Write page, CSV file of all lines, FOCUS export, and the comparison with the bill, if any. Returns the paths."""
    name = f"fees-{month.statement.period.name}"
    files = {
        f"{name}.html": page(month),
        f"{name}.csv": csv_text(LINE_COLUMNS, line_rows(month.statement)),
        f"{name}-focus.csv": csv_text(FOCUS_COLUMNS, focus_rows(month.statement)),
    }
    if month.reconciliation:
        files[f"{name}-bill.csv"] = csv_text(COMPARED_COLUMNS, compared_rows(month.reconciliation))
    for file, text in files.items():
        write_whole(folder / file, text)
    return [str(folder / file) for file in files]


LINE_COLUMNS = (
    "id",
    "resource_id",
    "rule",
    "quantity",
    "unit",
    "unit_price",
    "list_price",
    "amount",
    "low",
    "high",
    "from",
    "to",
    "waiver",
    "gaps",
    "labels",
    "corrects",
    "because",
)


def line_rows(statement: Statement) -> list[dict[str, Any]]:
    """All lines as flat rows of text and numbers, by amount, highest first."""
    lines = sorted(statement.lines, key=lambda line: (-abs(line.amount), line.resource_id, line.id))
    rows = [line.row() for line in lines]
    return [{**row, "gaps": "; ".join(row["gaps"]), "labels": json.dumps(row["labels"])} for row in rows]


COMPARED_COLUMNS = (
    "verdict",
    "resource_id",
    "instance_id",
    "rule",
    "item",
    "adjustment",
    "metered",
    "billed",
    "difference",
    "explained",
    "reason",
    "lines",
    "bill_lines",
)


def compared_rows(found: Reconciliation) -> list[dict[str, Any]]:
    """All compared fees as flat rows of text and numbers: fees to dispute first, then by difference, highest first."""
    disputable = set(map(id, found.disputable))
    compared = sorted(
        found.compared, key=lambda one: (id(one) not in disputable, -abs(one.difference), one.resource_id)
    )
    rows = [one.row() for one in compared]
    return [{**row, **{key: " ".join(map(str, row[key])) for key in ("lines", "bill_lines")}} for row in rows]
