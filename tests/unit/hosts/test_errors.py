"""What an error of a host repeats of others' words."""

from __future__ import annotations

from poolkeeper.tasks.hosts import HostError
from poolkeeper.tasks.outcomes import Subject


def test_words_of_others_are_one_line_without_secrets() -> None:
    error = HostError("proxy http://user:example-password@proxy:3128 refuses\x1b[2J.\nBye")
    assert error.observed == str(error) == "proxy http://user:[redacted]@proxy:3128 refuses?[2J"
    assert error.finding(Subject("host", "n1")).evidence.observed == error.observed
