"""The one place where text leaves for a terminal: what hosts, clusters and people have written does nothing there.

On a terminal there are tables and live lines; into a file or a pipe goes one plain line each, never wrapped.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import click

from poolkeeper.tasks.outcomes import on_one_line, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

UNWRAPPED = 100_000
"""Characters a line off a terminal may have."""
LINE = 200
"""Characters of a line that tells what goes on; the whole text stands in the run's log."""
REFRESHES_A_SECOND = 4


class Drawn(NamedTuple):
    """What live lines show at one moment."""

    head: str
    rows: Sequence[Sequence[str]]
    """A line each, with its columns."""
    foot: str = ""


def echo(text: str, *, err: bool = False) -> None:
    """Text as it is, on stdout or stderr."""
    # named, since live lines put a stream of theirs in place of stderr, and click would go around it
    click.echo(visible(text), file=sys.stderr if err else sys.stdout)


class TerminalLog(logging.Handler):
    """Writes warnings and errors to stderr, a line each, for a process in which nothing else handles the log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):  # stderr is closed: the command goes on
            echo(f"{record.levelname.lower()}: {on_one_line(record.getMessage())}", err=True)


def prepare_terminal() -> None:
    """Once a process: no text from outside acts on the terminal through the log, and none ends a command.

    Python's handler of last resort writes text as it is. A letter that the terminal's encoding lacks is shown as its
    code; stderr does so by default.
    """
    logging.lastResort = TerminalLog()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def line(text: str) -> str:
    """Text as a part of one line of bounded length."""
    shown = on_one_line(text)
    return shown if len(shown) <= LINE else f"{shown[: LINE - 3]}..."


def is_terminal(stream: IO[str]) -> bool:
    """Whether a person sees it, on a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def console(*, markup: bool = False, width: int | None = None, err: bool = False) -> Console:
    """For tables and styles of ours.

    markup: texts hold rich's tags, and what is from outside was escaped
    width: None for the terminal's; off a terminal, for lines that are never wrapped
    """
    from rich.console import Console  # a tenth of a second, which `check` does not pay

    class Terminal(Console):
        """Takes each text, also of a table's cell, through `visible` before it is measured and shown."""

        def render_str(self, text: str, **named: Any) -> Text:
            return super().render_str(visible(text), **named)

    stream = sys.stderr if err else sys.stdout
    if width is None and not stream.isatty() and "COLUMNS" not in os.environ:
        width = UNWRAPPED
    return Terminal(highlight=False, markup=markup, emoji=False, width=width, stderr=err)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, styles: Sequence[str] = ()) -> None:
    """Rows on stdout, with a style each if `styles` are given. Off a terminal each is one line, without style."""
    if sys.stdout.isatty():
        from rich.table import Table

        shown = Table(box=None, header_style="bold", pad_edge=False)
        for column in columns:
            shown.add_column(column, overflow="fold")
        for number, row in enumerate(rows):
            shown.add_row(*row, style=styles[number] if styles else None)
        console().print(shown)
        return
    for told in _aligned([columns, *rows]):
        echo(told)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line a row, its columns below each other."""
    cells = [[on_one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def live(drawn: Callable[[int], Drawn]) -> Live:
    """What is drawn on stderr, anew a few times a second while the block lasts, and gone after it.

    drawn: asked with how many lines the terminal has room for
    """
    from rich.live import Live
    from rich.text import Text

    terminal = console(err=True)

    def whole() -> Text:
        now = drawn(max(3, terminal.height - 2))
        lines = [now.head, *_aligned(now.rows), *([now.foot] if now.foot else [])]
        return Text("\n".join(map(line, lines)), no_wrap=True, overflow="ellipsis")

    return Live(
        get_renderable=whole,
        console=terminal,
        refresh_per_second=REFRESHES_A_SECOND,
        transient=True,
        redirect_stdout=False,
    )
