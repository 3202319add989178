"""What pages are made of, as values: `parts.html.jinja` draws them. Every text in them may come from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from poolkeeper.tasks.outcomes import Finding, Severity

SHOWN_ROWS = 100
"""At most so many rows of a table, where the page does not choose another number."""


class Tone(StrEnum):
    """A colour. Words beside it say the same: not everybody sees it, and paper may be grey."""

    BAD = "bad"
    WARN = "warn"
    GOOD = "good"
    CALM = "calm"


@dataclass(frozen=True, slots=True)
class Status:
    """How something is, in words and in a colour."""

    tone: Tone
    words: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A text above a bar: thick up to the median, thin up to the 95th percentile, both in percent of the scale."""

    text: str
    median: float
    p95: float


Content = str | Status | Bar


class ColumnKind(StrEnum):
    """How a column is set."""

    TEXT = "text"
    NUMBER = "number"
    """To the right, digits below digits, never broken."""
    ID = "id"
    """Never broken, to be copied and searched for."""
    NAME = "name"
    """Of a host or a resource: may be long, and breaks anywhere."""
    SENTENCE = "sentence"
    """Wide enough to be read."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    title: str
    kind: ColumnKind = ColumnKind.TEXT


def columns(kinds: Mapping[str, ColumnKind]) -> tuple[Column, ...]:
    """The columns of a table, from their titles and kinds."""
    return tuple(Column(title, kind) for title, kind in kinds.items())


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns, in a box that scrolls by itself. A row of a single cell spans all columns."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Content]]
    """Those that are shown."""
    there_are: int = 0
    """How many rows there are in all, where that is more."""
    elsewhere: str = ""
    """Who has all of them, such as `the CSV has all`; empty: nobody."""

    @property
    def label(self) -> str:
        """What a screen reader says of the box."""
        return ", ".join(column.title for column in self.columns)


def first_rows(
    columns: Sequence[Column], rows: Sequence[Sequence[Content]], most: int = SHOWN_ROWS, elsewhere: str = ""
) -> Table:
    """A table of the first rows, which says how many more there are."""
    return Table(columns, rows[:most], len(rows), elsewhere)


@dataclass(frozen=True, slots=True)
class Tile:
    """One cell of a matrix."""

    text: str
    tone: Tone | None = None
    """None: nothing is known."""
    notes: Sequence[Status] = ()
    """What is not as it should be."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Places against places: every row has a tile for each head."""

    label: str
    corner: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Tile]]]


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a card. What stands in backticks is shown as a command."""

    term: str
    text: str
    is_strong: bool = False
    examples: Sequence[str] = ()
    """Folded, below the text."""
    more_examples: int = 0
    """How many there are beside these."""


@dataclass(frozen=True, slots=True)
class Card:
    """One thing that a person has to look at."""

    status: Status
    title: str
    id: str
    facts: Sequence[Fact]
    note: str = ""


SEVERITIES = {
    Severity.BLOCKER: Status(Tone.BAD, "✗ blocker"),
    Severity.WARNING: Status(Tone.WARN, "! warning"),
    Severity.INFO: Status(Tone.CALM, "i info"),
}


def card_of(finding: Finding, *about: Fact, state: str = "", note: str = "") -> Card:
    """A finding as every page shows it: what was seen, what should be, what to do.

    about: what a page knows beside that, shown before the next step
    state: how it stands against earlier runs; note: what is known of its subject
    """
    evidence = finding.evidence
    seen = f"; seen {moment(evidence.seen_at)}" if evidence.seen_at else ""
    facts = (
        *([Fact("State", state, is_strong=True)] if state else []),
        Fact("Observed", evidence.observed),
        Fact("Expected", evidence.expected),
        *about,
        Fact("Next step", finding.next_step),
        Fact("Read from", f"{evidence.source}{seen}"),
    )
    return Card(SEVERITIES[finding.severity], str(finding.subject), finding.id, facts, note)


def moment(at: datetime) -> str:
    """`2026-11-23 02:00 UTC`."""
    return f"{at:%Y-%m-%d %H:%M %Z}".strip()
