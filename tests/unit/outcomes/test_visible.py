"""Text from outside on its way out: nothing in it acts, nothing in it hides, and all of it can be read."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from poolkeeper.tasks.outcomes import on_one_line, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("\x1b[2J\x1b[31mred\x1b[0m", r"\x1b[2J\x1b[31mred\x1b[0m", id="colours, and an empty screen"),
        pytest.param("\x1b]0;owned\x07", r"\x1b]0;owned\x07", id="a window's title"),
        pytest.param("\x1b]52;c;cm0gLXJmIH4=\x1b\\", r"\x1b]52;c;cm0gLXJmIH4=\x1b" + "\\", id="a clipboard"),
        pytest.param("\x9b31m", r"\x9b31m", id="the same in one letter"),
        pytest.param("done\rfail", r"done\x0dfail", id="a line written over"),
        pytest.param("ok\b\bno", r"ok\x08\x08no", id="letters taken back"),
        pytest.param("n1\u202e1n\u202c", r"n1\u202e1n\u202c", id="letters turned round"),
        pytest.param("n1\u200b", r"n1\u200b", id="a name like another one"),
        pytest.param("n1\U000e0041", r"n1\U000e0041", id="a tag that nobody sees"),
        pytest.param("half \ud83d of one", r"half \ud83d of one", id="half a letter"),
        pytest.param("a\r\nb\n\tc", "a\nb\n\tc", id="lines and tabs stay"),
        pytest.param("é 漢字 ÄÖ 😀 x\u0301", "é 漢字 ÄÖ 😀 x\u0301", id="other people's letters stay"),
    ],
)
def test_what_would_act_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_every_control_and_every_letter_that_nobody_sees() -> None:
    acting = [chr(number) for number in range(sys.maxunicode + 1) if unicodedata.category(chr(number)) in _ACTING]
    assert [letter for letter in acting if visible(letter) == letter] == ["\t", "\n"]


_ACTING = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_a_line_of_a_log_stays_one_line() -> None:
    assert on_one_line("n1: done\n12:00 INFO n2: done\u2028x") == r"n1: done\n12:00 INFO n2: done\u2028x"
