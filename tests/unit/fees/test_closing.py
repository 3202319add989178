"""Closing months: never twice, never changed, late evidence as adjustments, and killed at every step."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolkeeper.tasks.fees.closing.close import NotClosable, PriceMissing, close, digests_of, statement_of
from poolkeeper.tasks.fees.closing.closed_months import ClosedMonthDamaged, ClosedMonths
from poolkeeper.tasks.fees.metering.statement import Statement, meter
from poolkeeper.tasks.fees.periods import Period, instant
from tests.unit.fees.builders import ACK_PRO, EDGE, LINGJUN, NOW, OCTOBER, Row, evidence_of, priced, tariff
from tests.unit.fees.random_usage import rows

NOVEMBER, DECEMBER = Period.month(2026, 11), Period.month(2026, 12)
FEE = tariff(priced("per_node_day", "calendar_days_started"))
FLAT = tariff(priced("flat_month", "flat", "50"))
NODE: list[Row] = [
    ("n1", "node", "joined", "2026-10-05T12:00+08:00", 4),
    ("n1", "node", "left", "2026-10-08T12:00+08:00"),
]
LATE: list[Row] = [
    ("n2", "node", "joined", "2026-10-30T12:00+08:00", 4),
    ("n2", "node", "left", "2026-10-31T12:00+08:00"),
]


@pytest.fixture
def closed(tmp_path: Path) -> ClosedMonths:
    return ClosedMonths(tmp_path / "fees" / "test")


def closing(
    closed: ClosedMonths, events: list[Row], period: Period, prices: Any = FEE, now: datetime = NOW
) -> Statement:
    return close(evidence_of(events, now), prices, period, instant(now), closed).statement


def files(closed: ClosedMonths) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in closed.folder.iterdir() if path.name != ".lock"}


def test_what_was_closed_is_read_as_it_was(closed: ClosedMonths) -> None:
    statement = closing(closed, NODE, OCTOBER)
    assert closed.read(OCTOBER) == statement
    assert closed.periods() == (OCTOBER,)
    assert statement.total == 4


def test_closing_twice_does_nothing(closed: ClosedMonths) -> None:
    evidence = evidence_of(NODE)
    first = close(evidence, FEE, OCTOBER, instant(NOW), closed)
    before = files(closed)
    # other evidence, other prices, another time: it is closed
    again = close(
        evidence_of(LATE),
        tariff(priced("per_node_day", "calendar_days_started", "9")),
        OCTOBER,
        instant(NOW) + 1,
        closed,
    )
    assert (first.was_closed, again.was_closed) == (False, True)
    assert again.statement == first.statement
    assert files(closed) == before


def test_evidence_that_comes_late_is_charged_in_the_next_month_by_the_line_it_corrects(closed: ClosedMonths) -> None:
    october = closing(closed, NODE, OCTOBER)
    before = files(closed)
    events = [*NODE, *LATE, ("n1", "node", "left", "2026-10-06T12:00+08:00")]
    events.remove(NODE[1])  # it left earlier than was thought
    november = closing(closed, events, NOVEMBER)
    by_resource = {line.resource_id: line for line in november.lines}
    assert {name: (line.quantity, line.amount) for name, line in by_resource.items()} == {"n1": (-2, -2), "n2": (2, 2)}
    assert by_resource["n1"].corrects == october.lines[0].id
    assert by_resource["n1"].because == (
        "4 node-days for 4.00 were charged; the evidence that came later gives 2 node-days for 2.00"
    )
    assert by_resource["n2"].corrects.startswith("2026-10-")
    assert october.total + november.total == meter(evidence_of(events), FEE, OCTOBER, instant(NOW)).total
    assert files(closed).items() >= before.items()


def test_what_was_corrected_is_not_corrected_again(closed: ClosedMonths) -> None:
    closing(closed, NODE, OCTOBER)
    closing(closed, [*NODE, *LATE], NOVEMBER)
    assert closing(closed, [*NODE, *LATE], DECEMBER).lines == ()


def test_a_correction_can_be_taken_back(closed: ClosedMonths) -> None:
    closing(closed, NODE, OCTOBER)
    closing(closed, [*NODE, *LATE], NOVEMBER)
    (line,) = closing(closed, NODE, DECEMBER).lines
    assert (line.resource_id, line.amount) == ("n2", -2)


def test_adjustments_stand_in_the_first_open_month_only(closed: ClosedMonths) -> None:
    closing(closed, NODE, OCTOBER)
    evidence = evidence_of([*NODE, *LATE])
    november, is_closed = statement_of(evidence, FEE, NOVEMBER, instant(NOW), closed)
    december, _ = statement_of(evidence, FEE, DECEMBER, instant(NOW), closed)
    assert ([line.amount for line in november.lines], is_closed) == ([2], False)
    assert december.lines == ()


def test_a_new_price_does_not_touch_a_closed_month(closed: ClosedMonths) -> None:
    closing(closed, NODE, OCTOBER)
    dearer = tariff(priced("per_node_day", "calendar_days_started", "9"))
    (line,) = closing(closed, [*NODE, *LATE], NOVEMBER, dearer).lines
    assert (line.quantity, line.amount) == (2, 2)


def test_a_size_that_is_reported_late_is_corrected(closed: ClosedMonths) -> None:
    joined = ("n1", "node", "joined", "2026-10-31T12:00+08:00")
    events: list[Row] = [joined, ("n2", "node", "joined", "2026-10-31T12:00+08:00", 8)]
    october = closing(closed, events, OCTOBER, EDGE)
    assert [line.gaps for line in october.lines] == [
        ("no event reports its vcpus; 8 to 8 is assumed, from other nodes",),
        (),
    ]
    november = closing(closed, [*events, ("n1", "node", "state:Ready", "2026-11-01T12:00+08:00", 4)], NOVEMBER, EDGE)
    (correction,) = [line for line in november.lines if line.corrects]
    assert (correction.quantity, correction.amount) == (-4, Decimal("-0.116"))


@pytest.mark.parametrize(
    ("period", "now", "before", "words"),
    [
        pytest.param("2026-10-05", NOW, [], "is not a month", id="a day"),
        pytest.param("2026", NOW, [], "is not a month", id="a year"),
        pytest.param("2026-10", datetime(2026, 10, 31, 15, 59, tzinfo=UTC), [], "is not over", id="a minute early"),
        pytest.param("2026-12", NOW, ["2026-10"], "Close 2026-11 first.", id="out of turn"),
        pytest.param(
            "2026-09",
            NOW,
            ["2026-10"],
            "is before 2026-10, the first closed month, and stays open.",
            id="before the first",
        ),
    ],
)
def test_what_cannot_be_closed(closed: ClosedMonths, period: str, now: datetime, before: list[str], words: str) -> None:
    for earlier in before:
        closing(closed, NODE, Period.of(earlier))
    kept = files(closed) if before else {}
    with pytest.raises(NotClosable) as caught:
        closing(closed, NODE, Period.of(period), now=now)
    assert words in caught.value.summary
    assert (files(closed) if closed.folder.exists() else {}) == kept


def test_a_month_whose_evidence_is_cut_short_is_not_closed(closed: ClosedMonths) -> None:
    evidence = evidence_of(NODE, datetime(2026, 10, 20, tzinfo=UTC))
    with pytest.raises(NotClosable, match="the evidence ends at 2026-10-20T00:00:00") as caught:
        close(evidence, FEE, OCTOBER, instant(NOW), closed)
    assert caught.value.next_step == "Give evidence until the end of the month."


def test_a_month_without_a_price_is_not_closed(closed: ClosedMonths) -> None:
    with pytest.raises(PriceMissing, match="1 usage without a price, such as fee of n1"):
        closing(closed, NODE, OCTOBER, tariff(priced("per_node_day", "calendar_days_started", "unknown")))
    assert closed.periods() == ()


def test_late_evidence_without_a_size_keeps_the_next_month_open(closed: ClosedMonths) -> None:
    closing(closed, [], OCTOBER, EDGE)
    with pytest.raises(PriceMissing, match="no event reports its size"):
        closing(closed, [("n1", "node", "joined", "2026-10-30T12:00+08:00")], NOVEMBER, EDGE)


def _swap(path: Path, old: bytes, new: bytes) -> None:
    path.chmod(0o644)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"amount":"4.00"', b'"amount":"5.00"'),
        (b'"total":"4.00"', b'"total":"5.00"'),
        (b"price: 1,", b"price: 2,"),
        (b'"quantity":4', b'"quantity":'),
        (b"{", b""),
    ],
)
def test_a_closed_month_that_was_changed_by_hand_is_found_out(closed: ClosedMonths, old: bytes, new: bytes) -> None:
    closing(closed, NODE, OCTOBER)
    _swap(closed.folder / "2026-10.jsonl", old, new)
    with pytest.raises(ClosedMonthDamaged, match=r"2026-10.jsonl (was changed|cannot be read)") as caught:
        closed.read(OCTOBER)
    assert caught.value.next_step == "Restore the file from a backup."
    with pytest.raises(ClosedMonthDamaged):
        closing(closed, NODE, OCTOBER)


def test_a_closed_month_under_another_name_is_found_out(closed: ClosedMonths) -> None:
    closing(closed, NODE, OCTOBER)
    (closed.folder / "2026-10.jsonl").rename(closed.folder / "2026-11.jsonl")
    with pytest.raises(ClosedMonthDamaged, match="is the file of 2026-10") as caught:
        closed.read(NOVEMBER)
    assert caught.value.next_step == "Rename it to 2026-10.jsonl."


def test_thousands_of_others_are_not_counted_anew(closed: ClosedMonths) -> None:
    """Only what has changed, and what is counted over all."""
    evidence = evidence_of([*NODE, *LATE])
    statement = meter(evidence, FEE, OCTOBER, instant(NOW), only={"n2"})
    assert [line.resource_id for line in statement.lines] == ["n2"]
    whole = meter(evidence, FEE, OCTOBER, instant(NOW))
    assert statement.lines[0] == whole.lines[1]


THERE: list[Row] = [
    ("n1", "node", "joined", "2026-09-20T12:00+08:00", 4, 0),
    ("n1", "node", "left", "2026-11-10T12:00+08:00"),
]


@pytest.mark.parametrize(
    ("events", "changed"),
    [
        pytest.param(THERE, [], id="nothing"),
        pytest.param([("n1", "node", "joined", "2026-09-21T12:00+08:00", 4, 0), THERE[1]], [9], id="its beginning"),
        pytest.param([THERE[0], ("n1", "node", "left", "2026-11-09T12:00+08:00")], [11], id="its end"),
        pytest.param([THERE[0], ("n1", "node", "left", "2026-10-09T12:00+08:00")], [10, 11], id="an end in another month"),
        pytest.param([("n1", "node", "joined", "2026-09-20T12:00+08:00", 8, 0), THERE[1]], [9, 10, 11], id="its size"),
        pytest.param([("n1", "node", "joined", "2026-09-20T12:00+08:00", 4, 2), THERE[1]], [], id="a size that no rule counts"),
        pytest.param([*THERE, ("n1", "node", "state:NotReady", "2026-10-10T12:00+08:00")], [10, 11], id="a state from then on"),
        pytest.param([THERE[1]], [9, 10, 11], id="its beginning is not known any more"),
        pytest.param([*THERE, ("n1", "node", "joined", "2026-12-10T12:00+08:00")], [12], id="it comes back"),
    ],
)  # fmt: skip
def test_which_months_late_evidence_touches(events: list[Row], changed: list[int]) -> None:
    months = [Period.month(2026, month) for month in (9, 10, 11, 12)]
    before, after = (digests_of(evidence_of(rows_), EDGE, months) for rows_ in (THERE, events))
    assert [m.first.month for m, one, other in zip(months, before, after, strict=True) if one != other] == changed


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_however_evidence_trickles_in_closed_stays_closed_and_the_sum_is_right(
    tmp_path_factory: Any, data: Any
) -> None:
    closed = ClosedMonths(tmp_path_factory.mktemp("closed"))
    prices = data.draw(st.sampled_from([EDGE, LINGJUN, FLAT, ACK_PRO]))
    events = data.draw(rows("cn", most=4))
    ids = sorted({row[0] for row in events})
    # each month sees the records of some resources only, the last one all
    known: set[str] = set()
    totals, before = Decimal(0), {}
    for month in (OCTOBER, NOVEMBER, DECEMBER):
        known |= set(ids) if month is DECEMBER else set(data.draw(st.lists(st.sampled_from(ids))))
        statement = closing(closed, [row for row in events if row[0] in known], month, prices)
        totals += statement.total
        assert files(closed).items() >= before.items()
        before = files(closed)
    whole = Period(OCTOBER.first, DECEMBER.after)
    assert totals == meter(evidence_of(events), prices, whole, instant(NOW)).total


def killed(closed: ClosedMonths, step: int) -> bool:
    """Close October in a process that is killed before the n-th call that touches the disk, if there is an n-th."""
    if (pid := os.fork()) == 0:
        try:
            left = step

            def deadly(module: Any, name: str) -> None:
                real = getattr(module, name)

                def call(*given: Any, **named: Any) -> Any:
                    nonlocal left
                    left -= 1
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return real(*given, **named)

                setattr(module, name, call)

            for name in ("mkdir", "chmod", "link", "unlink", "fsync", "open"):
                deadly(os, name)
            deadly(fcntl, "flock")
            closing(closed, NODE, OCTOBER)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL)
    return code != 0


def test_killed_at_any_step_and_run_again_it_is_closed_once(tmp_path: Path) -> None:
    whole = ClosedMonths(tmp_path / "whole")
    right = closing(whole, NODE, OCTOBER)
    for step in range(1, 30):
        closed = ClosedMonths(tmp_path / f"killed-{step}")
        died = killed(closed, step)
        # killed or not, the month is open, or closed whole
        assert closed.read(OCTOBER) in (None, right) if closed.folder.exists() else True
        assert closing(closed, NODE, OCTOBER) == right
        # what the killed one left lying is swept away by the next close that closes anything
        closing(closed, NODE, NOVEMBER)
        assert set(files(closed)) == {"2026-10.jsonl", "2026-11.jsonl"}
        if not died:
            assert step > 5
            return
    pytest.fail("the close never came to its end")


def test_two_closes_at_once_close_once(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from poolkeeper.tasks.fees.closing.closed_months import ClosedMonths\n"
        "from tests.unit.fees import test_closing as this\n"
        "from poolkeeper.tasks.fees.closing.close import close\n"
        "evidence = this.evidence_of(this.NODE if sys.argv[2] == '1' else this.LATE)\n"
        "print(close(evidence, this.FEE, this.OCTOBER, this.instant(this.NOW), ClosedMonths(Path(sys.argv[1]))).was_closed)"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, tmp_path / "closed", number],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in "12"
    ]
    assert sorted(one.communicate(timeout=60)[0].strip() for one in running) == ["False", "True"]
    assert ClosedMonths(tmp_path / "closed").periods() == (OCTOBER,)


def test_the_file_can_be_read_without_us(closed: ClosedMonths) -> None:
    closing(closed, NODE, OCTOBER)
    head, *lines = map(json.loads, (closed.folder / "2026-10.jsonl").read_text().splitlines())
    assert (head["period"], head["total"], head["currency"]) == ("2026-10", "4.00", "USD")
    assert [line["amount"] for line in lines] == ["4.00"]
