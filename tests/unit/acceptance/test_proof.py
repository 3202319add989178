"""When a node that could not be proven is looked at once more."""

from __future__ import annotations

from typing import Any

import pytest

from poolkeeper.tasks.acceptance.proof import ATTEMPTS, REFUSED_PATIENCE_S, look_again_after_s
from tests.unit.acceptance.test_checks import evidence
from tests.unit.onboard.builders import a_node

NOT_NOW = {"refused": "no", "may_pass": True}


@pytest.mark.parametrize(
    ("seen", "attempt", "spent_s", "after_s"),
    [
        pytest.param({}, 1, 5.0, 1.0, id="its DNS may have just started"),
        pytest.param({}, ATTEMPTS, 5.0, None, id="looked at often enough"),
        pytest.param({"node": a_node(ready=False)}, 1, 5.0, None, id="not Ready, which was waited for before"),
        pytest.param(
            NOT_NOW, ATTEMPTS, REFUSED_PATIENCE_S - 1, 5.0, id="a webhook may let a test pod pass a little later"
        ),
        pytest.param(NOT_NOW, ATTEMPTS, REFUSED_PATIENCE_S, None, id="it did not"),
        pytest.param({"refused": "no"}, ATTEMPTS, 5.0, None, id="refused for good"),
    ],
)
def test_when_to_look_again(seen: dict[str, Any], attempt: int, spent_s: float, after_s: float | None) -> None:
    assert look_again_after_s(evidence(**seen), attempt, spent_s) == after_s
