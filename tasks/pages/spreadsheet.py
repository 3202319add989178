"""Rows as CSV, for spreadsheets and for programs. What hosts and people have written is no formula there."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence

from poolkeeper.tasks.outcomes import visible

_SEPARATOR = re.compile(r"([;\t\n])")
"""Where another cell may begin inside a text: spreadsheets that separate by semicolons or tabs split there."""
_FORMULA = re.compile(r"[ ]*(?!-[0-9]+(?:\.[0-9]+)?\Z)[=+\-@\uff1d\uff0b\uff0d\uff20]")
"""What a spreadsheet would calculate; the last four signs are full-width ones. A number is no formula."""


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """A line of the columns' names and a line a row; what a row does not have is empty.

    An apostrophe before a formula makes it a text; what would act or hide is shown as its code, as everywhere. Raises
    ValueError for a row that has more than the columns.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({column: _no_formula(value) for column, value in row.items()} for row in rows)
    return visible(text.getvalue())


def _no_formula(value: object) -> object:
    if not isinstance(value, str):
        return value
    return "".join(f"'{part}" if _FORMULA.match(part) else part for part in _SEPARATOR.split(value))
