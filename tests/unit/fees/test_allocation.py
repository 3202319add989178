"""Who pays: every line splits into parts that add up to it exactly."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolkeeper.tasks.fees.metering.allocation import ShareKey, ShareKeyInvalid, allocate, shared_out
from poolkeeper.tasks.fees.metering.statement import meter
from poolkeeper.tasks.fees.periods import instant
from tests.unit.fees.builders import ACK_PRO, EDGE, LINGJUN, NOW, OCTOBER, evidence_of
from tests.unit.fees.random_usage import rows

FLEET = [
    ("c1", "cluster", "created", "2026-09-01T00:00Z"),
    ("n1", "node", "joined", "2026-09-01T00:00Z", 64, 8, "team=web"),
    ("n2", "node", "joined", "2026-09-01T00:00Z", 64, 0, "team=batch"),
    ("n3", "node", "joined", "2026-10-31T00:00+08:00", 32, 0, "team=batch"),
    ("n4", "node", "joined", "2026-10-30T00:00+08:00", 16, 0),
]


def allocated(prices: Any, by: str, key: str) -> dict[str, str]:
    evidence = evidence_of(FLEET)
    statement = meter(evidence, prices, OCTOBER, instant(NOW))
    totals = allocate(statement, evidence, by, ShareKey.of(key)).totals()
    assert sum(totals.values()) == statement.total
    return {group: str(amount) for group, amount in totals.items()}


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        # 66.96 for the cluster; 31 + 32 + 2 node-days
        ("nodes", {"web": "31.93", "batch": "32.97", "": "2.06"}),
        # 1984 + (1984 + 32) + 32 vCPU-days: 3294.86, 3348.00 and 53.14 cents
        ("vcpus", {"web": "32.95", "batch": "33.48", "": "0.53"}),
        ("gpus", {"web": "66.96"}),
        ("evenly", {"web": "22.32", "batch": "22.32", "": "22.32"}),
        ("web=2,ops=1", {"web": "44.64", "ops": "22.32"}),
    ],
)
def test_the_cluster_fee_is_shared_by_the_declared_key(key: str, expected: dict[str, str]) -> None:
    # the hybrid fee is waived: its lines come to nothing, for whoever has the nodes
    found = {group: amount for group, amount in allocated(ACK_PRO, "team", key).items() if Decimal(amount)}
    assert found == expected


def test_a_node_s_own_lines_are_its_team_s() -> None:
    assert {g: Decimal(a) for g, a in allocated(EDGE, "team", "evenly").items()} == {
        "web": 1984 * Decimal("0.029"),
        "batch": (1984 + 32) * Decimal("0.029"),
        "": 32 * Decimal("0.029"),
    }


def test_a_price_by_the_sum_of_all_is_shared() -> None:
    assert allocated(LINGJUN, "team", "gpus") == {"web": "387.50"}


def test_without_a_node_shared_lines_have_no_group() -> None:
    evidence = evidence_of(FLEET[:1])
    statement = meter(evidence, ACK_PRO, OCTOBER, instant(NOW))
    assert allocate(statement, evidence, "team", ShareKey.of("nodes")).totals() == {"": Decimal("66.96")}


@pytest.mark.parametrize("text", ["", "cores", "web", "web=x", "web=-1", "=1", "web=1,,", "web=1/0", "web=1e999999999"])
def test_a_key_that_is_none(text: str) -> None:
    with pytest.raises(ShareKeyInvalid, match="is not a key for shared lines") as caught:
        ShareKey.of(text)
    assert caught.value.next_step == "Write nodes, vcpus, gpus, evenly, or weights like web=3,batch=1."


def test_largest_remainders_by_hand() -> None:
    thirds = {"a": Fraction(1), "b": Fraction(1), "c": Fraction(1)}
    assert {g: str(p) for g, p in shared_out(Decimal("1.00"), thirds).items()} == {
        "a": "0.34",
        "b": "0.33",
        "c": "0.33",
    }
    assert {g: str(p) for g, p in shared_out(Decimal("-0.02"), thirds).items()} == {"a": "-0.01", "b": "-0.01", "c": "0.00"}  # fmt: skip
    assert {g: str(p) for g, p in shared_out(Decimal("0.011"), thirds).items()} == {"a": "0.004", "b": "0.004", "c": "0.003"}  # fmt: skip


@given(
    st.decimals(-(10**9), 10**9, places=6) | st.decimals(-100, 100, places=2),
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.fractions(0, 1000), max_size=9),
)
def test_parts_sum_to_the_whole_and_none_is_a_step_off(amount: Decimal, weights: dict[str, Fraction]) -> None:
    parts = shared_out(amount, weights)
    assert sum(parts.values()) == amount
    whole = sum(weights.values())
    for group, weight in weights.items() if whole else ():
        assert abs(Fraction(parts[group]) - Fraction(amount) * weight / whole) < Fraction(1, 100)


@given(rows(most=5), st.sampled_from(["nodes", "vcpus", "gpus", "evenly", "a=1,b=2"]), st.sampled_from([ACK_PRO, EDGE, LINGJUN]))  # fmt: skip
def test_every_allocation_sums_to_the_bill_line_by_line(events: list[Any], key: str, prices: Any) -> None:
    evidence = evidence_of(events)
    statement = meter(evidence, prices, OCTOBER, instant(NOW))
    allocation = allocate(statement, evidence, "pool", ShareKey.of(key))
    assert sum(allocation.totals().values()) == statement.total
    for line in statement.lines:
        assert sum(share.amount for share in allocation.shares if share.line_id == line.id) == line.amount
