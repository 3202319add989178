"""Somebody else's words in a sentence of ours."""

from __future__ import annotations

import pytest

from poolkeeper.tasks.outcomes import Secret, named, quoted


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param("no such account.\nTraceback", "no such account", id="a line and its full stop"),
        pytest.param("", "", id="nothing"),
        pytest.param(OSError(111, "Connect call failed"), "[Errno 111] Connect call failed", id="an error"),
        pytest.param("\x1b[2Jgone\u202e", "?[2Jgone?", id="what a terminal would act on"),
        pytest.param(
            "407, url='http://user:example-password@127.0.0.1:3128'",
            "407, url='http://user:[redacted]@127.0.0.1:3128'",
            id="a proxy's password",
        ),
        pytest.param("https://p@ss@proxy:1 refuses", "https://[redacted]@proxy:1 refuses", id="an @ in it"),
        pytest.param("Authorization: Bearer abcdefgh.1", "Authorization: Bearer [redacted]", id="a token"),
        pytest.param("a" * 1_000_000, "a" * 300, id="a page"),
    ],
)
def test_what_is_left_of_them(words: object, told: str) -> None:
    assert quoted(words) == told


def test_secrets_that_are_known_are_taken_out() -> None:
    assert quoted("no opaque-credential-4711 here", Secret("opaque-credential-4711")) == "no [redacted] here"


def test_an_error_that_nobody_foresaw_has_its_name() -> None:
    assert named(ValueError("http://u:pw@h")) == "ValueError: http://u:[redacted]@h"
    assert named(TimeoutError()) == "TimeoutError"
