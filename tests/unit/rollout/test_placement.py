"""Whether a drained pod's replacement finds room on another node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from poolkeeper.tasks.cluster.scheduling import PodTerm, Spread, Taint, Toleration
from poolkeeper.tasks.cluster.selectors import NodeTerm, Requirement, Selector
from poolkeeper.tasks.cluster.snapshot import Node
from poolkeeper.tasks.cluster.volumes import Volume, VolumeClaim
from tests.unit.rollout.builders import SELECTS_WEB, a_node, a_pod, a_snapshot, amounts, seen, verdicts

HOST, ZONE = "kubernetes.io/hostname", "zone"
SHOP = frozenset({"shop"})
GPU = Taint("gpu", "yes", "NoSchedule")


def zoned(*zones: str) -> list[Node]:
    """n1, n2, ... in these zones."""
    return [a_node(f"n{n}", labels={HOST: f"n{n}", ZONE: zone}) for n, zone in enumerate(zones, start=1)]


def in_zone(zone: str) -> tuple[NodeTerm, ...]:
    return (NodeTerm((Requirement(ZONE, "In", (zone,)),)),)


def spread(key: str, skew: int = 1, **more: Any) -> Spread:
    fields = {"min_domains": 1, "honors_affinity": True, "honors_taints": False, **more}
    return Spread(SELECTS_WEB, key, skew, **fields)


@pytest.mark.parametrize(
    ("needs", "nodes", "fits"),
    [
        pytest.param({}, zoned("a", "a"), True, id="an empty node"),
        pytest.param({}, zoned("a"), False, id="no other node"),
        pytest.param({"requests": amounts(cpu="4")}, zoned("a", "a"), True, id="exactly what is there"),
        pytest.param({"requests": amounts(cpu="4001m")}, zoned("a", "a"), False, id="a thousandth more than there is"),
        pytest.param({"requests": amounts(gpu="1")}, zoned("a", "a"), False, id="a resource that no other node has"),
        pytest.param({}, [a_node("n1"), a_node("n2", allocatable=amounts(cpu="4", pods="0"))], False, id="no place for a pod"),
        pytest.param({}, [a_node("n1"), a_node("n2", unschedulable=True)], False, id="the other is cordoned"),
        pytest.param({}, [a_node("n1"), a_node("n2", ready=None)], False, id="the other is silent"),
        pytest.param({}, [a_node("n1"), a_node("n2", taints=(GPU,))], False, id="a taint"),
        pytest.param(
            {"tolerations": (Toleration("gpu", "Equal", "yes", "NoSchedule"),)},
            [a_node("n1"), a_node("n2", taints=(GPU,))], True, id="a taint that it tolerates",
        ),
        pytest.param(
            {"tolerations": (Toleration("gpu", "Equal", "no", ""),)},
            [a_node("n1"), a_node("n2", taints=(GPU,))], False, id="a taint of another value",
        ),
        pytest.param(
            {}, [a_node("n1"), a_node("n2", taints=(Taint("x", "", "PreferNoSchedule"),))], True, id="a taint that only prefers"
        ),
        pytest.param({"node_labels": ((ZONE, "b"),)}, zoned("b", "a"), False, id="a node selector for this node only"),
        pytest.param({"node_labels": ((ZONE, "b"),)}, zoned("b", "b"), True, id="a node selector for both"),
        pytest.param({"node_terms": in_zone("b")}, zoned("b", "a", "b"), True, id="node affinity for one other"),
        pytest.param({"node_terms": (*in_zone("c"), *in_zone("a"))}, zoned("b", "a"), True, id="one of two terms"),
        pytest.param({"node_terms": (NodeTerm(()),)}, zoned("a", "a"), False, id="an empty term is for none"),
        pytest.param(
            {"node_terms": (NodeTerm((), (Requirement("metadata.name", "In", ("n1",)),)),)}, zoned("a", "a"), False,
            id="a field selector for this node",
        ),
        pytest.param({"apart": (PodTerm(SELECTS_WEB, HOST, SHOP),)}, zoned("a", "a", "a"), True, id="anti-affinity, one host free"),
        pytest.param({"apart": (PodTerm(SELECTS_WEB, HOST, SHOP),)}, zoned("a", "a"), False, id="anti-affinity, each host has one"),
        pytest.param({"apart": (PodTerm(SELECTS_WEB, ZONE, SHOP),)}, zoned("b", "a", "a"), False, id="anti-affinity by zone"),
        pytest.param({"apart": (PodTerm(SELECTS_WEB, HOST, frozenset({"bank"})),)}, zoned("a", "a"), True, id="to another namespace's"),
        pytest.param({"apart": (PodTerm(Selector(), HOST, None),)}, zoned("a", "a"), False, id="to everybody"),
        pytest.param({"together": (PodTerm(SELECTS_WEB, ZONE, SHOP),)}, zoned("b", "a"), True, id="affinity to the one there"),
        pytest.param(
            {"together": (PodTerm(Selector((("app", "db"),)), ZONE, SHOP),)}, zoned("b", "a"), False, id="affinity to nobody there"
        ),
        pytest.param({"spreads": (spread(HOST),)}, zoned("a", "a", "a"), True, id="spread over hosts, one is empty"),
        pytest.param({"spreads": (spread(HOST),)}, zoned("a", "a"), False, id="spread over hosts: the drained one counts as empty"),
        pytest.param({"spreads": (spread(HOST, 2),)}, zoned("a", "a"), True, id="spread with a larger skew"),
        pytest.param({"spreads": (spread(ZONE),)}, zoned("b", "a", "b"), True, id="spread over zones, its own has another node"),
        pytest.param({"spreads": (spread(ZONE),)}, zoned("b", "a"), False, id="spread over zones, its own has none"),
        pytest.param(
            {"spreads": (spread(ZONE),), "node_labels": ((ZONE, "a"),)}, zoned("a", "a", "b"), True,
            id="spread counts only the nodes that it may choose",
        ),
        pytest.param({"spreads": (spread("rack"),)}, zoned("a", "a"), False, id="spread over a label that no node has"),
        pytest.param({"spreads": (spread(ZONE, min_domains=3),)}, zoned("a", "a"), False, id="spread over more domains than there are"),
    ],
)  # fmt: skip
def test_one_pod(needs: dict[str, Any], nodes: list[Node], fits: bool) -> None:
    """web-1 is on n1 and is drained; web-2, with needs of its own, is on n2."""
    made = seen(a_snapshot([a_pod(needs=needs), a_pod("web-2", "n2", needs={"requests": ()})], nodes))
    assert ("fits-nowhere" not in verdicts(made)["web-1"]) is fits


def test_the_first_of_a_group_may_start_it_anywhere() -> None:
    own = {"together": (PodTerm(SELECTS_WEB, ZONE, SHOP),)}
    assert "fits-nowhere" not in verdicts(seen(a_snapshot([a_pod(needs=own)], zoned("a", "b"))))["web-1"]


def test_spread_counts_no_pods_on_nodes_that_it_may_not_choose() -> None:
    nodes = zoned("a", "b", "b")
    ssd = [replace(node, labels={**node.labels, "disk": "ssd"}) for node in (nodes[0], nodes[2])]
    needs = {"spreads": (spread(ZONE),), "node_labels": (("disk", "ssd"),)}
    pods = [a_pod(needs=needs), a_pod("web-2", "n2"), a_pod("web-3", "n2")]
    assert verdicts(seen(a_snapshot(pods, [ssd[0], nodes[1], ssd[1]])))["web-1"] == ["evictable"]


def test_others_keep_it_away() -> None:
    hermit = a_pod("hermit", "n2", labels={"app": "db"}, needs={"apart": (PodTerm(SELECTS_WEB, HOST, SHOP),)})
    made = seen(a_snapshot([a_pod(), hermit], zoned("a", "a")))
    assert verdicts(made)["web-1"][0] == "fits-nowhere"
    assert "1 anti-affinity" in made.nodes[0].pods[0].reasons[0].text


def test_host_ports_are_taken_once() -> None:
    ports = {"host_ports": (("TCP", "0.0.0.0", 80),)}
    pods = [a_pod("a", needs=ports), a_pod("b", "n2", needs=ports), a_pod("c", needs=ports), a_pod("d", "n3")]
    made = seen(a_snapshot(pods, zoned("a", "a", "a")))
    assert verdicts(made) == {"a": ["evictable"], "c": ["fits-nowhere"]}


def test_a_wave_takes_anti_affinitys_hosts_one_by_one() -> None:
    apart = {"apart": (PodTerm(SELECTS_WEB, HOST, SHOP),)}
    pods = [a_pod("a", "n1", needs=apart), a_pod("b", "n2", needs=apart), a_pod("c", "n3", needs=apart)]
    made = seen(a_snapshot(pods, zoned("a", "a", "a", "a")), "n1", "n2")
    assert verdicts(made) == {"a": ["evictable"], "b": ["fits-nowhere"]}


def test_nodes_of_the_wave_are_no_refuge() -> None:
    made = seen(a_snapshot([a_pod("a", "n1"), a_pod("b", "n3")], zoned("a", "a", "a")), "n1", "n2")
    assert verdicts(made)["a"] == ["evictable"]
    made = seen(a_snapshot([a_pod("a", "n1"), a_pod("b", "n1")], zoned("a", "a")), "n1", "n2")
    assert verdicts(made)["a"] == ["fits-nowhere", "all-at-once"]
    assert made.nodes[0].pods[0].reasons[0].text == "there is no node outside this wave"


def test_finished_pods_take_no_room() -> None:
    big = {"needs": {"requests": amounts(cpu="4")}}
    done = a_pod("done", "n2", phase="Succeeded", ready=False, **big)
    assert (
        verdicts(seen(a_snapshot([a_pod(**big), done, a_pod("w", "n3")], zoned("a", "a"))))["web-1"][0]
        != "fits-nowhere"
    )


def test_a_volume_of_a_zone_keeps_it_in_the_zone() -> None:
    parts = {
        "claims": {("shop", "data"): VolumeClaim("shop", "data", "pv-1")},
        "volumes": {"pv-1": Volume("pv-1", in_zone("a"), "csi")},
    }
    nodes = zoned("a", "a", "b")
    spare = a_pod("spare", "n3")
    assert verdicts(seen(a_snapshot([a_pod(claims=("data",)), spare], nodes, **parts)))["web-1"] == ["evictable"]
    full = a_pod("full", "n2", needs={"requests": amounts(cpu="4")})
    made = seen(a_snapshot([a_pod(claims=("data",)), spare, full], nodes, **parts))
    assert verdicts(made)["web-1"] == ["fits-nowhere"]
    assert "1 cannot reach its volume, 1 too little cpu" in made.nodes[0].pods[0].reasons[0].text


def test_namespaces_chosen_by_label_are_not_known() -> None:
    term = PodTerm(SELECTS_WEB, HOST, frozenset(), certain=False)
    assert verdicts(seen(a_snapshot([a_pod(needs={"apart": (term,)}), a_pod("s", "n2")])))["web-1"] == ["unknown"]
