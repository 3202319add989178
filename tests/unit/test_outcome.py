"""How the outcome of a run is shown: few lines, what needs a person last, and how a dry run is applied."""

from __future__ import annotations

from typing import Any

import pytest

from poolkeeper.deployments.cli.outcome import rows, show, would
from poolkeeper.deployments.cli.progress import PlainProgress
from poolkeeper.tasks.runs.watching import HostPlan, RunPlan


def a_host(name: str, state: str = "done", summary: str = "upgraded", **more: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "summary": summary, "findings": [], "phase_s": {"drain": 2.0}, **more}


@pytest.mark.parametrize(
    ("hosts", "shown"),
    [
        pytest.param(
            [a_host("n2", "failed", "broken"), a_host("n1")],
            [("n1", "done", "upgraded", "2.0 s"), ("n2", "failed", "broken", "2.0 s")],
            id="what needs a person last",
        ),
        pytest.param(
            [a_host(f"n{n}", phase_s={"drain": float(n)}) for n in range(1, 7)],
            [("6 hosts", "done", "upgraded: n1, n2, n3 and 3 more", "1.0 to 6.0 s")],
            id="many that ended well alike",
        ),
        pytest.param(
            [a_host(f"n{n}", summary=f"accepted at {n}", phase_s={"look": 0.0}) for n in range(1, 7)],
            [("6 hosts", "done", "nothing to do: n1, n2, n3 and 3 more", "")],
            id="many that there was nothing to do for",
        ),
        pytest.param(
            [a_host("n1", summary="at the goal", phase_s={}), a_host("n2", summary="at the goal", phase_s={})],
            [("2 hosts", "done", "nothing to do: n1, n2", "")],
            id="two that there was nothing to do for",
        ),
        pytest.param(
            [a_host(f"n{n}", "failed") for n in range(6)],
            [(f"n{n}", "failed", "upgraded", "2.0 s") for n in range(6)],
            id="those that failed are never put together",
        ),
        pytest.param(
            [a_host(f"n{n}", findings=[{"id": "a"}]) for n in range(6)],
            [(f"n{n}", "done", "upgraded", "2.0 s") for n in range(6)],
            id="nor those with findings",
        ),
    ],
)
def test_rows(hosts: list[dict[str, Any]], shown: list[tuple[str, str, str, str]]) -> None:
    assert rows(hosts) == shown


def a_dry_run(*hosts: str) -> PlainProgress:
    progress = PlainProgress("upgrade", dry_run=True)
    plans = tuple(HostPlan(host, 1, "v1 -> v2", drain="clear, 2 pods") for host in hosts)
    progress.planned(RunPlan("", plans, notes=("expected: 40 s",)))
    for host in hosts:
        progress.change(host, f"cordon node {host}")
        progress.change(host, f"drain node {host}")
    return progress


def test_a_dry_run_says_would_and_how_to_apply_it(capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"hosts": [a_host("n1", "planned")], "summary": "completed: 1 planned", "files": ["/r/a.md", "/r/b.json"]}
    show(answer, a_dry_run("n1"), apply="poolkeeper run upgrade --apply")
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines() == [
        "wave  host  would     window  drain would meet",
        "1     n1    v1 -> v2  open    clear, 2 pods",
        "expected: 40 s",
        "would, for n1: cordon node n1; drain node n1",
        "completed: 1 planned",
        "/r: a.md, b.json",
        "DRY RUN: nothing was changed. To apply it:",
        "  poolkeeper run upgrade --apply",
    ]


def test_hosts_that_would_be_changed_alike_share_a_line() -> None:
    changes = {f"n{n}": [f"cordon node n{n}"] for n in range(1, 6)} | {"x": ["join host x"]}
    assert would(changes) == ["would, for n1, n2, n3 and 2 more: cordon node NAME", "would, for x: join host x"]


def test_a_dry_run_without_a_plan_has_nothing_to_apply(capsys: pytest.CaptureFixture[str]) -> None:
    show({"hosts": [a_host("n1")], "summary": "completed", "files": []}, a_dry_run(), apply="poolkeeper run upgrade")
    out = capsys.readouterr().out
    assert "There is nothing to apply." in out
    assert "To apply it" not in out


def a_finding(observed: str, next_step: str = "mend it") -> dict[str, Any]:
    return {"severity": "blocker", "id": "a.b", "evidence": {"observed": observed}, "next_step": next_step}


def test_findings_that_are_alike_are_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    hosts = [
        a_host("n1", "failed", "broken", findings=[a_finding("no answer")]),
        a_host("n2", "failed", "broken", findings=[a_finding("no answer")]),
        a_host("n3", "failed", "a.b: it is off", findings=[a_finding("it is off", "switch n3 on")]),
        a_host("n4", "failed", "a.b: it is off", findings=[a_finding("it is off", "switch n4 on")]),
        a_host("n5", "failed", "a.b: it burns", findings=[a_finding("it burns", "run from n5")]),
    ]
    show({"hosts": hosts, "summary": "failed", "files": []})
    assert capsys.readouterr().out.splitlines()[6:] == [
        "n1, n2: blocker a.b",
        "  seen: no answer",
        "  next: mend it",
        "n3, n4: blocker a.b",
        "  next: switch NAME on",
        "n5: blocker a.b",
        "  next: run from n5",
        "failed",
    ]


def test_off_a_terminal_no_line_is_wrapped(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    long = "word " * 100
    hosts = [a_host("n1", "failed", "broken", findings=[a_finding(long, long)])]
    show({"hosts": hosts, "summary": long, "files": [long]})
    assert len(capsys.readouterr().out.splitlines()) == 7
