"""What the tab key offers."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from poolkeeper.deployments import terminal
from poolkeeper.deployments.cli import main

EXAMPLE = Path(terminal.__file__).parent / "examples/fleet.yaml"


@pytest.fixture(autouse=True)
def fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOLKEEPER_FLEET", str(EXAMPLE))


def offered(*words: str, typed: str = "") -> list[str]:
    return [item.value for item in ShellComplete(main, {}, "poolkeeper", "_C").get_completions(list(words), typed)]


@pytest.mark.parametrize(
    ("words", "typed", "there"),
    [
        pytest.param(["run"], "on", "onboard", id="flows"),
        pytest.param(["run", "upgrade"], "--kube", "--kubernetes", id="options"),
        pytest.param(["run", "upgrade", "--pool"], "", "general", id="pools"),
        pytest.param(["run", "upgrade", "--on-blocked"], "s", "skip", id="choices"),
        pytest.param(["run", "upgrade", "-p"], "dr", "dry_run=", id="parameters"),
        pytest.param(["run", "upgrade", "-p"], "dry_run=", "dry_run=false", id="a switch"),
        pytest.param(["run", "upgrade", "-p"], "on_blocked=", "on_blocked=force", id="choices after -p"),
        pytest.param(["run", "upgrade", "-p"], "pool=g", "pool=general", id="pools after -p"),
        pytest.param(["run", "upgrade", "--hosts"], "site=fra1,po", "site=fra1,pool=", id="the next part of a choice"),
        pytest.param(["status", "--hosts"], "site=", "site=fra1", id="sites in a choice"),
        pytest.param(["probe"], "", "pool=", id="keys of a choice"),
        pytest.param(["windows"], "f", "fra1", id="sites"),
    ],
)
def test_offered(words: list[str], typed: str, there: str) -> None:
    assert there in offered(*words, typed=typed)


def test_hosts_and_nodes() -> None:
    hosts = [host for host in offered("probe") if "=" not in host and host != "all"]
    assert hosts
    assert set(offered("run", "maintain", "--hosts", typed=hosts[0][:4])) >= {hosts[0]}
    assert offered("hold", typed="nothing-like-that") == []


def test_without_a_valid_fleet_file_nothing_is_offered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POOLKEEPER_FLEET", str(tmp_path / "none.yaml"))
    assert (offered("windows"), offered("probe")) == ([], [])


def test_the_fleet_file_that_was_typed_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POOLKEEPER_FLEET", str(tmp_path / "none.yaml"))
    assert "fra1" in offered("windows", "--fleet", str(EXAMPLE), typed="f")
