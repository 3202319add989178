"""What is begun, where that stands, and what other people do to a node in between: on a real API server, without hosts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.api import MERGE_PATCH
from poolkeeper.tasks.cluster.claims import Claim, Phase, claim_of, claim_text
from poolkeeper.tasks.cluster.leases import HeldLease, LeaseLost, LeaseRow, Note, get_lease, hold_lease, list_leases
from poolkeeper.tasks.cluster.nodes import PATH, NodeRow, get_node, list_nodes
from poolkeeper.tasks.cluster.pods import pods_on
from poolkeeper.tasks.fleet.model import Host, Window
from poolkeeper.tasks.hosts import HostError
from poolkeeper.tasks.hosts.fence import Fence, HostIntent
from poolkeeper.tasks.outcomes import Change, ChangeRecord, Finding, HostOutcome, Known, Observed, Unknown
from poolkeeper.tasks.rollout import recovery
from poolkeeper.tasks.rollout.goal import Goal, OnBlocked
from poolkeeper.tasks.rollout.maintenance import HandOver
from poolkeeper.tasks.rollout.plan import PlannedHost
from poolkeeper.tasks.rollout.remedies import Found
from poolkeeper.tasks.rollout.rollout_state import Intent, intent_for, intents_by, spent_by
from tests.contract.cluster.conftest import DEADLINE_S, SomeoneIsQuicker, admin, api, ca, cluster, embedded
from tests.contract.rollout.instant import Instant, WithoutHosts, as_they_begin, carried, half_done, open_run
from tests.contract.rollout.test_engine import GOAL, QUICK, WRONG, left, nodes, put_pod
from tests.logs import logged

__all__ = ["admin", "api", "ca", "cluster", "embedded", "nodes"]

Nodes = Callable[..., list[Host]]
NOTHING_CHANGED: list[str] = []


class Watched(Instant):
    """Knows which hosts it was asked to change, and for what."""

    def __init__(self) -> None:
        super().__init__()
        self.fences = dict[str, Fence]()

    async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
        self.fences[host.name] = fence
        return await super().change(host, node, fence)


class Hosts(WithoutHosts):
    """Hosts that keep for what they were changed."""

    begun: dict[str, HostIntent]

    async def begun_on(self, host: Host) -> Observed[HostIntent | None]:
        return Known(self.begun.get(host.name), datetime.now(UTC))

    async def forget(self, host: Host, rollout: str) -> None:
        if host.name in self.begun and self.begun[host.name].rollout == rollout:
            del self.begun[host.name]


async def recovered(run: WithoutHosts, work: Instant) -> dict[str, HostOutcome]:
    """What `recover` makes of the pool, as the flow does it."""

    async def recover_host(one: Found, lease: HeldLease) -> HostOutcome:
        runner = run.host_runner(one.goal, QUICK, work, lease)

        async def run_host(planned: PlannedHost) -> HostOutcome:
            return await runner.run_host(planned.host)

        return await recovery.recover(one, runner, lease, run_host, partial(run.postponed, one.host))

    pool = recovery.recover_pool(run, {"upgrade": False}, recover_host)
    return {outcome.name: outcome async for outcome in pool}


async def annotate(cluster: ClusterApi, node: str, text: str, **spec: Any) -> None:
    """What who may patch nodes can do."""
    body = {"metadata": {"annotations": {"poolkeeper.io/rollout": text}}, "spec": spec}
    await cluster.request("PATCH", f"{PATH}/{node}", body=body, content_type=MERGE_PATCH)


@pytest.mark.parametrize("phase", Phase)
async def test_forged_claims_on_every_node_of_a_pool_change_nothing(
    cluster: ClusterApi, nodes: Nodes, tmp_path: Path, phase: Phase
) -> None:
    """Whatever they say, with a right hash and a cordon: recovery tells, the rollout itself keeps off, a person releases."""
    hosts, offboard = nodes(2, pool=1, rack=1), Goal("offboard", "general")
    for goal in (GOAL, offboard):
        for host in hosts:
            claim = Claim(goal.id, goal.flow, goal.wanted, "run-0", 1, phase, "2026-11-24T12:00:00+00:00")
            await annotate(cluster, host.name, claim_text(claim), unschedulable=True)
        work = Watched()
        run = await open_run(cluster, hosts, tmp_path, "run-1", Hosts)
        assert isinstance(run, Hosts)
        run.begun = {}
        outcomes = await recovered(run, work)
        assert {name: [f.id for f in one.findings] for name, one in outcomes.items()} == {
            host.name: ["recover.claim.unknown"] for host in hosts
        }
        told, _ = await carried(await open_run(cluster, hosts, tmp_path, "run-2"), GOAL, QUICK, work)
        assert (told, work.fences) == ({}, {})
        assert all(claim_of(node) is not None for node in (await list_nodes(cluster)).values())


async def test_a_forged_claim_beside_hosts_in_hand_costs_those_nothing(
    cluster: ClusterApi, nodes: Nodes, tmp_path: Path
) -> None:
    hosts = nodes(2, pool=2, rack=2)
    await half_done(cluster, GOAL, "n0", Phase.CHANGING)
    await annotate(cluster, "n1", claim_text(Claim(GOAL.id, "upgrade", GOAL.wanted, "run-0", 1, Phase.CHANGING, "now")))
    lease = await get_lease(cluster, "pool-general")
    assert lease is not None
    intent = intent_for(lease.note, GOAL.id, "n0")
    assert intent is not None
    run, work = await open_run(cluster, hosts, tmp_path, "run-1", Hosts), Watched()
    assert isinstance(run, Hosts)
    run.begun = {"n0": intent.begun(GOAL.id)}
    outcomes = await recovered(run, work)
    assert {name: str(one.state) for name, one in outcomes.items()} == {"n0": "done", "n1": "stopped"}
    assert {name: fence.intent for name, fence in work.fences.items()} == {"n0": intent.begun(GOAL.id)}
    assert run.begun == {}
    assert intents_by((await list_leases(cluster))["pool-general"].note, GOAL.id) == {}


@pytest.mark.parametrize(("phase", "changes"), [(Phase.CHANGING, 3), (Phase.DRAINING, 1)], ids=["finish", "give back"])
async def test_recovery_makes_the_changes_that_its_dry_run_told(
    cluster: ClusterApi, nodes: Nodes, tmp_path: Path, phase: Phase, changes: int
) -> None:
    """The dry run writes nothing, neither to the Lease nor to a host."""
    hosts = nodes(1, pool=1, rack=1)
    await half_done(cluster, GOAL, "n0", phase)

    async def left_now() -> tuple[Any, LeaseRow]:
        node, lease = await get_node(cluster, "n0"), await get_lease(cluster, "pool-general")
        assert node is not None
        assert lease is not None
        return (node.annotations, node.unschedulable), lease

    before = await left_now()
    intent = intent_for(before[1].note, GOAL.id, "n0")
    assert intent is not None
    told = list[list[str]]()
    for dry_run in (True, False):
        run = await open_run(cluster, hosts, tmp_path, f"run-{dry_run}", Hosts)
        assert isinstance(run, Hosts)
        run.gate.dry_run = dry_run
        run.begun = {"n0": intent.begun(GOAL.id)} if phase is Phase.CHANGING else {}
        outcomes = await recovered(run, Watched())
        ends = {name: str(one.state) for name, one in outcomes.items()}
        assert ends == {"n0": "planned" if dry_run else "done"}
        told.append(run.gate.sentences)
        assert (await left_now() == before) == dry_run
        assert bool(run.begun) == (dry_run and phase is Phase.CHANGING)
    assert told[0] == told[1]
    assert len(told[0]) == changes, told


async def test_recovery_says_that_a_living_run_holds_the_pool(
    cluster: ClusterApi, nodes: Nodes, tmp_path: Path
) -> None:
    """A dry run does not wait to see whether that run still lives: it says what is done in either case."""
    hosts = nodes(1, pool=1, rack=1)
    await half_done(cluster, GOAL, "n0", Phase.DRAINING)
    told = dict[bool, HostOutcome]()

    def kept(note: Note) -> Note:
        return note

    async with hold_lease(cluster, "pool-general", "run-9/1", duration_s=2, note=kept, left=kept):
        for dry_run in (True, False):
            run = await open_run(cluster, hosts, tmp_path, f"run-{dry_run}", dry_run=dry_run)
            async with asyncio.timeout(DEADLINE_S):
                told |= {dry_run: (await recovered(run, Watched()))["n0"]}
    assert str(told[True].state) == "planned"
    assert told[True].summary.startswith(
        "the pool's lease is held by run-9/1; nothing is done while that run renews it, and afterwards: return to service: draining"
    )
    assert (str(told[False].state), told[False].findings) == ("done", ())
    assert "a living run works on it: lease pool-general is held by run-9/1" in told[False].summary
    assert await left(cluster) == ["n0"]


async def test_no_hosts_error_ends_the_recovery_of_another(cluster: ClusterApi, nodes: Nodes, tmp_path: Path) -> None:
    hosts, begun = nodes(3, pool=3, rack=3), dict[str, HostIntent]()
    for host in hosts:
        await half_done(cluster, GOAL, host.name, Phase.CHANGING)
        lease = await get_lease(cluster, "pool-general")
        assert lease is not None
        intent = intent_for(lease.note, GOAL.id, host.name)
        assert intent is not None
        begun[host.name] = intent.begun(GOAL.id)

    class Breaks(Watched):
        error: Exception = ZeroDivisionError("a mistake of ours")

        async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
            if host.name == "n0":
                raise self.error
            return await super().change(host, node, fence)

    run, work = await open_run(cluster, hosts, tmp_path, "run-1", Hosts), Breaks()
    assert isinstance(run, Hosts)
    run.begun = begun
    outcomes = await recovered(run, work)
    assert {name: str(one.state) for name, one in outcomes.items()} == {"n0": "failed", "n1": "done", "n2": "done"}
    assert [(f.id, f.evidence.observed) for f in outcomes["n0"].findings] == [
        ("rollout.aborted", "ZeroDivisionError: a mistake of ours")
    ]
    work.error = LeaseLost("someone has taken it")
    with pytest.raises(LeaseLost):
        await recovered(run, work)


async def test_what_is_begun_is_written_down_before_the_node_is_touched(
    cluster: ClusterApi, nodes: Nodes, tmp_path: Path
) -> None:
    """And the host is shown the same; when it is given back, nothing of it is left anywhere."""
    hosts = nodes(1, pool=1, rack=1)
    run, work = await open_run(cluster, hosts, tmp_path, kind=Hosts), Watched()
    assert isinstance(run, Hosts)
    run.begun = {}
    seen = list[str]()
    real = run.gate.on_change

    def on_change(record: ChangeRecord) -> None:
        as_they_begin(lambda change: seen.append(change.sentence))(record)
        real(record)

    run.gate.on_change = on_change
    tokens = list[str]()

    async def guard(change: Change) -> None:
        row = await get_lease(cluster, "pool-general")
        intent = intent_for(row.note, GOAL.id, "n0") if row is not None else None
        tokens.append(intent.token if intent is not None else "")

    run.gate.guards = [*run.gate.guards, guard]
    outcomes, _ = await carried(run, GOAL, QUICK, work)
    assert str(outcomes["n0"].state) == "done"
    assert seen[0] == "cordon node n0"
    assert set(tokens) == {work.fences["n0"].intent.token}
    assert work.fences["n0"].intent.rollout == GOAL.id
    assert (await list_leases(cluster))["pool-general"].note["unfinished"] == {}


async def test_a_half_changed_host_waits_for_its_window_and_for_room(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Nodes, tmp_path: Path
) -> None:
    """Room as long as pods are on it; one that is empty serves nobody, and is finished."""
    hosts = nodes(2, pool=1, rack=1)
    claim = await half_done(cluster, GOAL, "n0", Phase.CHANGING)
    put_pod(embedded, "web", "n0")
    embedded.store.modify("nodes", "n1", "", lambda node: {**node, "spec": {"unschedulable": True}})
    lease = await get_lease(cluster, "pool-general")
    assert lease is not None
    intent = intent_for(lease.note, GOAL.id, "n0")
    assert intent is not None
    begun = {"n0": intent.begun(claim.rollout)}

    async def recovery(hosts: list[Host]) -> tuple[str, list[str], list[str]]:
        run, work = await open_run(cluster, hosts, tmp_path, "run-1", Hosts), Watched()
        assert isinstance(run, Hosts)
        run.begun = dict(begun)
        outcome = (await recovered(run, work))["n0"]
        return str(outcome.state), [f.evidence.observed for f in outcome.findings], list(work.fences)

    state, (why,), changed = await recovery(hosts)
    assert (state, changed) == ("stopped", NOTHING_CHANGED)
    assert "pool general may have 1 nodes unavailable and has 1: n1" in why
    yesterday = (datetime.now(UTC) - timedelta(days=1)).weekday()
    shut = [replace(h, site=replace(h.site, windows=(_window(yesterday),))) for h in hosts]
    embedded.store.modify("nodes", "n1", "", lambda node: {**node, "spec": {}})
    state, (why,), changed = await recovery(shut)
    assert (state, changed) == ("stopped", NOTHING_CHANGED)
    assert "window" in why
    assert (await recovery(hosts))[::2] == ("done", ["n0"])
    assert await left(cluster) == []


def _window(weekday: int) -> Window:
    """An hour of that day."""
    return Window(frozenset({weekday}), time(1), timedelta(hours=1))


@pytest.mark.parametrize("moment", ["before it is claimed", "as it is claimed"])
async def test_a_host_whose_node_goes_before_its_change_is_not_changed(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Nodes, tmp_path: Path, moment: str
) -> None:
    """It is drained by then; without its Node nothing would keep anyone off it, or tell whose it is."""
    assessed = 0

    class GoesThen(WithoutHosts):
        async def stopped(self) -> str:
            """Asked once before the node is taken, once before its drain, and once after it."""
            nonlocal assessed
            node = embedded.store.find("nodes", "n0")
            assessed += node is not None and bool(node["spec"].get("unschedulable"))
            if moment == "before it is claimed" and assessed == 2 and node is not None:
                embedded.store.delete("nodes", "n0")
            return await super().stopped()

    hosts, work = nodes(1, pool=1, rack=1), Watched()
    run = await open_run(cluster, hosts, tmp_path, kind=GoesThen)

    async def guard(change: Change) -> None:
        if moment == "as it is claimed" and change.sentence == "record phase changing on node n0":
            embedded.store.delete("nodes", "n0")

    run.gate.guards = [*run.gate.guards, guard]
    outcomes, _ = await carried(run, GOAL, QUICK, work)
    assert (str(outcomes["n0"].state), outcomes["n0"].summary, work.fences) == ("stopped", "Node n0 is gone", {})
    assert [finding.id for finding in outcomes["n0"].findings] == ["rollout.node.gone"]
    assert spent_by((await list_leases(cluster))["pool-general"].note, GOAL.id) == {}


async def test_a_drain_ends_with_its_node(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Nodes, tmp_path: Path
) -> None:
    """Whose pods are still there: a finalizer keeps one."""
    hosts, work = nodes(1, pool=1, rack=1), Watched()
    put_pod(embedded, "web", "n0", "finalizer")
    run = await open_run(cluster, hosts, tmp_path)
    loop = asyncio.get_running_loop()

    def told(change: Change) -> None:
        if change.sentence.startswith("evict"):
            loop.call_soon(embedded.store.delete, "nodes", "n0")

    run.gate.on_change = as_they_begin(told)
    async with asyncio.timeout(DEADLINE_S):
        outcomes, _ = await carried(run, GOAL, replace(QUICK, drain_timeout_s=600), work)
    assert (str(outcomes["n0"].state), work.fences) == ("stopped", {})
    assert outcomes["n0"].summary == "Node n0 was deleted while it was drained"


@pytest.mark.parametrize("on_blocked", OnBlocked)
async def test_a_drain_ends_when_someone_uncordons_its_node(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Nodes, tmp_path: Path, on_blocked: OnBlocked
) -> None:
    """The node is given back and that is told; nothing is evicted from it any more."""
    hosts, work = nodes(1, pool=1, rack=1), Watched()
    put_pod(embedded, "web", "n0", "finalizer")
    run, evicted = await open_run(cluster, hosts, tmp_path), list[str]()
    loop = asyncio.get_running_loop()

    def uncordon() -> None:
        embedded.store.modify("nodes", "n0", "", lambda node: {**node, "spec": {}})
        put_pod(embedded, "web-2", "n0")

    def told(change: Change) -> None:
        if change.sentence.startswith("evict"):
            evicted.append(change.sentence)
            loop.call_soon(uncordon)

    run.gate.on_change = as_they_begin(told)
    async with asyncio.timeout(DEADLINE_S):
        limits = replace(QUICK, drain_timeout_s=600, on_blocked=on_blocked)
        outcomes, _ = await carried(run, GOAL, limits, work)
    assert (str(outcomes["n0"].state), work.fences) == ("stopped", {})
    assert [finding.id for finding in outcomes["n0"].findings] == ["rollout.node.uncordoned"]
    assert outcomes["n0"].summary == "someone has uncordoned node n0 while it was drained; returned to service"
    assert evicted == ["evict pod shop/web from node n0"]
    assert "web-2" in [pod.name for pod in await pods_on(cluster, "n0")]
    node = await get_node(cluster, "n0")
    assert node is not None
    assert [name for name in node.annotations if name != "poolkeeper.io/accepted"] == []
    assert intents_by((await list_leases(cluster))["pool-general"].note, GOAL.id) == {}


class Proving(WithoutHosts):
    """Each node is proven as `proof` says, and that is noted."""

    proof: tuple[Finding, ...] = ()
    proven: list[str]

    async def prove_works(self, host: Host) -> tuple[Finding, ...]:
        self.proven.append(host.name)
        return self.proof


@pytest.mark.parametrize("works", [True, False])
async def test_a_node_that_was_registered_anew_is_proven_first(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Nodes, tmp_path: Path, works: bool
) -> None:
    """Outside the budget: what does not work was not broken by the rollout. The others are taken as they are."""
    hosts = nodes(2, pool=1, rack=1)
    await carried(await open_run(cluster, hosts, tmp_path), Goal("upgrade", "general", {"n": 1}), QUICK, Instant())
    old = embedded.store.get("nodes", "n0")
    embedded.store.delete("nodes", "n0")
    embedded.store.create("nodes", {"metadata": {"name": "n0"}, "status": old["status"]})
    run, work = await open_run(cluster, hosts, tmp_path, "run-2", Proving), Watched()
    assert isinstance(run, Proving)
    run.proven, run.proof = [], () if works else (WRONG,)
    outcomes, halted = await carried(run, GOAL, QUICK, work)
    assert (run.proven, halted) == (["n0"], "")
    assert {name: str(one.state) for name, one in outcomes.items()} == {
        "n0": "done" if works else "stopped",
        "n1": "done",
    }
    assert sorted(work.fences) == (["n0", "n1"] if works else ["n1"])
    again = await open_run(cluster, hosts, tmp_path, "run-3", Proving)
    assert isinstance(again, Proving)
    again.proven, again.proof = [], ()
    await carried(again, Goal("upgrade", "general", {"n": 2}), QUICK, Watched())
    assert again.proven == ([] if works else ["n0"]), "once it is proven it is known"


JUNK = [
    pytest.param("[" * 100_000, id="deep"),
    pytest.param('{"fencing_token": 1000000000000000000, "rollout": "r", "flow": "upgrade", "goal": {}, "run": "x", '
                 '"phase": "draining", "since": "now"}', id="a token that poisons"),
    pytest.param("9" * 5000, id="5,000 digits"),
    pytest.param("\x1b]0;you\x07", id="an escape"),
]  # fmt: skip


@pytest.mark.parametrize("text", JUNK)
async def test_junk_on_a_node_costs_that_node_and_no_other(
    cluster: ClusterApi, nodes: Nodes, tmp_path: Path, text: str
) -> None:
    """Nor the Lease, whose next holder has a believable fencing token."""
    hosts = nodes(2, pool=2, rack=2)
    await annotate(cluster, "n0", text)
    run, work = await open_run(cluster, hosts, tmp_path), Watched()
    outcomes, _ = await carried(run, GOAL, QUICK, work)
    assert {name: str(one.state) for name, one in outcomes.items()} == {"n1": "done"}
    assert list(work.fences) == ["n1"]
    assert work.fences["n1"].fencing_token < 10**15
    run = await open_run(cluster, hosts, tmp_path, "run-2", Hosts)
    assert isinstance(run, Hosts)
    run.begun = {}
    assert {name: str(one.state) for name, one in (await recovered(run, work)).items()} == {"n0": "stopped"}


async def test_junk_on_the_lease_is_dropped_and_told(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Nodes, tmp_path: Path
) -> None:
    hosts = nodes(1, pool=1, rack=1)
    for text in ('{"unfinished":{"abc":{"at":"yesterday"}}}', "[" * 100_000, '{"members": 3, "unfinished": []}'):
        said = list[str]()
        run = await open_run(cluster, hosts, tmp_path)
        if embedded.store.find("leases.coordination.k8s.io", "pool-general", "poolkeeper") is None:
            await carried(run, Goal("upgrade", "general", {"n": 1}), QUICK, Instant())
        embedded.store.modify(
            "leases.coordination.k8s.io",
            "pool-general",
            "poolkeeper",
            lambda lease, text=text: {  # type: ignore[misc]
                **lease,
                "metadata": {
                    **lease["metadata"],
                    "annotations": {**lease["metadata"]["annotations"], "poolkeeper.io/rollout": text},
                },
            },
        )
        with logged(said.append):
            outcomes, _ = await carried(run, GOAL, QUICK, Instant())
        assert str(outcomes["n0"].state) == "done"
        assert any("cannot be read" in line for line in said) or "members" in text
        assert not any("yesterday" in line for line in said)
        assert json.dumps((await list_leases(cluster))["pool-general"].note).count("yesterday") == 0


async def intent_of_n0(cluster: ClusterApi) -> Intent | None:
    """What the pool's Lease says of it."""
    row = await get_lease(cluster, "pool-general")
    return intent_for(row.note, GOAL.id, "n0") if row is not None else None


