"""A host's file system in a folder, with only the programs it is given; its shell is a real one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType

from tests.contract.hosts.servers import Obliging

TOOLS = (
    "cat", "chmod", "date", "df", "grep", "head", "hostname", "kill", "ln", "ls", "mkdir", "mkfifo", "mv", "rm", "rmdir",
    "setsid", "sleep", "tail", "timeout", "touch", "tr", "uname", "wc",
)  # fmt: skip
SHELLS = {name: path for name in ("dash", "bash", "busybox") if (path := shutil.which(name))}
"""Shells that are here; busybox's is taken by its name `sh`."""


class Machine:
    """A root folder and a PATH; nothing outside of them is named by our programs."""

    def __init__(self, folder: Path, *, shell: str = "dash", tools: Iterable[str] = TOOLS) -> None:
        self.root = folder / "root"
        self.programs = folder / "programs"
        self.programs.mkdir(parents=True)
        for place in ("proc", "etc", "var/lib", "run", "tmp", "opt"):
            (self.root / place).mkdir(parents=True)
        self.mounts("/dev/vda1 / ext4 rw 0 0")
        for tool in tools:
            if path := shutil.which(tool):
                (self.programs / tool).symlink_to(path)
        (self.programs / "sh").symlink_to(SHELLS[shell])

    def program(self, name: str, script: str) -> None:
        """A program of its own, in shell."""
        path = self.programs / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def mounts(self, *lines: str) -> None:
        (self.root / "proc/mounts").write_text("".join(f"{line}\n" for line in lines))

    def put(self, path: str, text: str = "there before\n") -> Path:
        """A file at a path of the host."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def has(self, path: str) -> bool:
        return os.path.lexists(self.at(path))

    def behaviour(self) -> type[Obliging]:
        """What a server does that stands before it."""
        machine = self

        class OnMachine(Obliging):
            path = str(machine.programs)
            environment = MappingProxyType({"POOLKEEPER_ROOT": str(machine.root), "TMPDIR": str(machine.root / "tmp")})

        return OnMachine
