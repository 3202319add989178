"""A rollout without hosts: its changes take no time, so that what is left is the engine on a real API server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.claims import Claim, Phase, claim_node, update_claim
from poolkeeper.tasks.cluster.leases import acquire_lease
from poolkeeper.tasks.cluster.nodes import NodeRow, get_node, list_nodes
from poolkeeper.tasks.cluster.stops import stops_guard
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import Sessions
from poolkeeper.tasks.hosts.fence import Fence, HostIntent
from poolkeeper.tasks.ledger import Spool
from poolkeeper.tasks.outcomes import (
    Change,
    ChangeRecord,
    ChangeState,
    Checked,
    Finding,
    Gate,
    HostOutcome,
    Known,
    Observed,
)
from poolkeeper.tasks.provider import Provider
from poolkeeper.tasks.rollout.goal import Goal, Limits
from poolkeeper.tasks.rollout.plan import PlannedHost
from poolkeeper.tasks.rollout.rollout_state import Intent, begun, ended, with_intent
from poolkeeper.tasks.rollout.run import RolloutRun
from poolkeeper.tasks.runs.recording import Recorder
from tests.unit.onboard.builders import a_fleet


def as_they_begin(hear: Callable[[Change], None]) -> Callable[[ChangeRecord], None]:
    """What a gate is to call, of which only the beginnings of changes are heard."""

    def on_change(record: ChangeRecord) -> None:
        if record.state is ChangeState.UNKNOWN and not record.why:
            hear(record.change)

    return on_change


class Instant:
    """A change that is made as soon as it is asked for."""

    hands_over = False
    works_on_not_ready = False
    works_without_node = False
    one_by_one = False

    def __init__(self) -> None:
        self.changed: set[str] = set()

    async def at_goal(self, host: Host, node: NodeRow | None) -> bool:
        return host.name in self.changed

    async def prepare(self, host: Host) -> tuple[Finding, ...]:
        return ()

    def remembered(self) -> Mapping[str, Any]:
        return {}

    def remember(self, what: Mapping[str, Any]) -> None:
        pass

    async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
        self.changed.add(host.name)
        return ()

    async def prove(self, host: Host, before: NodeRow | None) -> tuple[Finding, ...]:
        return ()


class WithoutHosts(RolloutRun):
    """A run whose hosts are not there: each Node works, and no host keeps anything."""

    async def prove_works(self, host: Host) -> tuple[Finding, ...]:
        return ()

    async def begun_on(self, host: Host) -> Observed[HostIntent | None]:
        return Known(None, datetime.now(UTC))

    async def fence_off(self, host: Host, fencing_token: int) -> Observed[HostIntent | None]:
        return await self.begun_on(host)

    async def forget(self, host: Host, rollout: str) -> None:
        pass


class Idle:
    """A provider that is not busy with any pool."""

    async def check_pool(self, pool: object) -> tuple[Checked, ...]:
        return ()


async def open_run(
    api: ClusterApi,
    declared: Sequence[Host],
    folder: Path,
    run_id: str = "run-1",
    kind: type[RolloutRun] = WithoutHosts,
    *,
    dry_run: bool = False,
) -> RolloutRun:
    """A run over these hosts, whose Nodes are there."""
    recorder = Recorder(Spool(folder / "spool"), run_id)
    return kind(
        a_fleet(*declared),
        declared,
        "upgrade",
        api=api,
        sessions=cast(Sessions, None),
        provider=cast(Provider, Idle()),
        gate=Gate(
            [stops_guard(api, {h.name: h.node_name for h in declared})], dry_run=dry_run, on_change=recorder.change
        ),
        recorder=recorder,
        nodes=await list_nodes(api),
        api_version="v1.36.3",
    )


async def half_done(api: ClusterApi, goal: Goal, node: str, phase: Phase) -> Claim:
    """What an earlier run of a goal has left: its intent on the pool's Lease, and a node that it took and brought so far."""
    row = await get_node(api, node)
    intent = Intent.of(node, row)
    held = await acquire_lease(
        api, f"pool-{goal.pool}", "run-0/1", note=lambda before: begun(before, goal, {}, datetime.now(UTC))
    )
    await held.change(lambda note: with_intent(note, goal.id, node, intent))
    await held.release(lambda note: ended(note, goal.id))
    claim = Claim(goal.id, goal.flow, goal.wanted, "run-0", 1, Phase.DRAINING, "2026-11-24T12:00:00+00:00")
    await claim_node(api, node, claim)
    claim = replace(claim, phase=phase)
    await update_claim(api, node, claim)
    return claim


async def carried(run: RolloutRun, goal: Goal, limits: Limits, work: Instant) -> tuple[dict[str, HostOutcome], str]:
    """One goal, from look to end, as the flows do it: host -> outcome, and why nothing new was started."""
    assessed = await run.assess(list(run.hosts), goal, limits, work)
    plan = run.plan(goal, limits, assessed.values(), await run.forecast_drains(assessed.values(), limits))
    async with run.pool_lease(plan) as lease:
        plan = await run.resumed(plan, lease)
        runner = run.host_runner(goal, limits, work, lease)

        async def run_host(one: PlannedHost) -> HostOutcome:
            return await runner.run_host(one.host)

        outcomes, halted = await run.run_waves(plan, lease, run_host, one_by_one=work.one_by_one)
    return {outcome.name: outcome for outcome in outcomes}, halted
