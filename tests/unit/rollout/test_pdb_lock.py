"""Which pods are under a budget."""

from __future__ import annotations

from typing import Any

import pytest

from poolkeeper.tasks.rollout.pdb_lock import guards
from tests.unit.rollout.builders import a_budget, a_pod


@pytest.mark.parametrize(
    ("pod", "guarded"),
    [
        pytest.param({}, True, id="selected"),
        pytest.param({"namespace": "elsewhere"}, False, id="of another namespace"),
        pytest.param({"labels": {"app": "other"}}, False, id="not selected"),
    ],
)
def test_guards(pod: dict[str, Any], guarded: bool) -> None:
    assert guards(a_budget(), a_pod(**pod)) is guarded
