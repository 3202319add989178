"""Secrets that stand in the fleet file itself. Their text is never repeated, whatever else is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from poolkeeper.tasks.fleet.problems import Mistake, Path_, Problem

_PASTED = (
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----|PuTTY-User-Key-File-\d|LS0tLS1CRUdJTi")),
    ("an access key id", re.compile(r"\b(?:LTAI|AKIA)[A-Za-z0-9]{12,}\b|\bSTS\.[A-Za-z0-9]{16,}\b")),
    ("an access key secret", re.compile(r"^(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[A-Za-z0-9]{30}$")),
    ("a bootstrap token", re.compile(r"^[a-z0-9]{6}\.[a-z0-9]{16}$|--token[ =]+[a-z0-9]{6}\.[a-z0-9]{16}\b")),
    ("a bearer token", re.compile(r"(?a)(?<![\w-])(?:(?!eyJ)[\w-])*+eyJ[\w-]{10,}+\.[\w-]{10,}")),
    ("a password", re.compile(r"://[^/\s:@]+:[^/\s@]+@")),
    ("key material", re.compile(r"^(?!/)(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[A-Za-z0-9+/\s]{40,}+={0,2}\s*$")),
)
"""What it is, and its shape. LS0t... is -----BEGIN in base64; an AccessKey secret is 30 letters and digits.

Each takes a time that grows as the text does.
"""
MAX_HIDDEN = 500
"""Texts that are looked for in what is told. Of a file with more of them, no other problem is told in words."""

_COMMENT = re.compile(r"(?:^|(?<=[ \t]))#.*", re.MULTILINE)
_FIX = (
    "Remove it, rotate it (others may know it by now), and name where the new one is kept:"
    " {file: PATH}, {env: NAME} or {block: NAME}."
)


@dataclass(frozen=True, slots=True)
class PastedSecret:
    """A secret in the data of a file."""

    path: Path_
    what: str
    texts: tuple[str, ...]
    """What must not be shown: the value or key, and the part of it that gives it away."""
    at_key: bool

    @property
    def mistake(self) -> Mistake:
        """As a mistake, which does not repeat it."""
        return Mistake(self.path, f"{self.what} is pasted into the file.", _FIX, at_key=self.at_key)


def pasted_secrets(data: Any) -> tuple[PastedSecret, ...]:
    """Every value and key that has the shape of a secret."""
    found = []
    shapes: dict[str, tuple[str, str] | None] = {}  # what an alias stands for many times is looked at once
    for path, text, at_key in _every_text(data, ()):
        if text not in shapes:
            shapes[text] = _shape(text)
        shape = shapes[text]
        if shape:
            found.append(PastedSecret(path, shape[0], (text, shape[1]), at_key))
    return tuple(found)


def secrets_in_comments(text: str) -> Iterator[Problem]:
    """Comments that a secret stands in."""
    line, counted = 1, 0
    for comment in _COMMENT.finditer(text):
        if shape := _shape(comment[0].lstrip("# ")):
            start = comment.start()
            line, counted = line + text.count("\n", counted, start), start
            column = start - text.rfind("\n", 0, start)
            yield Problem(line, column, "", f"{shape[0]} is in a comment.", _FIX, is_ours=True)


def hidden(problems: Iterable[Problem], secrets: Iterable[PastedSecret]) -> Iterator[Problem]:
    """The problems with no secret's text in them."""
    texts = sorted({text for secret in secrets for text in secret.texts}, key=len, reverse=True)

    def without(shown: str) -> str:
        for text in texts:
            shown = shown.replace(text, "(hidden)")
        return shown

    for problem in problems:
        if not texts or problem.is_ours:
            yield problem
        elif len(texts) > MAX_HIDDEN:
            yield replace(problem, path="", message="something is wrong here.", fix="Remove the secrets first.")
        else:
            yield replace(
                problem, path=without(problem.path), message=without(problem.message), fix=without(problem.fix)
            )


def _shape(text: str) -> tuple[str, str] | None:
    if len(text) < 16:  # shorter than any of them but a password in a URL, which needs no more
        return None
    for what, shape in _PASTED:
        if found := shape.search(text):
            return what, found[0] or text
    return None


def _every_text(value: Any, path: Path_) -> Iterator[tuple[Path_, str, bool]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield (*path, key), key, True
            yield from _every_text(child, (*path, key))
    elif isinstance(value, list):
        for position, child in enumerate(value):
            yield from _every_text(child, (*path, position))
    elif isinstance(value, str):
        yield path, value, False
