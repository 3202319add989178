"""Errors that a person reads: what each of them knows."""

from __future__ import annotations

from poolkeeper.tasks.outcomes import CannotGoOn, Severity, Subject


class OutOfCoffee(CannotGoOn):
    """For these tests."""

    id = "test.coffee"
    expected = "coffee"
    next_step = "Make some."
    source = "the pot"


def test_an_error_is_a_finding_about_a_subject() -> None:
    finding = OutOfCoffee("the pot is empty").finding(Subject("site", "fra1"), Severity.WARNING)
    assert (finding.id, finding.severity, str(finding.subject)) == ("test.coffee", Severity.WARNING, "site fra1")
    seen = finding.evidence
    assert (seen.observed, seen.expected, seen.source) == ("the pot is empty", "coffee", "the pot")
    assert finding.next_step == "Make some."


def test_an_error_may_know_a_better_next_step_than_its_class() -> None:
    error = OutOfCoffee("the pot is empty.", next_step="Ask Ada.")
    assert error.summary == "the pot is empty. Ask Ada."
    assert OutOfCoffee("the pot is empty").summary == "the pot is empty. Make some."
    assert error.row() == {
        "id": "test.coffee",
        "observed": "the pot is empty.",
        "expected": "coffee",
        "next_step": "Ask Ada.",
    }
