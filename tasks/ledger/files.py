"""Files below the state folder: written whole or not at all, and accessible to their owner only."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from poolkeeper.tasks.outcomes import visible


def private_folder(folder: Path) -> Path:
    """Make a folder and its missing parents, accessible to its owner only. Raises OSError."""
    for missing in reversed([above for above in (folder, *folder.parents) if not above.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    return folder


def write_whole(path: Path, text: str) -> None:
    """Write a file durably and atomically: a reader sees the old or the new content. Raises OSError; the old one stays.

    Active characters of the text are written as codes, so that a terminal can show the file safely.
    """
    folder = private_folder(path.parent)
    partial = folder / f".{path.name}.{os.getpid()}"
    try:
        with open(partial, "w", encoding="utf-8", newline="", opener=_for_its_owner) as file:
            file.write(visible(text))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(folder)
    except OSError:
        with suppress(OSError):
            partial.unlink()  # so that a full disk does not keep partial files
        raise


def sync_folder(folder: Path) -> None:
    """Make the list of files of a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
