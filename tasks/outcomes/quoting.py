"""Somebody else's words, as they may stand in a sentence of ours."""

from __future__ import annotations

from poolkeeper.tasks.outcomes.redaction import Secret, redact

MOST = 300
"""Characters of somebody else's words that a sentence of ours has room for."""
_READ = 4096
"""So many are looked at: an error may quote a whole page."""


def quoted(words: object, *secrets: Secret, most: int = MOST) -> str:
    """The first line of a text or of an error: short, printable, without secrets, and no full stop at its end.

    Every error of a library, a program or a server passes here on its way into a sentence, a finding or a row: what it
    quotes (a URL with its password, a header) is not ours to choose.
    """
    lines = redact(str(words)[:_READ], *secrets).strip().splitlines()
    first = "".join(letter if letter.isprintable() else "?" for letter in lines[0].strip()) if lines else ""
    return first[:most].rstrip(". ")


def named(error: BaseException, *secrets: Secret) -> str:
    """An error that nobody foresaw: its class, and its words as `quoted` has them."""
    return f"{type(error).__name__}: {quoted(error, *secrets)}".rstrip(": ")
