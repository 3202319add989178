"""Which nodes count as lost between two waves."""

from __future__ import annotations

from typing import Any

import pytest

from poolkeeper.tasks.rollout.wave_gates import lost_nodes
from tests.unit.onboard.builders import NOW, a_node
from tests.unit.rollout.test_next_action import Phase, claimed


@pytest.mark.parametrize(
    ("before", "now", "going", "lost"),
    [
        pytest.param({}, {}, (), False, id="Ready as before"),
        pytest.param({}, {"ready": False}, (), True, id="not Ready any more"),
        pytest.param({}, {"ready": False, **claimed(Phase.CHANGING)}, (), False, id="not Ready, and claimed"),
        pytest.param({}, None, (), True, id="gone"),
        pytest.param({}, None, ("n1",), False, id="gone, as the rollout wants it"),
        pytest.param({}, {"ready": False}, ("n1",), True, id="not Ready, although it is to go"),
        pytest.param({"ready": False}, None, (), False, id="gone, and was not Ready before"),
    ],
)
def test_lost_nodes(before: dict[str, Any], now: dict[str, Any] | None, going: tuple[str, ...], lost: bool) -> None:
    after = {"n1": a_node("n1", **now)} if now is not None else {}
    found = lost_nodes({"n1": a_node("n1", **before)}, after, NOW, going)
    assert [one.id for one in found] == (["rollout.gate.node"] if lost else [])
