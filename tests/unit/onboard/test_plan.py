from poolkeeper.tasks.fleet.model import Join
from poolkeeper.tasks.onboard.next_action import NextAction, Step
from poolkeeper.tasks.onboard.plan import plan_joins
from tests.unit.onboard.builders import a_host


def joining(name: str, domain: str, step: Step = Step.JOIN, parallel: int = 2) -> tuple:
    return a_host(name, domain=domain, pool={"join": Join(parallel=parallel)}), NextAction(step, "")


def test_across_domains_rather_than_down_the_list():
    plan = plan_joins([joining("a1", "a"), joining("a2", "a"), joining("a3", "a"), joining("b1", "b")])
    assert [planned.host.name for planned in plan.hosts] == ["a1", "b1", "a2", "a3"]
    assert [planned.wave for planned in plan.hosts] == [1, 1, 2, 2]


def test_half_done_hosts_come_first():
    plan = plan_joins([joining("a1", "a"), joining("b1", "b", Step.ACCEPT), joining("b2", "b", Step.FOLLOW_JOIN)])
    assert [planned.host.name for planned in plan.hosts] == ["b1", "b2", "a1"]


def test_finished_and_stopped_hosts_are_not_in_it():
    plan = plan_joins([joining("a1", "a", Step.NOTHING), joining("a2", "a", Step.STOP)])
    assert plan.hosts == ()


def test_the_digest_is_that_of_the_plan():
    first, second = joining("a1", "a"), joining("a2", "a")
    assert plan_joins([first, second]).digest == plan_joins([first, second]).digest
    assert plan_joins([first, second]).digest != plan_joins([second, first]).digest
