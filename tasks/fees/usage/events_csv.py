"""Events from a CSV file with the columns `resource_id,kind,event,at,vcpus,gpus,labels`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from poolkeeper.tasks.fees.csv_records import MAX_PROBLEMS, csv_records, csv_text, not_read_on, separator_problem
from poolkeeper.tasks.fees.usage.events import EVENT_COLUMNS, NOT_BEFORE, REQUIRED, EventReader, UsageEvent
from poolkeeper.tasks.fleet.problems import Problem, nearest
from poolkeeper.tasks.fleet.source import TextInvalid


def read_csv(path: Path, reader: EventReader) -> tuple[list[UsageEvent], list[Problem], set[str]]:
    """The events of valid rows, every problem of the other rows, and the resources that have such rows."""
    try:
        text = csv_text(path, "--events", "Cut it by year.")
    except TextInvalid as error:
        return [], [error.problem], set()
    events: list[UsageEvent] = []
    problems: list[Problem] = []
    broken: set[str] = set()
    lines, source = _Lines(text), path.name
    header: list[str] | None = None
    for line, fields in csv_records(text, "Write a quote within quotes twice."):
        if len(problems) >= MAX_PROBLEMS:
            problems.append(not_read_on(line))
            break
        if isinstance(fields, Problem):
            problems.append(fields)
            continue
        if header is None:
            header = [name.strip() for name in fields]
            problems += _header_problems(header, line, lines)
            if problems:
                return [], problems, set()
            continue
        if len(fields) != len(header):
            problems.append(
                Problem(
                    line,
                    1,
                    "",
                    f"this row has {len(fields)} values for {len(header)} columns.",
                    "Put one comma between two values, and quote a value that contains a comma.",
                )
            )
            broken |= {field.strip() for field in fields[:1]}
            continue
        row = dict(zip(header, fields, strict=True))
        found = reader.read(row, source, line)
        if isinstance(found, UsageEvent):
            events.append(found)
            continue
        broken.add(row["resource_id"].strip())
        problems += [
            Problem(line, lines.column(line, header, wrong.column), wrong.column, wrong.message, wrong.fix)
            for wrong in found
        ]
    if header is None and not problems:
        problems.append(Problem(1, 1, "", "the file is empty.", f"Begin with the line {','.join(EVENT_COLUMNS)}."))
    return events, problems, broken


def _header_problems(header: list[str], line: int, lines: _Lines) -> Iterator[Problem]:
    if separated := separator_problem(header, line):
        yield separated
        return
    missing = [name for name in REQUIRED if name not in header]
    for position, name in enumerate(header):
        column = lines.column(line, header, name)
        if name not in (*EVENT_COLUMNS, NOT_BEFORE):
            fix = nearest(name, missing or EVENT_COLUMNS) if name else f"The columns are {', '.join(EVENT_COLUMNS)}."
            yield Problem(line, column, "", f"there is no column {name[:60] or 'without a name'}.", fix)
        elif name in header[:position]:
            yield Problem(line, column, name, f"the column {name} is given twice.", "Keep one of the two.")
    for name in missing:
        yield Problem(line, 1, name, f"the column {name} is missing.", f"The columns are {','.join(EVENT_COLUMNS)}.")


class _Lines:
    """Where a value begins in its line; used for problems only."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines: list[str] | None = None

    def column(self, line: int, header: list[str], name: str) -> int:
        """From 1; also 1 in a line with quotes, where the place is not searched."""
        if self._lines is None:
            self._lines = self._text.split("\n")
        text = self._lines[line - 1] if line <= len(self._lines) else ""
        if '"' in text or name not in header:
            return 1
        before: Mapping[int, str] = dict(enumerate(text.split(",")))
        return 1 + sum(len(before.get(position, "")) + 1 for position in range(header.index(name)))
