"""A rollout without hosts: its changes take no time, so that what is left is the engine on a real API server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from tasks.cluster import ClusterApi
from tasks.cluster.nodes import NodeRow, list_nodes
from tasks.cluster.stops import stops_guard
from tasks.fleet.model import Host
from tasks.hosts import Sessions
from tasks.ledger import Spool
from tasks.outcomes import Checked, Finding, Gate, HostOutcome
from tasks.provider import Provider
from tasks.rollout.goal import Goal, Limits
from tasks.rollout.plan import PlannedHost
from tasks.rollout.run import RolloutRun
from tasks.runs.recording import Recorder
from tests.unit.onboard.builders import a_fleet


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

    async def change(self, host: Host, node: NodeRow | None, fence: int) -> tuple[Finding, ...]:
        self.changed.add(host.name)
        return ()

    async def prove(self, host: Host, before: NodeRow | None) -> tuple[Finding, ...]:
        return ()

    def sentences(self, host: Host) -> tuple[str, ...]:
        return ()


class Idle:
    """A provider that is not busy with any pool."""

    async def check_pool(self, pool: object) -> tuple[Checked, ...]:
        return ()


async def open_run(api: ClusterApi, declared: Sequence[Host], folder: Path, run_id: str = "run-1") -> RolloutRun:
    """A run over these hosts, whose Nodes are there."""
    recorder = Recorder(Spool(folder / "spool"), run_id, lambda text: None)
    return RolloutRun(
        a_fleet(*declared),
        declared,
        "upgrade",
        api=api,
        sessions=cast(Sessions, None),
        provider=cast(Provider, Idle()),
        gate=Gate([stops_guard(api, {h.name: h.node_name for h in declared})], dry_run=False, told=recorder.change),
        recorder=recorder,
        nodes=await list_nodes(api),
        api_version="v1.36.3",
    )


async def carried(run: RolloutRun, goal: Goal, limits: Limits, work: Instant) -> tuple[dict[str, HostOutcome], str]:
    """One goal, from look to end, as the flows do it: host -> outcome, and why nothing new was started."""
    looked = await run.look(list(run.hosts), goal, limits, work)
    plan = run.plan(goal, limits, looked.values(), await run.outlook(looked.values(), limits))
    async with run.holding(plan) as lease:
        plan = await run.resumed(plan)
        carrier = run.carrier(goal, limits, work, lease)

        async def carry(one: PlannedHost) -> HostOutcome:
            return await carrier.carry(one.host)

        outcomes, halted = await run.carry_out(plan, lease, carry, one_by_one=work.one_by_one)
    return {outcome.name: outcome for outcome in outcomes}, halted
