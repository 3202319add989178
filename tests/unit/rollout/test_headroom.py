"""How many nodes may be down: whatever made them so, per pool and per domain."""

from __future__ import annotations

import json
from typing import Any

import pytest

from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.fleet.model import KubeadmProvider, Limit
from poolkeeper.tasks.rollout.headroom import OUT_OF_SERVICE, headroom_for, in_service, is_down, serves_nobody
from tests.unit.onboard.builders import a_host, a_node

ACCEPTED = {"poolkeeper.io/accepted": "{}"}
OURS = {"poolkeeper.io/cordon": "{}"}
CORDONED = {"unschedulable": True}
CLAIM = {"poolkeeper.io/rollout": json.dumps({"rollout": "r"})}

HOSTS = [a_host(f"h{n}", pool={"max_unavailable": Limit(count=2)}, domain=f"rack{n % 2}") for n in range(6)]


A_PERSONS = ("maintenance", "", "NoExecute")
POOLS_OWN = ("dedicated", "gpu", "NoExecute")


def nodes(**differing: dict[str, Any]) -> dict[str, NodeRow]:
    """Six nodes in service, but for those that are named."""
    return {host.name: a_node(host.name, **differing.get(host.name, {})) for host in HOSTS}


@pytest.mark.parametrize(
    ("differing", "free"),
    [
        pytest.param({}, True, id="all in service"),
        pytest.param({"h1": {"unschedulable": True}}, True, id="one cordoned elsewhere"),
        pytest.param({"h1": {"unschedulable": True}, "h3": {"ready": False}}, False, id="the pool is full"),
        pytest.param({"h1": {"ready": None}, "h3": {"ready": False}}, False, id="unknown readiness is down"),
        pytest.param({"h2": {"unschedulable": True}}, False, id="the domain is full"),
        pytest.param({"h2": {"unschedulable": True, "annotations": OURS}}, True, id="a quarantined one is no loss"),
        pytest.param(
            {"h2": {"unschedulable": True, "annotations": {**OURS, **ACCEPTED}}}, False, id="a re-cordoned one is"
        ),
        pytest.param(
            {"h2": {"unschedulable": True, "annotations": {**OURS, **CLAIM}}}, False, id="so is a claimed one"
        ),
        pytest.param({"h0": {"ready": False}, "h2": {"ready": False}}, True, id="one that serves nobody takes no room"),
        pytest.param({"h0": CORDONED, "h2": {"ready": False}}, False, id="one that is cordoned serves its pods still"),
        pytest.param({"h0": CORDONED, "h2": CORDONED, "h4": CORDONED}, True, id="of a cordoned rack the first may go"),
        pytest.param(
            {"h0": CORDONED, "h2": {**CORDONED, "annotations": CLAIM}}, False, id="and the second waits for it"
        ),
    ],
)
def test_room(differing: dict[str, Any], free: bool) -> None:
    headroom = headroom_for(HOSTS[0], HOSTS, nodes(**differing))
    assert headroom.free is free
    assert bool(headroom.why) is not free


def test_what_is_full_is_named() -> None:
    headroom = headroom_for(HOSTS[0], HOSTS, nodes(h2={"ready": False}))
    assert headroom.why == "domain rack0 may have 1 nodes unavailable and has 1: h2"


def test_a_node_that_nobody_declares_counts_in_its_pool() -> None:
    label = {"alibabacloud.com/nodepool-id": "np-1"}
    strangers = {name: a_node(name, labels=label, ready=False) for name in ("x", "y")}
    assert not headroom_for(HOSTS[0], HOSTS, nodes() | strangers).free


def test_a_percentage_is_of_the_active_hosts_and_at_least_one() -> None:
    few = [a_host(f"h{n}", pool={"max_unavailable": Limit(percent=30)}, active=n < 3) for n in range(10)]
    there = {host.name: a_node(host.name) for host in few}
    assert headroom_for(few[0], few, there).free
    there["h1"] = a_node("h1", unschedulable=True)
    assert headroom_for(few[0], few, there).why.startswith("pool general may have 1 nodes unavailable")


NEVER_ACCEPTED = {"unschedulable": True, "annotations": OURS}


@pytest.mark.parametrize(
    ("members", "deleted", "differing", "why"),
    [
        pytest.param((), "h1 h3", {}, "", id="a host that never was a node is no loss"),
        pytest.param(("h1",), "h1", {}, "", id="one of two is gone"),
        pytest.param(
            ("h1", "h3"), "h1 h3", {}, "pool general may have 2 nodes unavailable and has 2: h1 (its Node is gone), h3 (its"
            " Node is gone)", id="as many as the pool may lose are gone",
        ),
        pytest.param(
            ("h1",), "h1", {"h3": {"ready": False}},
            "pool general may have 2 nodes unavailable and has 2: h1 (its Node is gone), h3", id="one is gone, one not Ready",
        ),
        pytest.param(
            ("h2",), "h2", {}, "domain rack0 may have 1 nodes unavailable and has 1: h2 (its Node is gone)",
            id="in a domain",
        ),
        pytest.param(("h1", "h3"), "", {}, "", id="all that were there are there"),
        pytest.param(("h2",), "", {"h2": NEVER_ACCEPTED}, "", id="it came back and is in quarantine"),
        pytest.param(("h7", "elsewhere"), "", {}, "", id="a host that is not active, and one that nobody declares"),
        pytest.param(("h0",), "h0", {}, "domain rack0 may have 1 nodes unavailable and has 1: h0 (its Node is gone)",
            id="its own is no headroom for itself"),
    ],
)  # fmt: skip
def test_a_node_that_was_deleted_is_down(
    members: tuple[str, ...], deleted: str, differing: dict[str, Any], why: str
) -> None:
    declared = [*HOSTS, a_host("h7", domain="rack0", active=False)]
    there = {name: node for name, node in nodes(**differing).items() if name not in deleted.split()}
    assert headroom_for(HOSTS[0], declared, there, members).why == why


