"""What a terminal shows of texts that hosts, the cluster and people have written: whole, whatever stands in them."""

from __future__ import annotations

from typing import Any

import pytest

from deployments import forecasting, probing, running, status
from tests.unit.onboard.builders import a_node
from tests.unit.rollout.builders import a_pod, a_snapshot, seen

RESET = "[reset] Deleting contents of directories: [/etc/kubernetes/manifests]"
TEXTS = [
    pytest.param(RESET, id="a closing tag that closes nothing"),
    pytest.param("[preflight] Running pre-flight checks", id="a tag that is no style"),
    pytest.param("[bold]loud[/bold]", id="a style"),
    pytest.param("container runtime is down: [container runtime is down]", id="what the kubelet says"),
    pytest.param("C:\\[red]\\", id="backslashes"),
    pytest.param("2001:db8::a:b says :key: is not there", id="the name of an emoji"),
]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")


@pytest.mark.parametrize("text", TEXTS)
def test_the_outcome_of_a_run(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    finding = {"severity": "blocker", "id": "a.b", "evidence": {"observed": f"seen {text}"}, "next_step": f"do {text}"}
    host: dict[str, Any] = {"name": "n1", "state": "failed", "summary": f"host {text}", "phase_s": {"join": 1.0}}
    running.show({"hosts": [{**host, "findings": [finding]}], "summary": f"run {text}", "files": [f"file {text}"]})
    out = capsys.readouterr().out
    for line in ("host", "seen", "do", "run", "file"):
        assert f"{line} {text}" in out


@pytest.mark.parametrize("text", TEXTS)
def test_the_status_of_a_node(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    state, detail = status.standing(a_node(ready=False, ready_message=text))
    status.show([{"host": "n1", "node": "n1", "state": state, "detail": detail}])
    assert text in capsys.readouterr().out


@pytest.mark.parametrize("text", TEXTS)
def test_what_a_probe_has_found(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    evidence = {"observed": f"seen {text}", "expected": f"not {text}"}
    finding = {"severity": "blocker", "id": "a.b", "evidence": evidence, "next_step": f"do {text}"}
    checks = [{"check": "dns", "target": "x", "verdict": "fail", "reason": f"check {text}"}]
    host = {"name": "n1", "standing": "join", "reason": f"host {text}", "checks": checks, "findings": [finding]}
    probing.show([host])
    out = capsys.readouterr().out
    for line in ("host", "seen", "not", "do", "check"):
        assert f"{line} {text}" in out


@pytest.mark.parametrize("text", TEXTS)
def test_why_a_forecast_is_unknown(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    forecasting.show(seen(a_snapshot([a_pod("web-1"), a_pod("spare", "n3")], budgets=text), "n1"))
    assert text in capsys.readouterr().out
