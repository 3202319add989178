"""The examples and edge cases of the provider's billing pages (the sources in the shipped tariffs), one row each."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from poolkeeper.tasks.fees.periods import Period
from tests.unit.fees.builders import ACK_PRO, EDGE, LINGJUN, metered, priced, tariff

DAY = Period.of("2026-10-05")


def cluster(created: str, released: str = "") -> list[tuple[str, ...]]:
    rows = [("c1", "cluster", "created", created)]
    return [*rows, ("c1", "cluster", "released", released)] if released else rows


def node(joined: str, left: str = "", vcpus: int = 64, name: str = "n1") -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = [(name, "node", "joined", joined, vcpus)]
    return [*rows, (name, "node", "left", left)] if left else rows


def on(day: str, time: str, zone: str = "+08:00") -> str:
    return f"2026-10-{day}T{time}{zone}"


@pytest.mark.parametrize(
    ("rows", "hours", "amount"),
    [
        pytest.param(cluster(on("05", "10:20"), on("05", "13:40")), 2, "0.18", id="the page's own example"),
        pytest.param(cluster(on("05", "10:05"), on("05", "10:55")), 0, "0", id="created and released in one hour"),
        pytest.param(cluster(on("05", "10:20"), on("05", "11:40")), 0, "0", id="in two hours that touch"),
        pytest.param(cluster(on("05", "10:00"), on("05", "13:00")), 2, "0.18", id="exactly on the hour, both"),
        pytest.param(cluster(on("05", "10:59:59"), on("05", "13:00")), 2, "0.18", id="created a second before the hour"),
        pytest.param(cluster(on("05", "10:59:59"), on("05", "12:59:59")), 1, "0.09", id="released a second before it"),
        pytest.param(cluster(on("05", "23:30"), on("06", "02:30")), 2, "0.18", id="over midnight in UTC+8"),
        pytest.param(cluster(on("05", "15:30", "Z"), on("05", "18:30", "Z")), 2, "0.18", id="the same, told in UTC"),
        pytest.param(cluster("2026-09-30T23:30+08:00", on("01", "02:30")), 2, "0.18", id="created in the month before"),
        pytest.param(cluster("2026-09-30T15:59:59Z", on("01", "00:30")), 0, "0", id="the release hour is the month's first"),
        pytest.param(cluster("2026-09-01T00:00+08:00"), 744, "66.96", id="a whole month of 31 days"),
        pytest.param(cluster(on("01", "00:00")), 743, "66.87", id="created with the month: its first hour is free"),
        pytest.param(
            [*cluster(on("05", "10:20")), ("c1", "cluster", "state:failed", on("05", "10:40"))], 0, "0", id="failed to create"
        ),
        pytest.param(
            [
                *cluster(on("05", "10:20"), on("05", "15:40")),
                ("c1", "cluster", "state:Running", on("05", "10:30")),
                ("c1", "cluster", "state:Inactive", on("05", "12:00")),
                ("c1", "cluster", "state:Running", on("05", "14:00")),
            ],
            2,
            "0.18",
            id="overdue for two hours",
        ),
        *(
            pytest.param(
                [*cluster(on("05", "10:20"), on("05", "13:40")), ("c1", "cluster", f"state:{state}", on("05", "10:30"))],
                2,
                "0.18",
                id=f"billable while {state}",
            )
            for state in ("Running", "Upgrading", "Draining", "Removing", "Updating", "Configuring", "running")
        ),
    ],
)  # fmt: skip
def test_the_pro_fee_counts_clock_hours_but_the_first_and_last(rows: Any, hours: int, amount: str) -> None:
    statement = metered(rows, ACK_PRO)
    assert [line.quantity for line in statement.lines] == [hours]
    assert statement.total == Decimal(amount)
    assert statement.coverage == 1
    assert (statement.low, statement.high) == (statement.total, statement.total)


def test_the_page_s_own_example_says_which_hours() -> None:
    (line,) = metered(cluster(on("05", "10:20"), on("05", "13:40")), ACK_PRO).lines
    assert (line.row()["from"], line.row()["to"]) == ("2026-10-05T03:00:00+00:00", "2026-10-05T05:00:00+00:00")


@pytest.mark.parametrize(
    ("rows", "vcpu_days", "amount"),
    [
        pytest.param(node(on("05", "00:00"), on("06", "00:00")), 64, "1.856", id="a server for a day"),
        pytest.param(node(on("05", "10:00"), on("05", "10:01")), 64, "1.856", id="a minute is a day"),
        pytest.param(node(on("05", "23:59"), on("06", "00:01")), 128, "3.712", id="two minutes over midnight are two"),
        pytest.param(node(on("05", "15:59", "Z"), on("05", "16:01", "Z")), 128, "3.712", id="UTC+8's midnight, in UTC"),
        pytest.param(node(on("04", "23:00", "Z"), on("05", "01:00", "Z")), 64, "1.856", id="UTC's midnight is none"),
        pytest.param(node("2026-09-01T00:00Z"), 64 * 31, "57.536", id="a month"),
        pytest.param([r for n in range(20) for r in node(on("05", "00:00"), on("06", "00:00"), name=f"n{n}")], 1280, "37.12", id="twenty servers for a day"),
        pytest.param([*node(on("05", "00:00"), on("06", "00:00")), ("n1", "node", "state:NotReady", on("05", "00:00"))], 64, "1.856", id="NotReady is billed"),
        pytest.param([*node(on("05", "01:00"), on("05", "03:00")), *node(on("05", "05:00"), on("05", "07:00"))], 64, "1.856", id="twice on one day is one day"),
        pytest.param([*node(on("05", "01:00"), on("06", "23:00"), 4), ("n1", "node", "resized", on("05", "12:00"), 8)], 16, "0.464", id="grown: the day's largest"),
        pytest.param([*node(on("05", "01:00"), on("06", "23:00"), 8), ("n1", "node", "resized", on("05", "12:00"), 4)], 12, "0.348", id="shrunk: the day's largest"),
    ],
)  # fmt: skip
def test_edge_counts_part_of_a_day_as_a_day(rows: Any, vcpu_days: int, amount: str) -> None:
    statement = metered(rows, EDGE)
    assert sum(line.quantity for line in statement.lines) == vcpu_days
    assert statement.total == Decimal(amount)
    assert statement.coverage == 1


def test_a_year_of_the_vcpus_of_edge_s_resource_plan_at_the_list_price() -> None:
    """500 vCPUs for 365 days list at 5,292.50; the plan sells them at 1,688, so that plans are not metering."""
    rows = [("n1", "node", "joined", "2025-12-31T00:00+08:00", 500)]
    assert metered(rows, EDGE, Period.of("2026")).total == Decimal("5292.5")


@pytest.mark.parametrize(
    ("gpus", "amount"),
    [
        (1, "1.5625"),
        (100, "156.25"),
        (101, "157.5"),
        (500, "656.25"),
        (501, "657.1875"),
        (1000, "1125"),
        (1001, "1125.625"),
    ],
)
def test_lingjun_s_tiers_are_cumulative(gpus: int, amount: str) -> None:
    rows = [("g1", "node", "joined", on("01", "00:00"), 96, gpus)]
    assert metered(rows, LINGJUN, DAY).total == Decimal(amount)


def test_lingjun_bills_the_most_there_was_at_one_time_of_the_day() -> None:
    rows = [
        ("g1", "node", "joined", on("05", "01:00"), 96, 60),
        ("g1", "node", "left", on("05", "02:00")),
        ("g2", "node", "joined", on("05", "02:00"), 96, 50),
        ("g3", "node", "joined", on("05", "03:00"), 96, 20),
        ("g3", "node", "left", on("05", "03:01")),
    ]
    (line,) = metered(rows, LINGJUN, DAY).lines
    assert (line.resource_id, line.quantity) == ("all nodes", 70)


def test_a_flat_sum_is_due_once_a_month_on_its_first_day() -> None:
    flat = tariff(priced("flat_month", "flat", "50"))
    rows = cluster("2026-09-10T00:00Z", on("02", "00:00"))
    assert metered(rows, flat).total == 50
    assert metered(rows, flat, Period.of("2026-10-01")).total == 50
    assert metered(rows, flat, Period.of("2026-10-02")).total == 0
    assert metered(rows, flat, Period.of("2026")).total == 100
    assert metered(rows, flat, Period.of("2026-11")).lines == ()


def test_the_hybrid_fee_is_counted_and_waived() -> None:
    (line,) = metered(node(on("05", "00:00"), on("06", "00:00")), ACK_PRO).lines
    assert (line.rule, line.quantity, line.amount, line.list_price) == ("hybrid-node-management", 1, 0, None)
    assert line.waiver == "waived during the preview of hybrid node pools"


def test_when_a_waiver_ends_the_fee_begins_in_a_line_of_its_own() -> None:
    fee = tariff(
        priced("per_node_day", "calendar_days_started", "0.5")
        + "\nwaivers: [{from: 2026-01-01, to: 2026-10-11, reason: preview, source: test, dated: 2026-01-01}]"
    )
    waived, charged = metered(node("2026-09-01T00:00Z"), fee).lines
    assert (waived.quantity, waived.amount, waived.list_price) == (10, 0, Decimal("0.5"))
    assert (charged.quantity, charged.amount) == (21, Decimal("10.5"))
    assert waived.end_us == charged.start_us


def test_without_a_price_nothing_is_made_up() -> None:
    fee = tariff(priced("per_node_day", "calendar_days_started", "unknown"))
    statement = metered(node(on("05", "00:00"), on("06", "00:00")), fee)
    assert statement.lines == ()
    (usage,) = statement.unpriced
    assert (usage.quantity, usage.reason) == (1, "the provider has published no price, and no waiver is in force")
    statement = metered(node("2019-12-30T00:00Z"), tariff(priced("per_node_day", "calendar_days_started")), Period.of("2019"))  # fmt: skip
    assert [usage.reason for usage in statement.unpriced] == ["the tariff has no price for 2019-01-01 to 2019-12-31"]
