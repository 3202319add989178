"""What the stand-ins need of pathlib: its import alone would take longer than all that they do."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_open = open
"""As it is when this is imported: `python.py` gives the programs that it runs another one."""


class Path:
    """A path, with the methods of pathlib's that are used here."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __str__(self) -> str:
        return self._path

    __fspath__ = __str__

    def __truediv__(self, name: str) -> Path:
        return Path(os.path.join(self._path, name))

    def __lt__(self, other: Path) -> bool:
        return self._path < other._path

    @property
    def name(self) -> str:
        return os.path.basename(self._path)

    @property
    def parent(self) -> Path:
        return Path(os.path.dirname(self._path))

    def exists(self) -> bool:
        return os.path.exists(self._path)

    def match(self, pattern: str) -> bool:
        """Whether its name fits."""
        from fnmatch import fnmatchcase

        return fnmatchcase(self.name, pattern)

    def iterdir(self) -> Iterator[Path]:
        return (self / name for name in os.listdir(self._path))

    def read_text(self) -> str:
        with _open(self._path, encoding="utf-8") as file:
            return file.read()

    def write_text(self, text: str) -> None:
        with _open(self._path, "w", encoding="utf-8") as file:
            file.write(text)

    def touch(self) -> None:
        with _open(self._path, "a", encoding="utf-8"):
            os.utime(self._path)

    def chmod(self, mode: int) -> None:
        os.chmod(self._path, mode)

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        os.makedirs(self._path, exist_ok=exist_ok) if parents else os.mkdir(self._path)

    def rename(self, target: Path) -> None:
        os.rename(self._path, target)

    def unlink(self, *, missing_ok: bool = False) -> None:
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rmdir(self) -> None:
        os.rmdir(self._path)
