"""The observer is able to say no: each of its questions is answered with a violation made by hand."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.layout import LabFolder
from tests.e2e.conftest import Cluster
from tests.e2e.history import POOLKEEPER, Event, Group, History, Write, groups_of
from tests.e2e.observer import NotWhole, Observer

Json = dict[str, Any]

OLD, NEW = "v1.35.4", "v1.36.3"
RACK = Group("domain rack", frozenset({"a", "b", "c"}), 1)


def node(
    *,
    ready: bool = True,
    cordoned: str = "",
    phase: str = "",
    run: str = "r1",
    fencing_token: int = 5,
    kubelet: str = OLD,
    accepted: bool = True,
) -> Json:
    """A Node. cordoned: `us` or `them`; phase: of our claim, if there is one."""
    annotations = {"poolkeeper.io/accepted": "{}"} if accepted else {}
    if cordoned == "us":
        annotations["poolkeeper.io/cordon"] = "{}"
    if phase:
        annotations["poolkeeper.io/rollout"] = json.dumps({"phase": phase, "run": run, "fencing_token": fencing_token})
    return {
        "metadata": {"annotations": annotations},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "nodeInfo": {"kubeletVersion": kubelet},
        },
    }


def taken(**other: Any) -> Json:
    return node(**{"cordoned": "us", "phase": "draining", **other})


def pod(on: str, *, ready: bool = True, deleting: bool = False) -> Json:
    metadata: Json = {"labels": {"app": "web"}, **({"deletionTimestamp": "now"} if deleting else {})}
    status = {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
    return {"metadata": metadata, "spec": {"nodeName": on}, "status": status}


def budget(desired: int, current: int) -> Json:
    return {
        "metadata": {},
        "spec": {"selector": {"matchLabels": {"app": "web"}}},
        "status": {"desiredHealthy": desired, "currentHealthy": current},
    }


def lease(holder: str, fencing_token: int) -> Json:
    return {
        "metadata": {"annotations": {"poolkeeper.io/fencing-token": str(fencing_token)}},
        "spec": {"holderIdentity": holder},
    }


def history(*told: tuple[str, Json | None], writes: tuple[Write, ...] = ()) -> History:
    """Objects as they became, one after the other: `nodes a`, `pods web-1`."""
    versions, events = count(1), []
    for what, obj in told:
        resource, name = what.split()
        namespace = {"nodes": "", "leases": "poolkeeper"}.get(resource, "shop")
        events.append(Event(next(versions), resource, (namespace, name), obj))
    return History(events, list(writes))


def write(
    resource: str,
    name: str,
    *,
    subresource: str = "",
    verb: str = "patch",
    user: str = POOLKEEPER,
    version: int = 9,
    code: int = 200,
) -> Write:
    return Write(version, "then", user, verb, resource, subresource, "shop" if resource == "pods" else "", name, code)


EVICTED = write("pods", "web-1", subresource="eviction", verb="create", code=201)
WELL = (("nodes a", taken()), ("nodes b", node()), ("poddisruptionbudgets web", budget(1, 2)))
TWO_PODS = (("pods web-1", pod("b")), ("pods web-2", pod("b")), *WELL)
ONE_POD = (("pods web-1", pod("b")), ("poddisruptionbudgets web", budget(1, 1)), ("nodes b", node()))


@pytest.mark.parametrize(
    ("seen", "ask", "answer"),
    [
        pytest.param(
            history(("nodes a", node()), ("nodes b", node()), ("nodes a", taken()), ("nodes b", taken())),
            lambda h: sorted(h.most_down(RACK)),
            ["a", "b"],
            id="two are down at once",
        ),
        pytest.param(
            history(("nodes a", node()), ("nodes a", taken()), ("nodes a", node()), ("nodes b", node(ready=False))),
            lambda h: len(h.most_down(RACK)),
            1,
            id="one after the other is one",
        ),
        pytest.param(
            history(("nodes a", node(cordoned="us", accepted=False)), ("nodes b", node(cordoned="them"))),
            lambda h: sorted(h.most_down(RACK)),
            ["b"],
            id="quarantine is apart, a person's cordon counts",
        ),
        pytest.param(
            history(("nodes a", node()), ("nodes b", node(ready=False)), ("nodes a", taken())),
            lambda h: h.over_limit([RACK]),
            ["a was cordoned, with which ['a', 'b'] of domain rack were down"],
            id="a cordon beyond the limit",
        ),
        pytest.param(
            history(("nodes a", node()), ("nodes a", taken()), ("nodes b", node()), ("nodes b", node(ready=False))),
            lambda h: h.over_limit([RACK]),
            [],
            id="a node that falls over by itself is no cordon of ours",
        ),
        pytest.param(
            history(("nodes b", node()), ("nodes a", node()), ("nodes b", taken()), ("nodes a", node(cordoned="them"))),
            lambda h: h.cordoned(),
            ["b"],
            id="who was cordoned by us",
        ),
        pytest.param(
            history(("nodes a", node()), ("nodes a", taken(phase="changing")), ("nodes a", node(kubelet=OLD))),
            lambda h: h.freed_unproven(NEW),
            ["a was freed with kubelet v1.35.4, Ready True, {'phase': 'changing', 'run': 'r1', 'fencing_token': 5}"],
            id="freed in the old version",
        ),
        pytest.param(
            history(("nodes a", node()), ("nodes a", taken(phase="changing")), ("nodes a", node(kubelet=NEW, ready=False))),
            lambda h: len(h.freed_unproven(NEW)),
            1,
            id="freed and not Ready",
        ),
        pytest.param(
            history(("nodes a", node()), ("nodes a", taken()), ("nodes a", taken(kubelet="v1.36.1")), ("nodes a", node(kubelet="v1.36.1"))),
            lambda h: len(h.freed_unproven(NEW)),
            1,
            id="said to be drained only, and has another kubelet",
        ),
        pytest.param(
            history(("nodes a", node(cordoned="them")), ("nodes a", node(cordoned="them", phase="changing")), ("nodes a", node(cordoned="them"))),
            lambda h: len(h.freed_unproven(NEW)),
            1,
            id="under a person's cordon the claim is the slot",
        ),
        pytest.param(
            history(("nodes a", node()), ("nodes a", taken()), ("nodes a", node()), ("nodes b", taken(kubelet=NEW)), ("nodes b", node(kubelet=NEW))),
            lambda h: h.freed_unproven(NEW),
            [],
            id="given back untouched, and given back proven",
        ),
        pytest.param(
            history(("nodes a", node(cordoned="them")), ("nodes a", node()), ("nodes a", node(cordoned="them"))),
            lambda h: h.others_cordons_touched(),
            ["a: a cordon that was not ours was lifted"],
            id="a person's cordon lifted for a moment",
        ),
        pytest.param(
            history(("nodes a", node(cordoned="them")), ("nodes a", taken())),
            lambda h: h.others_cordons_touched(),
            ["a: a cordon that was not ours was claimed"],
            id="a person's cordon claimed",
        ),
        pytest.param(
            history(("nodes a", taken()), ("nodes b", taken()), ("nodes b", node())),
            lambda h: h.left_on_nodes(),
            ["a: poolkeeper.io/cordon", "a: poolkeeper.io/rollout"],
            id="what is left in the end",
        ),
        pytest.param(
            history(*ONE_POD, ("pods web-1", pod("b", deleting=True)), writes=(EVICTED,)),
            lambda h: h.broken_budgets(),
            ["PDB shop/web by its pods: lost web-1"],
            id="an eviction below the budget, by the pods",
        ),
        pytest.param(
            history(*TWO_PODS, ("pods web-1", pod("b", deleting=True)), ("pods web-2", pod("b", ready=False)), writes=(EVICTED,)),
            lambda h: h.broken_budgets(),
            [],
            id="an eviction within the budget, after which another pod fell by itself",
        ),
        pytest.param(
            history(*ONE_POD, ("nodes b", taken()), ("pods web-1", pod("b", ready=False))),
            lambda h: h.broken_budgets(),
            ["PDB shop/web by its pods: lost web-1"],
            id="a pod that stops being Ready on a node that we took",
        ),
        pytest.param(
            history(*ONE_POD, ("pods web-1", pod("b", ready=False))),
            lambda h: h.broken_budgets(),
            [],
            id="a pod that stops being Ready elsewhere is not ours",
        ),
        pytest.param(
            history(("pods web-1", pod("a")), writes=(EVICTED, write("nodes", "b"), write("nodes", "a", user="kubernetes-admin"))),
            lambda h: h.writes_to_node("a"),
            ["poolkeeper: create pods/eviction shop/web-1: 201"],
            id="who wrote to a node or evicted from it",
        ),
        pytest.param(
            history(("nodes a", node()), writes=(write("nodes", "a", version=3), write("nodes", "a", version=4, code=409), write("nodes", "b", version=5))),
            lambda h: [w.name for w in h.writes_by(POOLKEEPER, since=2)],
            ["a", "b"],
            id="what landed after a moment",
        ),
        pytest.param(
            history(("nodes a", node()), ("nodes a", taken(run="r1")), ("nodes a", taken(run="r2")), ("nodes a", taken(run="r1", phase="changing"))),
            lambda h: h.claimed_by("r1", since=3),
            ["a: changing"],
            id="a run that claims after it was taken over",
        ),
        pytest.param(
            history(("nodes a", taken(fencing_token=7)), ("nodes a", taken(fencing_token=6)), ("leases pool-x", lease("r2", 9)), ("leases pool-x", lease("r1", 8))),
            lambda h: h.smaller_fencing_tokens(),
            ["nodes a: 7, then 6", "leases pool-x: 9, then 8"],
            id="fencing tokens that shrink",
        ),
        pytest.param(
            history(("leases pool-x", lease("r1", 1)), ("leases pool-x", lease("r1", 1)), ("leases pool-x", lease("", 1)), ("leases pool-x", lease("r2", 2))),
            lambda h: h.holders("pool-x"),
            ["r1", "", "r2"],
            id="who held a lease",
        ),
    ],
)  # fmt: skip
def test_questions(seen: History, ask: Callable[[History], Any], answer: Any) -> None:
    assert ask(seen) == answer


def test_a_status_below_the_budget_is_a_violation_too() -> None:
    """The controller may count less than there is to see in pods."""
    seen = history(
        *TWO_PODS,
        ("poddisruptionbudgets web", budget(2, 2)),
        ("pods web-1", None),
        ("poddisruptionbudgets web", budget(2, 1)),
        writes=(EVICTED,),
    )
    assert seen.broken_budgets() == ["PDB shop/web by its pods: lost web-1", "PDB shop/web by its status: lost web-1"]


def test_limits_of_a_fleet_file() -> None:
    fleet = {
        "pools": {"p": {"max_unavailable": "50%"}, "q": {"max_unavailable": 2}},
        "domains": {"rack": {}},
        "hosts": {
            "a": {"pool": "p", "domain": "rack"},
            "b": {"pool": "p", "node_name": "node-b"},
            "c": {"pool": "p", "active": False},
            "d": {"pool": "q", "domain": "rack"},
        },
    }
    assert groups_of(fleet) == [
        Group("pool p", frozenset({"a", "node-b", "c"}), 1),
        Group("pool q", frozenset({"d"}), 2),
        Group("domain rack", frozenset({"a", "d"}), 1),
    ]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A lab without Prefect and without nodes of its own: Nodes are made by hand."""
    folder = LabFolder(tmp_path / "lab")
    lifecycle.up(folder, 1)
    yield Cluster(folder, "", tmp_path / "state")
    lifecycle.down(folder)


