"""The one place where text leaves for a terminal: what hosts, clusters and people have written does nothing there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from poolkeeper.tasks.outcomes import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def echo(text: str, *, err: bool = False) -> None:
    """Text as it is, on stdout or stderr."""
    click.echo(visible(text), err=err)


def console(*, markup: bool = False, width: int | None = None) -> Console:
    """For tables and styles of ours.

    markup: texts hold rich's tags, and what is from outside was escaped; width: None for the terminal's
    """
    from rich.console import Console  # a tenth of a second, which `check` does not pay

    class Terminal(Console):
        """Takes each text, also of a table's cell, through `visible` before it is measured and shown."""

        def render_str(self, text: str, **named: Any) -> Text:
            return super().render_str(visible(text), **named)

    return Terminal(highlight=False, markup=markup, emoji=False, width=width)
