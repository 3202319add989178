"""Plots: in the page's own colours, with labels that stay text."""

from __future__ import annotations

from decimal import Decimal

import pytest

from poolkeeper.tasks.pages.plots import bar_plot
from tests.unit.pages.hostile import HUGE, TEXTS


@pytest.mark.parametrize("text", [*TEXTS.values(), HUGE])
def test_a_label_is_text(text: str) -> None:
    drawn = bar_plot([(text, Decimal(1), text), ("2026-10", Decimal("41.5"), "41.50")], text)
    assert not any(tag in drawn for tag in ("<script", "<img", "<b>", "<i>", "<style>*"))
    assert ">41.50<" in drawn
    assert len(drawn) < 20_000


def test_it_follows_light_and_dark_and_is_the_same_every_time() -> None:
    drawn = bar_plot([("2026-09", Decimal(40), "40.00"), ("2026-10", Decimal("41.5"), "41.50")], "USD")
    assert drawn == bar_plot([("2026-09", Decimal(40), "40.00"), ("2026-10", Decimal("41.5"), "41.50")], "USD")
    assert drawn.startswith("<svg ")
    assert "fill: var(--accent)" in drawn
    assert "fill: currentColor" in drawn
    assert "#0" not in drawn.replace('"#0', "")
    assert "http" not in drawn
