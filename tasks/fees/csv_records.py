"""A CSV file as records, each with the line it begins on; what is no CSV becomes problems at lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from poolkeeper.tasks.fleet.problems import Problem
from poolkeeper.tasks.fleet.source import decoded, refused

MAX_BYTES = 1_000_000_000
MAX_PROBLEMS = 10_000
"""A file with more of them is not read to its end."""


def csv_text(path: Path, option: str, cut: str) -> str:
    """The text of a file. Raises TextInvalid.

    option: by which the file is named; cut: what to do when it is too large
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise refused(f"there is no file {path}.", f"Name one with {option}.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise refused(f"{path} cannot be read: {reason}.", "Name a readable file.") from None
    if len(raw) > MAX_BYTES:
        raise refused("the file is larger than 1 GB.", cut)
    return decoded(raw)


def csv_records(text: str, fix: str) -> Iterator[tuple[int, list[str] | Problem]]:
    """Each record that is not empty with its line, or the problem that stands in its place.

    fix: what to do about text that is no CSV
    """
    records = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = records.line_num + 1
        try:
            fields = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            words = "a quote that is opened here is not closed" if "end of data" in str(error) else str(error)
            yield line, Problem(line, 1, "", f"this is not CSV: {words}.", fix)
            continue
        if fields:
            yield line, fields


def not_read_on(line: int) -> Problem:
    """What is told in place of all problems after the first `MAX_PROBLEMS`."""
    message = f"from here on nothing is read: {MAX_PROBLEMS:,} problems stand before."
    return Problem(line, 1, "", message, "Mend these first.", is_ours=True)


def separator_problem(header: list[str], line: int) -> Problem | None:
    """Whether the columns are separated by something else than commas."""
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        return Problem(
            line, 1, "", "the columns are not separated by commas.", "Save the file with commas.", is_ours=True
        )
    return None
