"""What a run writes down while it goes: one batch a row, at once, whatever happens next."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from poolkeeper.tasks.ledger import CHANGES, FINDINGS, HOST_FACTS, LIFECYCLE, RUNS, SKIPS, STEPS, Spool, write_whole
from poolkeeper.tasks.outcomes import (
    Change,
    ChangeRecord,
    ChangeState,
    Gate,
    HostOutcome,
    HostState,
    PoolkeeperError,
    RunState,
    Severity,
    Subject,
)
from poolkeeper.tasks.runs.recording import Recorder
from poolkeeper.tasks.runs.result import RunResult
from tests.unit.onboard.builders import NOW, a_finding, a_host, a_node, some_facts, unread


@pytest.fixture
def recorder(tmp_path: Path, said: list[str]) -> Recorder:
    return Recorder(Spool(tmp_path), "run-1")


async def test_a_phase_is_timed_and_told(recorder: Recorder, said: list[str]) -> None:
    async with recorder.phase("n1", "join"):
        assert said == ["n1: join"]
    (row,) = recorder.spool.rows(STEPS)
    assert (row["host"], row["phase"], row["attempt"], row["result"], row["detail"]) == ("n1", "join", 1, "ended", "")
    assert row["duration_s"] >= 0
    assert recorder.phase_s["n1"]["join"] >= 0


async def test_a_phase_that_breaks_off_says_why_and_lets_it_through(recorder: Recorder) -> None:
    with pytest.raises(RuntimeError, match="line lost"):
        async with recorder.phase("n1", "join"):
            raise RuntimeError("line lost")
    (row,) = recorder.spool.rows(STEPS)
    assert (row["result"], row["detail"]) == ("aborted", "RuntimeError: line lost")


async def test_every_attempt_has_its_row_and_the_seconds_add_up(recorder: Recorder) -> None:
    for _ in range(3):
        async with recorder.phase("n1", "join"):
            pass
    rows = list(recorder.spool.rows(STEPS))
    assert [row["attempt"] for row in rows] == [1, 2, 3]
    total = sum(row["duration_s"] for row in rows)
    assert recorder.phase_s["n1"]["join"] == pytest.approx(total, abs=0.002)


def test_facts_with_what_could_not_be_read(recorder: Recorder) -> None:
    recorder.facts(a_host(), NOW, {"cpus": 8, "mtus": {"eth0": 1500}}, {"systemd": "no such command"})
    (row,) = recorder.spool.rows(HOST_FACTS)
    assert (row["host"], row["node"], row["site"], row["pool"]) == ("fra1-n01", "fra1-n01", "fra1", "general")
    assert row["facts"] == {"cpus": 8, "mtus": {"eth0": 1500}}
    assert row["unknown"] == {"systemd": "no such command"}
    assert row["seen_at"] == NOW


def test_findings_by_host_and_phase(recorder: Recorder) -> None:
    recorder.findings("fra1-n01", "preflight", [a_finding(), a_finding("hosts.mtu.enough", Severity.WARNING)])
    recorder.findings("fra1-n02", "preflight", [])
    rows = list(recorder.spool.rows(FINDINGS))
    assert [(row["id"], row["severity"], row["host"]) for row in rows] == [
        ("hosts.swap.off", "blocker", "fra1-n01"),
        ("hosts.mtu.enough", "warning", "fra1-n01"),
    ]
    assert (rows[0]["subject_kind"], rows[0]["subject_name"]) == ("host", "fra1-n01")
    assert (rows[0]["observed"], rows[0]["expected"], rows[0]["seen_at"]) == ("1.0 GiB of swap", "none", NOW)


def test_the_same_step_again_leaves_one_copy(recorder: Recorder) -> None:
    """A task that is tried again writes its outcome again: the last one stands."""
    recorder.findings("fra1-n01", "outcome", [a_finding()])
    recorder.findings("fra1-n01", "outcome", [a_finding("onboard.join.failed")])
    assert [row["id"] for row in recorder.spool.rows(FINDINGS)] == ["onboard.join.failed"]


def test_skips_with_their_reasons(recorder: Recorder) -> None:
    recorder.skips({})
    assert list(recorder.spool.rows(SKIPS)) == []
    recorder.skips({"hosts.swap.off": "zram only"})
    (row,) = recorder.spool.rows(SKIPS)
    assert (row["check"], row["reason"], row["by_run"]) == ("hosts.swap.off", "zram only", "run-1")


def test_changes_in_their_order_with_how_each_ended(recorder: Recorder, said: list[str]) -> None:
    sentences = [f"do thing {number}" for number in range(12)]
    records = [begun(sentence) for sentence in sentences]
    for record in records:
        recorder.change(record)
    assert {row["outcome"] for row in recorder.spool.rows(CHANGES)} == {"unknown"}, "as a killed run leaves them"
    for record in records:
        record.state = ChangeState.DONE
        recorder.change(record)
    records[3].state, records[3].why, records[3].attempts = ChangeState.REFUSED, "its budget", 5
    recorder.change(records[3])
    rows = list(recorder.spool.rows(CHANGES))
    assert [row["sentence"] for row in rows] == sentences
    assert {(row["subject_kind"], row["subject_name"]) for row in rows} == {("node", "n1")}
    ends = [(row["outcome"], row["why"], row["attempts"]) for row in rows]
    assert ends == [("done", "", 1)] * 3 + [("refused", "its budget", 5)] + [("done", "", 1)] * 8
    assert said == sentences


async def test_a_dry_run_says_would_and_takes_no_time(recorder: Recorder, said: list[str]) -> None:
    """Else the next plan would take its phases for how long a host takes."""
    recorder.dry_run = True
    async with recorder.phase("n1", "drain"):
        recorder.change(ChangeRecord(Change(Subject("node", "n1"), "cordon node n1"), ChangeState.DRY_RUN))
        recorder.change(ChangeRecord(Change(Subject("node", "n1"), "drain node n1"), ChangeState.DRY_RUN))
    assert said == ["would cordon node n1", "would drain node n1"]
    assert (list(recorder.spool.rows(STEPS)), recorder.phase_s) == ([], {})
    recorder.write_rest()
    rows = [(row["sentence"], row["outcome"]) for row in recorder.spool.rows(CHANGES)]
    assert rows == [("cordon node n1", "dry run"), ("drain node n1", "dry run")]
    assert len(list((recorder.spool.root / "changes").rglob("*.jsonl"))) == 1, "a drain may have very many"


def test_a_resumed_run_overwrites_no_change_of_the_process_before_it(recorder: Recorder) -> None:
    """A run that was suspended goes on in another process, under the same id."""
    recorder.change(begun("cordon node n1"))
    resumed = Recorder(recorder.spool, recorder.run_id)
    resumed.change(begun("cordon node n2"))
    assert [row["sentence"] for row in recorder.spool.rows(CHANGES)] == ["cordon node n1", "cordon node n2"]


async def test_a_dry_runs_step_that_is_started_again_is_recorded_once(recorder: Recorder) -> None:
    gate = Gate(on_change=recorder.change)
    node = Subject("node", "n1")
    for failing in (True, False):
        with suppress(ConnectionError), gate.attempt("step of n1"):
            await gate.change(node, "cordon node n1", nothing, if_dry_run=None)
            await gate.change(node, "cordon node n1", nothing, if_dry_run=None)
            if failing:
                raise ConnectionError
            await gate.change(node, "drain node n1", nothing, if_dry_run=None)
    with gate.attempt("another step of n1"):
        await gate.change(node, "cordon node n1", nothing, if_dry_run=None)
    recorder.write_rest()
    expected = ["cordon node n1", "cordon node n1", "drain node n1", "cordon node n1"]
    assert gate.sentences == expected
    assert [row["sentence"] for row in recorder.spool.rows(CHANGES)] == expected


async def nothing() -> None:
    raise AssertionError("a dry run changes nothing")


def begun(sentence: str) -> ChangeRecord:
    return ChangeRecord(Change(Subject("node", "n1"), sentence), ChangeState.UNKNOWN)


def test_lifecycle_is_what_a_bill_depends_on(recorder: Recorder) -> None:
    recorder.lifecycle(a_host(labels={"gpu": "a100"}), "joined", a_node(), NOW, some_facts(gpus=4))
    recorder.lifecycle(a_host(), "state:Ready", a_node(cpus=0), NOW)
    joined, ready = recorder.spool.rows(LIFECYCLE)
    assert joined["resource_id"] == "main/fra1-n01/u-1"
    assert (joined["event"], joined["at"], joined["vcpus"], joined["memory_bytes"]) == ("joined", NOW, 8, 32 * 1024**3)
    assert joined["gpus"] == 4
    assert joined["labels"] == {"gpu": "a100", "pool": "general", "site": "fra1"}
    assert (ready["event"], ready["vcpus"], ready["gpus"]) == ("state:Ready", None, None)


def test_a_size_that_could_not_be_read_is_not_taken_for_none(recorder: Recorder) -> None:
    recorder.lifecycle(a_host(), "joined", a_node(), NOW, some_facts(gpus=unread(), memory_bytes=unread()))
    (joined,) = recorder.spool.rows(LIFECYCLE)
    assert (joined["vcpus"], joined["gpus"], joined["memory_bytes"]) == (8, None, None)


def test_a_node_that_leaves_and_joins_anew_has_both_rows(recorder: Recorder) -> None:
    recorder.lifecycle(a_host(), "left", a_node(uid="u-1"), NOW)
    recorder.lifecycle(a_host(), "joined", a_node(uid="u-2"), NOW)
    assert {row["resource_id"][-3:] for row in recorder.spool.rows(LIFECYCLE)} == {"u-1", "u-2"}


def test_two_nodes_of_one_host_that_leave_in_one_run_have_both_rows(recorder: Recorder) -> None:
    """A stale one, and the one of a join that failed."""
    recorder.lifecycle(a_host(), "left", a_node(uid="u-1"), NOW)
    recorder.lifecycle(a_host(), "left", a_node(uid="u-2"), NOW)
    assert {row["resource_id"][-3:] for row in recorder.spool.rows(LIFECYCLE)} == {"u-1", "u-2"}


def test_the_end(recorder: Recorder) -> None:
    outcomes = [HostOutcome("a", HostState.ACCEPTED, ""), HostOutcome("b", HostState.FAILED, "")]
    recorder.fleet = "practice"
    recorder.end("onboard", RunState.UNFINISHED_HOSTS, "1 accepted, 1 failed", outcomes)
    (row,) = recorder.spool.rows(RUNS)
    assert row["fleet"] == "practice"
    assert row["hosts"] == {"a": "accepted", "b": "failed"}
    assert row["state"] == "completed with unfinished hosts"
    assert row["started_at"] <= row["ended_at"]


# what cannot be written


@pytest.fixture
def unwritable(tmp_path: Path, said: list[str]) -> Recorder:
    """Where its folder is to be, there is a file, until somebody removes it."""
    (tmp_path / "state").write_text("")
    return Recorder(Spool(tmp_path / "state/spool"), "run-1")


def make_room(recorder: Recorder) -> None:
    recorder.spool.root.parent.unlink()


def write_all(recorder: Recorder) -> None:
    recorder.skips({"hosts.swap.off": "zram only"})
    recorder.facts(a_host(), NOW, {}, {})
    recorder.findings("fra1-n01", "preflight", [a_finding()])
    recorder.lifecycle(a_host(), "joined", a_node(), NOW)
    recorder.change(begun("do a thing"))


async def test_what_cannot_be_written_stops_nothing_and_is_told_once(unwritable: Recorder, said: list[str]) -> None:
    write_all(unwritable)
    async with unwritable.phase("n1", "join"):
        pass
    with pytest.raises(RuntimeError, match="line lost"):
        async with unwritable.phase("n1", "join"):
            raise RuntimeError("line lost")
    told = "the record of this run cannot be written (Not a directory); the run continues, and tries again at its end"
    assert [line for line in said if "written" in line] == [told]


def test_what_could_not_be_written_is_tried_again_at_the_end(unwritable: Recorder, tmp_path: Path) -> None:
    write_all(unwritable)
    make_room(unwritable)
    answer = RunResult.without_hosts(
        "onboard", unwritable, RunState.COMPLETED, PoolkeeperError("completed: 1 accepted of 1 hosts")
    )
    files = answer.write(tmp_path / "runs")
    for table in (SKIPS, HOST_FACTS, FINDINGS, LIFECYCLE, CHANGES, RUNS):
        assert len(list(unwritable.spool.rows(table))) == 1, table.name
    assert (answer.state, answer.summary) == (RunState.COMPLETED, "completed: 1 accepted of 1 hosts")
    assert json.loads(Path(files[1]).read_text())["state"] == "completed"
    assert "written down" not in answer.text


@pytest.mark.parametrize(
    ("reached", "state"),
    [
        (RunState.COMPLETED, "ended with an incomplete record"),
        (RunState.UNFINISHED_HOSTS, "ended with an incomplete record"),
        (RunState.UNPRICED_USAGE, "ended with an incomplete record"),
        (RunState.BILL_DIFFERS, "ended with an incomplete record"),
        (RunState.FAILED, "failed"),
        (RunState.INVALID, "invalid"),
    ],
)
def test_what_could_not_be_written_stands_in_the_answer_and_in_its_state(
    unwritable: Recorder, tmp_path: Path, reached: RunState, state: str
) -> None:
    write_all(unwritable)
    answer = RunResult.without_hosts("onboard", unwritable, reached, PoolkeeperError(f"{reached}: 1 of 1 hosts"))
    answer.write(tmp_path / "state/runs")
    assert answer.state == state
    assert answer.summary == (
        f"{state}: 1 of 1 hosts; skips/skips, host_facts/fra1-n01.facts, findings/fra1-n01.preflight and 5 more could not"
        f" be written below {tmp_path}/state: Not a directory"
    )
    assert "main/fra1-n01/u-1,node,joined,2026-" in answer.text  # what a bill would miss
    assert "Free disk space there." in answer.text


def test_what_was_written_since_is_not_replaced_by_what_could_not_be(unwritable: Recorder) -> None:
    unwritable.findings("fra1-n01", "outcome", [a_finding()])
    make_room(unwritable)
    unwritable.findings("fra1-n01", "outcome", [a_finding("onboard.join.failed")])
    unwritable.write_rest()
    assert [row["id"] for row in unwritable.spool.rows(FINDINGS)] == ["onboard.join.failed"]
    assert unwritable.unrecorded == ""


def test_rows_that_are_none_stop_nothing_either(recorder: Recorder, said: list[str]) -> None:
    recorder.write(FINDINGS, "n1.x", [{"observed": ["no", "text"]}])
    recorder.write(FINDINGS, "n1.y", [{"no such column": 1}])
    recorder.write(HOST_FACTS, "n1.z", [{"facts": object()}])
    assert "findings/n1.x, findings/n1.y, host_facts/n1.z could not be written" in recorder.unrecorded
    assert len(said) == 1


def test_a_half_written_file_is_not_left(tmp_path: Path) -> None:
    path = tmp_path / "runs/outcome.json"
    path.mkdir(parents=True)  # nothing can be put in its place
    with pytest.raises(OSError, match="outcome"):
        write_whole(path, "{}")
    assert [found.name for found in path.parent.iterdir()] == ["outcome.json"]
