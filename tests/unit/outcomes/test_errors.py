"""Errors that a person reads: what each of them knows."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections import Counter

import pytest

import poolkeeper
from poolkeeper.tasks.outcomes import CannotGoOn, PoolkeeperError, Severity, Subject

ON_HOSTS = "poolkeeper.tasks.audit.remote.probe"
"""It runs on hosts, where there is nothing of poolkeeper but itself."""


def error_classes() -> list[type[BaseException]]:
    """Every public exception class of the product, the practice world left aside."""
    found = {}
    for module in pkgutil.walk_packages(poolkeeper.__path__, "poolkeeper."):
        if module.name.startswith("poolkeeper.deployments.lab") or module.name == ON_HOSTS:
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            own = inspect.isclass(value) and value.__module__ == module.name
            if own and issubclass(value, BaseException) and not name.startswith("_"):
                found[f"{module.name}.{name}"] = value
    return [found[name] for name in sorted(found)]


ERRORS = error_classes()
SLUG = re.compile(r"[a-z][a-z-]*(\.[a-z][a-z-]*)+")


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_knows_its_finding(error: type[PoolkeeperError]) -> None:
    assert issubclass(error, PoolkeeperError)
    if error is PoolkeeperError:
        return
    assert SLUG.fullmatch(vars(error)["id"])
    assert error.expected


def test_no_two_errors_share_an_id() -> None:
    assert [id for id, count in Counter(vars(error)["id"] for error in ERRORS).items() if count > 1] == []
    assert len(ERRORS) > 50


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