def make_node(cluster: Cluster, name: str) -> None:
    labels = {"kubernetes.io/hostname": name}
    accepted = {"poolkeeper.io/accepted": "{}"}
    cluster.ask("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": labels, "annotations": accepted}})
    ready = [{"type": "Ready", "status": "True", "reason": "ByHand", "message": ""}]
    cluster.ask("PATCH", f"/api/v1/nodes/{name}/status", {"status": {"conditions": ready}})


def cordon(cluster: Cluster, name: str, *, ours: bool, on: bool = True) -> None:
    annotations = {"poolkeeper.io/cordon": "{}" if on and ours else None}
    cluster.ask(
        "PATCH", f"/api/v1/nodes/{name}", {"metadata": {"annotations": annotations}, "spec": {"unschedulable": on}}
    )


def test_what_happens_in_a_cluster_is_seen_in_order(cluster: Cluster) -> None:
    for name in ("a", "b", "c"):
        make_node(cluster, name)
    cordon(cluster, "c", ours=False)
    with Observer(cluster.folder) as observer:
        cordon(cluster, "b", ours=True)
        before = observer.history().version
        cordon(cluster, "a", ours=True)
        cordon(cluster, "c", ours=False, on=False)
        cluster.ask("DELETE", "/api/v1/nodes/b")
        seen = observer.history()
    assert seen.cordoned() == ["b", "a"]
    assert seen.most_down(RACK) == {"a", "b", "c"}
    assert len(seen.over_limit([RACK])) == 2
    assert seen.others_cordons_touched() == ["c: a cordon that was not ours was lifted"]
    assert seen.left_on_nodes() == ["a: poolkeeper.io/cordon"]
    admin = [(w.verb, w.name) for w in seen.writes_by("kubernetes-admin", since=before)]
    assert admin == [("patch", "a"), ("patch", "c"), ("delete", "b")]


