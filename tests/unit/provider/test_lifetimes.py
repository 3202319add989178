"""What is written down of a cluster's life, from what its provider tells and what earlier runs saw."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from poolkeeper.tasks.fees import Period, evidence_of_spool, meter
from poolkeeper.tasks.fees.periods import instant
from poolkeeper.tasks.fleet.model import AckProvider
from poolkeeper.tasks.ledger import LIFECYCLE, Spool
from poolkeeper.tasks.provider.lifetimes import ClusterLife, Seen, life_rows, seen_before
from tests.unit.fees.builders import ACK_PRO
from tests.unit.onboard.builders import CLUSTER

ACK = AckProvider("c-1", "cn-hangzhou")
CREATED = datetime(2026, 10, 5, 2, 20, tzinfo=UTC)
SEEN = datetime(2026, 10, 25, 3, 10, tzinfo=UTC)
NOW = datetime(2026, 10, 27, 3, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "seen", "events", "words"),
    [
        pytest.param("Running", None, ["created", "state:Running"], "Running, created at", id="first seen"),
        pytest.param("Deleting", SEEN, ["created", "state:Deleting"], "Deleting", id="about to go"),
        pytest.param(None, SEEN, ["released"], "no longer lists it; it existed at 2026-10-25T03:10", id="not listed"),
        pytest.param("Deleted", SEEN, ["created", "released"], "reports it as deleted; it existed at 2026-10-25", id="reported as deleted"),
        pytest.param("Deleted", None, ["created", "released"], "it existed at 2026-10-05", id="deleted and never seen"),
    ],
)  # fmt: skip
def test_rows(state: str | None, seen: datetime | None, events: list[str], words: str) -> None:
    life = ClusterLife(CREATED, state, NOW) if state else None
    rows, told = life_rows(CLUSTER, ACK, life, Seen(seen, False) if seen else None, NOW)
    assert [row["event"] for row in rows] == events
    assert words in told
    ends = {(row["at"], row["not_before"]) for row in rows if row["event"] == "released"}
    assert ends == ({(NOW, seen or CREATED)} if "released" in events else set())


@pytest.mark.parametrize("life", [None, ClusterLife(CREATED, "Deleted", NOW)], ids=["not listed", "told as deleted"])
def test_what_was_written_down_is_not_written_again(life: ClusterLife | None) -> None:
    rows, told = life_rows(CLUSTER, ACK, life, Seen(SEEN, True), NOW)
    assert (rows, told.endswith("an earlier run has recorded that")) == ([], True)


def row(event: str, at: datetime, kind: str = "cluster", **more: Any) -> dict[str, Any]:
    return {"resource_id": "c-1", "kind": kind, "event": event, "at": at, **more}


@pytest.mark.parametrize(
    ("rows", "seen"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([row("created", CREATED), row("state:Running", SEEN)], Seen(SEEN, False), id="there"),
        pytest.param([row("state:Running", SEEN), row("created", CREATED)], Seen(SEEN, False), id="in any order"),
        pytest.param([row("state:Running", SEEN), row("released", NOW)], Seen(SEEN, True), id="gone"),
        pytest.param(
            [row("released", SEEN), row("created", CREATED), row("state:Running", NOW)],
            Seen(NOW, False),
            id="found again",
        ),
        pytest.param([row("joined", SEEN, "node")], None, id="a node"),
    ],
)
def test_what_earlier_runs_saw(rows: list[dict[str, Any]], seen: Seen | None) -> None:
    assert seen_before(iter(rows)).get("c-1") == seen


def test_a_release_that_nobody_saw_is_a_range_in_the_bill(tmp_path: Any) -> None:
    """Last seen on the 25th at 11:10, gone by the 27th at 11:40, in UTC+8: from 479 to 527 hours."""
    spool = Spool(tmp_path)
    there, _ = life_rows(CLUSTER, ACK, ClusterLife(CREATED, "Running", SEEN), None, SEEN)
    spool.append(LIFECYCLE, "run-1", "cluster", there)
    seen = seen_before(spool.rows(LIFECYCLE))["c-1"]
    gone, _ = life_rows(CLUSTER, ACK, None, seen, NOW)
    spool.append(LIFECYCLE, "run-2", "cluster", gone)
    evidence = evidence_of_spool(spool, NOW + timedelta(days=9))
    (line,) = meter(evidence, ACK_PRO, Period.month(2026, 10), instant(NOW + timedelta(days=9))).lines
    hours = [int(amount / line.unit_price) for amount in (line.low, line.amount, line.high)]
    assert hours == [20 * 24, 22 * 24, 22 * 24]
    assert line.gaps == ("it ended at some time from 2026-10-25T03:10:00+00:00 to 2026-10-27T03:40:00+00:00",)
