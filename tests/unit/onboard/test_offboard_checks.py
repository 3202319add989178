"""Which machine may be taken out of the cluster, and what shows that it has left."""

from __future__ import annotations

from typing import Any

import pytest

from poolkeeper.tasks.cluster.pods import PodRow
from poolkeeper.tasks.hosts.kubelet import Trace, parse_trace
from poolkeeper.tasks.hosts.units import UnitRun
from poolkeeper.tasks.onboard.offboard_checks import (
    MayNotLeave,
    Remains,
    host_alive,
    lost_pods,
    may_come_back,
    reason_to_stay,
)
from poolkeeper.tasks.outcomes import Known, Observed, Severity, Subject, Unknown
from tests.unit.onboard.builders import NOW, a_host, a_node, unread

OFF = ["enabled disabled", "active inactive", "end"]
ON = ["enabled enabled", "active active", "end"]
RECORD = "record before"


def remains(lines: list[str] = OFF, machine_id: Observed[str] | str = "m-1", **units: UnitRun) -> Remains:
    """What is on a host; `joining` and `leaving` are units, absent unless they are named."""
    seen = Known(machine_id, NOW) if isinstance(machine_id, str) else machine_id
    both = {"joining": UnitRun.ABSENT, "leaving": UnitRun.ABSENT, **units}
    return Remains(seen, parse_trace(lines, NOW), both["joining"], both["leaving"])


JOINED = remains([RECORD, *ON])
HERS = a_node("fra1-n01", machine_id="m-2")


@pytest.mark.parametrize(
    ("declared", "node", "on_it", "others", "id"),
    [
        pytest.param({}, a_node(), JOINED, [], None, id="its own Node"),
        pytest.param({}, a_node(machine_id=""), JOINED, [], "identity.other-machine", id="a Node that tells no machine"),
        pytest.param(
            {}, a_node(machine_id="", annotations={"poolkeeper.io/machine-id": "m-1"}), JOINED, [], None,
            id="accepted for this machine, which its Node does not tell",
        ),
        pytest.param({}, HERS, JOINED, [], "identity.other-machine", id="another machine's Node"),
        pytest.param({}, a_node(), remains(ON, unread()), [], "identity.unknown", id="no machine id to compare"),
        pytest.param(
            {"machine_id": "m-9"}, a_node(), JOINED, [], "identity.machine-id", id="not the machine that is declared"
        ),
        pytest.param(
            {}, None, JOINED, [a_node("other", machine_id="m-1")], "identity.other-name", id="in under another name"
        ),
        pytest.param(
            {}, a_node(), JOINED, [a_node("other", machine_id="m-1")], "identity.other-name", id="in under two names"
        ),
        pytest.param({}, a_node(), remains(ON, joining=UnitRun.RUNNING), [], "host.joining", id="a join runs"),
        pytest.param({}, a_node(), remains(ON, leaving=UnitRun.UNKNOWN), [], "unit.unknown", id="a unit is not known"),
        pytest.param({}, a_node(), remains(ON, leaving=UnitRun.FAILED), [], None, id="an earlier try has failed"),
        pytest.param({}, None, remains(), [], None, id="clean, and no Node"),
        pytest.param({}, None, remains(OFF, unread()), [], None, id="clean and no Node, whoever it is"),
        pytest.param(
            {}, None, JOINED, [], "host.kubelet-runs", id="no Node, our record on it, and a kubelet that serves someone"
        ),
        pytest.param({}, None, remains([RECORD, *OFF]), [], None, id="no Node, our record, and the kubelet off"),
        pytest.param(
            {}, None, remains([RECORD, "end"]), [], "host.kubelet-runs", id="no Node, our record, kubelet not known"
        ),
        pytest.param({}, None, remains([RECORD, *ON], unread()), [], "identity.unknown", id="our record, and no id"),
        pytest.param({}, None, remains(ON, leaving=UnitRun.FAILED), [], None, id="no Node, and a removal was begun"),
        pytest.param({}, None, remains(ON), [], "host.not-ours", id="no Node, a kubelet, and nothing of ours"),
        pytest.param({}, None, remains(["end"]), [], "host.not-ours", id="no Node, and nothing can be told"),
    ],
)  # fmt: skip
def test_who_may_leave(declared: dict[str, Any], node: Any, on_it: Remains, others: list[Any], id: str | None) -> None:
    nodes = [*others, *([node] if node else [])]
    found = reason_to_stay(a_host(**declared), node, nodes, on_it, NOW)
    assert (found.id if found else None) == (f"offboard.{id}" if id else None)
    if found:
        assert found.severity is Severity.BLOCKER
        assert MayNotLeave(found).finding(Subject("host", "x")) is found


