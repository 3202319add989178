"""What is wrong with a file that a person wrote, and where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

Path_ = tuple[str | int, ...]
"""Keys and positions from the document's root to a value."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake, ready to be shown."""

    line: int
    """From 1."""
    column: int
    """From 1."""
    path: str
    """Such as `hosts.fra1-n01.pool`."""
    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake before its place in the text was looked up."""

    path: Path_
    message: str
    fix: str
    at_key: bool = False
    """The key is wrong, not its value."""


class FileInvalid(Exception):
    """A file with problems; the message lists every one."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        lines = [f"{file}:{p.line}:{p.column}: {p.path or '(file)'}: {p.message} {p.fix}" for p in problems]
        super().__init__("\n".join([f"{file} has {counted(len(problems), 'problem')}:", *lines]))
        self.problems = tuple(problems)


class FleetInvalid(FileInvalid):
    """A fleet file with problems."""


def counted(number: int, thing: str) -> str:
    """`1 problem`, `2 problems`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def nearest(word: str, known: Iterable[str]) -> str:
    """`Did you mean x?` or what there is."""
    names = sorted(known)
    close = get_close_matches(word[:100], names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]}?"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"There are: {shown}." if names else "There are none yet."


def dotted(path: Path_) -> str:
    """`("hosts", "h1", "windows", 0)` as `hosts.h1.windows[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def told(value: Any, written: str | None = None) -> str:
    """A value as it can stand in a sentence: short, on one line, nothing of what is inside a block or list.

    written: how a value that is no text is written in the file, where that is known (`24.10`, not `24.1`).
    """
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a block of keys"
    if isinstance(value, list):
        return "a list"
    if not isinstance(value, str):
        return (written if written is not None else str(value))[:60]
    return repr(value) if len(value) <= 60 else f"{value[:57]!r}..."
