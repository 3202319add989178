"""Disruption budgets: whom they refuse, in which order, and whether ever."""

from __future__ import annotations

from typing import Any

import pytest

from poolkeeper.tasks.cluster.selectors import NOTHING, Selector
from poolkeeper.tasks.cluster.workloads import Pod
from tests.unit.rollout.builders import a_budget, a_node, a_pod, a_snapshot, seen, verdicts, web

ELSEWHERE = a_pod("other", "n2")


def ill(name: str) -> Pod:
    return a_pod(name, ready=False)


@pytest.mark.parametrize(
    ("pods", "budget", "refused"),
    [
        pytest.param("ab", {"allowed": 2, "current": 3, "desired": 1}, {}, id="enough for both"),
        pytest.param("ab", {"allowed": 1, "current": 3, "desired": 2}, {"b": "budget-waits"}, id="enough for one"),
        pytest.param(
            "abc", {"allowed": 1, "current": 4, "desired": 3}, {"b": "budget-waits", "c": "budget-waits"}, id="one by one"
        ),
        pytest.param("a", {"current": 3, "desired": 3, "expected": 4}, {"a": "budget-blocks"}, id="used up already"),
        pytest.param(
            "ab", {"allowed": 5, "observed_generation": 1, "generation": 2}, {"a": "budget-blocks", "b": "budget-blocks"},
            id="changed and not counted since",
        ),
        pytest.param("a", {"observed_generation": 0}, {"a": "budget-blocks"}, id="never counted"),
        pytest.param("a", {"allowed": -1, "desired": 1, "expected": 4}, {"a": "budget-blocks"}, id="a negative count"),
        pytest.param(
            "a", {"allowed": 1, "disrupted": {f"p{n}": "" for n in range(2001)}}, {"a": "budget-blocks"},
            id="too many evictions unconfirmed",
        ),
        pytest.param(
            "a", {"allowed": 1, "disrupted": {f"p{n}": "" for n in range(2000)}}, {}, id="as many as may be unconfirmed"
        ),
        pytest.param("AB", {"current": 2, "desired": 2, "expected": 4}, {}, id="unhealthy pods go while enough are healthy"),
        pytest.param(
            "A", {"current": 1, "desired": 2, "expected": 4}, {"A": "budget-blocks"},
            id="unhealthy pods stay while too few are healthy",
        ),
        pytest.param(
            "A", {"current": 1, "desired": 2, "expected": 4, "always_allows_unhealthy": True}, {},
            id="AlwaysAllow lets unhealthy pods go",
        ),
        pytest.param(
            "aA", {"current": 2, "desired": 2, "expected": 4, "always_allows_unhealthy": True}, {"a": "budget-blocks"},
            id="AlwaysAllow says nothing of healthy ones",
        ),
        pytest.param(
            "A", {"current": 0, "desired": 0, "expected": 4}, {"A": "budget-blocks"},
            id="unhealthy pods stay when none has to be healthy and none is",
        ),
        pytest.param(
            "ABa", {"allowed": 1, "current": 1, "desired": 0, "expected": 4}, {},
            id="what unhealthy pods take is given back when it is counted anew",
        ),
        pytest.param(
            "aB", {"allowed": 1, "current": 3, "desired": 2, "expected": 4}, {},
            id="an unhealthy one after a healthy one, and still enough",
        ),
        pytest.param(
            "a", {"sync_failed": "found no controllers for pod"}, {"a": "budget-never"}, id="its controller cannot count"
        ),
    ],
)  # fmt: skip
def test_whom_a_budget_refuses(pods: str, budget: dict[str, Any], refused: dict[str, str]) -> None:
    """Small letters are Ready pods, capital ones are not."""
    there = [a_pod(name) if name.islower() else ill(name) for name in pods]
    limits = {"min_available": 1} if "expected" not in budget else {"max_unavailable": 1}
    made = seen(a_snapshot([*there, ELSEWHERE, a_pod("other-2", "n3")], budgets=[a_budget(**limits, **budget)]))
    words = {name: [v for v in found if v.startswith(("budget", "two"))] for name, found in verdicts(made).items()}
    assert {name: found[0] for name, found in words.items() if found} == refused


