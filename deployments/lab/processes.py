"""Processes of the lab: started with a mark in their environment, found by it, ended by it.

The mark makes them findable after the lab itself was killed, and tells them from every process that is
not ours: nothing is ever ended by its name or by a pid that was merely written down.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

LAB_MARK = "POOLKEEPER_LAB"
"""Environment variable with the lab's id."""
HOST_MARK = "POOLKEEPER_LAB_HOST"
"""Environment variable with the host's name, on everything that runs on it."""


def spawn(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    output: int | IO[bytes] = subprocess.PIPE,
    stdin: int = subprocess.PIPE,
    keeps: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own. Without `output` its three streams are pipes.

    keeps: open files that are to stay open for as long as it lives
    """
    errors = subprocess.PIPE if output == subprocess.PIPE else subprocess.STDOUT
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=output,
        stderr=errors,
        cwd=folder,
        env=dict(environment),
        start_new_session=True,
        pass_fds=keeps,
    )


async def exited(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has ended, without a thread and without reaping it: its pid is still its own."""
    if process.returncode is not None:
        return
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    descriptor = os.pidfd_open(process.pid)
    loop.add_reader(descriptor, done.set)
    try:
        await done.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process and reap it; answers its exit status, 128 + signal for one that was killed."""
    await exited(process)
    status = process.wait()
    return status if status >= 0 else 128 - status


def signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a process that has not been reaped, and to all that it has started in its session."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)


def environment_of(pid: int) -> dict[str, str]:
    """A process's environment as it was started; empty if it is gone or not ours to see."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (entry.partition(b"=") for entry in raw.split(b"\0") if entry)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def marked(lab: str, host: str | None = None) -> tuple[int, ...]:
    """Pids of a lab's processes, or of one of its hosts'; never our own pid."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        seen = environment_of(int(entry))
        if seen.get(LAB_MARK) == lab and (host is None or seen.get(HOST_MARK) == host):
            found.append(int(entry))
    return tuple(found)


def kill_marked(lab: str, host: str | None = None, *, timeout_s: float = 5.0) -> tuple[int, ...]:
    """Kill them and wait until none is left, its sockets included; answers the pids that would not go in time."""
    deadline = time.monotonic() + timeout_s
    while (pids := marked(lab, host)) and time.monotonic() < deadline:
        for descriptor in [_kill_if_still(pid, lab) for pid in pids]:
            if descriptor is not None:
                ended = select.poll()
                ended.register(descriptor, select.POLLIN)
                ended.poll(max(0.0, deadline - time.monotonic()) * 1000)
                os.close(descriptor)
    return pids


def _kill_if_still(pid: int, lab: str) -> int | None:
    """Kill exactly the process that was looked at, even if its pid is handed on meanwhile; answers its pidfd."""
    try:
        descriptor = os.pidfd_open(pid)
    except (ProcessLookupError, PermissionError):
        return None
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if environment_of(pid).get(LAB_MARK) == lab:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            return descriptor
    os.close(descriptor)
    return None
