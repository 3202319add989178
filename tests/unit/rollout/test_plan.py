"""Plans: the canary, growing waves, across domains, riskiest last; the same plan has the same digest."""

from __future__ import annotations

from dataclasses import replace

from poolkeeper.tasks.rollout.goal import Goal, Limits
from poolkeeper.tasks.rollout.plan import Candidate, Plan, plan_rollout
from tests.unit.onboard.builders import a_host

GOAL = Goal("upgrade", "general", {"kubernetes": "v1.36.3"})


def candidate(name: str, domain: str | None = None, **more: object) -> Candidate:
    return Candidate(a_host(name, domain=domain), **more)  # type: ignore[arg-type]


def waves(plan: Plan) -> list[list[str]]:
    return [[planned.host.name for planned in wave] for wave in plan.waves]


def test_one_canary_then_doubling_waves() -> None:
    plan = plan_rollout(GOAL, Limits(), [candidate(f"h{n}") for n in range(8)])
    assert waves(plan) == [["h0"], ["h1", "h2"], ["h3", "h4", "h5", "h6"], ["h7"]]
    assert plan.summary == f"8 hosts in waves of 1 + 2 + 4 + 1, plan {plan.digest[:12]}"


def test_domains_take_turns() -> None:
    plan = plan_rollout(GOAL, Limits(), [candidate(f"a{n}", "rack1") for n in range(3)] + [candidate("b0", "rack2")])
    assert waves(plan) == [["a0"], ["b0", "a1"], ["a2"]]


def test_the_riskiest_come_last_and_are_never_the_canary() -> None:
    plan = plan_rollout(GOAL, Limits(), [candidate("a", risk=3), candidate("b"), candidate("c", risk=1)])
    assert waves(plan) == [["b"], ["c", "a"]]


def test_half_done_ones_are_finished_before_the_canary() -> None:
    plan = plan_rollout(
        GOAL, Limits(), [candidate("a"), candidate("y", half_done=True), candidate("z", half_done=True)]
    )
    assert waves(plan) == [["y", "z"], ["a"]]
    assert [planned.half_done for planned in plan.hosts] == [True, True, False]


def test_what_is_found_half_done_later_comes_first() -> None:
    plan = plan_rollout(GOAL, Limits(), [candidate(f"h{n}") for n in range(4)])
    later = plan.half_done_first({"h2", "x"})
    assert waves(later) == [["h2"], ["h0"], ["h1"], ["h3"]]
    assert [planned.half_done for planned in later.hosts] == [True, False, False, False]
    assert plan.half_done_first(()) == plan


def test_the_order_in_which_hosts_are_told_does_not_matter() -> None:
    hosts = [candidate(f"h{n}", f"rack{n % 3}", risk=n % 2) for n in range(9)]
    assert plan_rollout(GOAL, Limits(), hosts).digest == plan_rollout(GOAL, Limits(), reversed(hosts)).digest


def test_the_digest_is_of_goal_limits_hosts_and_order() -> None:
    hosts = [candidate("a"), candidate("b")]
    plan = plan_rollout(GOAL, Limits(), hosts)
    others = [
        plan_rollout(replace(GOAL, wanted={"kubernetes": "v1.36.4"}), Limits(), hosts),
        plan_rollout(GOAL, Limits(failure_budget=2), hosts),
        plan_rollout(GOAL, Limits(), hosts[:1]),
        plan_rollout(GOAL, Limits(), [replace(hosts[0], risk=1), hosts[1]]),
    ]
    assert len({plan.digest, *(other.digest for other in others)}) == 5


def test_nothing_to_do() -> None:
    assert plan_rollout(GOAL, Limits(), []).waves == ()