async def test_a_host_that_is_changed_while_it_is_given_back_is_kept(
    cluster: ClusterApi, nodes: Nodes, tmp_path: Path
) -> None:
    """The killed run had only slept: it has shown the host its intent between our look and our word."""
    hosts = nodes(1, pool=1, rack=1)
    await half_done(cluster, GOAL, "n0", Phase.CHANGING)
    intent = await intent_of_n0(cluster)
    assert intent is not None

    class WakesUp(Hosts):
        async def fence_off(self, host: Host, fencing_token: int) -> Observed[HostIntent | None]:
            assert intent is not None
            return Known(intent.begun(GOAL.id), datetime.now(UTC))

    run = await open_run(cluster, hosts, tmp_path, "run-1", WakesUp)
    assert isinstance(run, WakesUp)
    run.begun = {}
    outcome = (await recovered(run, Watched()))["n0"]
    assert (str(outcome.state), [f.id for f in outcome.findings]) == ("stopped", ["rollout.host.changed"])
    assert (await left(cluster), await intent_of_n0(cluster)) == (["n0"], intent)


async def test_a_reinstalled_machine_has_an_intent_of_its_own(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Nodes, tmp_path: Path
) -> None:
    """The one before had failed; its Node was deleted, and the new machine has the old name."""
    hosts = nodes(1, pool=1, rack=1)
    await half_done(cluster, GOAL, "n0", Phase.FAILED)
    old, status = await intent_of_n0(cluster), embedded.store.get("nodes", "n0")["status"]
    embedded.store.delete("nodes", "n0")
    status = {**status, "nodeInfo": {**status["nodeInfo"], "machineID": "m-2"}}
    embedded.store.create("nodes", {"metadata": {"name": "n0"}, "status": status})
    seen = list[Intent | None]()

    class Looks(Watched):
        async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
            seen.append(await intent_of_n0(cluster))
            return await super().change(host, node, fence)

    outcomes, _ = await carried(await open_run(cluster, hosts, tmp_path), GOAL, QUICK, Looks())
    assert str(outcomes["n0"].state) == "done"
    (new,) = seen
    assert old is not None
    assert new is not None
    assert (new.machine_id, new.token != old.token) == ("m-2", True)


