"""Rollouts as the API server sees them: limits, budgets, proofs, and each way of being stopped, held up or lost."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.faults import Fault
from tests.e2e.conftest import Json
from tests.e2e.history import POOLKEEPER, Event, History, Write
from tests.e2e.observer import Observer
from tests.e2e.rollouts import (
    WAIT_S,
    WANTED,
    RolloutLab,
    TestPool,
    claimed,
    findings,
    first_claimed,
    rollout_lab,
    states,
)

HOSTS = 56
AWAY_S = 5.0
"""Longer than any single retry; shorter than what a lease allows."""
LONG_LEASE = {"POOLKEEPER_LEASE_S": "40"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, prefect_api_url: str) -> Iterator[RolloutLab]:
    """One lab for this file; each test has pools of its own."""
    with rollout_lab(tmp_path_factory.mktemp("rollouts"), prefect_api_url, HOSTS) as made:
        yield made


def judge(seen: History, lab: RolloutLab, *pools: TestPool) -> None:
    """What holds in every rollout, however it ends."""
    groups = lab.groups(*pools)
    assert seen.over_limit(groups) == []
    assert {g.name: sorted(seen.most_down(g)) for g in groups if len(seen.most_down(g)) > g.limit} == {}
    assert seen.freed_unproven(WANTED) == []
    assert seen.broken_budgets() == []
    assert seen.others_cordons_touched() == []
    assert seen.smaller_fencing_tokens() == []


def left(seen: History, pool: TestPool) -> list[str]:
    """What of ours is left on a pool's nodes."""
    return [told for told in seen.left_on_nodes() if told.partition(":")[0] in pool.hosts]


def on_nodes_and_pods(writes: list[Write]) -> list[str]:
    return [str(write) for write in writes if write.resource in ("nodes", "pods")]


def test_a_whole_upgrade(lab: RolloutLab) -> None:
    pool = lab.pool("whole", 4)
    with Observer(lab.folder) as observer:
        ended = lab.upgrade(pool)
        done = observer.history()
        again = lab.upgrade(pool)
        seen = observer.history()
    assert (ended.code, states(ended)) == (0, dict.fromkeys(pool.hosts, "done"))
    judge(seen, lab, pool)
    assert sorted(done.cordoned()) == sorted(pool.hosts)
    assert lab.kubelets(pool) == dict.fromkeys(pool.hosts, WANTED)
    assert left(seen, pool) == []
    assert [bool(holder) for holder in seen.holders("pool-whole")] == [True, False]
    assert {row["summary"] for row in again.answer["hosts"]} == {"at the goal already"}
    assert seen.writes_by(POOLKEEPER, since=done.version) == []


def test_a_blocked_drain(lab: RolloutLab) -> None:
    """Stop, skip, force: the first two change nothing; the third asks, and then keeps no budget."""
    pool = lab.pool("blocked", 2)
    lab.set_budget(pool, 3)
    assert lab.hosts_with_pods(pool) == sorted(pool.hosts)
    with Observer(lab.folder) as observer:
        stop = lab.upgrade(pool, drain_timeout_s="3")
        stopped = observer.history()
        skip = lab.upgrade(pool, drain_timeout_s="3", on_blocked="skip")
        skipped = observer.history()
        ask = lab.upgrade(pool, drain_timeout_s="3", on_blocked="force")
        asked = observer.history()
        approve(lab, pool)
        may_not = lab.upgrade(pool, drain_timeout_s="3", on_blocked="force")
        refused = observer.history()
        let_delete_pods(lab, pool)
        again = lab.upgrade(pool, drain_timeout_s="3", on_blocked="force")
        approve(lab, pool)
        force = lab.upgrade(pool, drain_timeout_s="3", on_blocked="force")
        forced = observer.history()

    blocked = stopped.cordoned()
    assert len(blocked) == 1
    assert states(stop) == {host: "blocked" if host in blocked else "postponed" for host in pool.hosts}
    assert set(findings(stop, blocked[0])) == {"rollout.drain.blocked"}
    assert stop.code == 1
    judge(skipped, lab, pool)
    assert left(stopped, pool) == []
    assert states(skip) == dict.fromkeys(pool.hosts, "blocked")
    assert sorted(skipped.cordoned()[1:]) == sorted(pool.hosts)
    assert left(skipped, pool) == []

    assert states(ask) == dict.fromkeys(pool.hosts, "postponed")
    assert "poolkeeper approve" in ask.answer["summary"]
    assert on_nodes_and_pods(asked.writes_by(POOLKEEPER, since=skipped.version)) == []
    assert states(may_not) == dict.fromkeys(pool.hosts, "blocked"), "it has no right to delete pods"
    assert left(refused, pool) == []
    judge(refused, lab, pool)
    assert states(again) == dict.fromkeys(pool.hosts, "postponed"), "a word counts for one run"
    assert states(force) == dict.fromkeys(pool.hosts, "done")
    assert forced.broken_budgets(), "that is what force is"
    assert forced.freed_unproven(WANTED) == []
    assert left(forced, pool) == []


