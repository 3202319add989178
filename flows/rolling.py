"""What every rollout does, whatever its change is: look, plan, tell the plan, and carry it out under the pool's lease.

Killed at any point: start the same flow again; finished hosts are skipped by looking at them, half-done ones are taken
up where they stand. `recover` does the same for runs that nobody starts again.
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
"""Hosts per looking task."""


async def answered(
    flow: str,
    pool: str,
    hosts: str,
    fleet: str,
    carry_out: Callable[[RolloutRun], Awaitable[RunResult]],
    *,
    dry_run: bool,
) -> State[Any]:
    """Load and choose, open what a rollout needs, carry it out, and publish how it ended, whatever that is."""

    async def run_with(recorder: Recorder) -> RunResult:
        declared = load_declared(fleet, recorder)
        chosen = choose_hosts(declared, pool, hosts)
        only_pool(chosen)
        refuse_split_domains(declared, chosen)
        secret = await secrets(secrets_of(chosen))
        async with open_rollout(declared, chosen, flow, secret, recorder, dry_run=dry_run) as run:
            return await carry_out(run)

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
    """Carry a goal across the run's hosts, or in a dry run tell how.

    approval: a person has to say yes to the plan first, as always where drains may be forced
    excluded: hosts that may not be touched, and why; None: that there is nothing to do for
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
    settled = [run.without_work(one) for name, one in assessed.items() if name not in planned]
    if not plan.hosts:
        await run.forget_finished(plan, done)
        return _answer(run, goal, settled)

    if why := needs_approval(plan, approval):
        covered = await run.gate.unless_dry_run(partial(run.approved, plan, why), if_dry_run=plan)
        if covered is None:
            return await _wait_for_a_word(run, plan, why, settled)
        plan = covered

    goes = work.works_without_node
    async with run.pool_lease(plan, nodes_go=goes) as lease, AsyncExitStack() as stack:
        live_file = state_folder() / "runs" / run.recorder.run_id / "live.md"
        showing = steps.showing(run.live, f"{goal.flow}-live", live_file)
        await run.gate.unless_dry_run(partial(stack.enter_async_context, showing), if_dry_run=None)
        plan = await run.resumed(plan, lease, done, nodes_go=goes)
        unfit = await run.prepare(plan, work, lease)
        fit = plan.without({outcome.name for outcome in unfit})
        runner = run.host_runner(goal, limits, work, lease)

        async def run_host(one: PlannedHost) -> HostOutcome:
            outcome = await run_host_safely(run, runner, one)
            return run.gate.seen(outcome, if_dry_run=run.planned(one, outcome, limits, forecasts))

        carried, halted = await run.run_waves(fit, lease, run_host, nodes_go=goes, one_by_one=work.one_by_one)
        run.live.close(halted or "ended")
    return _answer(run, goal, [*settled, *unfit, *carried], halted)


async def _wait_for_a_word(run: RolloutRun, plan: Plan, why: str, settled: Iterable[HostOutcome]) -> RunResult:
    """Hold nothing until a person has spoken: a deployment's run is suspended, any other one ends here."""
    told = f"waits for a person's word, since {why}: `poolkeeper approve {run.recorder.run_id}`, or `reject`"
    _log.info("plan %s %s", plan.digest[:12], told)
    if deployment.id:
        await asuspend_flow_run(timeout=APPROVAL_WITHIN_S)
    waiting = [HostOutcome(p.host.name, HostState.POSTPONED, f"nothing was begun: it {told}") for p in plan.hosts]
    return _answer(run, plan.goal, [*settled, *waiting], told if deployment.id else f"{told}; then start it again")


async def _look(run: RolloutRun, goal: Goal, limits: Limits, work: HostWork) -> dict[str, Assessed]:
    assessed: dict[str, Assessed] = {}
    for batch in batched(list(run.hosts), BATCH):
        assessed |= await steps.assess(run, f"{batch[0]} to {batch[-1]}", batch, goal, limits, work)
    return assessed


async def run_host_safely(run: RolloutRun, runner: HostRunner, planned: PlannedHost) -> HostOutcome:
    """One host's task; what it raises in the end becomes this host's outcome and nobody else's."""
    try:
        return await steps.run_host(runner, planned.host.name, planned.host)
    except Exception as error:
        return run.aborted(planned.host, error)


def _answer(run: RolloutRun, goal: Goal, outcomes: list[HostOutcome], halted: str = "") -> RunResult:
    return RunResult.of_run(goal.flow, run.recorder, list(run.hosts), outcomes, run.gate, halted=halted)
