"""The servers, and hosts in a folder: a PATH with a Python, or without one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolkeeper.tasks.audit.planning.questions import Answer, RequestBatch
from poolkeeper.tasks.audit.remote.protocol import program, read_answers
from tests.contract.audit.servers import World, world


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("servers")) as made:
        yield made


class ProbedHost:
    """A host with only these programs on its PATH."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "programs"
        self.programs.mkdir()

    def tool(self, name: str, program: str | None = None) -> None:
        """A program of the machine; nothing where it has none."""
        path = program or shutil.which(name)
        if path:
            (self.programs / name).symlink_to(path)

    def script(self, name: str, text: str) -> None:
        """A program of its own, in shell."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def run(self, text: str, *, shell: tuple[str, ...] = ("/bin/sh",)) -> subprocess.CompletedProcess[str]:
        """Run a program as a session does: from stdin, which it then finds empty."""
        return subprocess.run(
            [*shell, "-s"],
            input=f"{{\n{text}\n}} </dev/null\n",
            env={"PATH": str(self.programs)},
            cwd=self.programs,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def ask(self, batch: RequestBatch, *, shell: tuple[str, ...] = ("/bin/sh",)) -> tuple[Answer, ...]:
        """Put a batch to it."""
        done = self.run(program(batch), shell=shell)
        assert not done.stderr, done.stderr
        return read_answers(done.stdout, batch)


@pytest.fixture
def host(tmp_path: Path) -> ProbedHost:
    return ProbedHost(tmp_path)
