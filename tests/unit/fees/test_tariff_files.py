"""Tariff files: the shipped ones, every mistake at once, and figures as they are written."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from poolkeeper.tasks.fees.tariff.tariff_file import (
    TariffInvalid,
    check_tariff,
    load_tariff,
    shipped_tariffs,
    tariff_of,
    tariff_path,
)
from poolkeeper.tasks.fees.tariff.units import UNITS, Counting
from tests.unit.fees.builders import ACK_PRO, EDGE, LINGJUN, priced, tariff

MISTAKES = Path(__file__).parent / "tariff-mistakes.yaml"
DAYS = priced("per_node_day", "calendar_days_started")


def test_every_mistake_is_reported_with_its_line_and_no_other():
    remarks = [
        (number, line.partition(" #! ")[2])
        for number, line in enumerate(MISTAKES.read_text().splitlines(), start=1)
        if " #! " in line
    ]
    _, problems = check_tariff(MISTAKES)
    assert sorted((p.line, p.message) for p in problems) == sorted(remarks)
    assert len(remarks) >= 28


def test_each_of_them_has_a_column_a_path_and_a_fix():
    lines = MISTAKES.read_text().splitlines()
    for problem in check_tariff(MISTAKES)[1]:
        assert 1 <= problem.column <= len(lines[problem.line - 1])
        assert problem.path
        assert problem.fix.endswith((".", "?", "]"))


def test_a_wrong_file_is_refused_with_all_of_them():
    with pytest.raises(TariffInvalid, match=r"tariff-mistakes.yaml has \d\d problems:"):
        load_tariff(MISTAKES)


def test_the_shipped_tariffs_are_good_and_say_where_their_figures_are_from():
    assert shipped_tariffs() == ("ack-edge-comparator", "ack-pro")
    for name in shipped_tariffs():
        found = load_tariff(tariff_path(name))
        assert found.name == name
        for rule in found.rules:
            for figure in (*rule.prices, *rule.waivers):
                assert figure.source.startswith("https://www.alibabacloud.com/")


def test_what_the_shipped_tariffs_say():
    assert not ACK_PRO.comparator
    assert EDGE.comparator
    pro, hybrid = ACK_PRO.rules
    assert (pro.unit.name, pro.counting, pro.prices[0].tiers[0].price) == (
        "per_cluster_hour",
        "clock_hours_inside",
        Decimal("0.09"),
    )
    assert (hybrid.prices[0].is_known, hybrid.waivers[0].end) == (False, None)
    assert (EDGE.rules[0].unit.name, EDGE.rules[0].prices[0].tiers[0].price) == ("per_vcpu_day", Decimal("0.029"))
    assert len(LINGJUN.rules[0].prices[0].tiers) == 4


@pytest.mark.parametrize("written", ["0.1", '"0.1"', "0.100", "1e-1"])
def test_a_price_is_the_number_that_is_written(written):
    assert tariff(DAYS.replace("price: 1", f"price: {written}")).rules[0].prices[0].tiers[0].price == Decimal("0.1")


def test_a_price_keeps_every_digit_that_a_float_would_lose():
    price = tariff(DAYS.replace("price: 1", "price: 123456789.123456789012")).rules[0].prices[0].tiers[0].price
    assert price == Decimal("123456789.123456789012")


def test_prices_may_stand_in_any_order_and_hold_until_the_next_begins():
    found = tariff("""
unit: per_node_day
counts: calendar_days_started
prices:
  - {from: 2026-06-01, price: 2, source: test, dated: 2026-01-01}
  - {from: 2026-01-01, price: 1, source: test, dated: 2026-01-01}
""")
    first, second = found.rules[0].prices
    assert (str(first.start), str(first.end), second.end) == ("2026-01-01", "2026-06-01", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty."),
        ("- a", "the top level is a list; a tariff file needs a block of keys."),
        ("a: b: c", "this is not YAML: mapping values are not allowed in this context."),
        ("tariff: a\n---\ntariff: b", "a second document begins here."),
    ],
)
def test_text_that_is_no_tariff_is_answered_as_such(text, message):
    _, problems = tariff_of(text)
    assert problems[0].message == message
    assert "fleet" not in problems[0].fix


def test_a_tariff_that_is_not_there():
    _, problems = check_tariff(tariff_path("ack-por"))
    assert "there is no file" in problems[0].message
    assert "--tariff" in problems[0].fix


def test_every_unit_says_its_time_and_every_rule_has_a_unit():
    assert all(name.endswith(("_hour", "_day", "_month")) for name in UNITS)
    assert {counting for unit in UNITS.values() for counting in unit.counted_by} == set(Counting)
