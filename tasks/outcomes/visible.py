"""Makes text from outside safe for a terminal, a log, a file or an artifact: active characters are shown as codes.

Active are control characters (C0 and C1, with which ANSI and OSC sequences begin), characters that change the direction
of text or are invisible (Unicode category Cf), line and paragraph separators, and halves of surrogate pairs.
"""

from __future__ import annotations

import re

_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """The text with active and invisible characters as `\\x1b` or `\\u202e`; newlines and tabs stay."""
    return _ACTING.sub(_code, text.replace("\r\n", "\n"))


def on_one_line(text: str) -> str:
    """The same with newlines and tabs as `\\n` and `\\t`, so that a text cannot forge a line of a log."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def _code(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
