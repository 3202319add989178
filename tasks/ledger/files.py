"""Files below the state folder: written whole or not at all, and for their owner alone."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from poolkeeper.tasks.outcomes import visible


def private_folder(folder: Path) -> Path:
    """Make a folder, and what is missing above it, for its owner alone. Raises OSError."""
    for missing in reversed([above for above in (folder, *folder.parents) if not above.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    return folder


def write_whole(path: Path, text: str) -> None:
    """Write a file durably and at once, whoever reads it meanwhile. Raises OSError; what was there before is then kept.

    What hosts or people have written into the text does nothing on the terminal that shows the file.
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
            partial.unlink()  # a full disk is not to be kept full by halves
        raise


def sync_folder(folder: Path) -> None:
    """Make durable which files a folder has."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
