"""What holds for every record: order, repetition, cutting a period, gaps."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolkeeper.tasks.fees.metering.statement import Statement, meter
from poolkeeper.tasks.fees.periods import Period, instant
from tests.unit.fees.builders import ACK_PRO, EDGE, LINGJUN, evidence_of, metered, priced, tariff
from tests.unit.fees.random_usage import START, rows

PERIOD = Period(date(2026, 10, 23), date(2026, 10, 29))
FLAT = tariff(priced("flat_month", "flat", "50"))
HOURS_STARTED = tariff(priced("per_vcpu_hour", "clock_hours_started", "0.001"))
CHANGING = tariff("""
unit: per_node_day
counts: calendar_days_started
prices:
  - {from: 2020-01-01, price: 0.333, source: test, dated: 2026-01-01}
  - {from: 2026-10-24, price: 0.5, source: test, dated: 2026-01-01}
waivers: [{from: 2026-10-26, to: 2026-10-27, reason: test, source: test, dated: 2026-01-01}]
""")
TO_CENTS = tariff(priced("per_vcpu_day", "calendar_days_started", "0.029"), rounding="{of: line}")
ALL = [ACK_PRO, EDGE, LINGJUN, FLAT, HOURS_STARTED, CHANGING]

quick = settings(max_examples=50, deadline=None)


@quick
@given(rows(), st.randoms(use_true_random=False), st.sampled_from([*ALL, TO_CENTS]))
def test_the_order_of_evidence_does_not_matter(found: list[Any], chance: Any, prices: Any) -> None:
    once = list(dict.fromkeys(found))
    other = chance.sample(once, len(once))
    assert without_places(metered(found, prices, PERIOD)) == without_places(metered(other, prices, PERIOD))


def without_places(statement: Statement) -> tuple[Any, ...]:
    """All but the lines of the file."""
    lines = [
        {**line.record(), "evidence": [event[:4] for event in line.evidence]} for line in statement.lines
    ]  # fmt: skip
    return lines, statement.total, statement.coverage, statement.unpriced


@quick
@given(rows(), st.sampled_from([*ALL, TO_CENTS]))
def test_metering_twice_gives_the_same(found: list[Any], prices: Any) -> None:
    assert metered(found, prices, PERIOD) == metered(found, prices, PERIOD)


@quick
@given(rows(), st.integers(1, 5), st.sampled_from(ALL))
def test_two_parts_of_a_period_sum_to_the_whole(found: list[Any], days: int, prices: Any) -> None:
    cut = PERIOD.first + timedelta(days=days)
    parts = [metered(found, prices, period) for period in (Period(PERIOD.first, cut), Period(cut, PERIOD.after))]
    whole = metered(found, prices, PERIOD)
    assert sum(part.total for part in parts) == whole.total
    assert sum(part.low for part in parts) == whole.low
    assert sum(part.high for part in parts) == whole.high


@quick
@given(rows("n"), st.integers(1, 5))
def test_the_exception_rounded_lines_move_by_less_than_a_cent_each(found: list[Any], days: int) -> None:
    cut = PERIOD.first + timedelta(days=days)
    parts = [metered(found, TO_CENTS, period) for period in (Period(PERIOD.first, cut), Period(cut, PERIOD.after))]
    whole = metered(found, TO_CENTS, PERIOD)
    lines = len(parts[0].lines) + len(parts[1].lines)
    assert abs(sum(part.total for part in parts) - whole.total) <= Decimal("0.01") * lines


@quick
@given(rows())
def test_complete_evidence_has_no_gaps(found: list[Any]) -> None:
    for prices in (ACK_PRO, EDGE):
        statement = metered(found, prices, PERIOD)
        assert (statement.coverage, statement.low, statement.high) == (1, statement.total, statement.total)


@quick
@given(rows(), st.integers(0, 8 * 24), st.sampled_from(ALL))
def test_less_evidence_widens_the_range_around_the_truth(found: list[Any], hours: int, prices: Any) -> None:
    """What is known until some hour says: at least this, at most that, if nothing joins or grows that nobody saw."""
    until = START - timedelta(days=1) + timedelta(hours=hours)
    seen = [row for row in found if datetime.fromisoformat(row[3]) <= until]
    ids = {row[0] for row in seen}
    begun = ("created", "joined")
    joins_later = {row[0] for row in found if row[2] in (*begun, "resized") and datetime.fromisoformat(row[3]) > until}
    if joins_later or not ids:
        return
    evidence = evidence_of(seen, until)
    partly = meter(evidence, prices, PERIOD, instant(datetime(2027, 1, 1, tzinfo=UTC)))
    truth = metered([row for row in found if row[0] in ids], prices, PERIOD)
    assert partly.low <= truth.total <= partly.high
    assert partly.low <= partly.total <= partly.high
    assert partly.coverage <= truth.coverage


@pytest.mark.parametrize(
    "times",
    [
        ("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"),  # one wall clock, an hour apart
        ("2026-10-25T00:30:00+00:00", "2026-10-25T01:30:00+00:00"),  # the same in UTC
        ("2026-10-25T08:30:00+08:00", "2026-10-25T09:30:00+08:00"),  # and in the provider's calendar
    ],
)
def test_an_hour_that_a_wall_clock_shows_twice_is_two_hours_apart_by_its_offsets(times: tuple[str, str]) -> None:
    fee = tariff(priced("per_node_hour", "clock_hours_started"))
    rows_ = [("n1", "node", "joined", times[0], 4), ("n1", "node", "left", times[1])]
    (line,) = metered(rows_, fee).lines
    assert (line.quantity, line.row()["from"]) == (2, "2026-10-25T00:00:00+00:00")
