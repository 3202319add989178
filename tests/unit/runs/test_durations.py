"""How long a host takes, from what earlier runs have written."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from poolkeeper.tasks.ledger import RUNS, STEPS, Spool, Table
from poolkeeper.tasks.onboard.report import ADMISSION
from poolkeeper.tasks.rollout.durations import OUT_OF_SERVICE
from poolkeeper.tasks.runs.durations import ENOUGH, RUNS_LOOKED_AT, in_words, measured_s, percentile_s
from tests.unit.onboard.builders import NOW

HOSTS = [f"h{n}" for n in range(10)]


def run(
    id: str, *, age_days: int = 0, flow: str = "upgrade", state: str = "done", dry_run: bool = False
) -> dict[str, Any]:
    return {
        "run_id": id,
        "flow": flow,
        "ended_at": NOW - timedelta(days=age_days),
        "hosts": dict.fromkeys(HOSTS, state),
        "dry_run": dry_run,
    }


def steps(change_s: float = 60, **differing: float) -> list[dict[str, Any]]:
    """Ten hosts that took so long to change, and 30 s to drain."""
    return [
        {"host": host, "phase": phase, "duration_s": seconds}
        for host in HOSTS
        for phase, seconds in (("take", 999.0), ("drain", 30.0), ("change", differing.get(host, change_s)))
    ]


@pytest.mark.parametrize(
    ("runs", "written", "hosts", "expected_s"),
    [
        pytest.param([], {}, HOSTS, None, id="no run yet"),
        pytest.param([run("a")], {"a": steps()}, HOSTS, 90.0, id="all alike; waiting for room does not count"),
        pytest.param([run("a")], {"a": steps()}, HOSTS[:4], None, id="four hosts are too few"),
        pytest.param([run("a")], {"a": steps()}, ["x", "y"], None, id="of other hosts"),
        pytest.param([run("a", flow="maintain")], {"a": steps()}, HOSTS, None, id="of another flow"),
        pytest.param([run("a", state="failed")], {"a": steps()}, HOSTS, None, id="that failed"),
        pytest.param([run("a", dry_run=True)], {"a": steps()}, HOSTS, None, id="of a dry run, which waits for nothing"),
        pytest.param([run("a")], {"a": []}, HOSTS, None, id="that were at the goal already"),
        pytest.param([run("a")], {"a": steps(h0=600)}, HOSTS, 90 + 540 * 0.55, id="one slow host in ten"),
        pytest.param(
            [run(f"r{n}", age_days=n) for n in range(RUNS_LOOKED_AT)] + [run("old", age_days=99)],
            {**{f"r{n}": steps() for n in range(RUNS_LOOKED_AT)}, "old": steps(6000)},
            HOSTS,
            90.0,
            id="what is long ago is forgotten",
        ),
    ],
)
def test_expected(
    runs: list[dict[str, Any]], written: dict[str, Any], hosts: list[str], expected_s: float | None
) -> None:
    found = percentile_s(runs, written.__getitem__, "upgrade", hosts, OUT_OF_SERVICE)
    assert found == (pytest.approx(expected_s) if expected_s is not None else None)


@pytest.mark.parametrize("table", [RUNS, STEPS])
@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(b'{"run_id": "a", "flow": "upg', id="half a row"),
        pytest.param(b"\xff\xfe\n", id="no text"),
        pytest.param(b"[]\n", id="no row"),
        pytest.param(b"7\n", id="a number"),
        pytest.param(b"[" * 100_000, id="too deep"),
        pytest.param(b'{"flow": "upgrade", "ended_at": "yesterday"}\n', id="no time"),
        pytest.param(b'{"flow": "upgrade", "ended_at": null, "hosts": [1]}\n', id="odd types"),
    ],
)
def test_a_broken_file_of_the_spool_is_no_measure_and_stops_nothing(
    table: Table, broken: bytes, tmp_path: Path
) -> None:
    spool = Spool(tmp_path)
    hosts = dict.fromkeys(HOSTS, "done")
    spool.append(RUNS, "a", "run", [{"flow": "upgrade", "ended_at": NOW, "hosts": hosts}])
    spool.append(STEPS, "a", "steps", steps())
    assert measured_s(spool, "upgrade", HOSTS, OUT_OF_SERVICE) == 90.0
    (tmp_path / table.name / "a/broken.jsonl").write_bytes(broken)
    assert measured_s(spool, "upgrade", HOSTS, OUT_OF_SERVICE) in (None, 90.0)


@pytest.mark.parametrize(
    ("phases", "state", "expected_s"),
    [
        pytest.param({"look": 1, "join": 60, "acceptance": 20, "release": 1}, "accepted", 82, id="joined by the run"),
        pytest.param({"look": 1, "undo": 9, "join": 60, "acceptance": 20}, "accepted", 90, id="after an undo"),
        pytest.param({"look": 1, "quarantine": 1, "acceptance": 20}, "accepted", None, id="had joined before"),
        pytest.param({"look": 1, "join": 60, "acceptance": 20}, "failed", None, id="failed"),
    ],
)
def test_how_long_onboarding_a_host_takes(phases: dict[str, float], state: str, expected_s: float | None) -> None:
    rows = [{"host": host, "phase": phase, "duration_s": s} for host in HOSTS[:ENOUGH] for phase, s in phases.items()]
    runs = [run("a", flow="onboard", state=state)]
    assert percentile_s(runs, {"a": rows}.__getitem__, "onboard", HOSTS, ADMISSION) == expected_s


@pytest.mark.parametrize(
    ("seconds", "words"), [(40, "40 s"), (119, "119 s"), (150, "2 min"), (7199, "120 min"), (9000, "2.5 h")]
)
def test_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
