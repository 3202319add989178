"""The bytes of a file as text that is safe to give to a YAML parser."""

from __future__ import annotations

import re
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

from poolkeeper.tasks.fleet.problems import Problem
from poolkeeper.tasks.fleet.shape import FLEET_FILE, FileKind
from poolkeeper.tasks.outcomes import PoolkeeperError

MAX_BYTES = 5_000_000
"""Of a file of ours: 5,000 hosts take less than 1 MB."""
MAX_DEPTH = 50
"""Blocks within blocks; a fleet file needs eight."""
_SAFE_DEPTH = 500
"""The parser recurses on the C stack: some ten thousand levels end the process."""

_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BRACKET = re.compile(r"[\[\]{}]")
_INDENT = re.compile(r"^[ ?:-]+", re.MULTILINE)

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""pyyaml without libyaml is slower and gives the same answers."""


class TextInvalid(PoolkeeperError):
    """A text is no YAML mapping; `problem` has the place."""

    id = "fleet.text.invalid"
    expected = "a YAML mapping"
    source = "file"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def refused(message: str, fix: str, line: int = 1, column: int = 1) -> TextInvalid:
    """A text that is refused as a whole, in words of ours alone."""
    return TextInvalid(Problem(line, column, "", message, fix, is_ours=True))


def read_source(path: Path, kind: FileKind = FLEET_FILE) -> str:
    """The text of a file: UTF-8, at most 5 MB, without control characters, not nested too deeply.

    Raises TextInvalid with the place where it is not.
    """
    return plain(decoded(_bytes(path, kind)))


def plain(text: str) -> str:
    """The text, if it has no control characters and is not nested too deeply. Raises TextInvalid with the place."""
    if found := _FORBIDDEN.search(text):
        before = text[: found.start()]
        raise refused(
            f"there is a control character (U+{ord(found[0]):04X}) here.",
            "Delete it; YAML is plain text.",
            before.count("\n") + 1,
            found.start() - before.rfind("\n"),
        )
    _refuse_depth(text)
    return text


def _bytes(path: Path, kind: FileKind) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise refused(f"there is no file {path}.", kind.name_one) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise refused(f"{path} cannot be read: {reason}.", "Name a readable file.") from None
    if len(raw) > MAX_BYTES:
        raise refused("the file is larger than 5 MB.", kind.large)
    return raw


def decoded(raw: bytes) -> str:
    """Bytes as UTF-8 text, without a byte order mark. Raises TextInvalid with the place where they are not."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise refused("the file is UTF-16.", "Save it as UTF-8.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line_start = before.rfind(b"\n") + 1
        raise refused(
            "this character is not UTF-8.",
            "Save the file as UTF-8.",
            before.count(b"\n") + 1,
            len(before[line_start:].decode("utf-8", "replace")) + 1,
        ) from None


def _refuse_depth(text: str) -> None:
    """Counts on the text first, which is quick and never too low; asks the parser's events only when that is deep."""
    steps = (1 if found[0] in "[{" else -1 for found in _BRACKET.finditer(text))
    indent = max((len(found[0]) for found in _INDENT.finditer(text)), default=0)
    # a column of indent can hold two levels: a list may stand at the indent of the key it belongs to
    if max(accumulate(steps), default=0) + 2 * indent <= _SAFE_DEPTH:
        return
    depth = 0
    try:
        for event in yaml.parse(text, Loader=Loader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH:
                raise too_deep(event.start_mark)
    except yaml.YAMLError:
        return  # the parser meets the same error at the same place, before it is deep


def too_deep(mark: Any) -> TextInvalid:
    """Text that nests further than any fleet file does; `mark` is the parser's place of it."""
    return refused(
        f"here blocks are nested more than {MAX_DEPTH} deep.",
        "Remove the nesting; an alias (*name) must not be inside its own anchor (&name).",
        mark.line + 1,
        mark.column + 1,
    )
