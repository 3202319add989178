"""The meter against the oracle, on random usage around the end of Europe's summer time."""

from __future__ import annotations

import os
from datetime import date, datetime
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from poolkeeper.tasks.fees.periods import Period
from tests.unit.fees import oracle
from tests.unit.fees.builders import ACK_PRO, EDGE, LINGJUN, metered, priced, tariff
from tests.unit.fees.random_usage import START, rows

PERIOD = Period(date(2026, 10, 23), date(2026, 10, 26))
END = datetime.fromisoformat("2026-10-26T00:00+08:00")
SOME_FREE = tariff("states: {free: [NotReady]}\n" + priced("per_vcpu_day", "calendar_days_started"))
STEPS: list[tuple[Any, Fraction]] = [
    (100, Fraction("1.5625")),
    (500, Fraction("1.25")),
    (1000, Fraction("0.9375")),
    (None, Fraction("0.625")),
]

slow = settings(max_examples=int(os.environ.get("FEES_EXAMPLES", "30")), deadline=None)
"""The oracle walks minute by minute: a thousand examples take some four minutes."""


def oracle_events(found: list[Any], size: int = 4) -> list[oracle.OracleEvent]:
    return [(row[0], row[2], datetime.fromisoformat(row[3]), (row[size] or None) if len(row) > size else None) for row in found]  # fmt: skip


def quantities(statement: Any) -> dict[str, int]:
    return {line.resource_id: line.quantity for line in statement.lines}


def only(billed: dict[str, int]) -> dict[str, int]:
    """Without those that come to nothing: whether they have a line is not the oracle's matter."""
    return {resource: quantity for resource, quantity in billed.items() if quantity}


@slow
@given(rows("c"))
def test_the_pro_fee(found: list[Any]) -> None:
    statement = metered(found, ACK_PRO, PERIOD)
    assert only(quantities(statement)) == only(oracle.pro_hours(oracle_events(found), START, END))


@slow
@given(rows("n"))
def test_the_edge_fee(found: list[Any]) -> None:
    statement = metered(found, EDGE, PERIOD)
    assert only(quantities(statement)) == only(oracle.edge_vcpu_days(oracle_events(found), START, END))


@slow
@given(rows("n"))
def test_a_fee_that_rests_in_some_state(found: list[Any]) -> None:
    statement = metered(found, SOME_FREE, PERIOD)
    assert only(quantities(statement)) == only(
        oracle.edge_vcpu_days(oracle_events(found), START, END, free=("NotReady",))
    )


@slow
@given(rows("n", most=5))
def test_the_lingjun_fee(found: list[Any]) -> None:
    statement = metered(found, LINGJUN, PERIOD)
    assert Fraction(statement.total) == oracle.lingjun_fee(oracle_events(found, size=5), START, END, STEPS)


@slow
@given(st.data())
def test_the_running_month_up_to_now(data: st.DataObject) -> None:
    """Days that have begun are billed; hours that have not ended are not, as any may become the hour of release."""
    minute = data.draw(st.integers(0, 3 * 24 * 60 - 1))
    now = START + minute * oracle.MINUTE
    past = [row for row in data.draw(rows("cn")) if datetime.fromisoformat(row[3]) <= now]
    nodes, clusters = ([row for row in past if row[1] == kind] for kind in ("node", "cluster"))
    edge = metered(nodes, EDGE, PERIOD, now)
    assert only(quantities(edge)) == only(oracle.edge_vcpu_days(oracle_events(nodes), START, now))
    pro = metered(clusters, ACK_PRO, PERIOD, now)
    hour = now.astimezone(oracle.CHINA).replace(minute=0)
    assert only(quantities(pro)) == only(oracle.pro_hours(oracle_events(clusters), START, hour))