@pytest.mark.parametrize("changed", [True, False])
async def test_what_was_begun_on_a_host_is_not_forgotten_because_its_claim_is(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Nodes, tmp_path: Path, changed: bool
) -> None:
    """A person has taken claim and cordon off a half changed node; the next run does not get so far."""
    hosts = nodes(1, pool=1, rack=1)
    await half_done(cluster, GOAL, "n0", Phase.CHANGING)
    intent = await intent_of_n0(cluster)
    assert intent is not None
    body = {"metadata": {"annotations": {"poolkeeper.io/rollout": None, "poolkeeper.io/cordon": None}}}
    await cluster.request(
        "PATCH", f"{PATH}/n0", body={**body, "spec": {"unschedulable": None}}, content_type=MERGE_PATCH
    )
    put_pod(embedded, "web", "n0", "no owner")
    run = await open_run(cluster, hosts, tmp_path, "run-1", Hosts)
    assert isinstance(run, Hosts)
    run.begun = {"n0": intent.begun(GOAL.id)} if changed else {}
    outcomes, _ = await carried(run, GOAL, QUICK, Watched())
    assert str(outcomes["n0"].state) == "blocked"
    assert (await intent_of_n0(cluster) == intent) is changed


class Dark(Hosts):
    """Hosts that do not answer over SSH."""

    async def begun_on(self, host: Host) -> Observed[HostIntent | None]:
        return Unknown("ConnectTimeout: no answer", datetime.now(UTC))

    async def fence_off(self, host: Host, fencing_token: int) -> Observed[HostIntent | None]:
        raise HostError("no answer")

    async def forget(self, host: Host, rollout: str) -> None:
        raise HostError("no answer")


@pytest.mark.parametrize("blocked", [True, False])
async def test_a_host_that_does_not_answer_can_be_handed_over(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, nodes: Nodes, tmp_path: Path, blocked: bool
) -> None:
    """That is what it is taken out for. What could not be drained is given back all the same, and nothing is left of it."""
    hosts, goal = nodes(1, pool=1, rack=1), Goal("maintain", "general")
    if blocked:
        put_pod(embedded, "web", "n0", "no owner")
    outcomes, _ = await carried(await open_run(cluster, hosts, tmp_path, "run-1", Dark), goal, QUICK, HandOver())
    assert str(outcomes["n0"].state) == ("blocked" if blocked else "handed over")
    row = await get_lease(cluster, "pool-general")
    assert row is not None
    assert (intent_for(row.note, goal.id, "n0") is None) is blocked
    assert await left(cluster) == ([] if blocked else ["n0"])
