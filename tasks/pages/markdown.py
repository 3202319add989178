"""Text from outside in markdown: it stays text, and a command in backticks stays what a person can copy. Pure."""

from __future__ import annotations

from collections.abc import Iterator

_SPECIAL = str.maketrans({**{sign: f"\\{sign}" for sign in "\\`*[]|"}, "<": "&lt;", "\n": " ", "\r": " "})


def plain(text: str) -> str:
    """Text as text: no markdown, no HTML, one line."""
    return text.translate(_SPECIAL)


def commands(text: str) -> Iterator[tuple[bool, str]]:
    """The parts of a sentence, each with whether it stands in backticks: a command."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # one backtick is left over: it is no more than a sign
        parts[-2:] = ["`".join(parts[-2:])]
    return ((bool(number % 2), part) for number, part in enumerate(parts) if part)


def with_commands(text: str) -> str:
    """HTML in a code span is text, and must not be escaped: it would be shown so."""
    return "".join(f"`{' '.join(part.split())}`" if code else plain(part) for code, part in commands(text))
