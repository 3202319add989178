"""A small file system of its own for a run's state folder, which really is full, has no room for names, or cannot be written.

It is seen by the process that mounts it alone, and ends with it.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from enum import StrEnum
from functools import cache
from pathlib import Path

_NEW_MOUNTS, _NEW_USER = 0x0002_0000, 0x1000_0000
_READ_ONLY, _REMOUNT, _RECURSIVE, _PRIVATE = 1, 32, 0x4000, 0x4_0000
_libc = ctypes.CDLL(None, use_errno=True)


class Trouble(StrEnum):
    """What is wrong with it."""

    FULL = "full"
    NO_NAMES = "no room for another file"
    READ_ONLY = "read-only"


def mount_small(folder: Path) -> None:
    """Mount it there, for this process alone. Raises OSError where the machine does not let us."""
    user, group = os.getuid(), os.getgid()
    try:
        _call("unshare", _NEW_MOUNTS)
    except OSError:  # without root, as root of a user namespace
        _call("unshare", _NEW_MOUNTS | _NEW_USER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _call("mount", b"none", b"/", None, _RECURSIVE | _PRIVATE, None)
    folder.mkdir(parents=True, exist_ok=True)
    _call("mount", b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=1m,nr_inodes=200")


def spoil(folder: Path, trouble: Trouble) -> None:
    """From now on nothing can be written there."""
    if trouble is Trouble.READ_ONLY:
        _call("mount", b"tmpfs", os.fsencode(folder), b"tmpfs", _REMOUNT | _READ_ONLY, None)
        return
    with suppress(OSError):
        if trouble is Trouble.FULL:
            with (folder / "filler").open("wb", buffering=0) as file:
                while file.write(b"x" * 4096):
                    pass
        for number in range(10_000 if trouble is Trouble.NO_NAMES else 0):
            (folder / f"filler-{number}").touch()


@cache
def refused() -> str:
    """Why this machine has no such file systems; empty: it has."""
    pid = os.fork()
    if pid == 0:
        try:
            mount_small(Path("/tmp"))
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return f"no file system can be mounted, even for one process: {os.strerror(code)}" if code else ""


def _call(function: str, *arguments: object) -> None:
    if getattr(_libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
