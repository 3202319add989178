"""Rows as CSV: what is a formula to no spreadsheet, and reads back as what it was."""

from __future__ import annotations

import csv
import re

import pytest

from poolkeeper.tasks.pages.spreadsheet import csv_text


def read_back(text: str) -> str:
    """A text in the middle of a row, as a program reads it back."""
    (row,) = csv.DictReader(csv_text(("a", "b", "c"), [{"a": "1", "b": text, "c": "2"}]).splitlines(keepends=True))
    assert (row["a"], row["c"]) == ("1", "2")
    return row["b"]


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        pytest.param("fra1-n01", "fra1-n01", id="a name"),
        pytest.param("", "", id="nothing"),
        pytest.param("-0.18", "-0.18", id="a negative amount"),
        pytest.param("12", "12", id="a number"),
        pytest.param('{"team": "=1"}', '{"team": "=1"}', id="JSON"),
        pytest.param("a=b; c-d", "a=b; c-d", id="signs within a text"),
        pytest.param("one\ntwo, three", "one\ntwo, three", id="lines and commas"),
        pytest.param("=1+1", "'=1+1", id="equals"),
        pytest.param("+1", "'+1", id="plus"),
        pytest.param("-1+cmd|' /C calc'!A0", "'-1+cmd|' /C calc'!A0", id="minus that is no number"),
        pytest.param("@SUM(A1)", "'@SUM(A1)", id="at"),
        pytest.param("  =1", "'  =1", id="after blanks"),
        pytest.param("\t=1", "\t'=1", id="after a tab"),
        pytest.param("a\n=1", "a\n'=1", id="in a line of its own"),
        pytest.param("a;=1", "a;'=1", id="after a semicolon, which separates cells elsewhere"),
        pytest.param("a; -5", "a; -5", id="a number after a semicolon"),
        pytest.param("\uff1d1", "'\uff1d1", id="a full-width equals"),
        pytest.param("\r=1", "\\x0d=1", id="after a carriage return"),
        pytest.param("\u200b=1", "\\u200b=1", id="after what shows nothing"),
        pytest.param("\u202eevil", "\\u202eevil", id="text that turns around"),
    ],
)
def test_what_is_written_into_a_cell(text: str, cell: str) -> None:
    assert read_back(text) == cell
    for piece in re.split(r"[;\t\n]", read_back(text)):
        assert not re.match(r"[ ]*[=+@\uff1d]", piece)


def test_what_a_row_does_not_have_is_empty_and_what_is_no_column_is_an_error() -> None:
    assert csv_text(("a", "b"), [{"b": 1}]) == "a,b\n,1\n"
    with pytest.raises(ValueError, match="c"):
        csv_text(("a", "b"), [{"c": 1}])
