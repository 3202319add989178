"""Breaks of `tasks/fees`."""

from __future__ import annotations

from tests.mutations.breaks.row import Break

BREAKS = (
    Break(
        "a price without an end holds beside the next one",
        "tasks/fees/tariff/tariff_model.py",
        "end=price.end or later.start",
        "end=price.end",
        "tests/unit/fees/test_tariff_files.py::test_prices_may_stand_in_any_order_and_hold_until_the_next_begins",
    ),
)
