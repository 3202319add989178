"""What the state program answered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolkeeper.tasks.hosts.units import OUTPUT_KEPT_BYTES, UnitRun, UnitState, parse_state
from poolkeeper.tasks.outcomes import REDACTED, Secret

LONG = OUTPUT_KEPT_BYTES + 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("state ended 0\noutput\ndone\n", UnitState(UnitRun.SUCCEEDED, 0, "done\n"), id="succeeded"),
        pytest.param("state ended 3\noutput\n", UnitState(UnitRun.FAILED, 3), id="failed without a word"),
        pytest.param("state ended 255\noutput\n", UnitState(UnitRun.FAILED, 255), id="highest status"),
        pytest.param("state killed\noutput\nhalf", UnitState(UnitRun.FAILED, None, "half"), id="killed"),
        pytest.param("state running\noutput\na\n", UnitState(UnitRun.RUNNING, None, "a\n"), id="running"),
        pytest.param("state absent\noutput\n", UnitState(UnitRun.ABSENT), id="absent"),
        pytest.param("state running\n", UnitState(UnitRun.RUNNING), id="cut before the output"),
        pytest.param("state running\noutput\noutput\nstate ended 0\n", UnitState(UnitRun.RUNNING, None, "output\nstate ended 0\n"), id="output that looks like an answer"),
        pytest.param("", UnitState(UnitRun.UNKNOWN), id="nothing"),
        pytest.param("state ended\noutput\n", UnitState(UnitRun.UNKNOWN), id="ended, nobody knows how"),
        pytest.param("state ended \u00b2\noutput\n", UnitState(UnitRun.UNKNOWN), id="a digit that is no number"),
        pytest.param("state ended 1 2\noutput\n", UnitState(UnitRun.UNKNOWN), id="two statuses"),
        pytest.param("state ended -1\noutput\n", UnitState(UnitRun.UNKNOWN), id="negative"),
        pytest.param("sh: 1: state: not found\n", UnitState(UnitRun.UNKNOWN), id="an error of the shell"),
    ],
)  # fmt: skip
def test_state(text: str, expected: UnitState) -> None:
    assert parse_state(text) == expected


def test_secrets_in_its_output() -> None:
    text = "state running\noutput\njoin --token abcdef.0123456789abcdef with very-secret-word\n"
    assert parse_state(text, Secret("say very-secret-word")).output == f"join --token {REDACTED} with {REDACTED}\n"


def test_half_a_secret_at_its_beginning() -> None:
    """Of an output that is longer than what is kept, the first word may be half a one."""
    cut = ("et-word " + "x " * LONG)[:LONG]
    state = parse_state(f"state running\noutput\n{cut}", Secret("very-secret-word"))
    assert state.output.startswith("x ")
    assert len(state.output) <= OUTPUT_KEPT_BYTES


def test_one_long_word() -> None:
    assert parse_state(f"state running\noutput\n{'x' * LONG}").output == ""


@given(st.text())
def test_whatever_comes(text: str) -> None:
    assert parse_state(text).state in UnitRun
    assert parse_state(f"state ended {text}\noutput\n{text}").state in UnitRun
