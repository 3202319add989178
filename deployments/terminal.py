"""The only module that writes to the terminal; control characters in text from outside have no effect there.

A terminal gets tables and live lines; a file or a pipe gets plain lines that are never wrapped.
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
"""Width of a console off a terminal, in characters."""
LINE = 200
"""Characters of a line of progress, at most; the run's log has the whole text."""
REFRESHES_A_SECOND = 4


class Drawn(NamedTuple):
    """The content of live lines at one moment."""

    head: str
    rows: Sequence[Sequence[str]]
    """One line each: its columns."""
    foot: str = ""


def echo(text: str, *, err: bool = False) -> None:
    """Text as it is, on stdout or stderr."""
    # with `file`: live lines replace sys.stderr, and click would not use the replacement
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
    """Text as one line of bounded length."""
    shown = on_one_line(text)
    return shown if len(shown) <= LINE else f"{shown[: LINE - 3]}..."


def is_terminal(stream: IO[str]) -> bool:
    """Whether the stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def console(*, markup: bool = False, width: int | None = None, err: bool = False) -> Console:
    """A console for tables and styles.

    markup: texts contain rich's tags, and text from outside is escaped
    width: None: the terminal's; off a terminal, one that never wraps a line
    """
    from rich.console import Console  # a tenth of a second, which `check` does not pay

    class Terminal(Console):
        """Passes each text, also of a table's cell, through `visible` before it is measured and shown."""

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
    for aligned in _aligned([columns, *rows]):
        echo(aligned)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line per row, with aligned columns."""
    cells = [[on_one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def live(drawn: Callable[[int], Drawn]) -> Live:
    """Live lines on stderr: drawn again a few times a second during the block, removed after it.

    drawn: called with the number of lines that the terminal has room for
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
