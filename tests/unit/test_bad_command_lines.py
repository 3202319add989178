"""What is typed wrongly, in a process of its own: one sentence and an exit code, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from poolkeeper.deployments.cli import main
from poolkeeper.deployments.cli.progress import Progress
from poolkeeper.deployments.cli.running import ParametersInvalid, run
from poolkeeper.flows.registry import COMMANDS, FLOWS
from tests.unit.fleet.builders import a_file

LONG = "9" * 120_000
"""About the most that Linux lets one argument have."""
NOT_UTF8 = os.fsdecode(b"a\xffb")
DEEP = "[" * 100_000
BAD = {"empty": "", "long": LONG, "not UTF-8": NOT_UTF8, "negative": "-1", "control": "\x1b[2J\n", "deep": DEEP}
START = "from poolkeeper.deployments.cli import main; main()"


def poolkeeper(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in an empty folder, with a state folder of its own."""
    return subprocess.run(
        [sys.executable, "-c", START, *words],
        cwd=folder,
        env={**os.environ, "POOLKEEPER_STATE": str(folder / "state"), "PYTHONUTF8": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("value", [pytest.param(value, id=name) for name, value in BAD.items()])
@pytest.mark.parametrize(
    "words",
    [
        pytest.param("check|--|VALUE", id="check"),
        pytest.param("status|--fleet=VALUE", id="status --fleet"),
        pytest.param("status|--fleet=FLEET|--hosts=name=VALUE", id="status --hosts name="),
        pytest.param("run|VALUE", id="run"),
        pytest.param("run|upgrade|-p|VALUE", id="run -p"),
        pytest.param("VALUE", id="poolkeeper"),
    ],
)
def test_what_is_typed_wrongly_is_bad_input(words: str, value: str, tmp_path: Path) -> None:
    (tmp_path / "declared").mkdir()
    fleet = str(a_file(tmp_path / "declared"))
    typed = [word.replace("FLEET", fleet).replace("VALUE", value) for word in words.split("|")]
    ended = poolkeeper(tmp_path, *typed)
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False), ended.stderr[-2000:]
    assert "\x1b" not in ended.stdout + ended.stderr


def test_a_letter_that_the_terminal_lacks_is_shown_as_its_code(tmp_path: Path) -> None:
    ended = poolkeeper(tmp_path, "check", "f\u00fcr.yaml", PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stdout.partition(":")[0], ended.stderr) == (2, "f\\xfcr.yaml", "")


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        pytest.param("packages", DEEP, id="lists in lists"),
        pytest.param("packages", '{"a":' * 100_000, id="objects in objects"),
        pytest.param("packages", LONG, id="long"),
        pytest.param("packages", "-1", id="no mapping"),
        pytest.param("packages", '{"a": "\\udcff"}', id="a surrogate in JSON"),
        pytest.param("pool", NOT_UTF8, id="not UTF-8"),
        pytest.param("fleet", NOT_UTF8, id="a path that is not UTF-8"),
        pytest.param("failure_budget", LONG, id="a long number"),
        pytest.param("failure_budget", "-1", id="negative"),
        pytest.param("failure_budget", "", id="empty"),
        pytest.param("drain_timeout_s", "1e999", id="infinity"),
        pytest.param("drain_timeout_s", "NaN", id="not a number"),
        pytest.param("drain_timeout_s", "\0", id="NUL"),
        pytest.param("dry_run", DEEP, id="a switch"),
        pytest.param(LONG, "1", id="a long name"),
        pytest.param(NOT_UTF8, "1", id="a name that is not UTF-8"),
    ],
)
def test_parameters_that_no_run_can_use(
    parameter: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POOLKEEPER_STATE", str(tmp_path))
    with pytest.raises(ParametersInvalid) as refused:
        run(FLOWS["upgrade"], {parameter: value}, Progress("upgrade"))
    assert len(str(refused.value)) < 1000
    assert refused.value.next_step == "List the parameters: `poolkeeper run upgrade --parameters`."


def test_no_flow_takes_lists_without_end_from_the_command_line(tmp_path: Path) -> None:
    """The whole way from the words to the exit code, for each flow that has something to take them."""
    for flow, parameter in (("upgrade", "packages"), ("onboard", "skip_checks"), ("meter", "months")):
        assert flow in {each.name for each in COMMANDS}
        env = {"POOLKEEPER_STATE": str(tmp_path)}
        ended = CliRunner().invoke(main, ["run", flow, "-p", f"{parameter}={DEEP}"], env=env)
        assert (ended.exit_code, f"flow {flow}:" in ended.output) == (2, True), ended.output[:500]


def test_warnings_of_a_command_without_a_run_do_nothing_on_the_terminal(tmp_path: Path) -> None:
    program = (
        "import logging; from poolkeeper.deployments.cli import main; main(['schema'], standalone_mode=False);"
        "log = logging.getLogger('poolkeeper.tasks.cluster');"
        r"log.info('not shown'); log.warning('node %s: %s', 'n1', '\x1b[2Jgone\n2026 made up')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stderr == "warning: node n1: \\x1b[2Jgone\\n2026 made up\n"