def let_delete_pods(lab: RolloutLab, pool: TestPool) -> None:
    """A right that poolkeeper does not have by itself."""
    api, rule = "rbac.authorization.k8s.io", {"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]}
    path = f"/apis/{api}/v1/namespaces/{pool.name}"
    lab.ask("POST", f"{path}/roles", {"metadata": {"name": "force"}, "rules": [rule]})
    subject = {"kind": "ServiceAccount", "name": "poolkeeper", "namespace": "poolkeeper"}
    role = {"apiGroup": api, "kind": "Role", "name": "force"}
    lab.ask("POST", f"{path}/rolebindings", {"metadata": {"name": "force"}, "roleRef": role, "subjects": [subject]})


def approve(lab: RolloutLab, pool: TestPool) -> None:
    """A person's yes to the plan of a pool that waits for it."""
    waiting = lab.ask("GET", "/api/v1/namespaces/poolkeeper/configmaps/approvals")["data"]
    told = {key: json.loads(text) for key, text in waiting.items()}
    (key,) = [key for key, one in told.items() if one["plan"]["pool"] == pool.name and not one["word"]]
    said = lab.poolkeeper("approve", key, "--yes", "--reason", "the budget is wrong")
    assert said.code == 0, said.err
    assert f"upgrade of pool {pool.name}" in said.err


def test_a_persons_cordon_hold_and_freeze(lab: RolloutLab) -> None:
    pool = lab.pool("words", 4, at_once=2)
    cordoned, held = pool.hosts[:2]
    lab.ask("PATCH", f"/api/v1/nodes/{cordoned}", {"spec": {"unschedulable": True}})
    assert lab.poolkeeper("hold", held, "--reason", "disk swap").code == 0
    with Observer(lab.folder) as observer:
        ended = lab.upgrade(pool)
        seen = observer.history()
    assert states(ended) == {cordoned: "stopped", held: "refused", **dict.fromkeys(pool.hosts[2:], "done")}
    assert findings(ended, cordoned) == ["rollout.node.cordoned"]
    assert findings(ended, held) == ["gate.hold"]
    judge(seen, lab, pool)
    assert seen.writes_to_node(held) == []
    assert on_nodes_and_pods([w for w in seen.writes_by(POOLKEEPER) if w.name == cordoned]) == []
    assert lab.unschedulable(pool) == [cordoned]

    lab.ask("PATCH", f"/api/v1/nodes/{cordoned}", {"spec": {"unschedulable": None}})
    assert lab.poolkeeper("unhold", held).code == 0
    with Observer(lab.folder) as observer:
        run = lab.start_upgrade(pool)
        first, _ = first_claimed(observer, pool, "draining", observer.version)
        lab.tell_stops("freeze", "year end")
        frozen_at = observer.history().version
        refused = run.end()
        seen = observer.history()
        assert len(seen.cordoned()) == 1
        assert len(on_nodes_and_pods(seen.writes_by(POOLKEEPER, since=frozen_at))) <= 1, "what was under way"
        other = next(host for host in pool.hosts[:2] if host != first)
        assert states(refused)[first] == "refused"
        assert states(refused)[other] == "postponed"
        assert findings(refused, first) == ["gate.freeze"]
        lab.tell_stops("freeze", None)
        finished = lab.upgrade(pool)
        seen = observer.history()
    assert states(finished) == dict.fromkeys(pool.hosts, "done")
    judge(seen, lab, pool)
    assert left(seen, pool) == []


@pytest.mark.parametrize(
    ("fault", "finding", "touched"),
    [
        pytest.param(Fault.KEEPS_OLD_KUBELET, "node.kubelet.version", True, id="the old kubelet starts again"),
        pytest.param(Fault.NEVER_RETURNS, "node.ready", True, id="the node never comes back"),
        pytest.param(Fault.PACKAGE_MISSING, "upgrade.change.failed", True, id="the upgrade fails"),
        pytest.param(
            Fault.DISK_FULL, "upgrade.disk.space", False, id="too little space, which is seen before any drain"
        ),
    ],
)
def test_a_host_that_fails_stops_the_rollout_until_it_is_mended(
    lab: RolloutLab, fault: Fault, finding: str, touched: bool
) -> None:
    """Canary, then two of which one fails: the other finishes, and the fourth is not begun."""
    pool = lab.pool(f"fails-{fault}".removesuffix("-kubelet"), 4, at_once=2, replicas=0)
    lab.edit_fleet(lambda document: document["pools"][pool.name]["join"].update(timeout="12s"))
    waves = wave_of(lab, pool)
    broken = next(host for host in pool.hosts if waves[host] == 2)
    expected = {host: "postponed" if waves[host] == 3 else "done" for host in pool.hosts}
    lab.break_host(broken, fault)
    with Observer(lab.folder) as observer:
        failed = lab.upgrade(pool)
        seen = observer.history()
        if touched:
            assert states(failed) == {**expected, broken: "failed"}
            assert broken in lab.unschedulable(pool)
            assert lab.claim(broken)["phase"] == "failed"
            assert "budget" in failed.answer["summary"]
        else:
            assert states(failed) == {**dict.fromkeys(pool.hosts, "done"), broken: "stopped"}
            assert broken not in seen.cordoned()
        assert finding in findings(failed, broken)
        lab.mend_host(broken, fault)
        mended = lab.upgrade(pool)
        seen = observer.history()
    assert states(mended) == dict.fromkeys(pool.hosts, "done"), mended.answer["summary"]
    judge(seen, lab, pool)
    assert left(seen, pool) == []
    assert lab.kubelets(pool) == dict.fromkeys(pool.hosts, WANTED)


def wave_of(lab: RolloutLab, pool: TestPool) -> dict[str, int]:
    """Host -> its wave, as a dry run tells."""
    planned = lab.upgrade(pool, dry_run="true").answer["hosts"]
    return {row["name"]: int(row["summary"].removeprefix("wave ").partition(":")[0]) for row in planned}


def test_a_second_upgrade_of_a_pool_is_refused_and_the_first_can_be_stopped(lab: RolloutLab) -> None:
    pool = lab.pool("twice", 2)
    lab.set_budget(pool, 3)
    with Observer(lab.folder) as observer:
        first = lab.start_upgrade(pool)
        host, run = first_claimed(observer, pool, "draining")
        second = lab.upgrade(pool)
        lab.tell_stops(f"stop.{run}", "enough")
        stopped = first.end()
        seen = observer.history()
    assert second.code == 1
    assert f"lease pool-twice is held by {run}" in second.answer["summary"]
    assert states(stopped) == dict.fromkeys(pool.hosts, "postponed")
    assert "enough" in stopped.answer["summary"]
    assert seen.cordoned() == [host]
    assert left(seen, pool) == []
    judge(seen, lab, pool)


def test_what_is_in_flight_when_a_run_is_stopped_is_finished(lab: RolloutLab) -> None:
    pool = lab.pool("stopped", 2, replicas=0)
    with Observer(lab.folder) as observer:
        going = lab.start_upgrade(pool)
        host, run = first_claimed(observer, pool, "changing")
        said = lab.poolkeeper("stop", run[:8], "--reason", "enough")
        ended = going.end()
        seen = observer.history()
    assert said.code == 0, said.err
    assert states(ended) == {name: "done" if name == host else "postponed" for name in pool.hosts}
    assert "enough" in ended.answer["summary"]
    assert seen.cordoned() == [host]
    judge(seen, lab, pool)
    assert f"stop.{run}" not in lab.ask("GET", "/api/v1/namespaces/poolkeeper/configmaps/stops")["data"]


def test_a_host_that_a_person_has_is_left_alone_until_it_is_taken_back(lab: RolloutLab) -> None:
    pool = lab.pool("maintained", 1, replicas=0)
    (host,) = pool.hosts
    words = ["run", "maintain", "-p", f"hosts={host}", "-p", "dry_run=false", "--json"]
    with Observer(lab.folder) as observer:
        out = lab.poolkeeper(*words)
        given = observer.history()
        upgrade = lab.upgrade(pool)
        recover = lab.poolkeeper("run", "recover", "-p", f"pool={pool.name}", "-p", "dry_run=false", "--json")
        between = observer.history()
        back = lab.poolkeeper(*words, "-p", "back=true")
        seen = observer.history()
    assert states(out) == {host: "handed over"}
    assert lab.claim(host) == {}
    assert (states(upgrade), findings(upgrade, host)) == ({host: "stopped"}, ["rollout.node.claimed"])
    assert (states(recover), findings(recover, host)) == ({host: "handed over"}, ["recover.with-a-person"])
    assert on_nodes_and_pods(between.writes_by(POOLKEEPER, since=given.version)) == []
    assert states(back) == {host: "done"}
    assert seen.cordoned() == [host]
    assert left(seen, pool) == []


def test_what_is_held_is_shown_with_its_commands_and_given_back(lab: RolloutLab) -> None:
    pool = lab.pool("released", 1, replicas=0)
    (host,) = pool.hosts
    lab.poolkeeper("run", "maintain", "-p", f"hosts={host}", "-p", "dry_run=false", "--json")
    shown = lab.poolkeeper("release", host, "--json")
    assert [(held["kind"], held["name"]) for held in shown.answer] == [("node", host)]
    assert f"kubectl uncordon {host}" in shown.answer[0]["commands"]
    assert lab.unschedulable(pool) == [host], "it is only shown"
    given = lab.poolkeeper("release", host, "--yes")
    assert given.code == 0, given.err
    assert (lab.unschedulable(pool), lab.claim(host)) == ([], {})
    assert lab.poolkeeper("release", host, "--json").answer == []


def test_two_pools_in_one_domain(lab: RolloutLab) -> None:
    pools = [lab.pool(name, 2, domain="shared-rack", replicas=0) for name in ("left", "right")]
    with Observer(lab.folder) as observer:
        runs = [lab.start_upgrade(pool) for pool in pools]
        ended = [run.end() for run in runs]
        seen = observer.history()
    for pool, end in zip(pools, ended, strict=True):
        assert states(end) == dict.fromkeys(pool.hosts, "done")
    judge(seen, lab, *pools)
    assert [g.limit for g in lab.groups(*pools) if g.name == "domain shared-rack"] == [1]
    assert len(seen.holders("domain-shared-rack")) >= 8, "taken and given back for each cordon"


def test_a_budget_that_comes_or_goes_while_a_drain_waits(lab: RolloutLab) -> None:
    pool = lab.pool("budgets", 2)
    lab.set_budget(pool, 3)
    with Observer(lab.folder) as observer:
        added = lab.start_upgrade(pool)
        first, _ = first_claimed(observer, pool, "draining")
        lab.set_budget(pool, 1, name="another")
        blocked = added.end()
        seen = observer.history()
        assert states(blocked) == {host: "blocked" if host == first else "postponed" for host in pool.hosts}
        assert seen.cordoned() == [first]
        assert left(seen, pool) == []

        lab.ask("DELETE", f"{pool.budgets}/another")
        removed = lab.start_upgrade(pool)
        first_claimed(observer, pool, "draining", seen.version)
        lab.ask("DELETE", f"{pool.budgets}/web")
        assert states(removed.end()) == dict.fromkeys(pool.hosts, "done")
        seen = observer.history()
    judge(seen, lab, pool)
    assert left(seen, pool) == []


def test_a_node_that_is_deleted_while_it_is_drained(lab: RolloutLab) -> None:
    pool = lab.pool("deleted", 2)
    lab.set_budget(pool, 3)
    with Observer(lab.folder) as observer:
        going = lab.start_upgrade(pool)
        host, _ = first_claimed(observer, pool, "draining")
        lab.ask("DELETE", f"/api/v1/nodes/{host}")
        ended = going.end()
        seen = observer.history()
    assert states(ended) == {name: "stopped" if name == host else "postponed" for name in pool.hosts}
    assert seen.cordoned() == [host]
    assert left(seen, pool) == []


def test_hosts_that_do_not_fit_into_their_window_are_left(lab: RolloutLab) -> None:
    pool = lab.pool("window", 2, replicas=0)
    inside, outside = (next(h for h in pool.hosts if h.startswith(site)) for site in ("fra1", "ams1"))

    def open_for(document: Json, site: str, minutes: int) -> None:
        began = datetime.now(UTC).astimezone(ZoneInfo(document["sites"][site]["time_zone"])) - timedelta(minutes=60)
        window = {"start": f"{began:%H:%M}", "duration": f"{60 + minutes}m"}
        document["sites"][site]["windows"] = [window]

    lab.edit_fleet(lambda document: [open_for(document, "fra1", 60), open_for(document, "ams1", 10)])
    with Observer(lab.folder) as observer:
        ended = lab.upgrade(pool)
        seen = observer.history()
    lab.edit_fleet(lambda document: [site.pop("windows") for site in document["sites"].values()])
    assert states(ended) == {inside: "done", outside: "postponed"}
    assert "window ends in" in next(row["summary"] for row in ended.answer["hosts"] if row["name"] == outside)
    assert seen.cordoned() == [inside]
    judge(seen, lab, pool)
    assert states(lab.upgrade(pool)) == dict.fromkeys(pool.hosts, "done")


def test_a_run_that_lost_its_lease_while_it_was_frozen_does_nothing_more(lab: RolloutLab) -> None:
    pool = lab.pool("lost", 2)
    lab.set_budget(pool, 3)
    with Observer(lab.folder) as observer:
        first = lab.start_upgrade(pool)
        _, run = first_claimed(observer, pool, "draining")
        first.signal(signal.SIGSTOP)
        stopped_at = observer.history().version
        second = lab.start_upgrade(pool, environment=lab.as_admin())
        observer.wait_for("another run takes the node over", claimed(pool, "draining"), WAIT_S, stopped_at)
        lab.set_budget(pool, 2)
        taken_over = second.end()
        first.signal(signal.SIGCONT)
        lost = first.end()
        seen = observer.history()
    assert states(taken_over) == dict.fromkeys(pool.hosts, "done")
    assert lab.kubelets(pool) == dict.fromkeys(pool.hosts, WANTED)
    assert seen.writes_by(POOLKEEPER, since=stopped_at) == []
    assert seen.claimed_by(run, since=stopped_at) == []
    assert lost.code == 1
    assert "this run may have lost lease pool-lost" in lost.answer["summary"]
    judge(seen, lab, pool)
    assert left(seen, pool) == []


def test_an_api_server_that_is_away_while_a_drain_waits(lab: RolloutLab) -> None:
    pool = lab.pool("away", 2)
    lab.set_budget(pool, 3)
    with Observer(lab.folder) as observer:
        going = lab.start_upgrade(pool, environment=LONG_LEASE)
        first_claimed(observer, pool, "draining")
        lifecycle.let_api_server_be(lab.folder, away=True)
        time.sleep(AWAY_S)  # that it lasts is what is tested
        lifecycle.let_api_server_be(lab.folder, away=False)
        lab.set_budget(pool, 2)
        ended = going.end()
        seen = observer.history()
    assert states(ended) == dict.fromkeys(pool.hosts, "done"), ended.answer["summary"]
    judge(seen, lab, pool)
    assert left(seen, pool) == []


def test_an_api_server_that_is_away_between_two_waves(lab: RolloutLab) -> None:
    pool = lab.pool("between", 2, replicas=0)
    with Observer(lab.folder) as observer:
        going = lab.start_upgrade(pool, environment=LONG_LEASE, soak_s="2")
        first, _ = first_claimed(observer, pool, "changing")
        observer.wait_for("the first is given back", lambda event: given_back(event, first), WAIT_S)
        lifecycle.let_api_server_be(lab.folder, away=True)
        time.sleep(AWAY_S)  # that it lasts is what is tested
        lifecycle.let_api_server_be(lab.folder, away=False)
        ended = going.end()
        seen = observer.history()
    assert states(ended) == dict.fromkeys(pool.hosts, "done"), ended.answer["summary"]
    judge(seen, lab, pool)


def given_back(event: Event, host: str) -> bool:
    """Whether a node has the wanted kubelet and no cordon."""
    if (event.resource, event.key[1]) != ("nodes", host) or event.object is None:
        return False
    kubelet = event.object["status"]["nodeInfo"]["kubeletVersion"]
    return bool(kubelet == WANTED and not event.object["spec"].get("unschedulable"))
