"""The wheel: what a company installs, without the practice world."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.mutations.__main__ import CHECKOUT

TIMEOUT_S = 120


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds what the wheel installs."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("flows", "tasks", "deployments", "poolkeeper"):
        shutil.copytree(CHECKOUT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source)
    build = "from setuptools.build_meta import build_wheel; import sys; build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", build, str(folder)], cwd=source, check=True, capture_output=True, timeout=TIMEOUT_S
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def poolkeeper(installed: Path, *words: str) -> str:
    """What a command of the installed package prints."""
    command = [sys.executable, "-c", "from poolkeeper.deployments.cli import main; main()", *words]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    ended = subprocess.run(
        command, cwd=installed, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_practice_world_is_not_in_it(installed: Path) -> None:
    assert (installed / "poolkeeper/deployments/cli/__init__.py").is_file()
    assert [path.name for path in installed.rglob("lab")] == []
    commands = {line.split()[0] for line in poolkeeper(installed, "--help").splitlines() if line.startswith("  ")}
    assert "check" in commands
    assert "lab" not in commands


def test_nothing_but_the_package_is_at_top_level(installed: Path) -> None:
    assert [path.name for path in installed.iterdir() if path.suffix != ".dist-info"] == ["poolkeeper"]


def test_every_file_that_the_product_reads_is_in_it(installed: Path) -> None:
    kinds = {".jinja", ".sh", ".yaml", ".json", ".typed"}
    read = [
        path.relative_to(CHECKOUT)
        for folder in ("flows", "tasks", "deployments/cli")
        for path in (CHECKOUT / folder).rglob("*")
        if path.suffix in kinds and "__pycache__" not in path.parts
    ]
    assert len(read) > 3
    assert [path for path in read if not (installed / "poolkeeper" / path).is_file()] == []


def test_a_flow_is_found_by_its_entrypoint(installed: Path) -> None:
    shown = poolkeeper(installed, "run", "upgrade", "--help")
    assert "--kubernetes" in shown
