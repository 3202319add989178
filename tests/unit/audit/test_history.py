"""What runs leave in the spool for the next ones: whose it is, what of it is read, what comes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from poolkeeper.tasks.audit.measurements import Measurement, Quality
from poolkeeper.tasks.audit.nights.comparison import (
    Comparison,
    FindingChange,
    FindingStatus,
    PastFinding,
    Seen,
    baselines,
    compare,
)
from poolkeeper.tasks.audit.nights.history import CARRIED, durations, earlier, write_facts, write_findings
from poolkeeper.tasks.ledger import FINDINGS, RUNS, Spool
from poolkeeper.tasks.outcomes import Evidence, Finding, Severity, Subject
from poolkeeper.tasks.runs.recording import Recorder
from tests.unit.audit.test_plan import fleet
from tests.unit.onboard.builders import a_host

NOW = datetime(2026, 11, 24, 2, tzinfo=UTC)
ACME = fleet([a_host(name) for name in ("n1", "n2", "n3")])


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path)


def end(spool: Spool, run_id: str, ago: float, hosts: str = "n1 n2 n3", **more: Any) -> None:
    """The row of an audit that began so many days ago; of a host in capitals nothing was measured."""
    states = {name.lower(): "failed" if name.isupper() else "done" for name in hosts.split()}
    at = NOW - timedelta(days=ago)
    row = {"flow": "audit", "fleet": "acme", "state": "completed", "started_at": at, "hosts": states, **more}
    spool.append(RUNS, run_id, "run", [row])


@pytest.mark.parametrize(
    ("row", "counts"),
    [
        pytest.param({}, True, id="of this fleet"),
        pytest.param({"fleet": "other"}, False, id="of another fleet, on hosts that are called alike"),
        pytest.param({"fleet": None}, True, id="from before fleets were named: its hosts are ours"),
        pytest.param({"fleet": None, "hosts": "n1 n2 sold"}, True, id="most of its hosts are ours still"),
        pytest.param({"fleet": None, "hosts": "n1 m1"}, False, id="no more of its hosts are ours than another's"),
        pytest.param({"fleet": None, "hosts": "m1 m2"}, False, id="from before fleets were named: another's hosts"),
        pytest.param({"flow": "onboard"}, False, id="of another flow"),
        pytest.param({"state": "invalid"}, False, id="what was asked for was wrong"),
        pytest.param({"hosts": ""}, False, id="it did not come as far as its hosts"),
        pytest.param({"ago": 0}, False, id="it began with this one"),
        pytest.param({"run_id": "tonight"}, False, id="this very run, before it was tried again"),
    ],
)
def test_whose_runs_count(spool: Spool, row: dict[str, Any], counts: bool) -> None:
    end(spool, **{"run_id": "before", "ago": 1, **row})
    assert [run.run_id for run in earlier(spool, ACME, "tonight", NOW)] == (["before"] if counts else [])


def test_the_hosts_that_a_run_probed_and_missed(spool: Spool) -> None:
    end(spool, "r1", 1, "n1 N2 N3")
    (run,) = earlier(spool, ACME, "tonight", NOW)
    assert (run.at, run.asked, run.missed) == (NOW - timedelta(days=1), {"n1", "n2", "n3"}, {"n2", "n3"})


N1, N2 = Subject("host", "n1"), Subject("host", "n2")


def write(spool: Spool, run_id: str, ago: int, compared: Comparison, **more: Any) -> None:
    write_findings(Recorder(spool, run_id), compared)
    end(spool, run_id, ago, **more)


def new(subject: Subject, at: datetime) -> Comparison:
    """Such a finding, for the first time."""
    seen = Evidence("broken", "whole", "probe", at)
    return Comparison(
        (FindingChange(Finding("audit.x", Severity.BLOCKER, subject, seen, "Mend it."), FindingStatus.NEW, at, 1),), ()
    )


def test_findings_that_a_run_wrote_are_read_back(spool: Spool) -> None:
    at = NOW - timedelta(days=1)
    gone = {
        measured: PastFinding("audit.y", N1, "was broken", measured, NOW - timedelta(days=9), 7, at, "warning")
        for measured in (True, False)
    }
    elsewhere = PastFinding("audit.z", N2, "was broken", False)
    write(spool, "r1", 1, replace(new(N1, at), gone=(gone[False],), elsewhere=(elsewhere,)))
    (run,) = earlier(spool, ACME, "tonight", NOW)
    assert run.found == {("audit.x", N1): Seen("broken", at, 1, at, "blocker")}
    assert run.carried == {
        ("audit.y", N1): Seen("was broken", NOW - timedelta(days=9), 7, at, "warning"),
        ("audit.z", N2): Seen("was broken"),
    }
    assert (run.fixed, run.tells_all) == (set(), False)
    write(spool, "r1", 1, Comparison((), (gone[True],)))
    (run,) = earlier(spool, ACME, "tonight", NOW)
    assert (run.found, run.carried, run.fixed) == ({}, {}, {("audit.y", N1)}), "tried again, it tells what it has now"


def test_rows_of_older_versions_are_read(spool: Spool) -> None:
    row = {"id": "audit.x", "severity": "blocker", "subject_kind": "host", "subject_name": "n1", "observed": "broken"}
    spool.append(FINDINGS, "r1", "audit.audit", [row])
    spool.append(FINDINGS, "r1", "audit.carried", [{**row, "id": "audit.y", "severity": CARRIED}])
    end(spool, "r1", 1, fleet=None)
    (run,) = earlier(spool, ACME, "tonight", NOW)
    assert (run.found, run.carried) == (
        {("audit.x", N1): Seen("broken", severity="blocker")},
        {("audit.y", N1): Seen("broken")},
    )
    assert run.tells_all


def test_a_finding_is_carried_from_run_to_run_for_as_long_as_it_is_there(spool: Spool) -> None:
    """A night a day for a quarter, an hour's run over another host each noon, and nights in which nobody could tell."""

    def night(number: int, found: bool, looked_at: bool = True) -> Comparison:
        at = NOW - timedelta(days=100 - number)
        findings = [one.finding for one in new(N1, at).changes] if found else []
        known = number == 99 and not found
        before = earlier(spool, ACME, "tonight", at)
        return compare(findings, lambda key: known, lambda key: looked_at, at, before)

    for number in range(98):
        write(spool, f"night-{number}", 100 - number, night(number, found=number % 10 < 8))
        write(spool, f"noon-{number}", 100 - number, night(number, found=False, looked_at=False), hosts="n2")
    (change,) = night(98, found=True).changes
    assert (change.status, change.since, change.nights) == (FindingStatus.STILL, NOW - timedelta(days=100), 81)
    (gone,) = night(99, found=False).fixed
    assert (gone.since, gone.nights) == (NOW - timedelta(days=100), 80)


