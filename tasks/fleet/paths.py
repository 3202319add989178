"""Files that a fleet file names."""

from __future__ import annotations

from pathlib import Path


def from_folder(folder: Path, file: str) -> Path:
    """Where a file is: relative to the fleet file's folder; `~` is a home. Raises ValueError for nobody's home."""
    try:
        return folder / Path(file).expanduser()
    except RuntimeError:
        raise ValueError(f"{file} begins with the home of a user who is not known") from None


def why_unusable(folder: Path, file: str) -> str:
    """Why a named file cannot be used; empty when it is there."""
    try:
        path = from_folder(folder, file)
        if path.is_file():
            return ""
        return "is a folder" if path.is_dir() else "is not there"
    except (OSError, ValueError) as error:
        return f"cannot be looked at ({getattr(error, 'strerror', None) or error})"
