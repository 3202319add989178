"""The night in words, as rows and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from poolkeeper.tasks.audit.measurements import Quality
from poolkeeper.tasks.audit.nights.comparison import Comparison, FindingStatus, PastFinding
from poolkeeper.tasks.audit.report.messages import as_json, finding_rows, lasted, markdown, run_state, status_text
from poolkeeper.tasks.outcomes import RunState, Severity, Subject
from tests.unit.audit.reports import (
    NIGHT,
    a_bad_night,
    a_big_night,
    a_fact,
    a_finding,
    a_report,
    an_expected_night,
    change,
)


def test_the_summary_of_a_bad_night() -> None:
    assert (
        markdown(a_bad_night())
        == """\
# Audit of practice, 2026-11-23 02:00 UTC

**2 things are broken, 1 of them new.**

2 findings (1 new), 1 fixed, 1 of 4 hosts not measured; 13 measured: 9 ok, 1 slow, 3 fail.

- Cluster edge did not answer, and nothing of it was looked at.

## What is broken

- **blocker** site fra1 -- ams1, new: no connection passed from fra1 to ams1
  (expected: connections pass both ways; `audit.line`)
  Explains 1 measurement: 1 connect.host.
  **Next:** Trace the line from a host at fra1: `mtr -T -P 10250 ams1-n01`.
- **warning** site fra1, still failing since 2026-11-20, 4 nights: DNS over TCP fails at fra1
  (expected: connections pass both ways; `audit.dns.tcp`)
  **Next:** Trace the line from a host at fra1: `mtr -T -P 10250 ams1-n01`.

## Expected trouble

- host fra1-n02: it is cordoned (new)

## Fixed since last night

- host fra1-n02: `audit.kubelet`, last seen: port 10250 refuses

## Not measured tonight: unknown whether these are fixed

- host ams1-n02: `audit.clock`, last seen: its clock is 40 s off

## Hosts not measured

