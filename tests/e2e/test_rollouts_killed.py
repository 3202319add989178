"""An upgrade killed on its way: the same run again finishes it, or `recover` cleans up after it.

What the API server saw spans the killed run and the one that takes over: limits and budgets hold across both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from poolkeeper.deployments.lab.faults import Fault
from tests.e2e.history import History
from tests.e2e.observer import Observer
from tests.e2e.rollouts import OLD, WANTED, RolloutLab, TestPool, rollout_lab, states, upgrade_words
from tests.warm import Ended

FINISHED_BY_THE_NEXT_RUN = (
    "after evict pod *",
    "after program 5 of upgrade host *",
    "after run a test pod on node *",
    "after change 2 of release node *",
    "before the answer",
)
"""A drain is on its way; the upgrade is started on the host; a test pod runs; both nodes are back."""
RECOVERED = {"after evict pod *": OLD, "after program 5 of upgrade host *": WANTED}
"""Place -> the kubelet of the host in hand afterwards: given back as it was, or finished."""
FAILING = "after record phase failed on node *"
"""A host has failed, and that was not written down yet. Once it is, see `tests/contract/killed`."""
PLACES = (*FINISHED_BY_THE_NEXT_RUN, *RECOVERED, FAILING)
AT_ONCE = 5


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, prefect_api_url: str) -> Iterator[RolloutLab]:
    """One lab for this file; each kill has a pool of its own, with a lease of its own."""
    with rollout_lab(tmp_path_factory.mktemp("killed"), prefect_api_url, 2 * (len(PLACES) + 1)) as made:
        yield made


def kill(lab: RolloutLab, place: str, words: Sequence[str]) -> None:
    """Start a run and see it die at a place."""
    lab.kill(place, *words)


def recover(lab: RolloutLab, pool: TestPool) -> Ended:
    return lab.start("run", "recover", "-p", f"pool={pool.name}", "-p", "dry_run=false", "--json").end()


def judge(seen: History, lab: RolloutLab, pools: list[TestPool], version: str = WANTED) -> None:
    """What holds in the end. version: of the kubelets of nodes that were given back after they were changed"""
    groups = lab.groups(*pools)
    assert seen.over_limit(groups) == []
    assert {g.name: sorted(seen.most_down(g)) for g in groups if len(seen.most_down(g)) > g.limit} == {}
    assert seen.freed_unproven(version) == []
    assert seen.broken_budgets() == []
    assert seen.smaller_fencing_tokens() == []
    assert {pool.name: seen.holders(f"pool-{pool.name}")[-1] for pool in pools} == {pool.name: "" for pool in pools}
    hosts = {host for pool in pools for host in pool.hosts}
    assert [told for told in seen.left_on_nodes() if told.partition(":")[0] in hosts] == []
    assert [host for pool in pools for host in lab.unschedulable(pool)] == []


def test_the_next_run_finishes_it(lab: RolloutLab) -> None:
    places = {lab.pool(f"killed-{n}", 2): place for n, place in enumerate(FINISHED_BY_THE_NEXT_RUN)}

    def killed_and_run_again(pool: TestPool) -> Ended:
        kill(lab, places[pool], upgrade_words(pool))
        return lab.upgrade(pool)

    with Observer(lab.folder) as observer:
        with ThreadPoolExecutor(AT_ONCE) as some:
            again = dict(zip(places, some.map(killed_and_run_again, places), strict=True))
        seen = observer.history()
    told = {places[pool]: (ended.code, states(ended)) for pool, ended in again.items()}
    assert told == {place: (0, dict.fromkeys(pool.hosts, "done")) for pool, place in places.items()}
    assert {v for pool in places for v in lab.kubelets(pool).values()} == {WANTED}
    judge(seen, lab, list(places))


def test_recover_gives_back_or_finishes_and_begins_nothing(lab: RolloutLab) -> None:
    places = {lab.pool(f"recovered-{n}", 2): place for n, place in enumerate(RECOVERED)}

    with Observer(lab.folder) as observer, ThreadPoolExecutor(len(places)) as some:
        list(some.map(lambda pool: kill(lab, places[pool], upgrade_words(pool)), places))
        begun = observer.history().cordoned()
        recovered = list(some.map(lambda pool: recover(lab, pool), places))
        seen = observer.history()
    assert len(begun) == len(places)
    assert seen.cordoned() == begun, "nothing new was begun"
    for (pool, place), ended in zip(places.items(), recovered, strict=True):
        in_hand = next(host for host in pool.hosts if host in begun)
        assert (ended.code, states(ended)) == (0, {in_hand: "done"}), place
        assert lab.kubelets(pool) == {host: RECOVERED[place] if host == in_hand else OLD for host in pool.hosts}, place
    judge(seen, lab, list(places))


def test_a_failure_that_was_not_written_down_costs_nothing(lab: RolloutLab) -> None:
    """The next run goes on with the host that failed, and then with the other one."""
    pool = lab.pool("failing", 2)
    for host in pool.hosts:
        lab.break_host(host, Fault.PACKAGE_MISSING)
    with Observer(lab.folder) as observer:
        kill(lab, FAILING, upgrade_words(pool))
        assert len(observer.history().cordoned()) == 1
        for host in pool.hosts:
            lab.mend_host(host)
        assert states(lab.upgrade(pool)) == dict.fromkeys(pool.hosts, "done")
        seen = observer.history()
    judge(seen, lab, [pool])
    assert set(lab.kubelets(pool).values()) == {WANTED}


def test_a_node_that_was_deleted_after_a_kill_is_still_missing(lab: RolloutLab) -> None:
    """The claim went with it; nothing else may be taken out, until the fleet file does without that host."""
    pool = lab.pool("deleted", 2, replicas=0)
    with Observer(lab.folder) as observer:
        kill(lab, "after cordon node *", upgrade_words(pool))
        (gone,) = observer.history().cordoned()
        lab.ask("DELETE", f"/api/v1/nodes/{gone}")
        again = lab.start_upgrade(pool)
        run, view = lab.live_view(pool, "waits for headroom")
        lab.tell_stops(f"stop.{run}", "enough")
        ended = again.end()
        seen = observer.history()
        assert seen.cordoned() == [gone], "the other one is all that the pool has left"
        (other,) = set(pool.hosts) - {gone}
        assert states(ended) == {gone: "stopped", other: "postponed"}
        assert f"pool {pool.name} may have 1 nodes unavailable and has 1: {gone} (its Node is gone)" in view
        lab.edit_fleet(lambda document: document["hosts"][gone].update(active=False))
        assert states(lab.upgrade(pool)) == {other: "done"}
