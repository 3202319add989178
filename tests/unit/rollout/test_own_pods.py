"""Nodes that carry the run itself, or its Prefect."""

from __future__ import annotations

from typing import Any

import pytest

from poolkeeper.tasks.rollout.own_pods import own_pods_by_node
from tests.unit.rollout.builders import a_pod

WORKER = {"app.kubernetes.io/name": "prefect-worker"}


@pytest.mark.parametrize(
    ("pod", "found"),
    [
        pytest.param({"labels": WORKER}, {"n1": "shop/web"}, id="a worker by its chart's label"),
        pytest.param({"name": "upgrade-run-x7k2p"}, {"n1": "shop/upgrade-run-x7k2p"}, id="this run's own pod"),
        pytest.param({}, {}, id="some other pod"),
        pytest.param({"labels": WORKER, "phase": "Succeeded"}, {}, id="a worker that has ended"),
        pytest.param({"labels": WORKER, "node": ""}, {}, id="one that has no node yet"),
    ],
)
def test_carriers(pod: dict[str, Any], found: dict[str, str]) -> None:
    fields = {"name": "web", "namespace": "shop", "node": "n1", **pod}
    assert own_pods_by_node([a_pod(**fields)], "upgrade-run-x7k2p") == found
