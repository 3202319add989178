"""What can be told of a flow and its parameters before anything is started."""

from __future__ import annotations

import pytest

from poolkeeper.deployments.running import BadParameters, parameters, run, shown_parameters


@pytest.mark.parametrize(
    ("given", "told"),
    [
        pytest.param(
            {"pods": "3"}, "flow audit has no parameter pods; it has: pool, hosts, pod_nodes, fail_on", id="no such"
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
    with pytest.raises(BadParameters) as caught:
        run("audit", given)
    assert told in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_parameters_are_told_as_they_are_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("POOLKEEPER_STATE", str(tmp_path))
    told = {line.partition("\n")[0] for line in shown_parameters(parameters("upgrade"))}
    assert {"pool=", "dry_run=true", "failure_budget=1", "on_blocked=stop", "packages=null"} <= told
