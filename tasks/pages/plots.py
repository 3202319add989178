"""Plots, as SVG that stands in the page itself. The only place that calls a text markup."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from decimal import Decimal

from markupsafe import Markup

from poolkeeper.tasks.outcomes import on_one_line

_TEXT, _BAR = "#010203", "#040506"
"""Drawn in these two colours, and then in the page's own: an SVG in a page follows light and dark."""
_COLOURS = {_TEXT: "currentColor", _BAR: "var(--accent)"}
_LONGEST = 40
"""Characters of a label."""
_FROM_ELSEWHERE = re.compile(r' xmlns(?::xlink)?="[^"]*"')
"""Names of namespaces, which HTML does not need and which look like addresses."""


def bar_plot(bars: Sequence[tuple[str, Decimal, str]], unit: str) -> Markup:
    """A bar each.

    bars: name, value, and the value as text
    unit: of the values, written beside the axis
    """
    import matplotlib  # a second to import: only whoever makes a page pays
    from matplotlib.figure import Figure

    names = [_label(name) for name, _, _ in bars]
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "poolkeeper", "text.parse_math": False}):
        figure = Figure(figsize=(8, 2.6), layout="constrained")
        axes = figure.add_subplot()
        drawn = axes.bar(range(len(names)), [float(value) for _, value, _ in bars], color=_BAR, width=0.6)
        axes.set_xticks(range(len(names)), names)
        axes.bar_label(drawn, [_label(text) for _, _, text in bars], color=_TEXT)
        axes.set_xlim(-0.6, max(len(names), 6) - 0.4)
        axes.set_ylabel(_label(unit), color=_TEXT)
        axes.tick_params(colors=_TEXT, length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        written = io.StringIO()
        nothing = dict.fromkeys(["Date", "Creator", "Format", "Type"])
        figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    svg = written.getvalue()
    svg = _FROM_ELSEWHERE.sub("", svg[svg.index("<svg") :])
    for drawn_as, shown_as in _COLOURS.items():
        svg = svg.replace(drawn_as, shown_as)
    return Markup(svg)  # noqa: S704  # matplotlib escapes what it writes


def _label(text: str) -> str:
    """matplotlib gives up on half a letter, and draws a line for each line."""
    return on_one_line(text)[:_LONGEST]
