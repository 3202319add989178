"""A warm parent: poolkeeper's modules imported once, and a process forked from it for each command.

Most of what a command costs are its imports. A forked one is a process of its own all the same, with its own
environment, output and exit code, and SIGKILL ends it as it ends any other. What has to be as fresh as in a new process is
made so in `_run`: the environment, Prefect's settings, the seeds of random numbers (by Python itself).

    command = start(["status", "--json"], environment)
    ended = command.end()
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from subprocess import Popen, TimeoutExpired
from typing import IO, Any

from poolkeeper.flows.registry import FLOWS

COMMAND_TIMEOUT_S = 180.0
START_TIMEOUT_S = 120.0
IMPORTED = (
    "prefect.main",
    *(flow.module for flow in FLOWS.values()),
    *(f"poolkeeper.deployments.cli.{name}" for name in ("bill", "forecast_view", "running")),
    *(
        "poolkeeper.deployments.lab.cli",
        "poolkeeper.tasks.cluster.inventory",
        "poolkeeper.tasks.onboard.host_checks",
        "poolkeeper.tasks.rollout.releasing",
    ),
    # what these import when they first need it
    *("alibabacloud_bssopenapi20171214.client", "alibabacloud_cs20151215.client", "fastapi", "rich.console"),
    *("anyio._backends._asyncio", "prefect.flow_engine", "prefect.task_engine"),
)
NUMBER_BYTES = 12
MESSAGE_BYTES = 256 * 1024
"""Room for a command with its environment."""


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    """As `subprocess` has it: negative, if a signal ended it."""
    out: str
    err: str

    @property
    def answer(self) -> Any:
        """What it answered with --json."""
        try:
            return json.loads(self.out)
        except ValueError:
            raise AssertionError(f"no JSON on stdout, exit code {self.code}; stderr: {self.err[-2000:]}") from None


class Command:
    """A forked command that goes on."""

    def __init__(self, words: Sequence[str], status: int, out: IO[bytes], err: IO[bytes]) -> None:
        self._words, self._status, self._out, self._err = words, status, out, err
        self.pid = self._number(START_TIMEOUT_S)

    def _number(self, timeout_s: float) -> int:
        """What the parent writes next about the command: its pid, then its exit code."""
        ready, _, _ = select.select([self._status], [], [], timeout_s)
        if not ready:
            raise TimeoutExpired(list(self._words), timeout_s)
        return int(os.read(self._status, NUMBER_BYTES))

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def end(self, timeout_s: float = COMMAND_TIMEOUT_S) -> Ended:
        """Wait for it; a command that has not ended by the deadline is killed, and fails the test."""
        late = ""
        try:
            code = self._number(timeout_s)
        except TimeoutExpired as expired:
            late = str(expired)
            self.signal(signal.SIGKILL)
            code = self._number(START_TIMEOUT_S)
        finally:
            os.close(self._status)
        ended = Ended(code, _text(self._out), _text(self._err))
        assert not late, f"{late}: {ended.out[-500:]} {ended.err[-2000:]}"
        return ended


def _text(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode(errors="replace")


@cache
def _parent() -> socket.socket:
    """The socket of this process's warm parent, which ends when the socket is closed: at the latest, with us."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        Popen([sys.executable, "-m", __name__, str(theirs.fileno())], pass_fds=[theirs.fileno()])
    return ours


def start(words: Sequence[str], environment: Mapping[str, str], place: str = "") -> Command:
    """Fork one `poolkeeper ...`.

    place: where it kills itself, as `tests.e2e.killing` has it; empty: nowhere
    """
    out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has ended
    status, theirs = os.pipe()
    try:
        message = json.dumps({"words": list(words), "environment": dict(environment), "place": place}).encode()
        socket.send_fds(_parent(), [message], [out.fileno(), err.fileno(), theirs])
    finally:
        os.close(theirs)
    return Command(words, status, out, err)


def _serve(requests: socket.socket) -> None:
    """Fork for each request, until whoever asks has gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody here waits for those that watch
    while True:
        message, files, _, _ = socket.recv_fds(requests, MESSAGE_BYTES, 3)
        if not message:
            return
        if os.fork() == 0:
            requests.close()
            *output, status = files
            _watch(json.loads(message), output, status)
        for each in files:
            os.close(each)


def _watch(request: dict[str, Any], files: Sequence[int], status: int) -> None:
    """Fork the command, and write its pid and then its exit code; never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(status)
        _run(request, *files)
    for each in files:
        os.close(each)
    with suppress(BrokenPipeError):
        os.write(status, f"{pid:{NUMBER_BYTES}}".encode())
        _, code = os.waitpid(pid, 0)
        os.write(status, f"{os.waitstatus_to_exitcode(code):{NUMBER_BYTES}}".encode())
    os._exit(0)


def _run(request: dict[str, Any], out: int, err: int) -> None:
    """Become a process as if it had just been started; never returns."""
    code = 1
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        for theirs, ours in ((nothing, 0), (out, 1), (err, 2)):
            os.dup2(theirs, ours)
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv = ["poolkeeper", *request["words"]]

        from prefect.context import refresh_global_settings_context

        from poolkeeper.deployments import cli
        from poolkeeper.deployments.prefect_settings import prepare_environment
        from tests.e2e.killing import arm

        prepare_environment()
        refresh_global_settings_context()
        if request["place"]:
            arm(request["place"])
        cli.main(request["words"], prog_name="poolkeeper")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        _leave(code)


def _leave(code: int) -> None:
    """End as Python itself does: what was left to be done at exit is done, threads that are no daemons are waited for."""
    with suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _import_everything() -> None:
    """All that a command imports; nothing of it starts a thread or a loop, which a fork would not take along."""
    for module in IMPORTED:
        importlib.import_module(module)
    gc.freeze()  # what is never looked at again is never copied


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="warm-") as home:
        os.environ["PREFECT_HOME"] = home
        _import_everything()
        _serve(socket.socket(fileno=int(sys.argv[1])))
