"""A run in a process of its own, which a real SIGKILL ends at a point that is told by counting, not by name.

The world lives in the pytest process. The run is forked from it, has a loop of its own, and knows the world only by what
is on disk and what a server answers. It never comes back into pytest: it ends by `os._exit`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.outcomes import DONE, End, Gate, Subject

Json = dict[str, Any]
T = TypeVar("T")
R = TypeVar("R")

DEADLINE_S = 30.0
"""Of one run, killed or not."""


class Kind(StrEnum):
    """What is counted."""

    CHANGE = "change"
    """A sentence that has passed the gate."""
    REQUEST = "request"
    """A request of the run that is to change something, as the API server receives it."""
    FILE = "file"
    """A change of files below the state folder."""
    COMMAND = "command"
    """A program that a host was sent, and that has changed something there."""

    @property
    def sides(self) -> tuple[When, ...]:
        """Where it is killed: what a program changes is known afterwards, and after one file is before the next."""
        return {Kind.FILE: (When.BEFORE,), Kind.COMMAND: (When.AFTER,)}.get(self, tuple(When))


class When(StrEnum):
    """On which side of it the run is killed."""

    BEFORE = "before"
    """It was decided, or is on its way, and nothing of it was done."""
    AFTER = "after"
    """It was done, and the run has not learned of it, or has not gone on yet."""


@dataclass(frozen=True)
class Point:
    """Where a run is killed: at the so-many-th of its kind."""

    kind: Kind
    number: int
    when: When

    def __str__(self) -> str:
        return f"{self.when} {self.kind} {self.number}"


def die() -> NoReturn:
    """As a power cut would end it."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("it cannot be caught")


class Ground:
    """What a run in a child stands on.

    folder: of the world. run_id: another one for each run. point: where this one is killed, None: nowhere
    hosts: that stand on machines of the world
    """

    def __init__(self, folder: Path, run_id: str, point: Point | None = None, hosts: Sequence[Host] = ()) -> None:
        self.folder, self.run_id, self.point, self.hosts = folder, run_id, point, hosts
        self.state = folder / "state"
        self.output, self.result = folder / f"{run_id}.output", folder / f"{run_id}.json"
        self._passed = {kind: folder / f"{run_id}.{kind}s" for kind in (Kind.CHANGE, Kind.FILE)}
        self._counted = dict.fromkeys(Kind, 0)

    @property
    def kubeconfig(self) -> Path:
        """Of the world's API server."""
        return self.folder / "kubeconfig"

    def gate(self, gate: Gate) -> Gate:
        """The same gate, at which the run counts and dies."""
        return Deadly(self, gate)

    def passes(self, kind: Kind, what: str) -> int:
        """Count one and write it down, and answer its number; the process ends here if this is the point."""
        self._counted[kind] += 1
        number = self._counted[kind]
        with self._passed[kind].open("a") as file:
            file.write(f"{what}\n")
        self._die_at(kind, number, When.BEFORE)
        return number

    def passed(self, kind: Kind, number: int) -> None:
        """It is done, or has failed; the process ends here if that is the point."""
        self._die_at(kind, number, When.AFTER)

    def told(self, kind: Kind) -> list[str]:
        """What was counted, in order."""
        path = self._passed[kind]
        return path.read_text().splitlines() if path.exists() else []

    def _die_at(self, kind: Kind, number: int, when: When) -> None:
        if self.point == Point(kind, number, when):
            die()

    def watch_files(self) -> None:
        """Count what changes below the state folder from now on, whoever changes it."""
        state = f"{self.state}{os.sep}"

        def hear(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _WRITING):
                return
            if event not in _FILE_CHANGES:
                return
            paths = [os.fsdecode(path) for path in arguments[:2] if isinstance(path, str | bytes | os.PathLike)]
            names = [path.removeprefix(state).replace(str(os.getpid()), "PID") for path in paths if state in path]
            if names:
                self.passes(Kind.FILE, f"{event.removeprefix('os.')} {' to '.join(names)}")

        sys.addaudithook(hear)


_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_FILE_CHANGES = {
    "open", "os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate",
}  # fmt: skip


class Deadly(Gate):
    """A gate at which the process that asks may end: before the change, or right after it."""

    def __init__(self, ground: Ground, gate: Gate) -> None:
        super().__init__(gate.guards, gate.dry_run, gate.on_change, gate.records)
        self._ground = ground

    async def change(
        self,
        subject: Subject,
        sentence: str,
        act: Callable[[], Awaitable[T]],
        *,
        if_dry_run: R,
        end: Callable[[T], End] = lambda value: DONE,
        one_request: bool = False,
    ) -> T | R:
        """As every gate does, and counts what its guards let pass."""

        async def counted() -> T:
            number = self._ground.passes(Kind.CHANGE, sentence)
            try:
                return await act()
            finally:
                self._ground.passed(Kind.CHANGE, number)

        return await super().change(subject, sentence, counted, if_dry_run=if_dry_run, end=end, one_request=one_request)


Run = Callable[[Ground], Awaitable[Json]]
"""What a run does; its answer is its outcomes."""


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    run_id: str
    status: int
    """Negative: a signal."""
    answer: Json
    """Empty if it did not come to that."""
    changes: list[str]
    """Sentences that passed the gate."""
    files: list[str]
    """Changes of files, where they were counted."""
    output: str
    spent_s: float

    @property
    def by_itself(self) -> bool:
        return self.status == 0

    @property
    def was_killed(self) -> bool:
        return self.status == -signal.SIGKILL


async def in_child(run: Run, ground: Ground, started: Callable[[int], None] = lambda pid: None) -> Ended:
    """Let a run happen in a child, and wait for its end under a deadline.

    started: hears the child's process id before the child's first request can be answered
    """
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _be_the_child(run, ground)
    started(pid)
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    descriptor = os.pidfd_open(pid)
    loop.add_reader(descriptor, ended.set)
    try:
        async with asyncio.timeout(DEADLINE_S):
            await ended.wait()
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
        _reaped(pid)
        text = ground.output.read_text()
        raise AssertionError(f"{ground.run_id} did not end within {DEADLINE_S:.0f} s:\n{text}") from None
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    status = _reaped(pid)
    answer = json.loads(ground.result.read_text()) if ground.result.exists() else {}
    return Ended(
        ground.run_id,
        status,
        answer,
        ground.told(Kind.CHANGE),
        ground.told(Kind.FILE),
        ground.output.read_text(),
        time.monotonic() - began,
    )


def _reaped(pid: int) -> int:
    """How a process that has ended has ended."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _be_the_child(run: Run, ground: Ground) -> NoReturn:
    code = 1
    try:
        gc.freeze()  # what the parent left behind is the parent's: nothing of it is tidied up here
        os.closerange(3, 4096)  # its lines too: whoever is at the other end is to see them end when the parent does
        signal.set_wakeup_fd(-1)
        asyncio.events._set_running_loop(None)
        with closing(open(ground.output, "w", buffering=1)) as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            sys.stdout = sys.stderr = output
            logging.getLogger().handlers[:] = [logging.StreamHandler(output)]
            try:
                answer = asyncio.run(run(ground))
                ground.result.write_text(json.dumps(answer, sort_keys=True))
                code = 0
            except BaseException:
                traceback.print_exc()
    finally:
        os._exit(code)
