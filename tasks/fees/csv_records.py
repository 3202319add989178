"""A CSV file as records, each with its first line. Text that is not CSV becomes problems, each with its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from poolkeeper.tasks.fleet.problems import Problem
from poolkeeper.tasks.fleet.source import decoded, refused

MAX_BYTES = 1_000_000_000
MAX_PROBLEMS = 10_000
"""Reading a file stops after this many problems."""


class BadValue(NamedTuple):
    """What is wrong with one value of a row, before the place of the value is known."""

    column: str
    message: str
    fix: str


def csv_text(path: Path, option: str, cut: str) -> str:
    """The text of a file. Raises TextInvalid.

    option: the option that names the file; cut: how to make a file smaller that is too large
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise refused(f"there is no file {path}.", f"Name a file with {option}.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise refused(f"{path} cannot be read: {reason}.", "Name a readable file.") from None
    if len(raw) > MAX_BYTES:
        raise refused("the file is larger than 1 GB.", cut)
    return decoded(raw)


def csv_records(text: str, fix: str) -> Iterator[tuple[int, list[str] | Problem]]:
    """Each record that is not empty, or the problem in its place, with the first line.

    fix: what to do about text that is not CSV
    """
    records = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = records.line_num + 1
        try:
            fields = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            reason = "a quote begins here and does not end" if "end of data" in str(error) else str(error)
            yield line, Problem(line, 1, "", f"this is not CSV: {reason}.", fix)
            continue
        if fields:
            yield line, fields


def not_read_on(line: int) -> Problem:
    """The problem that stands for all problems after the first `MAX_PROBLEMS`."""
    message = f"the rest of the file is not read: there are {MAX_PROBLEMS:,} problems before this line."
    return Problem(line, 1, "", message, "Correct these first.", is_ours=True)


def separator_problem(header: list[str], line: int) -> Problem | None:
    """The problem of a header whose columns are separated by semicolons or tabs; None where they are not."""
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        return Problem(
            line, 1, "", "the columns are not separated by commas.", "Save the file with commas.", is_ours=True
        )
    return None