def measure(spool: Spool, run_id: str, ago: float, durations: str, hosts: str = "n1 n2 n3") -> None:
    """A run in which each host named had that many milliseconds to another one, and was not OK if there are none."""
    facts = [
        Measurement(
            "connect.host", source, "m", Quality.OK if took else Quality.SLOW, "", frozenset(), float(took or 9)
        )
        for source, _, took in (pair.partition("=") for pair in durations.split())
    ]
    write_facts(Recorder(spool, run_id), facts, {}, NOW)
    end(spool, run_id, ago, hosts)


def test_durations_come_back_by_night(spool: Spool) -> None:
    measure(spool, "r1", 1, "n1=10 n2=20")
    measure(spool, "noon", 0.9, "n1=11", hosts="n1")
    measure(spool, "r2", 2, "n1= n2=21 n3=31")
    measure(spool, "fra1", 3, "n1=12", hosts="n1")
    measure(spool, "ams1", 2.99, "n2=22 n3=32", hosts="n2 n3")
    for ago in range(4, 12):
        measure(spool, f"r{ago}", ago, "n1=5")
    nights = list(durations(spool, earlier(spool, ACME, "tonight", NOW), ["n1", "n2", "n3"]))
    by_source = [{source: took for (_, source, _), took in night.items()} for night in nights]
    assert by_source[:3] == [{"n1": 10, "n2": 20}, {"n2": 21, "n3": 31}, {"n1": 12, "n2": 22, "n3": 32}]
    assert len(nights) == 7
    assert list(durations(Spool(spool.root / "none"), earlier(spool, ACME, "t", NOW), ["n1"])) == [{}] * 7, "removed"


def test_what_is_read_does_not_grow_with_the_runs_of_one_evening(spool: Spool) -> None:
    for ago in range(1, 9):
        measure(spool, f"r{ago}", ago, "n1=10 n2=20")
    for minutes in range(1, 30):
        measure(spool, f"again-{minutes}", minutes / 1440, "n1=900", hosts="n1")
    usual = baselines(durations(spool, earlier(spool, ACME, "tonight", NOW), ["n1", "n2"]))
    assert {source: one.median_ms for (_, source, _), one in usual.items()} == {"n1": 10, "n2": 20}