- ams1-n02: no login: connection refused
"""
    )


def test_a_run_over_some_hosts_counts_what_it_leaves_alone() -> None:
    left = PastFinding("audit.clock", Subject("host", "fra1-n02"), "its clock is off", False)
    report = a_report(compared=Comparison((), (), (left,)))
    assert "\nOutside the scope of this run, and kept for the next one: 1 finding.\n" in markdown(report)
    assert [one["id"] for one in as_json(report)["elsewhere"]] == ["audit.clock"]
    assert (as_json(report)["fixed"], as_json(report)["not_measured"]) == ([], [])


def test_a_quiet_night_is_short() -> None:
    assert "**Nothing is broken.**" in markdown(a_report())
    assert len(markdown(a_report()).splitlines()) < 8


def test_what_a_host_that_is_worked_on_makes_fail_is_no_alarm() -> None:
    text = markdown(an_expected_night())
    assert "**Nothing is broken.**" in text
    assert "no connection; the node is cordoned (new)" in text
    more = an_expected_night(a_fact("dns.stub", quality=Quality.FAIL))
    assert "**1 measurement failed, and no finding explains them.**" in markdown(more)


def test_the_page_of_a_big_night_is_cut_with_the_number_of_rows() -> None:
    text = markdown(a_big_night())
    assert len(text.splitlines()) <= 210
    assert "- and 1,309 more: see the page" in text


@pytest.mark.parametrize("evil", ["<b>x</b>", "[x](javascript:1)", "a | b", "one\n# two", "`code"])
def test_what_hosts_say_is_no_markdown(evil: str) -> None:
    finding = a_finding(name=evil, observed=evil, next_step=evil)
    gone = PastFinding("audit.clock", Subject("host", evil), evil, True)
    text = markdown(
        a_report(fleet=evil, compared=Comparison((change(finding),), (gone,)), unread={evil: evil}, notes=(evil,))
    )
    for sign in ("<b>", "[x]", " | ", "\n# two"):
        assert sign not in text
    assert text.count("`") - text.count("\\`") == 4, "those of the two ids"


def test_a_command_is_shown_as_it_is_typed() -> None:
    finding = a_finding(next_step="Run `kubectl get cm a -o json | jq '.data[\"x\"]' < f`, then *look*.")
    text = markdown(a_report(compared=Comparison((change(finding),), ())))
    assert "**Next:** Run `kubectl get cm a -o json | jq '.data[\"x\"]' < f`, then \\*look\\*." in text


@pytest.mark.parametrize(
    ("state", "nights", "words"),
    [
        (FindingStatus.NEW, 1, "new"),
        (FindingStatus.STILL, 2, "still failing since 2026-11-22, 2 nights"),
        (FindingStatus.FLAPPING, 1, "flapping: back tonight"),
        (FindingStatus.FLAPPING, 3, "flapping: back since 2026-11-21, 3 nights"),
    ],
)
def test_the_status_of_a_finding(state: FindingStatus, nights: int, words: str) -> None:
    assert status_text(change(a_finding(), state, nights)) == words


@pytest.mark.parametrize(
    ("since", "state"),
    [
        pytest.param(NIGHT, RunState.FAILED, id="it began tonight"),
        pytest.param(NIGHT - timedelta(minutes=9), RunState.COMPLETED, id="a run of the same night has told of it"),
        pytest.param(NIGHT - timedelta(days=1), RunState.COMPLETED, id="last night had it"),
    ],
)
def test_a_run_fails_for_blockers_that_no_run_before_had(since: datetime, state: RunState) -> None:
    blocker = replace(change(a_finding()), status=FindingStatus.FLAPPING, since=since)
    assert run_state(a_report(compared=Comparison((blocker,), ())), "new-blockers") is state


@pytest.mark.parametrize(
    ("was", "state"),
    [
        pytest.param(Severity.BLOCKER, RunState.COMPLETED, id="it was a blocker"),
        pytest.param(Severity.WARNING, RunState.FAILED, id="it was a warning"),
        pytest.param(Severity.INFO, RunState.FAILED, id="its host was cordoned"),
        pytest.param("", RunState.COMPLETED, id="nobody wrote down what it was"),
    ],
)
def test_a_run_fails_for_what_has_become_a_blocker(was: str, state: RunState) -> None:
    blocker = replace(change(a_finding(), FindingStatus.STILL, 4), was=was)
    assert run_state(a_report(compared=Comparison((blocker,), ())), "new-blockers") is state


def test_what_has_become_a_blocker_keeps_its_date() -> None:
    became = replace(change(a_finding(), FindingStatus.STILL, 4), was="warning")
    assert status_text(became) == "still failing since 2026-11-20, 4 nights; now a blocker, before: warning"
    assert status_text(replace(became, was="blocker")) == "still failing since 2026-11-20, 4 nights"
    milder = replace(became, finding=a_finding(severity=Severity.WARNING), was="blocker")
    assert status_text(milder) == "still failing since 2026-11-20, 4 nights"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (59.6, "1 min 0 s"), (252, "4 min 12 s"), (3605, "1 h 5 s")]
)
def test_how_long_it_took(seconds: float, words: str) -> None:
    assert lasted(timedelta(seconds=seconds)) == words


def test_rows_have_the_worst_first() -> None:
    rows = finding_rows(a_bad_night())
    assert [row["severity"] for row in rows] == ["blocker", "warning", "info"]
    assert rows[1] == {
        "finding": "audit.dns.tcp",
        "severity": "warning",
        "subject": "site fra1",
        "status": "still failing",
        "since": "2026-11-20 02:00 UTC",
        "observed": "DNS over TCP fails at fra1",
        "next step": "Trace the line from a host at fra1: `mtr -T -P 10250 ams1-n01`.",
    }


def test_the_answer_is_json() -> None:
    answer = json.loads(json.dumps(as_json(a_bad_night())))
    first = answer["findings"][0]
    assert (first["id"], first["severity"], first["subject"], first["status"]) == (
        "audit.line",
        "blocker",
        "site fra1 -- ams1",
        "new",
    )
    assert (first["since"], first["nights"], first["explains"]) == ("2026-11-23T02:00:00+00:00", 1, 1)
    assert first["evidence"]["observed"] == "no connection passed from fra1 to ams1"
    assert [one["id"] for one in answer["fixed"]] == ["audit.kubelet"]
    assert [one["id"] for one in answer["not_measured"]] == ["audit.clock"]
    assert answer["counts"] == {"ok": 9, "slow": 1, "fail": 3, "unknown": 0}
    assert (answer["silent"], answer["unread"]) == ({"ams1-n02": 6}, {"ams1-n02": "no login: connection refused"})
    assert (answer["pairs"], answer["nights_to_cover"], len(answer["notes"])) == (6, 1, 1)


def test_the_summary_counts_what_is_unknown_apart() -> None:
    facts = (a_fact(), a_fact(quality=Quality.UNKNOWN), a_fact(quality=Quality.FAIL))
    report = a_report(
        facts=facts, compared=Comparison((change(a_finding()), change(a_finding(severity=Severity.INFO))), ())
    )
    assert report.summary == "1 finding (1 new); 2 measured: 1 ok, 1 fail; 1 unknown"
    assert replace(report, facts=()).summary == "1 finding (1 new); 0 measured"