@pytest.mark.parametrize(
    ("on_it", "clean"),
    [
        pytest.param(remains(), True, id="nothing"),
        pytest.param(remains([RECORD, *OFF]), False, id="our record"),
        pytest.param(remains(["record changes", *OFF]), False, id="the record of a host that was a node before us"),
        pytest.param(remains(ON), False, id="a kubelet"),
        pytest.param(remains(["enabled enabled", "active inactive"]), False, id="a kubelet that comes back"),
        pytest.param(remains(leaving=UnitRun.SUCCEEDED), False, id="the unit"),
        pytest.param(remains(joining=UnitRun.UNKNOWN), False, id="a unit that is not known"),
        pytest.param(remains(["end"]), False, id="no systemctl"),
    ],
)
def test_when_a_host_is_clean(on_it: Remains, clean: bool) -> None:
    assert on_it.is_clean is clean


@pytest.mark.parametrize(
    ("lines", "starts_at_boot", "runs"),
    [
        pytest.param(OFF, False, False, id="switched off"),
        pytest.param(ON, True, True, id="on"),
        pytest.param(["enabled enabled", "active activating"], True, True, id="between two starts"),
        pytest.param(["enabled not-found", "active inactive"], False, False, id="not installed"),
        pytest.param(["enabled ", "active inactive"], False, False, id="not installed, by an older systemctl"),
        pytest.param(["enabled ", "active "], None, None, id="systemctl does not answer"),
        pytest.param(["enabled static", "active inactive"], None, False, id="something else may start it"),
        pytest.param(["enabled masked", "active failed"], False, False, id="masked"),
        pytest.param(["end"], None, None, id="no systemctl"),
    ],
)
def test_the_kubelet(lines: list[str], starts_at_boot: bool | None, runs: bool | None) -> None:
    trace = parse_trace(lines, NOW)

    def read(observed: Observed[bool]) -> bool | None:
        return observed.value if isinstance(observed, Known) else None

    assert (read(trace.starts_at_boot), read(trace.runs)) == (starts_at_boot, runs)
    assert trace.is_off is ((starts_at_boot, runs) == (False, False))


@pytest.mark.parametrize(
    ("declared", "node", "answered", "is_alive"),
    [
        pytest.param({}, a_node(ready=None), None, False, id="not Ready, and no answer"),
        pytest.param({}, a_node(ready=False), None, False, id="Ready is False, and no answer"),
        pytest.param({}, None, None, False, id="no Node, and no answer"),
        pytest.param({}, a_node(), None, True, id="Ready: its kubelet lives"),
        pytest.param({}, a_node(ready=None), Known("m-1", NOW), True, id="it answers"),
        pytest.param({}, a_node(ready=None), unread(), True, id="something answers, and does not say who it is"),
        pytest.param({}, a_node(ready=None), Known("m-2", NOW), False, id="another machine has its address"),
        pytest.param(
            {"machine_id": "m-2"}, a_node(ready=None), Known("m-2", NOW), True, id="its successor is declared"
        ),
        pytest.param({}, None, Known("m-2", NOW), True, id="no Node and no declared id to tell it by"),
    ],
)
def test_whether_a_machine_is_gone(declared: dict[str, Any], node: Any, answered: Any, is_alive: bool) -> None:
    found = host_alive(a_host(**declared), node, answered, NOW)
    assert (found is not None) is is_alive


@pytest.mark.parametrize(
    ("lines", "leftovers", "ids"),
    [
        pytest.param(OFF, Known((), NOW), [], id="nothing"),
        pytest.param(OFF, Known(("/etc/cni/net.d",), NOW), ["leftovers"], id="something stays"),
        pytest.param(OFF, Unknown("cut short", NOW), ["leftovers"], id="what stays is not known"),
        pytest.param(
            ["enabled enabled", "active inactive"], Known((), NOW), ["kubelet.on"], id="it comes back at boot"
        ),
        pytest.param(ON, Known((), NOW), ["kubelet.on", "kubelet.on"], id="it runs"),
        pytest.param(["end"], Known((), NOW), ["kubelet.on", "kubelet.on"], id="it cannot be told"),
    ],
)
def test_what_shows_afterwards(lines: list[str], leftovers: Any, ids: list[str]) -> None:
    found = may_come_back(a_host(), parse_trace(lines, NOW), leftovers, NOW)
    assert [one.id for one in found] == [f"offboard.{id}" for id in ids]
    blocks = {one.id for one in found if one.severity is Severity.BLOCKER}
    assert blocks == {f"offboard.{id}" for id in ids} - {"offboard.leftovers"}


def a_pod(name: str, phase: str = "Running") -> PodRow:
    return PodRow("shop", name, name, "fra1-n01", phase, True, "", "ReplicaSet", "web", False, "")


def test_pods_of_a_dead_machine_are_reported() -> None:
    found = lost_pods(a_host(), [a_pod("b"), a_pod("a"), a_pod("done", "Succeeded")], NOW)
    assert found is not None
    assert found.evidence.observed == "2 pods were still bound to its node: shop/a, shop/b"
    assert lost_pods(a_host(), [a_pod("done", "Failed")], NOW) is None


def test_a_trace_is_a_value() -> None:
    assert parse_trace(OFF, NOW) == Trace(False, Known(False, NOW), Known(False, NOW))
