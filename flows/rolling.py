"""What every rollout does, whatever its change is: assess, plan, publish the plan, run it under the pool's lease.

Killed at any point: start the same flow again. It skips hosts that are at the goal, and continues half changed ones.
`recover` does the same for runs that nobody starts again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from types import MappingProxyType
from typing import Any

from prefect.client.schemas.objects import State
from prefect.flow_runs import asuspend_flow_run
from prefect.runtime import deployment

from poolkeeper.flows.surroundings import load_declared, run_of, secrets
from poolkeeper.tasks.outcomes import Finding, HostOutcome, HostState, batched
from poolkeeper.tasks.rollout import steps
from poolkeeper.tasks.rollout.goal import Goal, Limits
from poolkeeper.tasks.rollout.host_runner import HostRunner
from poolkeeper.tasks.rollout.host_work import HostWork
from poolkeeper.tasks.rollout.next_action import Step
from poolkeeper.tasks.rollout.plan import Plan, PlannedHost
from poolkeeper.tasks.rollout.plan_approval import needs_approval
from poolkeeper.tasks.rollout.run import Assessed, RolloutRun, open_rollout
from poolkeeper.tasks.runs.choosing import choose_hosts, only_pool, refuse_split_domains, secrets_of
from poolkeeper.tasks.runs.recording import Recorder
from poolkeeper.tasks.runs.result import RunResult
from poolkeeper.tasks.settings import state_folder

_log = logging.getLogger(__name__)

APPROVAL_WITHIN_S = 7 * 24 * 3600
"""A suspended run that nobody approves fails after that time."""
BATCH = 100
"""Hosts per task that assesses them."""


async def answered(
    flow: str,
    pool: str,
    hosts: str,
    fleet: str,
    roll_out: Callable[[RolloutRun], Awaitable[RunResult]],
    *,
    dry_run: bool,
) -> State[Any]:
    """Load the fleet, select the hosts, open what a rollout needs, run it, and publish its end."""

    async def run_with(recorder: Recorder) -> RunResult:
        declared = load_declared(fleet, recorder)
        chosen = choose_hosts(declared, pool, hosts)
        only_pool(chosen)
        refuse_split_domains(declared, chosen)
        secret = await secrets(secrets_of(chosen))
        async with open_rollout(declared, chosen, flow, secret, recorder, dry_run=dry_run) as run:
            return await roll_out(run)

    return await run_of(flow, run_with)


async def roll(
    run: RolloutRun,
    goal: Goal,
    limits: Limits,
    work: HostWork,
    *,
    approval: bool = False,
    excluded: Mapping[str, Finding | None] = MappingProxyType({}),
) -> RunResult:
    """Bring the run's hosts to a goal. A dry run walks the same steps, and changes nothing.

    approval: a person must approve the plan first, as always where drains may be forced
    excluded: hosts that must not be changed, and why; None: hosts without work in this step
    Raises LeaseHeld.
    """
    assessed = await _look(run, goal, limits, work)
    assessed |= {name: run.excluded(name, finding) for name, finding in excluded.items()}
    forecasts = await run.forecast_drains(assessed.values(), limits)
    assessed |= run.skip_own_nodes(assessed, forecasts)
    plan = run.plan(goal, limits, assessed.values(), forecasts)
    await steps.publish_plan(plan)

    planned = {p.host.name for p in plan.hosts}
    done = {name for name, one in assessed.items() if one.action.step is Step.NOTHING and name not in excluded}
    without_work = [run.without_work(one) for name, one in assessed.items() if name not in planned]
    if not plan.hosts:
        await run.forget_finished(plan, done)
        return _answer(run, goal, without_work)

    if why := needs_approval(plan, approval):
        covered = await run.gate.unless_dry_run(partial(run.approved, plan, why), if_dry_run=plan)
        if covered is None:
            return await _wait_for_approval(run, plan, why, without_work)
        plan = covered

    goes = work.works_without_node
    async with run.pool_lease(plan, nodes_go=goes) as lease, AsyncExitStack() as stack:
        live_file = state_folder() / "runs" / run.recorder.run_id / "live.md"
        showing = steps.showing(run.live, f"{goal.flow}-live", live_file)
        await run.gate.unless_dry_run(partial(stack.enter_async_context, showing), if_dry_run=None)
        plan = await run.resumed(plan, lease, done, nodes_go=goes)
        ineligible = await run.prepare(plan, work, lease)
        eligible = plan.without({outcome.name for outcome in ineligible})
        runner = run.host_runner(goal, limits, work, lease)

        async def run_host(one: PlannedHost) -> HostOutcome:
            outcome = await run_host_safely(run, runner, one)
            return run.gate.seen(outcome, if_dry_run=run.planned(one, outcome, limits, forecasts))

        carried, halted = await run.run_waves(eligible, lease, run_host, nodes_go=goes, one_by_one=work.one_by_one)
        run.live.close(halted or "ended")
    return _answer(run, goal, [*without_work, *ineligible, *carried], halted)


async def _wait_for_approval(run: RolloutRun, plan: Plan, why: str, without_work: Iterable[HostOutcome]) -> RunResult:
    """Hold no lease until a person has approved: a deployment's run is suspended, any other run ends here."""
    waits = f"waits for approval, because {why}: `poolkeeper approve {run.recorder.run_id}`, or `reject`"
    _log.info("plan %s %s", plan.digest[:12], waits)
    if deployment.id:
        await asuspend_flow_run(timeout=APPROVAL_WITHIN_S)
    waiting = [
        HostOutcome(p.host.name, HostState.POSTPONED, f"nothing was started: the plan {waits}") for p in plan.hosts
    ]
    return _answer(
        run, plan.goal, [*without_work, *waiting], waits if deployment.id else f"{waits}; then start it again"
    )


async def _look(run: RolloutRun, goal: Goal, limits: Limits, work: HostWork) -> dict[str, Assessed]:
    assessed: dict[str, Assessed] = {}
    for batch in batched(list(run.hosts), BATCH):
        assessed |= await steps.assess(run, f"{batch[0]} to {batch[-1]}", batch, goal, limits, work)
    return assessed


async def run_host_safely(run: RolloutRun, runner: HostRunner, planned: PlannedHost) -> HostOutcome:
    """Run one host as a task. Invariant: whatever it raises becomes this host's outcome, and affects no other host."""
    try:
        return await steps.run_host(runner, planned.host.name, planned.host)
    except Exception as error:
        return run.aborted(planned.host, error)


def _answer(run: RolloutRun, goal: Goal, outcomes: list[HostOutcome], halted: str = "") -> RunResult:
    return RunResult.of_run(goal.flow, run.recorder, list(run.hosts), outcomes, run.gate, halted=halted)
