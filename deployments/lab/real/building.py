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
from typing import IO

from poolkeeper.deployments.lab.real.pins import Module, go_version

Say = Callable[[str], None]

BUILD_TIMEOUT_S = 2400.0
"""One program, cold, on a slow machine; kube-apiserver takes 4 minutes of two cores."""
BAR_S = 1.0
"""How often progress is shown."""
_SETTINGS = {
    "GOFLAGS": "-mod=readonly -buildvcs=false",
    "GOTOOLCHAIN": "local",  # never fetch another Go: a too old one is told instead
    "GOWORK": "off",
    "CGO_ENABLED": "0",  # no C compiler is needed, and the programs run on any Linux
}


_FLAGS = ("-trimpath", "-gcflags=all=-dwarf=false")  # a stripped program has no use for debugging information


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
    decisive = [installed_go(), os.uname().machine, module.linker_flags, *_FLAGS, *_SETTINGS.values()]
    key = hashlib.sha256(module.pinned_bytes + "\n".join(decisive).encode()).hexdigest()[:16]
    return cache_home() / f"{module.name}-{key}"


def built(
    module: Module, *programs: str, say: Say = say_on_stderr, timeout_s: float = BUILD_TIMEOUT_S
) -> dict[str, Path]:
    """Programs of a module, by name: those in the cache, and the others built now, together. Raises Unavailable.

    timeout_s: for each program
    """
    if missing := lacks(module):
        raise Unavailable(missing)
    folder = cache_folder(module)
    done = {program: folder / program for program in programs}
    if all(path.exists() for path in done.values()):
        return done
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_s * len(programs)
    with _lock(
        folder / "lock", deadline, lambda: say(f"another process is building {module.name}: waiting for it")
    ) as lock:
        # the process that held the lock may have built some
        if absent := [program for program, path in done.items() if not path.exists()]:
            _build(module, absent, folder, lock, deadline, say)
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


def _build(module: Module, programs: list[str], folder: Path, lock: int, deadline: float, say: Say) -> None:
    for left in folder.glob("building-*"):
        shutil.rmtree(left, ignore_errors=True)  # of a build that was killed: nobody else is in here
    names = ", ".join(programs)
    say(f"building {names} {module.version} with {installed_go()} (once; some minutes when nothing is cached)")
    began = time.monotonic()
    packages = [module.packages[program] for program in programs]
    with tempfile.TemporaryDirectory(prefix="building-", dir=folder) as name:
        # several are written into a folder, each by the last name of its package
        output = f"{name}/" if len(programs) > 1 else f"{name}/{programs[0]}"
        flags = ["-v", *_FLAGS, "-ldflags", module.linker_flags, "-o", output]
        _run(["go", "build", *flags, *packages], module, packages, lock, deadline - began)
        for program in programs:
            Path(name, program).rename(folder / program)
    say(f"built {names} in {time.monotonic() - began:.0f} s")


def _run(command: list[str], module: Module, packages: list[str], lock: int, timeout_s: float) -> None:
    """Run a build in a session of its own, so that all of it ends with it. Raises Unavailable."""
    deadline = time.monotonic() + timeout_s
    with tempfile.TemporaryFile() as output, _bar(module, packages) as show:
        process = subprocess.Popen(
            command,
            cwd=module.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **_SETTINGS},
            pass_fds=[lock],
            start_new_session=True,
        )
        try:
            while (left := deadline - time.monotonic()) > 0:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(min(left, BAR_S))
                    break
                show(_written(output).count(b"\n"))
            else:
                raise Unavailable(f"`{' '.join(command[:2])}` of {command[-1]} took more than {timeout_s:.0f} s")
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode != 0:
            words = _written(output).decode(errors="replace").strip()[-2000:]
            raise Unavailable(f"`go build {command[-1]}` failed: {words or f'exit status {process.returncode}'}")


def _written(output: IO[bytes]) -> bytes:
    """All that was written so far; the writer's place in the file stays where it is."""
    return os.pread(output.fileno(), os.fstat(output.fileno()).st_size, 0)


@contextmanager
def _bar(module: Module, packages: list[str]) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal, which is told how many packages have been compiled; without a terminal, nothing."""
    if not sys.stderr.isatty():
        yield lambda compiled: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    count = ["go", "list", "-deps", *packages]
    listed = subprocess.run(count, cwd=module.folder, env={**os.environ, **_SETTINGS}, capture_output=True, timeout=600)
    columns = (TextColumn("compiling {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(module.name, total=listed.stdout.count(b"\n"))
        yield lambda compiled: progress.update(task, completed=compiled)
