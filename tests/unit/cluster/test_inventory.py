"""Hosts and nodes, declared against observed."""

from __future__ import annotations

from typing import Any

import pytest

from poolkeeper.tasks.cluster.inventory import inventory, node_state
from poolkeeper.tasks.cluster.nodes import ACCEPTED, CORDON
from poolkeeper.tasks.cluster.stops import Stop, Stops
from tests.unit.onboard.builders import a_host, a_node

ACCEPTED_NODE: dict[str, Any] = {"annotations": {ACCEPTED: '{"uid": "u-1", "run": "r", "at": "2026-11-23"}'}}
OURS: dict[str, Any] = {"annotations": {CORDON: "{}"}, "unschedulable": True}
NO_STOPS = Stops(None, {})
STOP = Stop("ops", "2026-11-23T12:00:00+00:00", "a test")


@pytest.mark.parametrize(
    ("node", "state", "detail"),
    [
        pytest.param(None, "not joined", "", id="no Node"),
        pytest.param(
            {"ready": None, "ready_message": "silent"},
            "unknown",
            "Ready is Unknown: silent",
            id="a kubelet that is away",
        ),
        pytest.param({"ready": False, "ready_message": "no CNI"}, "not ready", "no CNI", id="not Ready"),
        pytest.param({}, "not accepted", "", id="joined by someone"),
        pytest.param(OURS, "quarantined", "", id="in quarantine"),
        pytest.param(ACCEPTED_NODE, "accepted", "", id="in service"),
        pytest.param({**ACCEPTED_NODE, "unschedulable": True}, "cordoned", "by someone else", id="cordoned by others"),
        pytest.param(
            {"annotations": {**ACCEPTED_NODE["annotations"], CORDON: "{}"}, "unschedulable": True},
            "cordoned",
            "by us",
            id="cordoned by us",
        ),
    ],
)
def test_the_state_of_a_node(node: dict[str, Any] | None, state: str, detail: str) -> None:
    assert node_state(a_node(**node) if node is not None else None) == (state, detail)


def test_hosts_come_first_then_nodes_that_no_host_declares() -> None:
    nodes = {name: a_node(name) for name in ("fra1-n01", "stray")} | {"cloud": a_node("cloud", labels={}, taints=())}
    rows = [row.row() for row in inventory("main", [a_host(), a_host("fra1-n02")], nodes, NO_STOPS)]
    assert [(row["host"], row["node"], row["state"]) for row in rows] == [
        ("fra1-n01", "fra1-n01", "not accepted"),
        ("fra1-n02", "fra1-n02", "not joined"),
        (None, "stray", "undeclared"),
    ]
    assert [row.get("kubelet") for row in rows] == ["v1.36.3", None, None]


def test_holds_and_a_freeze_are_told_beside_the_state() -> None:
    stops = Stops(STOP, {"fra1-n01": STOP})
    (row,) = inventory("main", [a_host()], {}, stops)
    assert row.detail == f"held {STOP}; frozen {STOP}"
