"""Maintenance killed on its way, on the way out and on the way back, and started again or recovered.

The node ends in service as if nothing had happened: nothing of ours is left on it, and its pods were evicted once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest

import pytest

from tests.e2e.history import POOLKEEPER, History
from tests.e2e.observer import Observer
from tests.e2e.rollouts import OLD, RolloutLab, TestPool, findings, rollout_lab, states
from tests.e2e.test_rollouts_killed import judge, kill, recover
from tests.warm import Ended

OUT = ("after evict pod *", "before record phase with a person on node *", "after record phase with a person on node *")
BACK = ("after run a test pod on node *", "after release node *", "before the answer")
RECOVERED = {"after evict pod *": "done", "after record phase with a person on node *": "handed over"}
"""Place on the way out -> what `recover` makes of it: given back, or a person's by now."""
AT_ONCE = 5


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, prefect_api_url: str) -> Iterator[RolloutLab]:
    """One lab for this file; each kill has a pool of its own, with a lease of its own."""
    pools = max(len(OUT), len(BACK)) + len(RECOVERED) + 1
    with rollout_lab(tmp_path_factory.mktemp("maintained"), prefect_api_url, 2 * pools) as made:
        yield made


def host_with_pods(lab: RolloutLab, pool: TestPool) -> str:
    """The one that is maintained."""
    return lab.hosts_with_pods(pool)[0]


def words(host: str, *, back: bool) -> list[str]:
    return ["run", "maintain", "-p", f"hosts={host}", "-p", f"back={str(back).lower()}", "-p", "dry_run=false"]


def maintain(lab: RolloutLab, host: str, *, back: bool) -> Ended:
    return lab.start(*words(host, back=back), "--json").end()


def give_back_lease(lab: RolloutLab, pool: TestPool) -> None:
    """What a person does who knows that the run is dead and does not want to wait until its lease lapses."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/poolkeeper/leases/pool-{pool.name}"
    lab.ask("PATCH", path, {"spec": {"holderIdentity": ""}})


def evictions(seen: History, pool: TestPool) -> Counter[str]:
    """Pod -> how often poolkeeper has evicted it."""
    return Counter(
        w.name for w in seen.writes_by(POOLKEEPER) if w.namespace == pool.name and w.subresource == "eviction"
    )


def pods_on(lab: RolloutLab, pool: TestPool, host: str) -> Counter[str]:
    """The workload's pods on a host, each once."""
    pods = lab.ask("GET", f"/api/v1/namespaces/{pool.name}/pods")["items"]
    return Counter(pod["metadata"]["name"] for pod in pods if pod["spec"]["nodeName"] == host)


def test_the_next_run_finishes_it(lab: RolloutLab) -> None:
    undisturbed = lab.pool("undisturbed", 2)
    killed = {lab.pool(f"killed-{n}", 2): places for n, places in enumerate(zip_longest(OUT, BACK))}
    pools = [undisturbed, *killed]
    hosts = {pool: host_with_pods(lab, pool) for pool in pools}
    on_it = {pool: pods_on(lab, pool, host) for pool, host in hosts.items()}

    def out_and_back(pool: TestPool) -> tuple[Ended, Ended]:
        out_place, back_place = killed.get(pool, (None, None))
        if out_place:
            kill(lab, out_place, words(hosts[pool], back=False))
            give_back_lease(lab, pool)
        out = maintain(lab, hosts[pool], back=False)
        if back_place:
            kill(lab, back_place, words(hosts[pool], back=True))
            give_back_lease(lab, pool)
        return out, maintain(lab, hosts[pool], back=True)

    with Observer(lab.folder) as observer:
        with ThreadPoolExecutor(AT_ONCE) as some:
            ended = dict(zip(pools, some.map(out_and_back, pools), strict=True))
        seen = observer.history()
    told = {pool.name: [(end.code, states(end)) for end in both] for pool, both in ended.items()}
    assert told == {pool.name: [(0, {host: "handed over"}), (0, {host: "done"})] for pool, host in hosts.items()}
    judge(seen, lab, pools, OLD)
    assert Counter(seen.cordoned()) == Counter(hosts.values()), "each was cordoned once"
    assert {pool.name: evictions(seen, pool) for pool in pools} == {pool.name: on_it[pool] for pool in pools}
    assert lab.test_pods == []


def test_recover_gives_back_what_was_not_handed_over(lab: RolloutLab) -> None:
    places = {lab.pool(f"recovered-{n}", 2): place for n, place in enumerate(RECOVERED)}
    hosts = {pool: host_with_pods(lab, pool) for pool in places}

    with Observer(lab.folder) as observer, ThreadPoolExecutor(len(places)) as some:
        list(some.map(lambda pool: kill(lab, places[pool], words(hosts[pool], back=False)), places))
        begun = observer.history()
        recovered = dict(zip(places, some.map(lambda pool: recover(lab, pool), places), strict=True))
        seen = observer.history()
        told = {places[pool]: (ended.code, states(ended)) for pool, ended in recovered.items()}
        assert told == {places[pool]: (0, {host: RECOVERED[places[pool]]}) for pool, host in hosts.items()}
        assert seen.cordoned() == begun.cordoned(), "nothing new was begun"
        assert [evictions(seen, pool) for pool in places] == [evictions(begun, pool) for pool in places]
        with_a_person = [pool for pool in places if lab.unschedulable(pool)]
        assert [RECOVERED[places[pool]] for pool in with_a_person] == ["handed over"]
        for pool in with_a_person:
            assert findings(recovered[pool], hosts[pool]) == ["recover.with-a-person"]
            assert states(maintain(lab, hosts[pool], back=True)) == {hosts[pool]: "done"}
        seen = observer.history()
    judge(seen, lab, list(places), OLD)
