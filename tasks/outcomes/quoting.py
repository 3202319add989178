"""Texts of others (libraries, programs, servers), made safe to quote in a message."""

from __future__ import annotations

from poolkeeper.tasks.outcomes.errors import PoolkeeperError
from poolkeeper.tasks.outcomes.redaction import Secret, redact

MOST = 300
"""Characters that are quoted of such a text."""
_READ = 4096
"""Characters that are read of it: an error may contain a whole page."""


def quoted(words: object, *secrets: Secret, most: int = MOST) -> str:
    """The first line of a text or of an error: short, printable, without secrets and without a full stop at its end.

    Use it for every error of a library, a program or a server that becomes part of a message, a finding or a row: such
    an error may quote a URL with its password, or a header.
    """
    lines = redact(str(words)[:_READ], *secrets).strip().splitlines()
    first = "".join(letter if letter.isprintable() else "?" for letter in lines[0].strip()) if lines else ""
    return first[:most].rstrip(". ")


def named(error: BaseException, *secrets: Secret) -> str:
    """An error for a log or a row: its class, and its message and next step as `quoted` shows them."""
    message = error.summary if isinstance(error, PoolkeeperError) else error
    return f"{type(error).__name__}: {quoted(message, *secrets)}".rstrip(": ")
