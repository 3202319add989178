"""Which Services a wave takes endpoints from."""

from __future__ import annotations

from typing import Any

import pytest

from poolkeeper.tasks.cluster.selectors import NOTHING
from poolkeeper.tasks.cluster.services import Service, Slice
from poolkeeper.tasks.outcomes import Known, Unknown
from poolkeeper.tasks.rollout import ServiceLoss
from tests.unit.rollout.builders import NOW, SELECTS_WEB, a_budget, a_pod, a_snapshot, seen

SERVICE = Service("shop", "web", SELECTS_WEB)
BY_HAND = Service("shop", "legacy", NOTHING)
TWO = [a_pod("a"), a_pod("b", "n2")]


@pytest.mark.parametrize(
    ("pods", "wave", "parts", "losses"),
    [
        pytest.param(TWO, ["n1"], {}, [("web", 2, 1, ("n1",))], id="one of two"),
        pytest.param(TWO, ["n1", "n2"], {}, [("web", 2, 0, ("n1", "n2"))], id="both"),
        pytest.param(TWO, ["n3"], {}, [], id="none"),
        pytest.param(
            TWO, ["n1", "n2"],
            {"budgets": [a_budget(max_unavailable=1, allowed=1, current=2, desired=1, expected=2)]},
            [("web", 2, 1, ("n1",))], id="a budget lets one go at a time",
        ),
        pytest.param([a_pod("a", ready=False), a_pod("b", "n2")], ["n1"], {}, [], id="one that was no endpoint"),
        pytest.param(
            [a_pod("a", ready=False), a_pod("b", "n2")], ["n1"],
            {"services": [Service("shop", "web", SELECTS_WEB, publishes_not_ready=True)]},
            [("web", 2, 1, ("n1",))], id="one that counts though it is not Ready",
        ),
        pytest.param([*TWO, a_pod("c", "n3", deleting_at=NOW)], ["n1"], {}, [("web", 2, 1, ("n1",))], id="one that is going counts no more"),
        pytest.param([a_pod("a", mirror=True), a_pod("b", "n2")], ["n1"], {}, [], id="one that stays"),
        pytest.param(TWO, ["n1"], {"services": [Service("bank", "web", SELECTS_WEB)]}, [], id="a Service elsewhere"),
        pytest.param(
            TWO, ["n1"], {"services": [BY_HAND], "slices": [Slice("shop", "legacy", ("a",), 1)]},
            [("legacy", 2, 1, ("n1",))], id="endpoints written by hand",
        ),
        pytest.param(
            TWO, ["n1"], {"services": [BY_HAND], "slices": [Slice("shop", "legacy", ("b",), 0)]}, [], id="none of which go"
        ),
        pytest.param(TWO, ["n1"], {"slices": "HTTP 403"}, [("web", 2, 1, ("n1",))], id="slices that nothing depends on"),
    ],
)  # fmt: skip
def test_losses(pods: Any, wave: list[str], parts: dict[str, Any], losses: list[tuple[Any, ...]]) -> None:
    made = seen(a_snapshot(pods, **{"services": [SERVICE], **parts}), *wave)
    assert made.services == Known(tuple(ServiceLoss("shop", *loss) for loss in losses), NOW)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        pytest.param({"services": "Services cannot be read: HTTP 403"}, "Services cannot be read: HTTP 403", id="Services"),
        pytest.param(
            {"services": [BY_HAND], "slices": "EndpointSlices cannot be read: HTTP 403"},
            "the endpoints of Service shop/legacy, which has no selector: EndpointSlices cannot be read: HTTP 403",
            id="EndpointSlices that one depends on",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_unknown(parts: dict[str, Any], reason: str) -> None:
    assert seen(a_snapshot(TWO, **parts)).services == Unknown(reason, NOW)
