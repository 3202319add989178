"""What a terminal shows of texts that hosts, the cluster and people have written: whole, whatever stands in them."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import task
from prefect.client.schemas.objects import TaskRun
from prefect.context import TaskRunContext
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from poolkeeper.deployments import terminal
from poolkeeper.deployments.cli import forecast_view, outcome, probe, release, status
from poolkeeper.deployments.terminal import echo
from poolkeeper.flows import surroundings
from poolkeeper.tasks.cluster.inventory import node_state
from poolkeeper.tasks.outcomes import visible
from poolkeeper.tasks.rollout.holdings import Holding
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
    outcome.show({"hosts": [{**host, "findings": [finding]}], "summary": f"run {text}", "files": [f"file {text}"]})
    out = capsys.readouterr().out
    for line in ("host", "seen", "do", "run", "file"):
        assert f"{line} {text}" in out


@pytest.mark.parametrize("text", TEXTS)
def test_the_status_of_a_node(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    state, detail = node_state(a_node(ready=False, ready_message=text))
    status.show([{"host": "n1", "node": "n1", "state": str(state), "detail": detail}])
    assert text in capsys.readouterr().out


@pytest.mark.parametrize("text", TEXTS)
def test_what_a_probe_has_found(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    evidence = {"observed": f"seen {text}", "expected": f"not {text}"}
    finding = {"severity": "blocker", "id": "a.b", "evidence": evidence, "next_step": f"do {text}"}
    checks = [{"check": "dns", "target": "x", "verdict": "fail", "reason": f"check {text}"}]
    host = {"name": "n1", "next_action": "join", "reason": f"host {text}", "checks": checks, "findings": [finding]}
    probe.show([host])
    out = capsys.readouterr().out
    for line in ("host", "seen", "not", "do", "check"):
        assert f"{line} {text}" in out


@pytest.mark.parametrize("text", TEXTS)
def test_why_a_forecast_is_unknown(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    forecast_view.show(seen(a_snapshot([a_pod("web-1"), a_pod("spare", "n3")], budgets=text), "n1"))
    assert text in capsys.readouterr().out


ACTING = "\x1b]0;owned\x07 \x1b[2J\x9b31m \u202eoff\u2066 \u200bn1\r"
SHOWN = r"\x1b]0;owned\x07 \x1b[2J\x9b31m \u202eoff\u2066 \u200bn1\x0d"


def all_that_is_shown() -> Iterator[tuple[str, Callable[[], None]]]:
    """Each way to the terminal, with a text from outside on it."""
    finding = {"severity": "blocker", "id": "a.b", "evidence": {"observed": ACTING, "expected": ACTING}}
    told: dict[str, Any] = {**finding, "next_step": ACTING}
    host: dict[str, Any] = {"name": ACTING, "state": ACTING, "summary": ACTING, "phase_s": {}, "findings": [told]}
    yield "a run", lambda: outcome.show({"hosts": [host], "summary": ACTING, "files": [ACTING]})
    row = {"host": ACTING, "node": ACTING, "state": ACTING, "detail": ACTING, "kubelet": ACTING}
    yield "status", lambda: status.show([row])
    check = {"check": ACTING, "target": ACTING, "verdict": "fail", "reason": ACTING}
    probed = {"name": ACTING, "next_action": ACTING, "reason": ACTING, "checks": [check], "findings": [told]}
    yield "probe", lambda: probe.show([probed])
    yield "forecast", lambda: forecast_view.show(seen(a_snapshot([a_pod("web-1")], budgets=ACTING), "n1"))
    yield "release", lambda: release.show([Holding("node", ACTING, ACTING, releasable=True, commands=(ACTING,))])
    yield "a sentence", lambda: echo(ACTING)
    yield "an error", lambda: echo(ACTING, err=True)


@pytest.mark.parametrize("show", [pytest.param(show, id=what) for what, show in all_that_is_shown()])
def test_nothing_that_others_have_written_acts_on_the_terminal(
    show: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    show()
    out = "".join(capsys.readouterr())
    assert SHOWN in out
    assert [letter for letter in out if letter != "\n" and visible(letter) != letter] == []


def test_nothing_else_writes_to_the_terminal() -> None:
    """The demo has two lines of its own, in colours."""
    writes = re.compile(r"(?<![\w.])(print|click\.secho|click\.echo|Console|sys\.std(out|err)\.write)\(")
    folder = Path(terminal.__file__).parent
    files = [*folder.glob("*.py"), *(folder / "cli").rglob("*.py"), folder / "lab/cli.py", folder / "lab/demo.py"]
    others = [path.name for path in files if writes.search(path.read_text())]
    assert sorted(others) == ["demo.py", "terminal.py"]


def test_nothing_that_others_have_written_acts_in_the_log() -> None:
    """Prefect's own records of what went wrong included, which quote it."""
    assert surroundings  # whoever imports a flow logs so
    log, seen = logging.getLogger("poolkeeper.of-a-test"), io.StringIO()
    handler = logging.StreamHandler(seen)
    log.addHandler(handler)
    try:
        raise RuntimeError(ACTING)
    except RuntimeError:
        log.exception("it said %s", ACTING)
    finally:
        log.removeHandler(handler)
    told = seen.getvalue()
    assert f"it said {SHOWN}" in told
    assert f"RuntimeError: {SHOWN}" in told
    assert visible(told) == told


def test_what_our_modules_log_goes_to_the_run_that_they_are_called_in(caplog: pytest.LogCaptureFixture) -> None:
    """Outside of a run it goes where everything does."""

    @task
    def look() -> None:
        """Never called: this test has no server."""

    log = logging.getLogger("poolkeeper.tasks.of-a-test")
    task_run = TaskRun(name="look-1", task_key="look", dynamic_key="1", flow_run_id=None)
    without_server = temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: False})
    with without_server, TaskRunContext.model_construct(task=look, task_run=task_run):
        log.warning("node %s\nis down", "n1")
    log.warning("nobody's run")
    lines = {(record.name, record.levelname, record.getMessage()) for record in caplog.records}
    assert ("prefect.task_runs", "WARNING", "node n1\\nis down") in lines
    assert ("poolkeeper.tasks.of-a-test", "WARNING", "nobody's run") in lines