@pytest.mark.parametrize(
    ("budget", "replicas", "verdict"),
    [
        pytest.param({"max_unavailable": 0, "desired": 2, "expected": 2}, 2, "budget-never", id="maxUnavailable 0"),
        pytest.param({"max_unavailable": "0%", "desired": 2, "expected": 2}, 2, "budget-never", id="maxUnavailable 0 %"),
        pytest.param(
            {"max_unavailable": 0, "observed_generation": 0}, 2, "budget-never", id="maxUnavailable 0, not counted yet"
        ),
        pytest.param({"min_available": "100%", "desired": 2, "expected": 2}, 2, "budget-never", id="minAvailable 100 %"),
        pytest.param(
            {"min_available": "51%", "desired": 2, "expected": 2}, 2, "budget-never", id="a percentage that rounds up to all"
        ),
        pytest.param({"min_available": 2, "desired": 2, "expected": 2}, 2, "budget-never", id="minAvailable = replicas"),
        pytest.param({"min_available": 3, "desired": 3, "expected": 2}, 2, "budget-never", id="minAvailable > replicas"),
        pytest.param(
            {"min_available": 2, "desired": 2, "expected": 2}, 3, "budget-blocks", id="minAvailable < replicas, one is missing"
        ),
        pytest.param(
            {"max_unavailable": 1, "desired": 2, "expected": 3}, 3, "budget-blocks", id="maxUnavailable 1, one is down"
        ),
        pytest.param({"max_unavailable": "1%", "desired": 1, "expected": 2}, 2, "budget-blocks", id="1 % rounds up to one"),
        pytest.param(
            {"max_unavailable": 1, "desired": 0, "expected": 0}, 2, "budget-never", id="counted by controllers, has none"
        ),
        pytest.param({}, 2, "budget-never", id="a budget without a limit"),
        pytest.param({"max_unavailable": "some"}, 2, "budget-never", id="a limit that is none"),
    ],
)  # fmt: skip
def test_whether_it_can_ever_allow(budget: dict[str, Any], replicas: int, verdict: str) -> None:
    there = a_snapshot([a_pod(), ELSEWHERE], budgets=[a_budget(current=2, **budget)], workloads=[web(replicas)])
    assert verdicts(seen(there))["web-1"] == [verdict]


def test_without_the_workloads_only_its_own_words_say_never() -> None:
    budgets = [a_budget(min_available=2, desired=2, current=2, expected=2)]
    there = a_snapshot([a_pod(), ELSEWHERE], budgets=budgets, workloads="Deployments cannot be read: HTTP 403")
    assert verdicts(seen(there))["web-1"] == ["budget-blocks"]


def test_a_bare_replicaset_has_the_replicas_that_there_are() -> None:
    budgets = [a_budget(min_available=2, desired=2, current=2, expected=2)]
    assert verdicts(seen(a_snapshot([a_pod(), ELSEWHERE], budgets=budgets, workloads=())))["web-1"] == ["budget-never"]


def test_two_budgets_refuse_whatever_they_allow() -> None:
    budgets = [a_budget("one", min_available=0, allowed=5), a_budget("two", min_available=0, allowed=5)]
    made = seen(a_snapshot([a_pod(), ELSEWHERE], budgets=budgets))
    (pod,) = made.nodes[0].pods
    assert (pod.verdict, pod.reasons[0].blocked_by) == ("two-budgets", "one, two")


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param({"phase": "Pending", "ready": False}, id="one that has not started"),
        pytest.param({"phase": "Failed", "ready": False}, id="one that failed"),
    ],
)
def test_who_needs_no_budget(pod: dict[str, Any]) -> None:
    budgets = [a_budget("one", max_unavailable=0), a_budget("two", max_unavailable=0)]
    made = seen(a_snapshot([a_pod(**pod), ELSEWHERE], budgets=budgets))
    assert not made.nodes[0].pods[0].refused_at_first


@pytest.mark.parametrize(
    ("selector", "namespace", "verdict"),
    [
        pytest.param(Selector(), "shop", "budget-never", id="an empty selector is for all"),
        pytest.param(NOTHING, "shop", "evictable", id="an absent one for none"),
        pytest.param(Selector((("app", "db"),)), "shop", "evictable", id="one for others"),
        pytest.param(Selector(), "bank", "evictable", id="one of another namespace"),
    ],
)
def test_which_budget_is_asked(selector: Selector, namespace: str, verdict: str) -> None:
    budget = a_budget(selector=selector, namespace=namespace, max_unavailable=0)
    assert verdicts(seen(a_snapshot([a_pod(), ELSEWHERE], budgets=[budget])))["web-1"] == [verdict]


def test_a_budget_is_spent_over_all_nodes_of_the_wave() -> None:
    budget = a_budget(max_unavailable=1, allowed=1, current=4, desired=3, expected=4)
    pods = [a_pod(f"web-{n}", f"n{n}") for n in (1, 2, 3, 4)]
    nodes = [a_node(f"n{n}") for n in (1, 2, 3, 4)]
    made = seen(a_snapshot(pods, nodes, budgets=[budget]), "n3", "n1")
    assert verdicts(made) == {"web-3": ["evictable"], "web-1": ["budget-waits"]}
