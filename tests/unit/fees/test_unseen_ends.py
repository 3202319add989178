"""Ends that nobody saw: somewhere between the last look that found a resource and the first that did not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from poolkeeper.tasks.fees.metering.statement import meter
from poolkeeper.tasks.fees.periods import Period, instant
from poolkeeper.tasks.fees.usage.events import EvidenceInvalid
from poolkeeper.tasks.fees.usage.evidence import UsageEvidence, evidence_of_csv
from tests.unit.fees.builders import ACK_PRO, EDGE, NOW, OCTOBER

HEADER = "resource_id,kind,event,at,vcpus,not_before\n"
CREATED = "c1,cluster,created,2026-10-05T10:20:00+08:00,,\n"
RELEASED = "c1,cluster,released,2026-10-05T15:40:00+08:00,,2026-10-05T12:10:00+08:00\n"
NODE = (
    "n1,node,joined,2026-10-05T10:20:00+08:00,10,\nn1,node,left,2026-10-09T10:20:00+08:00,,2026-10-07T23:00:00+08:00\n"
)


def evidence_in(folder: Path, *rows: str) -> UsageEvidence:
    path = folder / "events.csv"
    path.write_text(HEADER + "".join(rows))
    return evidence_of_csv(path, NOW)


def quantities(evidence: UsageEvidence, tariff: Any = ACK_PRO, period: Period = OCTOBER) -> list[int]:
    """Low, likely and high."""
    (line,) = meter(evidence, tariff, period, instant(NOW)).lines
    return [int(amount / line.unit_price) for amount in (line.low, line.amount, line.high)]


@pytest.mark.parametrize(
    ("rows", "tariff", "expected"),
    [
        pytest.param([CREATED, RELEASED], ACK_PRO, [1, 4, 4], id="hours inside"),
        pytest.param([NODE], EDGE, [30, 50, 50], id="days started"),
        pytest.param([RELEASED, CREATED], ACK_PRO, [1, 4, 4], id="in any order"),
        pytest.param([CREATED, RELEASED, RELEASED.replace("15:40", "17:40").replace("12:10", "14:10")], ACK_PRO, [1, 4, 4], id="noticed twice"),
        pytest.param([CREATED, RELEASED.replace("12:10", "15:40")], ACK_PRO, [4, 4, 4], id="seen to the minute"),
    ],
)  # fmt: skip
def test_a_range(tmp_path: Path, rows: list[str], tariff: Any, expected: list[int]) -> None:
    evidence = evidence_in(tmp_path, *rows)
    assert quantities(evidence, tariff) == expected
    statement = meter(evidence, tariff, OCTOBER, instant(NOW))
    assert (statement.coverage < 1) == (expected[0] < expected[2])


def test_found_again_it_had_not_ended(tmp_path: Path) -> None:
    again = "c1,cluster,state:Running,2026-10-05T18:00:00+08:00,,\n"
    released = "c1,cluster,released,2026-10-05T20:40:00+08:00,,\n"
    assert quantities(evidence_in(tmp_path, CREATED, RELEASED, again, released)) == [9, 9, 9]


def test_the_range_is_of_the_month_it_lies_in(tmp_path: Path) -> None:
    """Seen last in October, gone in November: October may be short, November may be nothing."""
    evidence = evidence_in(
        tmp_path, CREATED, "c1,cluster,released,2026-11-02T10:00:00+08:00,,2026-10-30T10:00:00+08:00\n"
    )
    october, november = quantities(evidence), quantities(evidence, period=Period.month(2026, 11))
    assert october == [24 * 25 - 1, 24 * 26 + 13, 24 * 26 + 13]
    assert november == [0, 24 + 10, 24 + 10]
    assert meter(evidence, ACK_PRO, Period.month(2026, 9), instant(NOW)).lines == ()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param(
            CREATED.replace(",,\n", ",,2026-10-05T09:00:00+08:00\n"), "is not an end of a lifetime", id="no end"
        ),
        pytest.param(RELEASED.replace("12:10", "16:10"), "it is after `at`, the time of the end", id="turned round"),
        pytest.param(RELEASED.replace("12:10:00+08:00", "12:10:00"), "has no time zone", id="no zone"),
        pytest.param(RELEASED.replace("2026-10-05T12", "2036-10-05T12"), "is in the future", id="in the future"),
    ],
)
def test_problems(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(EvidenceInvalid) as caught:
        evidence_in(tmp_path, row)
    assert message in caught.value.in_full
    assert {problem.path for problem in caught.value.problems} == {"not_before"}


def test_seen_ends_that_differ_are_still_a_contradiction(tmp_path: Path) -> None:
    again = RELEASED.replace("15:40", "17:40").replace("2026-10-05T12:10:00+08:00", "")
    with pytest.raises(EvidenceInvalid) as caught:
        evidence_in(tmp_path, CREATED, RELEASED, again)
    assert "released again" in caught.value.in_full
