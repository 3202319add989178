"""A plan in words: versions, drains, how long it takes against the windows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from poolkeeper.tasks.fleet.model import Window
from poolkeeper.tasks.rollout.forecast import forecast
from poolkeeper.tasks.rollout.goal import Goal, Limits
from poolkeeper.tasks.rollout.plan import Candidate, Plan, plan_rollout
from poolkeeper.tasks.rollout.plan_preview import duration_s, preview_plan
from tests.unit.onboard.builders import SITE, a_host, a_node
from tests.unit.rollout.builders import a_pod, a_snapshot

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)  # a Monday
GOAL = Goal("upgrade", "general", {"kubernetes": "v1.36.3", "packages": {"containerd": "1.7.24-1"}})
NAMES = ("fra1-n01", "fra1-n02", "fra1-n03", "fra1-n04")


def a_plan(goal: Goal = GOAL, limits: Limits | None = None, **site: Any) -> Plan:
    """Four hosts in waves of 1 + 2 + 1."""
    return plan_rollout(goal, limits or Limits(), [Candidate(a_host(name, site=site)) for name in NAMES])


def foreseen(plan: Plan, **more: Any):  # type: ignore[no-untyped-def]
    return preview_plan(plan, {}, {}, **{"at_once": 1, "host_s": 600.0, "now": NOW, **more})


@pytest.mark.parametrize(
    ("goal", "node", "words"),
    [
        pytest.param(GOAL, {"kubelet_version": "v1.35.4"}, "v1.35.4 -> v1.36.3, containerd -> 1.7.24-1", id="both"),
        pytest.param(Goal("upgrade", "p", {"kubernetes": "v1.36.3"}), None, "no node -> v1.36.3", id="no Node"),
        pytest.param(Goal("maintain", "p"), {}, "maintain", id="no versions"),
    ],
)
def test_from_which_version_to_which(goal: Goal, node: dict[str, Any] | None, words: str) -> None:
    nodes = {"fra1-n01": a_node(**node)} if node is not None else {}
    plan = preview_plan(a_plan(goal), nodes, {}, at_once=1, host_s=60, now=NOW)
    assert plan.hosts[0].change == words


def test_what_each_drain_would_meet() -> None:
    made = forecast(a_snapshot([a_pod("web-1", owner=None)]), ["n1"], deadline_s=300, now=NOW)
    hosts = [Candidate(a_host("h1", node_name="n1")), Candidate(a_host("h2", node_name="n2"))]
    plan = preview_plan(
        plan_rollout(GOAL, Limits(), hosts), {}, {node.node: node for node in made.nodes}, at_once=1, host_s=60, now=NOW
    )
    drains = {planned.host: planned.drain for planned in plan.hosts}
    assert drains["h1"].startswith("blocked: shop/web-1: ")
    assert drains["h2"] == "none"


@pytest.mark.parametrize(
    ("at_once", "needed_s"),
    [
        pytest.param(1, 2400, id="one by one"),
        pytest.param(2, 1800, id="two at once"),
        pytest.param(9, 1800, id="waves"),
    ],
)
def test_how_long_it_takes(at_once: int, needed_s: float) -> None:
    assert duration_s(a_plan(), at_once, 600) == needed_s


def opened(hours: float) -> dict[str, Any]:
    """A site with a window that began at noon."""
    return {"time_zone": UTC, "windows": (Window(frozenset(range(7)), time(12), timedelta(hours=hours)),)}


@pytest.mark.parametrize(
    ("site", "told", "refused"),
    [
        pytest.param({}, [], False, id="no window: always"),
        pytest.param(opened(2), ["site fra1 has its window for 2.0 h more: it fits"], False, id="it fits"),
        pytest.param(
            opened(0.5),
            ["site fra1 has its window for 30 min more: the rest waits for a later run"],
            False,
            id="a part",
        ),
        pytest.param(
            opened(0.1),
            ["site fra1 has its window for 6 min more: the rest waits for a later run"],
            True,
            id="none fits",
        ),
    ],
)
def test_the_duration_against_the_window(site: dict[str, Any], told: list[str], refused: bool) -> None:
    plan = foreseen(a_plan(**site))
    assert list(plan.notes) == ["expected: 40 min, with 10 min a host and at most 1 at once", *told]
    assert all(bool(planned.window) is refused for planned in plan.hosts)


def test_windows_that_do_not_count_are_not_told() -> None:
    plan = foreseen(a_plan(limits=Limits(outside_windows=True), **opened(0.1)))
    assert len(plan.notes) == 1
    assert not any(planned.window for planned in plan.hosts)


def test_an_empty_plan() -> None:
    assert foreseen(replace(a_plan(), hosts=())).notes == ()
    assert SITE.windows == ()
