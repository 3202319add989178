"""One long-running program of the control plane: started with the lab's mark, waited for, ended."""

from __future__ import annotations

import contextlib
import http.client
import signal
import ssl
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from poolkeeper.deployments.lab.processes import signal_group, spawn
from poolkeeper.deployments.lab.real.loopback import ask

STOP_TIMEOUT_S = 10.0
"""From SIGTERM to SIGKILL."""
_LOOK_EVERY_S = 0.05


class NotStarted(Exception):
    """A program did not become healthy; the message has its last words."""


class Daemon:
    """A program and its log.

    command: the program and its flags
    environment: all of its environment, with the lab's mark
    keeps: open files that stay open for as long as it lives
    """

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str], keeps: Sequence[int] = ()
    ) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        with self.log.open("ab") as log:
            self._process = spawn(
                command, environment=environment, folder=folder, output=log, stdin=subprocess.DEVNULL, keeps=keeps
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def until_healthy(self, url: str, tls: ssl.SSLContext, deadline: float) -> None:
        """Wait until a URL answers well; `deadline` in seconds of `time.monotonic`. Raises NotStarted."""
        while not _is_healthy(url, tls):
            if self._process.poll() is not None:
                raise NotStarted(f"{self.name} ended: {self.last_words()}")
            if time.monotonic() > deadline:
                raise NotStarted(f"{self.name} was not healthy in time: {self.last_words()}")
            time.sleep(_LOOK_EVERY_S)

    def last_words(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(errors="replace").strip().splitlines()[-3:]
        return " | ".join(lines)[-1000:] or "it said nothing"

    def stop(self) -> None:
        """End it, and wait until it is gone."""
        signal_group(self._process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT_S)
            return
        self.kill()

    def kill(self) -> None:
        """End it as a crash does."""
        signal_group(self._process, signal.SIGKILL)
        self._process.wait(STOP_TIMEOUT_S)


def _is_healthy(url: str, tls: ssl.SSLContext) -> bool:
    try:
        ask(url, tls, timeout_s=2)
    except (OSError, http.client.HTTPException):
        return False
    return True
