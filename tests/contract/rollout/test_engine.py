"""The engine on a real API server, with changes that take no time: what begins, what does not, and what is left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from poolkeeper.tasks.acceptance.testpod import peer_pod
from poolkeeper.tasks.cluster import ClusterApi, ClusterUnreachable
from poolkeeper.tasks.cluster.claims import (
    Claim,
    ClaimedByOthers,
    Phase,
    claim_node,
    claim_of,
    release_node,
    update_claim,
)
from poolkeeper.tasks.cluster.leases import (
    HeldLease,
    LeaseLost,
    Note,
    acquire_lease,
    hold_lease,
    list_leases,
    release_lease,
)
from poolkeeper.tasks.cluster.nodes import NodeRow, get_node, list_nodes
from poolkeeper.tasks.cluster.pods import pods_on
from poolkeeper.tasks.cluster.stops import Stop, freeze, hold, read_stops, stop_run
from poolkeeper.tasks.fleet.model import Host, Limit, Window
from poolkeeper.tasks.hosts.fence import Fence
from poolkeeper.tasks.outcomes import (
    Change,
    Checked,
    Evidence,
    Finding,
    GateRefused,
    HostOutcome,
    HostState,
    Severity,
    Subject,
)
from poolkeeper.tasks.provider import Provider, ProviderError
from poolkeeper.tasks.rollout import recovery
from poolkeeper.tasks.rollout.between_waves import UNSEEN, BetweenWaves
from poolkeeper.tasks.rollout.goal import Goal, Limits, OnBlocked
from poolkeeper.tasks.rollout.host_runner import HostRunner
from poolkeeper.tasks.rollout.leased_changes import change_under_lease
from poolkeeper.tasks.rollout.live_view import LiveView
from poolkeeper.tasks.rollout.maintenance import HandOver
from poolkeeper.tasks.rollout.plan import PlannedHost
from poolkeeper.tasks.rollout.rollout_state import begun, shared_by, spent_by, with_spent
from poolkeeper.tasks.rollout.run import RolloutRun
from tests.contract.cluster.conftest import DEADLINE_S, SomeoneIsQuicker, admin, api, ca, cluster, embedded
from tests.contract.rollout.instant import Idle, Instant, as_they_begin, carried, half_done, open_run
from tests.unit.onboard.builders import a_host

__all__ = ["admin", "api", "ca", "cluster", "embedded"]

GOAL, ANOTHER = (Goal("upgrade", "general", {"kubernetes": version}) for version in ("v1.36.3", "v1.36.4"))
QUICK = Limits(gate_timeout_s=0.2, headroom_timeout_s=5.0)
WRONG = Finding("x.wrong", Severity.BLOCKER, Subject("host", "n0"), Evidence("wrong", "right", "test"), "Mend it.")


@pytest.fixture
def nodes(embedded: SomeoneIsQuicker) -> Callable[..., list[Host]]:
    """Makes Ready, accepted nodes, and declares their hosts: a pool and one rack."""

    def make(count: int, *, pool: int, rack: int) -> list[Host]:
        embedded.store.create("namespaces", {"metadata": {"name": "poolkeeper"}})
        for n in range(count):
            status = {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.35.4"}}
            metadata = {"name": f"n{n}", "annotations": {"poolkeeper.io/accepted": "{}"}}
            embedded.store.create("nodes", {"metadata": metadata, "status": status})
        settings = {"max_unavailable": Limit(count=pool)}
        hosts = [a_host(f"n{n}", pool=settings, domain="rack") for n in range(count)]
        for host in hosts:
            assert host.domain is not None
            object.__setattr__(host.domain, "max_unavailable", Limit(count=rack))
        return hosts

    return make


async def at_once() -> str:
    """A host may be finished now."""
    return ""


class Seen(LiveView):
    """A live view that tells when so many hosts wait for room."""

    def __init__(self, hosts: int = 1) -> None:
        super().__init__("upgrade", "general", "run-1")
        self.waits, self._missing, self._waiting = asyncio.Event(), hosts, set[str]()

    def show_host(self, host: str, doing: str) -> None:
        super().show_host(host, doing)
        if doing.startswith("waits for headroom"):
            self._waiting.add(host)
        if len(self._waiting) >= self._missing:
            self.waits.set()


async def left(cluster: ClusterApi) -> list[str]:
    """Nodes that have something of ours on them."""
    return [n.name for n in (await list_nodes(cluster)).values() if claim_of(n) is not None or n.unschedulable]


async def test_two_goals_in_turn(cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path) -> None:
    run = await open_run(cluster, nodes(3, pool=1, rack=1), tmp_path)
    guards = list(run.gate.guards)
    for goal in (GOAL, ANOTHER):
        outcomes, halted = await carried(run, goal, QUICK, Instant())
        assert {str(outcome.state) for outcome in outcomes.values()} == {"done"}
        assert (halted, list(run.gate.guards)) == ("", guards)
    assert await left(cluster) == []
    assert {lease.holder for lease in (await list_leases(cluster)).values()} == {""}


class Restarts(Instant):
    """A change that passes the gate."""

    def __init__(self, run: RolloutRun) -> None:
        super().__init__()
        self.gate = run.gate

    async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
        async def restart() -> None:
            self.changed.add(host.name)

        await self.gate.change(Subject("host", host.name), f"restart host {host.name}", restart, if_dry_run=None)
        return ()


class Asked(Idle):
    """Counts how often somebody looks around between waves."""

    def __init__(self) -> None:
        self.times = 0

    async def check_pool(self, pool: object) -> tuple[Checked, ...]:
        self.times += 1
        return ()


async def test_a_dry_run_walks_the_waves_that_the_run_then_does(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    """The same sentences wave by wave, of several hosts at once; nothing is waited for, and nothing written."""
    hosts, sentences, asked = nodes(7, pool=3, rack=3), dict[bool, list[str]](), dict[bool, int]()
    await stop_run(
        cluster, "dry", Stop("joe", "2026-11-24T12:00:00+00:00", "a stop that is not this dry run's to use up")
    )
    for dry_run, name in ((True, "dry"), (False, "real")):
        run = await open_run(cluster, hosts, tmp_path, name, dry_run=dry_run)
        run.provider = cast(Provider, asks := Asked())
        limits = replace(QUICK, soak_s=3600.0 if dry_run else 0.01, gate_timeout_s=5.0)
        async with asyncio.timeout(DEADLINE_S):
            outcomes, halted = await carried(run, GOAL, limits, Restarts(run))
        assert {str(outcome.state) for outcome in outcomes.values()} == {"planned" if dry_run else "done"}
        assert halted == ""
        sentences[dry_run], asked[dry_run] = run.gate.sentences, asks.times
        assert "dry" in (await read_stops(cluster)).runs
    assert asked == {True: 0, False: 3}
    for wave in (["n0"], ["n1", "n2"], ["n3", "n4", "n5", "n6"]):
        of_wave = 5 * len(wave)
        planned, made = (sentences[mode][:of_wave] for mode in (True, False))
        assert len(planned) == len(made) == of_wave
        for host in wave:
            mine = [[one for one in told if host in one.replace(":", " ").split()] for told in (planned, made)]
            assert mine[0] == mine[1]
            assert len(mine[0]) == 5
        sentences = {mode: told[of_wave:] for mode, told in sentences.items()}
    assert sentences == {True: [], False: []}


async def test_a_dry_run_says_what_would_stop_the_run_and_shows_the_other_hosts_all_the_same(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    hosts = nodes(3, pool=1, rack=1)
    run = await open_run(cluster, hosts, tmp_path)
    assessed = await run.assess(["n0"], GOAL, QUICK, Instant())
    plan = run.plan(GOAL, QUICK, assessed.values(), await run.forecast_drains(assessed.values(), QUICK))
    async with run.pool_lease(plan) as lease:  # a run that spends its budget, and is killed
        await lease.change(lambda note: with_spent(note, GOAL.id, "n0", "it failed"))
    rehearsal = await open_run(cluster, hosts, tmp_path, "dry", dry_run=True)
    outcomes, halted = await carried(rehearsal, GOAL, QUICK, Restarts(rehearsal))
    assert halted == "the failure budget of 1 is spent: n0"
    assert {name: str(outcome.state) for name, outcome in outcomes.items()} == dict.fromkeys(
        ("n0", "n1", "n2"), "planned"
    )


async def test_what_preparation_warns_of_is_in_the_hosts_outcome(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    """It does not keep the host from its change; a blocker does."""
    warning = replace(WRONG, severity=Severity.WARNING)

    class Warns(Instant):
        async def prepare(self, host: Host) -> tuple[Finding, ...]:
            return (warning,) if host.name == "n0" else (warning, WRONG)

    run, work = await open_run(cluster, nodes(2, pool=2, rack=2), tmp_path), Warns()
    assessed = await run.assess(["n0", "n1"], GOAL, QUICK, work)
    plan = run.plan(GOAL, QUICK, assessed.values(), await run.forecast_drains(assessed.values(), QUICK))
    async with run.pool_lease(plan) as lease:
        (excluded,) = await run.prepare(plan, work, lease)
        runner = run.host_runner(GOAL, QUICK, work, lease)
        (outcome,), _ = await run.run_waves(plan.without({"n1"}), lease, lambda one: runner.run_host(one.host))
    assert (str(outcome.state), outcome.findings, work.changed) == ("done", (warning,), {"n0"})
    assert (str(excluded.state), excluded.findings) == ("stopped", (WRONG, warning))


class FailsOnce(Instant):
    """Changes nothing on n0, once someone else waits for headroom."""

    def __init__(self, live: Seen) -> None:
        super().__init__()
        self.live, self.began = live, asyncio.Event()

    async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
        if host.name != "n0":
            return await super().change(host, node, fence)
        self.began.set()
        await self.live.waits.wait()
        return (WRONG,)


async def test_a_host_that_waits_for_room_begins_nothing_after_a_halt(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    """Two in one wave, and one rack: the first fails while the other waits, and then room comes by a person's hand."""
    hosts = nodes(2, pool=2, rack=1)
    run = await open_run(cluster, hosts, tmp_path)
    run.live = live = Seen()

    def uncordoned(node: dict[str, Any]) -> dict[str, Any]:
        metadata = {**node["metadata"], "annotations": {"poolkeeper.io/accepted": "{}"}}
        return {**node, "metadata": metadata, "spec": {}}

    work = FailsOnce(live)
    assessed = await run.assess(["n0", "n1"], GOAL, QUICK, work)
    plan = run.plan(GOAL, QUICK, assessed.values(), await run.forecast_drains(assessed.values(), QUICK))
    plan = replace(plan, hosts=tuple(replace(planned, wave=1) for planned in plan.hosts))
    async with asyncio.timeout(DEADLINE_S), run.pool_lease(plan) as lease:
        runner = run.host_runner(GOAL, QUICK, work, lease)

        async def run_host(one: PlannedHost) -> HostOutcome:
            if one.host.name != "n0":
                await work.began.wait()
            outcome = await runner.run_host(one.host)
            if outcome.state is HostState.FAILED:
                asyncio.get_running_loop().call_soon(embedded.store.modify, "nodes", "n0", "", uncordoned)
            return outcome

        outcomes, halted = await run.run_waves(plan, lease, run_host)
    assert {outcome.name: str(outcome.state) for outcome in outcomes} == {"n0": "failed", "n1": "postponed"}
    assert "budget" in halted
    assert await left(cluster) == []