@pytest.mark.parametrize(
    ("differing", "why"),
    [
        pytest.param({"h2": {"taints": (A_PERSONS,)}}, "h2 (taint maintenance:NoExecute)", id="a person has emptied one"),
        pytest.param({f"h{n}": {"taints": (POOLS_OWN,)} for n in range(6)}, "", id="all of the pool have the taint"),
        pytest.param(
            {f"h{n}": {"taints": (POOLS_OWN, *([A_PERSONS] if n == 2 else []))} for n in range(6)},
            "h2 (taint maintenance:NoExecute)", id="a person's beside the pool's own",
        ),
        pytest.param(
            {f"h{n}": {"taints": (POOLS_OWN,)} for n in range(6)}
            | {"h1": {"taints": (), "unread": "x", "ready": None}, "h3": {"taints": (), **NEVER_ACCEPTED}},
            "", id="one that cannot be read, or has carried nothing, does not tell what is usual",
        ),
        pytest.param({"h2": {"deleting": True}}, "h2 (it is being deleted)", id="being deleted"),
        pytest.param({"h2": {"ready": None, "unread": "x"}}, "h2 (its Node cannot be read)", id="not to be read"),
        pytest.param({"h0": {"taints": (A_PERSONS,)}, "h2": {"ready": False}}, "", id="an emptied one takes no room"),
        pytest.param({"h0": {"deleting": True}, "h2": {"taints": (A_PERSONS,)}}, "h2 (taint maintenance:NoExecute)",
            id="one that is being deleted serves its pods still"),
    ],
)  # fmt: skip
def test_what_people_say_with_taints_counts_and_what_the_pool_is_like_does_not(
    differing: dict[str, Any], why: str
) -> None:
    told = headroom_for(HOSTS[0], HOSTS, nodes(**differing)).why
    assert told.partition(": ")[2] == why


def test_a_taint_that_the_fleet_file_declares_is_the_pools_own() -> None:
    cluster = {"provider": KubeadmProvider("unix:///x", taints=(POOLS_OWN,))}
    hosts = [a_host(f"h{n}", pool={"max_unavailable": Limit(count=1)}, cluster=cluster) for n in range(3)]
    there = {"h0": a_node("h0", taints=()), "h1": a_node("h1", taints=(POOLS_OWN,)), "h2": a_node("h2", taints=())}
    assert headroom_for(hosts[0], hosts, there).free


def test_a_pool_of_one_does_not_show_what_is_usual() -> None:
    """It counts in its domain, which crosses pools."""
    alone = a_host("x", pool={"name": "alone"}, domain="rack0")
    there = nodes() | {"x": a_node("x", taints=(A_PERSONS,))}
    assert headroom_for(HOSTS[0], [*HOSTS, alone], there).why == (
        "domain rack0 may have 1 nodes unavailable and has 1: x (taint maintenance:NoExecute)"
    )


def test_out_of_service_is_nothing_usual_though_all_of_a_pool_are() -> None:
    off = {"taints": ((OUT_OF_SERVICE, "nodeshutdown", "NoExecute"),)}
    others = [a_host(name, pool={"name": "other"}, domain="rack0") for name in ("x", "y")]
    there = nodes() | {host.name: a_node(host.name, **off) for host in others}
    taint = f"(taint {OUT_OF_SERVICE}:NoExecute)"
    assert headroom_for(HOSTS[0], [*HOSTS, *others], there).why == (
        f"domain rack0 may have 1 nodes unavailable and has 2: x {taint}, y {taint}"
    )


def test_who_serves_nobody() -> None:
    assert serves_nobody(a_node("n", taints=(A_PERSONS,)))
    assert not serves_nobody(a_node("n", taints=(POOLS_OWN,)), {POOLS_OWN})
    assert not serves_nobody(a_node("n", deleting=True))


def test_what_is_counted_on() -> None:
    there = nodes(
        h1=NEVER_ACCEPTED,
        h2={"ready": False},
        h3={"unschedulable": True, "annotations": {**OURS, **CLAIM}},
    )
    assert in_service(there) == {"h0", "h2", "h3", "h4", "h5"}


@pytest.mark.parametrize(
    ("node", "down"),
    [
        pytest.param({}, False, id="in service"),
        pytest.param({"ready": False}, True, id="not Ready"),
        pytest.param({"unschedulable": True}, True, id="cordoned by a person"),
        pytest.param({"unschedulable": True, "annotations": OURS, "ready": False}, False, id="in quarantine"),
        pytest.param({"annotations": CLAIM}, True, id="uncordoned by someone and never proven"),
        pytest.param({"taints": (("hw", "bad", "NoExecute"),)}, True, id="emptied by a person's taint"),
        pytest.param({"taints": (("hw", "bad", "NoSchedule"),)}, False, id="a taint that ends no pods"),
        pytest.param({"taints": ((OUT_OF_SERVICE, "nodeshutdown", "NoSchedule"),)}, True, id="out of service, by a person's word"),
        pytest.param({"deleting": True}, True, id="being deleted"),
        pytest.param({"unread": "taints is no list"}, True, id="not to be read"),
        pytest.param({"unread": "x", "unschedulable": True, "annotations": OURS}, True, id="not to be read, and in quarantine"),
    ],
)  # fmt: skip
def test_down(node: dict[str, Any], down: bool) -> None:
    assert is_down(a_node("n", **node)) is down
