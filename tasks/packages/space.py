"""Whether an installation has enough disk space. Pure."""

from __future__ import annotations

from dataclasses import dataclass

UNPACKED = 5
"""Space that an installed package takes, as a multiple of its download: Go programs compress to a quarter."""
SPARE_BYTES = 512 * 1024**2
"""What has to be free afterwards, for logs and images."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A file system that packages are fetched to or installed on."""

    mount: str
    size_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Need:
    """What an installation needs, and the file systems that it goes to."""

    download_bytes: int
    """What is still to be fetched."""
    archives: FileSystem
    """Where packages are fetched to, such as /var/cache/apt/archives."""
    programs: FileSystem
    """Where packages are installed: /usr."""


def too_little_space(need: Need, *, min_free_share: float = 0.0) -> str:
    """Why there is too little space, as a clause; empty: there is enough.

    min_free_share: share of each file system that has to be free afterwards
    """
    mounts = {at.mount: at for at in (need.archives, need.programs)}
    taken_by_mount = {need.archives.mount: need.download_bytes}
    installed = need.download_bytes * UNPACKED
    taken_by_mount[need.programs.mount] = taken_by_mount.get(need.programs.mount, 0) + installed
    for mount, taken in taken_by_mount.items():
        at = mounts[mount]
        least = max(SPARE_BYTES, int(at.size_bytes * min_free_share))
        if at.free_bytes - taken < least:
            return (
                f"{_mib(at.free_bytes)} of {_mib(at.size_bytes)} are free on {mount}; the packages need {_mib(taken)},"
                f" and {_mib(least)} must stay free"
            )
    return ""


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:.0f} MiB"
