"""Keeps secrets out of everything that is stored or shown."""

from __future__ import annotations

import re
from collections.abc import Iterable

REDACTED = "[redacted]"

MAX_CHARACTERS = 100_000
"""Of a longer text only the end is kept: a host may print a megabyte, and a message shows some lines."""

_SHAPES = (
    # kubeadm's bootstrap token, https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/
    re.compile(r"()\b[a-z0-9]{6}\.[a-z0-9]{16}\b"),
    re.compile(r"()-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    # and a key whose beginning was cut off
    re.compile(r"()\A(?:(?!-----BEGIN ).)*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL),
    re.compile(r"([Bb]earer )[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(r"((?<![\w.-])(?:(?!eyJ)[\w.-])*+)eyJ(?:[\w-]*+\.){2}[\w.-]*+", re.ASCII),
    re.compile(r"(?i)((?:token|secret|password)\"?(?:=|:\s*)\"?)[^\s\"',;&]{4,}"),
    re.compile(r"(?i)((?<![a-z-])--[a-z-]*+(?:(?<=token)|(?<=secret)|(?<=password)) +)[^\s\"',;]{4,}"),
    # a URL's password, also without a user
    re.compile(r"(://(?:[^\s/:@]*:)?)[^\s/]+(?=@)"),
)
"""Shapes of secrets; the only group is the part that stays.

Keeps: each takes linear time. A run of letters is matched from its first letter only, without backtracking into it.
"""


class Secret:
    """Text that must not be shown: printing or formatting it gives `[redacted]`."""

    __slots__ = ("_text", "_words")

    def __init__(self, text: str, *, secret_words: Iterable[str] | None = None) -> None:
        """secret_words: the secret parts of a text; None: the whole text and each of its longer words"""
        self._text = text
        self._words = tuple(secret_words) if secret_words is not None else (text, *text.split())

    def reveal(self) -> str:
        """The text itself, for the one place that needs it."""
        return self._text

    def words(self) -> tuple[str, ...]:
        """The words that must not appear in any output."""
        return self._words

    def __repr__(self) -> str:
        return f"Secret({REDACTED})"

    __str__ = __repr__


def redact(text: str, *secrets: Secret) -> str:
    """`text` without the given secrets, their longer words, and anything with the shape of a secret.

    A text longer than `MAX_CHARACTERS` is cut to its end, from a whole word on, because half a secret is secret too.
    """
    if len(text) > MAX_CHARACTERS:
        text = whole_words(text[-MAX_CHARACTERS:])
    known = {word for secret in secrets for word in secret.words()}
    for word in sorted((word for word in known if len(word) >= 12), key=len, reverse=True):
        text = text.replace(word, REDACTED)
    for shape in _SHAPES:
        text = shape.sub(rf"\1{REDACTED}", text)
    return text


def whole_words(cut: str) -> str:
    """A text whose beginning was cut off, from the next whole word on."""
    return re.sub(r"\A\S*\s*", "", cut)
