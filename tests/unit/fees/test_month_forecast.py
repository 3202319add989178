"""What is to come: estimates with their ranges, hypothetical prices, planned changes."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import pytest

from poolkeeper.tasks.fees.metering import month_forecast
from poolkeeper.tasks.fees.metering.month_forecast import ForecastInvalid, ForecastRequest, PlannedChange
from poolkeeper.tasks.fees.periods import instant
from poolkeeper.tasks.fees.tariff.units import UNITS
from tests.unit.fees.builders import ACK_PRO, EDGE, OCTOBER, evidence_of, metered

NOW = datetime.fromisoformat("2026-10-21T12:00+08:00")
FLEET = [
    ("c1", "cluster", "created", "2026-09-01T00:00Z"),
    *((f"n{n}", "node", "joined", "2026-09-01T00:00Z", 64, 0, f"pool={'ab'[n % 2]}") for n in range(4)),
]
PRICE = Decimal("0.029")


def test_a_forecast_is_between_all_nodes_leave_and_all_nodes_stay() -> None:
    statement = month_forecast.month_end(evidence_of(FLEET, NOW), EDGE, OCTOBER)
    assert (statement.low, statement.total, statement.high) == (4 * 64 * 21 * PRICE, 4 * 64 * 31 * PRICE, 4 * 64 * 31 * PRICE)  # fmt: skip


def test_a_forecast_is_the_total_if_nothing_changes() -> None:
    assert month_forecast.month_end(evidence_of(FLEET, NOW), ACK_PRO, OCTOBER).total == metered(FLEET, ACK_PRO).total


def test_twenty_servers_at_edge_s_price_are_37_12_a_day() -> None:
    """20 x 64 vCPUs at the published price of ACK Edge: 37.12 a day."""
    twenty = [(f"n{n}", "node", "joined", "2026-09-01T00:00Z", 64) for n in range(20)]
    (hybrid,) = month_forecast.uncharged_rules(ACK_PRO, date(2026, 10, 1))
    prices = month_forecast.hypothetical(ACK_PRO, hybrid, UNITS["per_vcpu_day"], PRICE)
    assert month_forecast.month_end(evidence_of(twenty, NOW), prices, OCTOBER).total == 31 * Decimal("37.12")
    assert "hypothetical" in prices.title
    assert all("hypothetical" in rule.title for rule in prices.rules)


@pytest.mark.parametrize(
    ("unit", "amount"),
    [("per_node_day", 4 * 31), ("per_node_hour", 4 * 744), ("per_vcpu_day", 256 * 31), ("flat_month", 1)],
)
def test_the_fee_may_begin_in_any_unit(unit: str, amount: int) -> None:
    prices = month_forecast.hypothetical(ACK_PRO, ACK_PRO.rule("hybrid-node-management"), UNITS[unit], Decimal(1))
    assert month_forecast.month_end(evidence_of(FLEET, NOW), prices, OCTOBER).total == amount


@pytest.mark.parametrize(
    ("changes", "rest", "following"),
    [
        ([PlannedChange.joining("20x64")], 20 * 64 * 11, 20 * 64 * 30),
        ([PlannedChange.leaving("2:pool=a")], -2 * 64 * 10, -2 * 64 * 30),
        ([PlannedChange.leaving("1:pool=b"), PlannedChange.joining("1x64")], 64, 0),
    ],
)
def test_a_planned_change(changes: list[PlannedChange], rest: int, following: int) -> None:
    """Today counts in full for who joins, and for who leaves it is counted already."""
    evidence = evidence_of(FLEET, NOW)
    this, after = month_forecast.cost_of(changes, evidence, EDGE, OCTOBER, instant(NOW))
    assert (this.amount, after.amount) == (rest * PRICE, following * PRICE)
    assert (this.period.name, after.period.name) == ("2026-10", "2026-11")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        *((PlannedChange.joining, text) for text in ("20", "0x4", "4x0", "x", "1x2x3x4", "-1x4")),
        *((PlannedChange.leaving, text) for text in ("5", "5:pool", "x:pool=a", "0:pool=a")),
    ],
)
def test_a_change_that_is_none(make: object, text: str) -> None:
    with pytest.raises(ForecastInvalid, match="is not a number of nodes"):
        make(text)  # type: ignore[operator]


@pytest.mark.parametrize(
    "text", ["cheap", "-1", "NaN", "Infinity", "1000000", "1e99", "1e-13", "1e-999999999", "1" * 100]
)
def test_a_price_that_is_none(text: str) -> None:
    with pytest.raises(ForecastInvalid, match="is not a price"):
        ForecastRequest.of(text, "per_vcpu_day")


@pytest.mark.parametrize("text", ["0.029", "1E-8", "1E+5", "999999", "0"])
def test_a_price_that_is_one(text: str) -> None:
    assert ForecastRequest.of(text, "per_vcpu_day").price == Decimal(text)


def test_more_cannot_leave_than_are_there() -> None:
    with pytest.raises(ForecastInvalid, match="the plan removes 3 nodes with pool=a, but there are 2"):
        month_forecast.changed(evidence_of(FLEET, NOW), [PlannedChange.leaving("3:pool=a")], instant(NOW))
