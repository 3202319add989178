"""Text from outside in markdown: text stays text, commands can be copied."""

from __future__ import annotations

import pytest

from poolkeeper.tasks.pages.markdown import commands, plain


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Run `a`.", [(False, "Run "), (True, "a"), (False, ".")]),
        ("`a` or `b", [(True, "a"), (False, " or `b")]),
        ("it`s", [(False, "it`s")]),
        ("plain", [(False, "plain")]),
        ("", []),
    ],
)
def test_commands_stand_in_backticks(text: str, parts: list[tuple[bool, str]]) -> None:
    assert list(commands(text)) == parts


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>", "&lt;script>"),
        ("*loud* `code` [link](x) a|b \\", "\\*loud\\* \\`code\\` \\[link\\](x) a\\|b \\\\"),
        ("one\ntwo\r# three", "one two # three"),
    ],
)
def test_text_is_text(text: str, shown: str) -> None:
    assert plain(text) == shown