async def test_a_node_that_is_lost_while_it_waits_is_not_taken(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    hosts = nodes(2, pool=1, rack=1)
    embedded.store.modify("nodes", "n0", "", lambda node: {**node, "spec": {"unschedulable": True}})  # a person's
    run = await open_run(cluster, hosts, tmp_path)
    run.live = live = Seen()

    async def lose() -> None:
        await live.waits.wait()
        status = {"conditions": [{"type": "Ready", "status": "Unknown", "message": "no word"}]}
        embedded.store.modify("nodes", "n1", "", lambda node: {**node, "status": status}, subresource="status")

    async with asyncio.timeout(DEADLINE_S):
        losing = asyncio.create_task(lose())
        outcomes, _ = await carried(run, GOAL, QUICK, Instant())
        await losing
    assert [finding.id for finding in outcomes["n1"].findings] == ["rollout.node.not-ready"]
    node = await get_node(cluster, "n1")
    assert node is not None
    assert (node.unschedulable, claim_of(node)) == (False, None)


async def test_what_was_spent_survives_another_goal_in_between(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    hosts = nodes(1, pool=1, rack=1)
    live = Seen()
    live.waits.set()
    first = await open_run(cluster, hosts, tmp_path)
    assessed = await first.assess(["n0"], GOAL, QUICK, Instant())
    plan = first.plan(GOAL, QUICK, assessed.values(), await first.forecast_drains(assessed.values(), QUICK))
    async with first.pool_lease(plan) as lease:  # and killed, as far as its end is not known
        runner = first.host_runner(GOAL, QUICK, FailsOnce(live), lease)
        await first.run_waves(plan, lease, lambda one: runner.run_host(one.host))
        first.may_continue = True
    second = await open_run(cluster, hosts, tmp_path, "run-2")
    await carried(second, Goal("maintain", "general"), QUICK, Instant())
    note = (await list_leases(cluster))["pool-general"].note
    assert list(spent_by(note, GOAL.id)) == ["n0"]


async def test_only_what_is_still_being_drained_is_given_back_as_such(
    cluster: ClusterApi, nodes: Callable[..., list[Host]]
) -> None:
    nodes(1, pool=1, rack=1)
    claim = Claim(GOAL.id, "upgrade", GOAL.wanted, "run-0", 1, Phase.DRAINING, "2026-11-24T12:00:00+00:00")
    await claim_node(cluster, "n0", claim)
    await update_claim(cluster, "n0", replace(claim, phase=Phase.WITH_A_PERSON))
    with pytest.raises(ClaimedByOthers, match="is in phase with a person now, and no longer in phase draining"):
        await release_node(cluster, "n0", claim, Phase.DRAINING)
    assert await left(cluster) == ["n0"]
    await release_node(cluster, "n0", claim)
    assert await left(cluster) == []


async def test_however_many_wait_for_the_same_room_one_watches_for_it(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    """And those that need another room do not wait behind them: the rack that a person has cordoned is emptied."""
    hosts = nodes(7, pool=6, rack=2)
    for name in ("n0", "n1"):
        embedded.store.modify("nodes", name, "", lambda node: {**node, "spec": {"unschedulable": True}})
    run = await open_run(cluster, hosts, tmp_path)
    run.live = live = Seen(hosts=5)
    limits, work = replace(QUICK, works_on_cordoned=True, headroom_timeout_s=DEADLINE_S), Instant()
    assessed = await run.assess([host.name for host in hosts if host.name != "n0"], GOAL, limits, work)
    plan = run.plan(GOAL, limits, assessed.values(), await run.forecast_drains(assessed.values(), limits))
    plan = replace(plan, hosts=tuple(replace(planned, wave=1) for planned in plan.hosts))

    emptied = asyncio.Event()

    async def uncordon() -> None:
        await live.waits.wait()
        await emptied.wait()
        embedded.store.modify("nodes", "n0", "", lambda node: {**node, "spec": {}})

    async with asyncio.timeout(DEADLINE_S), run.pool_lease(plan) as lease:
        runner = run.host_runner(GOAL, limits, work, lease)

        async def run_host(one: PlannedHost) -> HostOutcome:
            outcome = await runner.run_host(one.host)
            if one.host.name == "n1":
                emptied.set()
            return outcome

        uncordoning = asyncio.create_task(uncordon())
        outcomes, _ = await run.run_waves(plan, lease, run_host)
        await uncordoning
    assert {str(outcome.state) for outcome in outcomes} == {"done"}
    assert embedded.most_watches["/api/v1/nodes"] == 1


async def test_a_host_that_is_drained_when_the_budget_is_spent_is_given_back(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    """Nothing was changed on it yet: what has just failed elsewhere is not done to it as well."""
    hosts = nodes(2, pool=2, rack=2)
    put_pod(embedded, "web", "n1", "finalizer")  # its drain ends when the finalizer is taken off
    run = await open_run(cluster, hosts, tmp_path)
    live = Seen()
    live.waits.set()
    work, drained = FailsOnce(live), asyncio.Event()
    assessed = await run.assess(["n0", "n1"], GOAL, QUICK, work)
    plan = run.plan(GOAL, QUICK, assessed.values(), await run.forecast_drains(assessed.values(), QUICK))
    plan = replace(plan, hosts=tuple(replace(planned, wave=1) for planned in plan.hosts))

    def told(change: Change) -> None:
        if change.sentence.startswith("evict pod shop/web"):
            drained.set()

    run.gate.on_change = as_they_begin(told)
    async with asyncio.timeout(DEADLINE_S), run.pool_lease(plan) as lease:
        runner = run.host_runner(GOAL, QUICK, work, lease)

        async def run_host(one: PlannedHost) -> HostOutcome:
            if one.host.name == "n0":
                await drained.wait()
            outcome = await runner.run_host(one.host)
            if one.host.name == "n0":
                asyncio.get_running_loop().call_soon(
                    embedded.store.modify,
                    "pods",
                    "web",
                    "shop",
                    lambda pod: {**pod, "metadata": {**pod["metadata"], "finalizers": []}},
                )
            return outcome

        outcomes, _ = await run.run_waves(plan, lease, run_host)
    assert {outcome.name: str(outcome.state) for outcome in outcomes} == {"n0": "failed", "n1": "postponed"}
    assert work.changed == set()
    assert await left(cluster) == ["n0"]


class HeldAtOnce(Instant):
    """Goes wrong, and whoever sees that holds the node or freezes the cluster."""

    def __init__(self, word: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self.word = word

    async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
        await self.word()
        return (WRONG,)


@pytest.mark.parametrize("word", ["hold", "freeze"])
async def test_what_failed_is_told_and_counts_though_it_is_held_by_then(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path, word: str
) -> None:
    stop = Stop("joe", "2026-11-24T12:00:00+00:00", "it breaks")

    async def instruct() -> None:
        await (hold(cluster, "n0", stop) if word == "hold" else freeze(cluster, stop))

    run = await open_run(cluster, nodes(2, pool=1, rack=1), tmp_path)
    outcomes, halted = await carried(run, GOAL, QUICK, HeldAtOnce(instruct))
    assert {name: str(outcome.state) for name, outcome in outcomes.items()} == {"n0": "failed", "n1": "postponed"}
    assert [finding.id for finding in outcomes["n0"].findings] == [WRONG.id]
    assert "budget" in halted


async def test_outside_waves_nothing_new_is_begun(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    """As when someone releases a node that `recover` was about to finish."""
    run = await open_run(cluster, nodes(1, pool=1, rack=1), tmp_path)
    work = Instant()
    async with run.recovery_lease() as lease:
        outcome = await run.host_runner(GOAL, QUICK, work, lease).run_host(run.hosts["n0"])
    assert (str(outcome.state), outcome.summary, work.changed) == (
        "postponed",
        "recovery starts nothing new",
        set(),
    )
    assert await left(cluster) == []


async def test_a_node_that_a_person_has_stays_theirs_when_it_is_asked_for_again(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    """And its drain is blocked, by the pod that they debug it with."""
    hosts, goal = nodes(1, pool=1, rack=1), Goal("maintain", "general")
    outcomes, _ = await carried(await open_run(cluster, hosts, tmp_path), goal, QUICK, HandOver())
    assert str(outcomes["n0"].state) == "handed over"
    put_pod(embedded, "debugger", "n0", "no owner")
    outcomes, _ = await carried(await open_run(cluster, hosts, tmp_path, "run-2"), goal, QUICK, HandOver())
    assert str(outcomes["n0"].state) == "blocked"
    node = await get_node(cluster, "n0")
    assert node is not None
    assert (node.unschedulable, [m.phase for m in (claim_of(node),) if m]) == (True, [Phase.WITH_A_PERSON])


async def test_a_stop_that_comes_with_the_last_host_counts_for_the_next_goal(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    run = await open_run(cluster, nodes(1, pool=1, rack=1), tmp_path)

    class StoppedMeanwhile(Instant):
        async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
            await stop_run(cluster, "run-1", Stop("joe", "2026-11-24T12:00:00+00:00", "enough"))
            return await super().change(host, node, fence)

    outcomes, halted = await carried(run, GOAL, QUICK, StoppedMeanwhile())
    assert (str(outcomes["n0"].state), halted) == ("done", "stopped by joe since 2026-11-24T12:00:00+00:00: enough")
    assert (await read_stops(cluster)).runs == {}


async def test_a_second_goal_that_breaks_off_keeps_what_it_has_spent(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    run = await open_run(cluster, nodes(1, pool=1, rack=1), tmp_path)
    await carried(run, GOAL, QUICK, Instant())
    run.live.close("ended")
    assessed = await run.assess(["n0"], ANOTHER, QUICK, Instant())
    plan = run.plan(ANOTHER, QUICK, assessed.values(), await run.forecast_drains(assessed.values(), QUICK))
    assert "poolkeeper stop run-1" in run.live.text()

    async def break_off() -> None:
        async with run.pool_lease(plan) as lease:
            await lease.change(lambda note: with_spent(note, ANOTHER.id, "n0", "not proven"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await break_off()
    assert spent_by((await list_leases(cluster))["pool-general"].note, ANOTHER.id) == {"n0": "not proven"}


async def test_a_host_that_cannot_be_prepared_costs_the_others_nothing(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    class AwayOnce(Instant):
        async def prepare(self, host: Host) -> tuple[Finding, ...]:
            if host.name == "n0":
                raise ClusterUnreachable("the API server does not answer")
            return ()

    run = await open_run(cluster, nodes(2, pool=1, rack=1), tmp_path)
    work = AwayOnce()
    assessed = await run.assess(["n0", "n1"], GOAL, QUICK, work)
    plan = run.plan(GOAL, QUICK, assessed.values(), await run.forecast_drains(assessed.values(), QUICK))
    async with run.pool_lease(plan) as lease:
        (unfit,) = await run.prepare(plan, work, lease)
    assert (unfit.name, str(unfit.state), unfit.findings[0].id) == ("n0", "stopped", "rollout.not-prepared")


async def test_a_host_that_the_provider_does_not_tell_of_costs_the_others_nothing(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    class NotTold(Instant):
        async def at_goal(self, host: Host, node: NodeRow | None) -> bool:
            if host.name == "n0":
                raise ProviderError("too many requests")
            return await super().at_goal(host, node)

    run = await open_run(cluster, nodes(2, pool=1, rack=1), tmp_path)
    assessed = await run.assess(["n0", "n1"], GOAL, QUICK, NotTold())
    assert {name: str(one.action.step) for name, one in assessed.items()} == {"n0": "skip", "n1": "claim"}
    finding = assessed["n0"].action.finding
    assert finding is not None
    assert (finding.id, finding.evidence.observed) == ("rollout.provider.no-answer", "too many requests")


async def test_where_the_provider_takes_one_after_the_other_no_second_one_is_drained(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    class OneByOne(Instant):
        one_by_one = True

        async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
            assert await left(cluster) == [host.name]
            return await super().change(host, node, fence)

    run = await open_run(cluster, nodes(4, pool=3, rack=3), tmp_path)
    outcomes, _ = await carried(run, GOAL, QUICK, OneByOne())
    assert {str(outcome.state) for outcome in outcomes.values()} == {"done"}


async def test_a_test_pod_of_ours_blocks_no_drain(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    """An audit chose the node before the rollout took it."""
    hosts = nodes(1, pool=1, rack=1)
    pod = peer_pod("n0", "n0", "busybox", "127.0.0.1")
    pod["spec"]["terminationGracePeriodSeconds"] = 0
    embedded.store.create("pods", pod)
    outcomes, _ = await carried(await open_run(cluster, hosts, tmp_path), GOAL, QUICK, Instant())
    assert str(outcomes["n0"].state) == "done"
    assert await pods_on(cluster, "n0") == ()


async def test_a_node_that_recovery_may_not_give_back_is_told_as_refused(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    hosts = nodes(1, pool=1, rack=1)
    await half_done(cluster, GOAL, "n0", Phase.DRAINING)
    await hold(cluster, "n0", Stop("joe", "2026-11-24T12:00:00+00:00", "mine"))
    run = await open_run(cluster, hosts, tmp_path, "run-2")
    (found,) = await run.leftovers({"upgrade": False})
    async with run.recovery_lease() as lease:
        runner = run.host_runner(found.goal, QUICK, Instant(), lease)
        outcome = await recovery.recover(found, runner, lease, lambda one: runner.run_host(one.host), at_once)
    assert (str(outcome.state), outcome.summary) == ("refused", "nothing on it was changed; not returned to service")
    assert await left(cluster) == ["n0"]


async def test_what_hosts_share_is_kept_while_one_is_half_changed(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    """The cluster is frozen in mid-change: whoever finishes the host gives it the version that the others have."""

    class Shares(Instant):
        async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
            await freeze(cluster, Stop("joe", "2026-11-24T12:00:00+00:00", "wait"))
            await run.gate.change(Subject("host", host.name), "go on", nothing, if_dry_run=None)
            return ()

        def remembered(self) -> dict[str, Any]:
            return {"kubernetes": "1.36.3"}

    async def nothing() -> None:
        return

    run = await open_run(cluster, nodes(1, pool=1, rack=1), tmp_path)
    work = Shares()
    assessed = await run.assess(["n0"], GOAL, QUICK, work)
    plan = run.plan(GOAL, QUICK, assessed.values(), await run.forecast_drains(assessed.values(), QUICK))
    async with run.pool_lease(plan) as lease:
        await run.prepare(plan, work, lease)
        runner = run.host_runner(GOAL, QUICK, work, lease)
        outcomes, _ = await run.run_waves(plan, lease, lambda one: runner.run_host(one.host))
    assert [str(outcome.state) for outcome in outcomes] == ["refused"]
    note = (await list_leases(cluster))["pool-general"].note
    assert shared_by(note, GOAL.id) == {"kubernetes": "1.36.3"}


async def test_a_full_disk_costs_the_other_hosts_nothing(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    run = await open_run(cluster, nodes(1, pool=1, rack=1), tmp_path)
    (tmp_path / "spool").write_text("no folder can be made here")
    outcome = run.aborted(run.hosts["n0"], OSError(28, "No space left on device"))
    assert (str(outcome.state), outcome.findings[0].id) == ("failed", "rollout.aborted")


class Watched(Instant):
    """Remembers which pods were on a node when it was changed."""

    def __init__(self, cluster: ClusterApi) -> None:
        super().__init__()
        self.cluster, self.under = cluster, dict[str, list[str]]()

    async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
        self.under[host.name] = [pod.name for pod in await pods_on(self.cluster, host.node_name)]
        return await super().change(host, node, fence)


def put_pod(embedded: SomeoneIsQuicker, name: str, node: str, kind: str = "") -> None:
    """A pod that goes at once when it is evicted, unless it has `no owner` or a `finalizer`; or has `local data`."""
    store = embedded.store
    if store.find("namespaces", "shop") is None:
        store.create("namespaces", {"metadata": {"name": "shop"}})
        store.create("configmaps", {"metadata": {"name": "owner", "namespace": "shop"}})
    owner = store.get("configmaps", "owner", "shop")["metadata"]
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "controller": True,
        "name": owner["name"],
        "uid": owner["uid"],
    }
    container = {"name": "c", "image": "i"}
    spec: dict[str, Any] = {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container]}
    metadata: dict[str, Any] = {"name": name, "namespace": "shop"}
    if kind != "no owner":
        metadata["ownerReferences"] = [reference]
    if kind == "finalizer":
        metadata["finalizers"] = ["example.com/wait"]
    if kind == "local data":
        spec["volumes"] = [{"name": "data", "emptyDir": {}}]
    store.create("pods", {"metadata": metadata, "spec": spec})


@pytest.mark.parametrize("phase", [Phase.CHANGING, Phase.FAILED])
async def test_what_came_while_a_node_was_uncordoned_is_drained_before_it_is_changed(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Callable[..., list[Host]], tmp_path: Path, phase: Phase
) -> None:
    """Half changed or failed, uncordoned for its capacity, and cordoned again by hand."""
    hosts = nodes(1, pool=1, rack=1)
    await half_done(cluster, GOAL, "n0", phase)
    put_pod(embedded, "web", "n0")
    work = Watched(cluster)
    outcomes, _ = await carried(await open_run(cluster, hosts, tmp_path), GOAL, QUICK, work)
    assert (str(outcomes["n0"].state), work.under) == ("done", {"n0": []})
    assert await left(cluster) == []


async def test_a_half_changed_node_whose_drain_is_blocked_is_kept_as_it_is(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    hosts = nodes(1, pool=1, rack=1)
    await half_done(cluster, GOAL, "n0", Phase.CHANGING)
    put_pod(embedded, "web", "n0", "no owner")
    work = Watched(cluster)
    outcomes, _ = await carried(await open_run(cluster, hosts, tmp_path), GOAL, QUICK, work)
    assert (str(outcomes["n0"].state), work.under) == ("blocked", {})
    assert outcomes["n0"].summary.endswith("; not returned to service")
    assert [f.id for f in outcomes["n0"].findings] == ["rollout.drain.blocked", "rollout.node.not-returned"]
    node = await get_node(cluster, "n0")
    assert node is not None
    assert (node.unschedulable, [m.phase for m in (claim_of(node),) if m]) == (True, [Phase.CHANGING])


async def test_a_node_that_someone_uncordons_before_its_change_is_given_back(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    hosts = nodes(1, pool=1, rack=1)
    run = await open_run(cluster, hosts, tmp_path)

    def told(change: Change) -> None:
        if change.sentence == "record phase changing on node n0":
            embedded.store.modify("nodes", "n0", "", lambda node: {**node, "spec": {}})

    run.gate.on_change = as_they_begin(told)
    work = Watched(cluster)
    outcomes, _ = await carried(run, GOAL, QUICK, work)
    assert (str(outcomes["n0"].state), work.under) == ("stopped", {})
    assert [finding.id for finding in outcomes["n0"].findings] == ["rollout.node.uncordoned"]
    node = await get_node(cluster, "n0")
    assert node is not None
    assert [name for name in node.annotations if name != "poolkeeper.io/accepted"] == []
    assert not node.unschedulable


async def test_a_node_whose_drain_is_blocked_is_given_back_and_that_is_said(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    hosts = nodes(1, pool=1, rack=1)
    put_pod(embedded, "web", "n0", "no owner")
    outcomes, _ = await carried(await open_run(cluster, hosts, tmp_path), GOAL, QUICK, Instant())
    reason = "it has no controller: nothing would bring it back"
    assert outcomes["n0"].summary == f"its drain was blocked: shop/web: {reason}; returned to service"
    assert await left(cluster) == []


@pytest.mark.parametrize(
    ("on_blocked", "second"),
    [
        pytest.param(OnBlocked.STOP, "postponed", id="stop"),
        pytest.param(OnBlocked.SKIP, "done", id="skip"),
    ],
)
async def test_a_drain_that_a_webhook_denies_to_the_end_is_blocked_and_costs_no_budget(
    cluster: ClusterApi,
    embedded: SomeoneIsQuicker,
    nodes: Callable[..., list[Host]],
    tmp_path: Path,
    on_blocked: OnBlocked,
    second: str,
) -> None:
    hosts = nodes(2, pool=1, rack=1)
    put_pod(embedded, "leader", "n0")
    put_pod(embedded, "web", "n1")
    embedded.denies = lambda method, path: "move the leader away first" if path.endswith("/leader/eviction") else ""
    limits = replace(QUICK, drain_timeout_s=0.5, on_blocked=on_blocked)
    outcomes, _ = await carried(await open_run(cluster, hosts, tmp_path), GOAL, limits, Instant())
    assert {name: str(outcome.state) for name, outcome in outcomes.items()} == {"n0": "blocked", "n1": second}
    why = 'admission webhook "guard.example.com" denied the request: move the leader away first'
    assert outcomes["n0"].summary == f"its drain was blocked: shop/leader: {why}; returned to service"
    assert await left(cluster) == []
    assert [pod.name for pod in await pods_on(cluster, "n0")] == ["leader"]


async def test_a_webhook_that_says_not_now_is_asked_again_until_it_lets_go(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    hosts, asked = nodes(1, pool=1, rack=1), list[str]()
    put_pod(embedded, "leader", "n0")

    def not_at_once(method: str, path: str) -> str:
        if path.endswith("/eviction"):
            asked.append(path)
        return "move the leader away first" if len(asked) == 1 and path.endswith("/eviction") else ""

    embedded.denies = not_at_once
    outcomes, _ = await carried(await open_run(cluster, hosts, tmp_path), GOAL, QUICK, Instant())
    assert (str(outcomes["n0"].state), len(asked)) == ("done", 2)


@pytest.mark.parametrize("denied", [1, 2, 3], ids=["cordon", "draining", "changing"])
async def test_a_node_whose_claims_a_webhook_denies_is_given_back_unchanged(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Callable[..., list[Host]], tmp_path: Path, denied: int
) -> None:
    """The first patch of the Node cordons it, the second and the third tell how far it has come."""
    hosts, work, patches = nodes(1, pool=1, rack=1), Instant(), list[str]()

    def not_that_one(method: str, path: str) -> str:
        if (method, path) != ("PATCH", "/api/v1/nodes/n0"):
            return ""
        patches.append(path)
        return "not tonight" if len(patches) == denied else ""

    embedded.denies = not_that_one
    outcomes, _ = await carried(await open_run(cluster, hosts, tmp_path), GOAL, QUICK, work)
    assert (str(outcomes["n0"].state), work.changed) == ("blocked", set())
    assert 'admission webhook "guard.example.com" denied the request: not tonight' in outcomes["n0"].summary
    assert await left(cluster) == []


@pytest.mark.parametrize(
    ("allowed", "state"),
    [
        pytest.param({}, "blocked", id="not allowed"),
        pytest.param({"on_blocked": OnBlocked.FORCE}, "blocked", id="forced, which asks no budgets"),
        pytest.param({"delete_emptydir_data": True}, "done", id="allowed"),
    ],
)
async def test_data_in_an_emptydir_is_lost_only_where_that_is_allowed(
    cluster: ClusterApi,
    embedded: SomeoneIsQuicker,
    nodes: Callable[..., list[Host]],
    tmp_path: Path,
    allowed: dict[str, Any],
    state: str,
) -> None:
    hosts = nodes(1, pool=1, rack=1)
    put_pod(embedded, "web", "n0", "local data")
    work, limits = Watched(cluster), replace(QUICK, **allowed)
    outcomes, _ = await carried(await open_run(cluster, hosts, tmp_path), GOAL, limits, work)
    there = [pod.name for pod in await pods_on(cluster, "n0")]
    assert (str(outcomes["n0"].state), there) == (state, ["web"] if state == "blocked" else [])
    if state == "blocked":
        reason = "the data in its emptyDir would be lost (delete_emptydir_data allows that)"
        assert outcomes["n0"].summary == f"its drain was blocked: shop/web: {reason}; returned to service"
        assert work.under == {}
    assert await left(cluster) == []


async def test_no_node_is_cordoned_while_someone_else_counts_in_its_domain(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    """Domains cross pools: the count of another pool's rollout is not in the Nodes yet."""
    run, limits = await open_run(cluster, nodes(1, pool=1, rack=1), tmp_path), replace(QUICK, headroom_timeout_s=1.0)
    async with hold_lease(cluster, "domain-rack", "another-run"):
        outcomes, _ = await carried(run, GOAL, limits, Instant())
        assert (str(outcomes["n0"].state), await left(cluster)) == ("postponed", [])
    assert outcomes["n0"].summary == "no headroom within 1 s: another run holds the domain's lease"


async def test_a_stop_that_comes_during_a_drain_ends_it(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    """It is heard before the next eviction, and the node is given back."""
    hosts = nodes(1, pool=1, rack=1)
    for name in ("web-1", "web-2", "web-3"):
        put_pod(embedded, name, "n0")
    run, evicted = await open_run(cluster, hosts, tmp_path), list[str]()
    stop = {"by": "joe", "since": "2026-11-24T12:00:00+00:00", "reason": "enough"}

    def told(change: Change) -> None:
        if change.sentence.startswith("evict pod"):
            evicted.append(change.sentence)
        if len(evicted) == 1 and embedded.store.find("configmaps", "stops", "poolkeeper") is None:
            metadata = {"name": "stops", "namespace": "poolkeeper"}
            embedded.store.create("configmaps", {"metadata": metadata, "data": {"stop.run-1": json.dumps(stop)}})

    run.gate.on_change = as_they_begin(told)
    work = Watched(cluster)
    outcomes, halted = await carried(run, GOAL, QUICK, work)
    assert (str(outcomes["n0"].state), work.under) == ("postponed", {})
    assert (len(evicted), len(await pods_on(cluster, "n0"))) == (1, 2)
    assert "enough" in halted
    assert await left(cluster) == []


def runner_of(run: RolloutRun, lease: HeldLease, limits: Limits) -> HostRunner:
    """Runs hosts under a lease that nobody renews, and that the gate does not ask for."""
    return HostRunner(
        api=run.api,
        gate=run.gate,
        recorder=run.recorder,
        lease=lease,
        goal=GOAL,
        limits=limits,
        work=Instant(),
        declared=tuple(run.hosts.values()),
        members=(),
        live=run.live,
        may_start=lambda host: "",
        stopped=run.stopped,
        halted=lambda: "",
        records=run,
        prove_works=run.prove_works,
    )


async def test_no_node_is_cordoned_on_a_count_that_may_not_hold_any_more(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    """The domain's lease lasts as long as the pool's: here no longer than one request may take."""
    run, limits = await open_run(cluster, nodes(1, pool=1, rack=1), tmp_path), replace(QUICK, headroom_timeout_s=1.0)
    short_s = int(cluster.timeout_s) - 1

    def note(before: Note) -> Note:
        return begun(before, GOAL, {}, datetime.now(UTC))

    async with hold_lease(cluster, "pool-general", run.holder, duration_s=short_s, note=note) as lease:
        outcome = await runner_of(run, lease, limits).run_host(run.hosts["n0"])
    assert (str(outcome.state), await left(cluster)) == ("postponed", [])


async def test_no_change_is_waited_for_longer_than_the_lease_lasts(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    run = await open_run(cluster, nodes(1, pool=1, rack=1), tmp_path)
    lease = await acquire_lease(cluster, "pool-general", run.holder, duration_s=1)  # and not renewed
    here = Subject("node", "n0")
    async with asyncio.timeout(5):
        with pytest.raises(ClusterUnreachable, match="to wait for ever took longer than the lease lasts"):
            await change_under_lease(run.gate, lease, here, "wait for ever", asyncio.Event().wait, if_dry_run=True)
    assert lease.remaining_s == 0


async def test_a_rollout_that_has_lost_its_lease_changes_nothing(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    run = await open_run(cluster, nodes(1, pool=1, rack=1), tmp_path)
    assessed = await run.assess(["n0"], GOAL, QUICK, Instant())
    plan = run.plan(GOAL, QUICK, assessed.values(), await run.forecast_drains(assessed.values(), QUICK))

    async def never_made() -> None:
        raise AssertionError("it was made")

    async with run.pool_lease(plan) as lease:
        await release_lease(cluster, lease.name)  # a person's order
        with pytest.raises(LeaseLost):
            await lease.renew()
        with pytest.raises(GateRefused) as refused:
            await run.gate.change(Subject("node", "n0"), "cordon node n0", never_made, if_dry_run=None)
    assert refused.value.refusal.guard == "lease"
    assert "was taken over" in refused.value.refusal.reason


async def test_a_dry_run_tells_each_eviction_and_waits_for_none(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    """One of the pods is ending, and a finalizer holds it for ever."""
    (host,) = nodes(1, pool=1, rack=1)
    put_pod(embedded, "web", "n0")
    put_pod(embedded, "stuck", "n0", "finalizer")
    await cluster.request("DELETE", "/api/v1/namespaces/shop/pods/stuck")
    run, limits = await open_run(cluster, [host], tmp_path), replace(QUICK, drain_timeout_s=600)
    run.gate.dry_run = True
    assessed = await run.assess(["n0"], GOAL, limits, Instant())
    plan = run.plan(GOAL, limits, assessed.values(), await run.forecast_drains(assessed.values(), limits))
    async with asyncio.timeout(DEADLINE_S), run.pool_lease(plan) as lease:
        outcome = await run.host_runner(GOAL, limits, Instant(), lease).run_host(host)
    assert str(outcome.state) == "planned"
    assert run.gate.sentences == [
        "cordon node n0",
        "record phase draining on node n0",
        "evict pod shop/web from node n0",
        "record phase changing on node n0",
        "release node n0: remove our claim and our cordon",
    ]
    assert (await left(cluster), await list_leases(cluster)) == ([], {})


@pytest.mark.parametrize("work", [HandOver, Instant], ids=["hand over", "change"])
async def test_a_dry_run_says_what_would_be_and_never_that_it_was(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path, work: Callable[[], Any], said: list[str]
) -> None:
    """A person may pull the plug of a host that is told to be handed over."""
    (host,) = nodes(1, pool=1, rack=1)
    run = await open_run(cluster, [host], tmp_path)
    run.gate.dry_run = True
    assessed = await run.assess(["n0"], GOAL, QUICK, work())
    plan = run.plan(GOAL, QUICK, assessed.values(), await run.forecast_drains(assessed.values(), QUICK))
    async with run.pool_lease(plan) as lease:
        outcome = await run.host_runner(GOAL, QUICK, work(), lease).run_host(host)
    assert (outcome.state, outcome.summary.split()[:2]) == (HostState.PLANNED, ["would", "be"])
    told = [line for line in (*said, run.live.text()) if "handed over" in line or "returned to service" in line]
    assert [line for line in told if "would be" not in line] == []
    assert told, "it says nothing"


async def test_what_others_bring_about_after_the_lease_is_lost_is_not_told_as_done(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    """A run that wakes up late finds its hosts at the goal, perhaps while another proves them."""
    (host,) = nodes(1, pool=1, rack=1)
    run, work = await open_run(cluster, [host], tmp_path), Instant()
    assessed = await run.assess(["n0"], GOAL, QUICK, work)
    plan = run.plan(GOAL, QUICK, assessed.values(), await run.forecast_drains(assessed.values(), QUICK))
    async with run.pool_lease(plan) as lease:
        runner = run.host_runner(GOAL, QUICK, work, lease)
        await release_lease(cluster, lease.name)
        with pytest.raises(LeaseLost):
            await lease.renew()
        work.changed.add("n0")
        assert await work.at_goal(host, None)
        outcome = await runner.run_host(host)
    assert (outcome.state, [finding.id for finding in outcome.findings]) == (HostState.REFUSED, ["gate.lease"])


async def test_outside_of_its_window_no_node_is_cordoned(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], tmp_path: Path
) -> None:
    (host,) = nodes(1, pool=1, rack=1)
    another_day = Window(
        frozenset({(datetime.now(host.site.time_zone).weekday() + 3) % 7}), time(1), timedelta(hours=4)
    )
    host = replace(host, site=replace(host.site, windows=(another_day,)))
    for limits, ends in ((QUICK, "postponed"), (replace(QUICK, outside_windows=True), "done")):
        outcomes, _ = await carried(await open_run(cluster, [host], tmp_path), GOAL, limits, Instant())
        assert str(outcomes["n0"].state) == ends
        assert ("has no window now" in outcomes["n0"].summary) == (ends != "done")
        assert await left(cluster) == []


class Hanging(Idle):
    """A provider that takes for ever."""

    async def check_pool(self, pool: object) -> tuple[Checked, ...]:
        await asyncio.Event().wait()
        return ()


@pytest.mark.parametrize(("provider", "ids"), [(Idle(), []), (Hanging(), [UNSEEN])], ids=["it answers", "it hangs"])
async def test_what_was_not_seen_in_time_is_no_pass(
    cluster: ClusterApi, nodes: Callable[..., list[Host]], provider: Idle, ids: list[str]
) -> None:
    (host,) = nodes(1, pool=1, rack=1)

    async def never() -> str:
        return ""

    between = BetweenWaves(
        cluster, cast(Provider, provider), host.pool, names={"n0"}, nodes={}, going=(), timeout_s=0.2, stopped=never
    )
    await between.begin()
    assert [finding.id for finding in await between.before()] == ids
