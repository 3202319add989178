"""Building the pinned programs with the machine's Go, once, into the user's cache folder.

A program is built in a folder of its own and renamed into its place, so that what is there is whole. Two processes
may build at a time: the lock belongs to the running `go build`, and outlives a starter that is killed. What was
built before an interruption is kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from deployments.lab.real.pins import Module, go_version

Say = Callable[[str], None]

BUILD_TIMEOUT_S = 2400.0
"""One program, cold, on a slow machine; kube-apiserver takes 4 minutes of two cores."""
_SETTINGS = {
    "GOFLAGS": "-mod=readonly -buildvcs=false",
    "GOTOOLCHAIN": "local",  # never fetch another Go: a too old one is told instead
    "GOWORK": "off",
    "CGO_ENABLED": "0",  # no C compiler is needed, and the programs run on any Linux
}


class Unavailable(Exception):
    """The programs cannot be had on this machine; the message says what is missing, as a clause."""


def say_on_stderr(line: str) -> None:
    """Progress for a person who waits."""
    print(line, file=sys.stderr, flush=True)


@cache
def installed_go() -> str:
    """The version of this machine's Go, such as `go1.26.8`. Raises Unavailable."""
    if shutil.which("go") is None:
        raise Unavailable(
            "there is no Go on PATH to build Kubernetes with, and no $KUBEBUILDER_ASSETS with its programs"
        )
    command = ["go", "env", "GOVERSION"]
    try:
        told = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=True, env={**os.environ, **_SETTINGS}, cwd="/"
        )
        go_version(told.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise Unavailable(f"Go does not tell its version: {error}") from None
    return told.stdout.strip()


def lacks(module: Module) -> str:
    """Why a module cannot be built here, as a clause; empty when it can."""
    try:
        go = installed_go()
    except Unavailable as missing:
        return str(missing)
    if go_version(go) < module.needs_go:
        wanted = ".".join(map(str, module.needs_go))
        return f"{go} is too old: {module.source} {module.version} needs Go {wanted} (Debian's own may be older)"
    return ""


def cache_home() -> Path:
    """Where everything is kept that is made once."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "poolkeeper"


def cache_folder(module: Module) -> Path:
    """Where a module's programs are kept: another folder for other sources, another Go or other flags."""
    decisive = [installed_go(), os.uname().machine, module.linker_flags, *_SETTINGS.values()]
    key = hashlib.sha256(module.pinned_bytes + "\n".join(decisive).encode()).hexdigest()[:16]
    return cache_home() / f"{module.name}-{key}"


def built(module: Module, program: str, *, say: Say = say_on_stderr, timeout_s: float = BUILD_TIMEOUT_S) -> Path:
    """A program of a module: the one in the cache, or built now. Raises Unavailable."""
    if missing := lacks(module):
        raise Unavailable(missing)
    folder = cache_folder(module)
    done = folder / program
    if done.exists():
        return done
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_s
    with _lock(
        folder / "lock", deadline, lambda: say(f"another process is building {module.name}: waiting for it")
    ) as lock:
        if not done.exists():  # the process that held the lock may have built it
            _build(module, program, done, lock, deadline, say)
    return done


@contextmanager
def _lock(path: Path, deadline: float, say_waiting: Callable[[], None]) -> Iterator[int]:
    """Hold a lock file; yields its descriptor. Raises Unavailable at the deadline."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        told = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Unavailable(f"another process holds {path} for too long") from None
            if not told:
                say_waiting()
                told = True
            time.sleep(0.2)
        yield descriptor
    finally:
        os.close(descriptor)


def _build(module: Module, program: str, done: Path, lock: int, deadline: float, say: Say) -> None:
    for left in done.parent.glob("building-*"):
        shutil.rmtree(left, ignore_errors=True)  # of a build that was killed: nobody else is in here
    say(f"building {program} {module.version} with {installed_go()} (once; some minutes when nothing is cached)")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="building-", dir=done.parent) as folder:
        output = Path(folder, program)
        command = [
            "go", "build", "-trimpath", "-ldflags", module.linker_flags, "-o", str(output), module.packages[program],
        ]  # fmt: skip
        _run(command, module.folder, lock, deadline - began)
        output.rename(done)
    say(f"built {program} in {time.monotonic() - began:.0f} s")


def _run(command: list[str], folder: Path, lock: int, timeout_s: float) -> None:
    """Run a build in a session of its own, so that all of it ends with it. Raises Unavailable."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **_SETTINGS},
            pass_fds=[lock],
            start_new_session=True,
        )
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"`{' '.join(command[:2])}` of {command[-1]} took more than {timeout_s:.0f} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if status != 0:
            output.seek(0)
            words = output.read().decode(errors="replace").strip()[-2000:]
            raise Unavailable(f"`go build {command[-1]}` failed: {words or f'exit status {status}'}")
