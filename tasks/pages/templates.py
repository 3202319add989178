"""A page from its template. Whatever a template prints is text: escaped, cut when it is huge, shown where it would act.

No template turns that off: none has a filter or a tag for it (`tests/unit/pages/test_templates.py`). Markup comes from
other templates, and from `tasks.pages.plots`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from poolkeeper.tasks.outcomes import visible
from poolkeeper.tasks.pages.markdown import commands

SHARED = Path(__file__).parent
"""The folder of the layout, the style and the parts."""
LONGEST = 2_000
"""Characters of one text on a page: nobody reads more, and a page stays small whatever a host has answered."""


def render(template: Path, **values: Any) -> str:
    """The page that a template and its values make: self-contained, without script, ending with a newline.

    template: a file that extends `layout.html.jinja`; the layout needs `title`, and `sections` (anchor -> heading)
    """
    return visible(_environment(template.parent).get_template(template.name).render(values)) + "\n"


@cache
def _environment(folder: Path) -> Environment:
    """For the templates of one folder and the shared ones."""
    environment = Environment(
        loader=FileSystemLoader([folder, SHARED]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shortened,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"commands": _commands, "number": "{:,}".format}
    return environment


def _shortened(value: object) -> object:
    """What is markup already is not touched: a table is longer than any text."""
    if hasattr(value, "__html__"):
        return value
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text):,} characters)"


def _commands(text: str) -> Sequence[tuple[bool, str]]:
    """The parts of a sentence, each with whether it is a command."""
    return tuple(commands(str(_shortened(text))))