def test_what_happens_while_the_api_server_was_away_is_not_missed(cluster: Cluster) -> None:
    make_node(cluster, "a")
    with Observer(cluster.folder) as observer:
        lifecycle.let_api_server_be(cluster.folder, away=True)
        with pytest.raises(OSError, match=r"."):
            cluster.ask("GET", "/api/v1/nodes")
        lifecycle.let_api_server_be(cluster.folder, away=False)
        cordon(cluster, "a", ours=True)
        cordon(cluster, "a", ours=True, on=False)
        assert observer.history().cordoned() == ["a"]


def test_a_history_with_a_gap_answers_nothing(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.e2e.observer.CAUGHT_UP_WITHIN_S", 0.5)
    with Observer(cluster.folder) as observer:
        monkeypatch.setattr(observer, "_take", lambda resource, event: None)
        make_node(cluster, "a")
        with pytest.raises(NotWhole, match="what the API server has"):
            observer.history()


def test_the_audit_log_has_no_bodies_and_no_heartbeats(cluster: Cluster) -> None:
    secret = {"metadata": {"name": "s"}, "stringData": {"password": "hunter2"}}
    cluster.ask("POST", "/api/v1/namespaces/default/secrets", secret)
    with pytest.raises(urllib.request.HTTPError):
        cluster.ask("POST", "/api/v1/namespaces/default/secrets", secret)
    told = cluster.folder.audit.read_text()
    assert [json.loads(line)["code"] for line in told.splitlines() if '"secrets"' in line] == [201, 409]
    assert "hunter2" not in told
    assert "system:node" not in told
