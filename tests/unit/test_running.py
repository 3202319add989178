"""What can be told of a flow and its parameters before anything is started."""

from __future__ import annotations

import json
import shlex

import pytest
from click.testing import CliRunner

from poolkeeper.deployments.cli import main
from poolkeeper.deployments.cli.progress import Progress
from poolkeeper.deployments.cli.run import Flows, applied, given_of
from poolkeeper.deployments.cli.run import run as command
from poolkeeper.deployments.cli.running import ParametersInvalid, run
from poolkeeper.flows.registry import COMMANDS, FLOWS, Registered


@pytest.mark.parametrize(
    ("given", "told"),
    [
        pytest.param(
            {"pods": "3"}, "flow audit: no parameter pods; it has: pool, hosts, pod_nodes, fail_on", id="no such"
        ),
        pytest.param({"pod_nodes": "-1"}, "pod_nodes: Input should be greater than or equal to 0", id="out of range"),
        pytest.param({"pod_nodes": "many"}, "pod_nodes: Input should be a valid integer", id="no number"),
    ],
)
def test_bad_parameters(
    given: dict[str, str],
    told: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: object,
) -> None:
    monkeypatch.setenv("POOLKEEPER_STATE", str(tmp_path))
    with pytest.raises(ParametersInvalid) as caught:
        run(FLOWS["audit"], given, Progress("audit"))
    assert told in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_parameters_are_listed_as_they_are_typed() -> None:
    told = {
        line.partition("\n")[0]
        for line in CliRunner().invoke(main, ["run", "upgrade", "--parameters"]).output.splitlines()
    }
    assert {"pool=", "dry_run=true", "failure_budget=1", "on_blocked=stop", "packages=null"} <= told


def typed(flow: str, *words: str) -> dict[str, str]:
    """The parameters that a flow gets from what is typed after its name."""
    assert isinstance(command, Flows)
    found = command.get_command(None, flow)  # type: ignore[arg-type]
    assert found is not None
    options = found.make_context(flow, list(words)).params
    for name in ("only_parameters", "verbose", "as_json"):
        options.pop(name)
    return given_of(options, options.pop("typed"), options.pop("fleet"))


@pytest.mark.parametrize(
    ("words", "given"),
    [
        pytest.param("", {}, id="nothing: the flow's own defaults"),
        pytest.param("--apply", {"dry_run": "false"}, id="for good"),
        pytest.param("--dry-run", {"dry_run": "true"}, id="a dry run"),
        pytest.param("--approval", {"approval": "true"}, id="a switch"),
        pytest.param("--kubernetes 1.30", {"kubernetes": "1.30"}, id="a version is no number"),
        pytest.param("--packages a=1 --packages b=2=3", {"packages": '{"a": "1", "b": "2=3"}'}, id="names with values"),
        pytest.param("--drain-timeout-s 3 -p soak_s=5", {"drain_timeout_s": "3", "soak_s": "5"}, id="both ways"),
        pytest.param("--on-blocked skip", {"on_blocked": "skip"}, id="a choice"),
    ],
)
def test_options_of_a_flow(words: str, given: dict[str, str]) -> None:
    assert typed("upgrade", *shlex.split(words)) == given


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param("upgrade --pool a -p pool=b", "pool is given twice: as an option, and by -p", id="twice"),
        pytest.param("upgrade --packages containerd", "containerd: write it as name=value", id="no value"),
        pytest.param("upgrade -p pool", "pool: write it as name=value", id="no value after -p"),
        pytest.param("upgrade --on-blocked perhaps", "'perhaps' is not one of 'stop', 'skip', 'force'", id="no choice"),
        pytest.param("ask-site", "No such command 'ask-site'", id="a flow that only another flow starts"),
    ],
)
def test_mistakes_end_with_bad_input(words: str, told: str) -> None:
    ended = CliRunner().invoke(main, ["run", *shlex.split(words)])
    assert (ended.exit_code, told in ended.output) == (2, True), ended.output


@pytest.mark.parametrize("flow", COMMANDS, ids=lambda flow: flow.name)
def test_examples_are_shown_and_can_be_typed(flow: Registered) -> None:
    shown = CliRunner().invoke(main, ["run", flow.name, "--help"]).output
    for example in flow.examples:
        typed(flow.name, *shlex.split(example))
        assert f"poolkeeper run {flow.name} {example}".strip() in shown


@pytest.mark.parametrize("flow", [flow for flow in COMMANDS if flow.changes_hosts], ids=lambda flow: flow.name)
def test_the_command_that_applies_is_the_same_but_for_apply(flow: Registered) -> None:
    for example in flow.examples:
        given = typed(flow.name, *shlex.split(example))
        words = shlex.split(applied(flow, given))
        assert words[:3] == ["poolkeeper", "run", flow.name]
        assert typed(flow.name, *words[3:]) == {**given, "dry_run": "false"}


def test_what_is_quoted_for_a_shell_comes_back_from_it() -> None:
    given = {"hosts": "name=a b|$(reboot)", "packages": json.dumps({"x": "1 ; y"}), "approval": "true"}
    assert typed("upgrade", *shlex.split(applied(FLOWS["upgrade"], given))[3:]) == {**given, "dry_run": "false"}
