"""What a run says in the end: to scripts as JSON, to people as a table and a text. All of them of the same fields."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from poolkeeper.tasks.fleet.model import Join
from poolkeeper.tasks.ledger import RUNS, Spool
from poolkeeper.tasks.onboard.next_action import NextAction, Step
from poolkeeper.tasks.onboard.plan import plan_joins
from poolkeeper.tasks.onboard.report import plan_rows, run_plan
from poolkeeper.tasks.outcomes import (
    Change,
    ChangeRecord,
    ChangeState,
    Evidence,
    Gate,
    HostOutcome,
    HostState,
    Invalid,
    RunState,
    Severity,
    Subject,
)
from poolkeeper.tasks.runs.recording import Recorder
from poolkeeper.tasks.runs.result import TABLE_ROWS, RunResult, markdown, outcome_rows, summary_line
from tests.unit.onboard.builders import NOW, a_finding, a_host

ACCEPTED = HostOutcome("a", HostState.ACCEPTED, "accepted and released", phase_s={"join": 12.345, "look": 0.04})
STOPPED = HostOutcome("b", HostState.STOPPED, "hosts.swap.off: 1.0 GiB of swap", (a_finding(),))
FAILED = HostOutcome(
    "c",
    HostState.FAILED,
    "the join script failed; undone",
    (
        a_finding("onboard.undo.leftovers", Severity.WARNING, next_step="Remove it."),
        a_finding("onboard.join.failed", Severity.BLOCKER, next_step="Mend it."),
    ),
)


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(Spool(tmp_path / "spool"), "run-1", started_at=NOW)


def answer(recorder: Recorder, asked: list[str], *outcomes: HostOutcome, dry_run: bool = False) -> RunResult:
    return RunResult.of_run("onboard", recorder, asked, outcomes, Gate(dry_run=dry_run))


def test_what_made_a_run_fail_costs_no_hosts_outcome(recorder: Recorder) -> None:
    done = HostOutcome("a", HostState.DONE, "given back")
    told = RunResult.of_run("recover", recorder, ["a"], [done], Gate(dry_run=False), failed="pool batch: no kubeconfig")
    assert (told.state, told.outcomes) == (RunState.FAILED, (done,))
    assert told.summary == "failed: 1 done of 1 hosts; pool batch: no kubeconfig"


def test_a_command_stays_what_can_be_copied(recorder: Recorder) -> None:
    finding = a_finding("x", Severity.BLOCKER, next_step="Look: `du -s /var | sort <in`.")
    text = answer(recorder, ["a"], HostOutcome("a", HostState.STOPPED, "x", (finding,))).text
    assert "`du -s /var | sort <in`" in text


def test_the_answer_is_what_scripts_rely_on(recorder: Recorder, tmp_path: Path) -> None:
    files = answer(recorder, ["b", "c"], STOPPED).write(tmp_path / "runs")
    told = json.loads((tmp_path / "runs/run-1/outcome.json").read_text())
    assert told == {
        "flow": "onboard",
        "run_id": "run-1",
        "state": "failed",
        "summary": "failed: 1 stopped of 1 hosts",
        "hosts": [
            {
                "name": "b",
                "state": "stopped",
                "summary": "hosts.swap.off: 1.0 GiB of swap",
                "findings": [
                    {
                        "id": "hosts.swap.off",
                        "severity": "blocker",
                        "subject": "host fra1-n01",
                        "evidence": {
                            "observed": "1.0 GiB of swap",
                            "expected": "none",
                            "source": "host facts: swap_bytes",
                            "seen_at": "2026-11-23T12:00:00+00:00",
                        },
                        "next_step": "Run `swapoff -a`.",
                    }
                ],
                "phase_s": {},
            }
        ],
        "files": files,
    }
    assert files == [str(tmp_path / "runs/run-1/summary.md"), str(tmp_path / "runs/run-1/outcome.json")]
    assert all(Path(file).exists() for file in files)


def test_the_runs_row_is_written_last(recorder: Recorder, tmp_path: Path) -> None:
    answer(recorder, ["a", "c"], ACCEPTED, FAILED).write(tmp_path / "runs")
    (row,) = recorder.spool.rows(RUNS, "run-1")
    assert (row["flow"], row["state"], row["started_at"]) == ("onboard", "completed with unfinished hosts", NOW)
    assert row["hosts"] == {"a": "accepted", "c": "failed"}


@pytest.mark.parametrize(
    ("asked", "outcomes", "state"),
    [
        (["a"], [ACCEPTED], RunState.COMPLETED),
        (["a", "b"], [ACCEPTED, STOPPED], RunState.UNFINISHED_HOSTS),
        (["b"], [STOPPED], RunState.FAILED),
        (["a", "b"], [ACCEPTED], RunState.UNFINISHED_HOSTS),
    ],
    ids=["all", "one stopped", "none", "one without an outcome"],
)
def test_the_state_is_that_of_all_who_were_asked_for(
    recorder: Recorder, asked: list[str], outcomes: list[HostOutcome], state: RunState
) -> None:
    assert answer(recorder, asked, *outcomes).state is state


def test_a_run_that_did_not_come_to_its_hosts(recorder: Recorder, tmp_path: Path) -> None:
    ended = RunResult.without_hosts("onboard", recorder, RunState.INVALID, Invalid("fleet.yaml:3: no such pool"))
    ended.write(tmp_path)
    told = json.loads((tmp_path / "run-1/outcome.json").read_text())
    assert (told["state"], told["summary"], told["hosts"]) == ("invalid", "fleet.yaml:3: no such pool", [])
    assert "fleet.yaml:3: no such pool" in (tmp_path / "run-1/summary.md").read_text()


def test_one_row_a_host_those_that_need_a_person_first() -> None:
    rows = outcome_rows([ACCEPTED, STOPPED, FAILED])
    assert [row["host"] for row in rows] == ["c", "b", "a"]
    assert rows[0] == {
        "host": "c",
        "state": "failed",
        "summary": "the join script failed; undone",
        "findings": "onboard.join.failed: 1.0 GiB of swap; onboard.undo.leftovers: 1.0 GiB of swap",
        "next step": "Mend it.",
    }
    assert rows[2] == {
        "host": "a",
        "state": "accepted",
        "summary": "accepted and released",
        "findings": "",
        "next step": "",
        "join s": 12.3,
        "look s": 0.0,
    }


def test_every_state_has_its_place_in_the_table() -> None:
    outcomes = [HostOutcome(state, state, "") for state in HostState]
    assert {row["state"] for row in outcome_rows(outcomes)} == set(HostState)


@pytest.mark.parametrize(
    ("outcomes", "line"),
    [
        ([], "nothing done of 0 hosts"),
        ([ACCEPTED], "1 accepted of 1 hosts"),
        ([STOPPED, ACCEPTED, FAILED, ACCEPTED], "2 accepted, 1 stopped, 1 failed of 4 hosts"),
    ],
)
def test_the_summary_in_a_line(outcomes: list[HostOutcome], line: str) -> None:
    assert summary_line(outcomes) == line


def test_the_plan_one_row_a_host() -> None:
    plan = plan_joins([(a_host("n1", domain="rack-1"), NextAction(Step.JOIN, "not in the cluster yet"))])
    assert plan_rows(plan) == [
        {
            "wave": 1,
            "host": "n1",
            "node": "n1",
            "pool": "general",
            "site": "fra1",
            "domain": "rack-1",
            "what": "join",
            "why": "not in the cluster yet",
        }
    ]


@pytest.mark.parametrize(
    ("host_s", "note"),
    [
        pytest.param(
            None,
            "expected: unknown, because fewer than 5 hosts of these pools were onboarded by earlier runs",
            id="nothing measured",
        ),
        pytest.param(300.0, "expected: 10 min, with 5 min a host and at most 2 at once", id="two waves"),
    ],
)
def test_the_plan_says_how_long_it_takes(host_s: float | None, note: str) -> None:
    joining = NextAction(Step.JOIN, "not in the cluster yet")
    plan = plan_joins([(a_host(name, pool={"join": Join(parallel=2)}), joining) for name in ("n1", "n2", "n3")])
    shown = run_plan(plan, host_s)
    assert (shown.host_s, shown.notes, shown.waves) == (host_s, (note,), 2)
    assert run_plan(plan_joins([]), host_s).notes == ()


def test_the_text_for_people() -> None:
    text = markdown(
        "onboard",
        "completed with unfinished hosts: 1 accepted, 1 failed of 2 hosts",
        [ACCEPTED, FAILED],
        [
            a_record("join host a to pool general"),
            a_record("evict pod web", ChangeState.REFUSED, "its budget", 5),
            a_record("restart host a", ChangeState.UNKNOWN),
            a_record("upgrade host a", ChangeState.FAILED, "exit status 1"),
        ],
        dry_run=False,
    )
    assert text == (
        "# onboard\n\n"
        "**completed with unfinished hosts: 1 accepted, 1 failed of 2 hosts**\n\n"
        "## What needs attention\n\n"
        "### c: failed\n\n"
        "- **blocker** `onboard.join.failed`: 1.0 GiB of swap\n"
        "  (expected: none; read from host facts: swap_bytes)\n"
        "  **Next:** Mend it.\n"
        "- **warning** `onboard.undo.leftovers`: 1.0 GiB of swap\n"
        "  (expected: none; read from host facts: swap_bytes)\n"
        "  **Next:** Remove it.\n\n"
        "## What was changed\n\n"
        "- join host a to pool general\n"
        "- restart host a (it may or may not have taken effect: its end was not seen)\n\n"
        "## Changes that failed; parts of them may have taken effect\n\n"
        "- upgrade host a (failed: exit status 1)\n\n"
        "## Changes that were refused\n\n"
        "- evict pod web (refused, 5 times: its budget)\n"
    )


def a_record(sentence: str, state: ChangeState = ChangeState.DONE, why: str = "", attempts: int = 1) -> ChangeRecord:
    return ChangeRecord(Change(Subject("host", "a"), sentence), state, why, attempts)


def test_a_dry_run_says_would() -> None:
    text = markdown("onboard", "completed", [], [], dry_run=True)
    assert text.endswith("## What would be changed\n\n- nothing\n")
    records = [a_record("join host a", ChangeState.DRY_RUN, "the cluster is frozen")]
    text = markdown("onboard", "completed", [], records, dry_run=True)
    assert text.endswith("## What would be changed\n\n- join host a (would be refused now: the cluster is frozen)\n")


def test_what_a_big_dry_run_would_change_is_cut_short() -> None:
    records = [a_record(f"evict pod web-{number}", ChangeState.DRY_RUN) for number in range(TABLE_ROWS + 3)]
    assert markdown("upgrade", "completed", [], records, dry_run=True).endswith("- and 3 more\n")


def test_what_hosts_say_is_text_and_not_markup() -> None:
    evil = Evidence("<script>x</script>\n# heading | cell", "none", "<b>", NOW)
    outcome = HostOutcome("a", HostState.STOPPED, "", (a_finding(evidence=evil),))
    text = markdown("onboard", "failed", [outcome], [], dry_run=False)
    assert "<script>" not in text
    assert "\n# heading" not in text
    assert "&lt;script>x&lt;/script> # heading \\| cell" in text
