"""Problems of a file that a user wrote, each with its place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Self

from poolkeeper.tasks.outcomes import Invalid

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
    is_ours: bool = field(default=False, compare=False)
    """Its message quotes nothing of the file, so a reader without access to the file may see it."""


MAX_SHOWN = 200
"""The problems of a file that are shown; the others are counted."""
_PATH = 300
"""The characters of a path that are shown: a key may be as long as the file."""


class Problems(tuple[Problem, ...]):
    """A file's first problems, in the order of its text."""

    in_all: int
    """How many there are."""

    @classmethod
    def of(cls, problems: Iterable[Problem], more: int = 0) -> Self:
        """The first of `problems`. more: how many others were counted and not kept"""
        found = sorted(set(problems))
        shown = cls(
            one if len(one.path) <= _PATH else replace(one, path=f"{one.path[:_PATH]}...") for one in found[:MAX_SHOWN]
        )
        shown.in_all = len(found) + more
        return shown


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake before its place in the text was looked up."""

    path: Path_
    message: str
    fix: str
    at_key: bool = False
    """The key is wrong, not its value."""


class FileInvalid(Invalid):
    """A file with problems. The message has their places, and quotes nothing of the file: others read a run's log."""

    id = "file.invalid"
    expected = "a valid file"
    source = "file"

    shown_by = "poolkeeper check FILE"
    """The command that shows the full messages; it needs the right to read the file."""
    keys: frozenset[str] | None = None
    """The top-level keys of such a file; None: a path never begins with a key of the file.

    Another key is not shown, because it may be a whole line of another file.
    """

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems[:MAX_SHOWN])
        self.in_all = problems.in_all if isinstance(problems, Problems) else len(problems)
        self._file = file
        ours = all(problem.is_ours for problem in self.problems)
        super().__init__(
            self._message(in_full=False),
            next_step=None if ours else f"Run `{self.shown_by}` to see what is wrong there; it has to read the file.",
        )

    @property
    def in_full(self) -> str:
        """Each problem with its full message, for a reader who may read the file."""
        return self._message(in_full=True)

    @property
    def summary(self) -> str:
        """The places and the next step, in lines."""
        return f"{self.observed}\n{self.next_step}" if self.next_step else self.observed

    def _message(self, *, in_full: bool) -> str:
        lines = [f"{self._file} has {counted(self.in_all, 'problem')}:"]
        for problem in self.problems:
            message = f": {problem.message} {problem.fix}" if in_full or problem.is_ours else ""
            path = problem.path if in_full or self._is_known(problem.path) else "(a key)"
            lines.append(f"{self._file}:{problem.line}:{problem.column}: {path or '(file)'}{message}")
        if self.in_all > len(self.problems):
            lines.append(f"and {self.in_all - len(self.problems)} more: correct these first.")
        return "\n".join(lines)

    def _is_known(self, path: str) -> bool:
        if self.keys is None or not path:
            return True
        return re.split(r"[.\[]", path, maxsplit=1)[0] in self.keys and re.fullmatch(r"[\w.\[\]-]*", path) is not None


def counted(number: int, thing: str) -> str:
    """`1 problem`, `2 problems`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


_COMPARED = 10_000
"""Names that one is compared with: each takes some microseconds."""


def nearest(word: str, known: Iterable[str]) -> str:
    """`Did you mean x?`, or the known names."""
    names = sorted(known)
    close = get_close_matches(word[:100], names, n=1, cutoff=0.6) if len(names) <= _COMPARED else ()
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


def quoted_value(value: Any, written: str | None = None) -> str:
    """A value for use in a message: short, on one line, without the contents of a block or a list.

    written: how a value that is no text is written in the file, if known (`24.10`, not `24.1`).
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
