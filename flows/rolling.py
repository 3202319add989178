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
from poolkeeper.tasks.rollout.host_runner import Carrier, HostWork
from poolkeeper.tasks.rollout.next_action import Step
from poolkeeper.tasks.rollout.plan import Plan, PlannedHost
from poolkeeper.tasks.rollout.plan_approval import needs_approval
from poolkeeper.tasks.rollout.run import Looked, RolloutRun, open_rollout
from poolkeeper.tasks.runs.answer import Answer
from poolkeeper.tasks.runs.choosing import choose_hosts, only_pool, refuse_split_domains, secrets_of
from poolkeeper.tasks.runs.recording import Recorder
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
    carry_out: Callable[[RolloutRun], Awaitable[Answer]],
    *,
    dry_run: bool,
) -> State[Any]:
    """Load and choose, open what a rollout needs, carry it out, and publish how it ended, whatever that is."""

    async def run_with(recorder: Recorder) -> Answer:
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
    kept_out: Mapping[str, Finding | None] = MappingProxyType({}),
) -> Answer:
    """Carry a goal across the run's hosts, or in a dry run tell how.

    approval: a person has to say yes to the plan first, as always where drains may be forced
    kept_out: hosts that may not be touched, and why; None: that there is nothing to do for
    Raises LeaseHeld.
    """
    looked = await _look(run, goal, limits, work)
    looked |= {name: run.kept_out(name, finding) for name, finding in kept_out.items()}
    outlook = await run.outlook(looked.values(), limits)
    looked |= run.refused_for_us(looked, outlook)
    plan = run.plan(goal, limits, looked.values(), outlook)
    await steps.publish_plan(plan)

    planned = {p.host.name for p in plan.hosts}
    done = {name for name, one in looked.items() if one.standing.step is Step.NOTHING and name not in kept_out}
    settled = [run.settled(one) for name, one in looked.items() if name not in planned]
    if not plan.hosts:
        await run.clear_up(plan, done)
        return _answer(run, goal, settled)

    if why := needs_approval(plan, approval):
        covered = await run.gate.unless_dry_run(partial(run.approved, plan, why), if_dry_run=plan)
        if covered is None:
            return await _wait_for_a_word(run, plan, why, settled)
        plan = covered

    goes = work.works_without_node
    async with run.holding(plan, nodes_go=goes) as lease, AsyncExitStack() as stack:
        live_file = state_folder() / "runs" / run.recorder.run_id / "live.md"
        showing = steps.showing(run.live, f"{goal.flow}-live", live_file)
        await run.gate.unless_dry_run(partial(stack.enter_async_context, showing), if_dry_run=None)
        plan = await run.resumed(plan, lease, done, nodes_go=goes)
        unfit = await run.prepare(plan, work, lease)
        fit = plan.without({outcome.name for outcome in unfit})
        carrier = run.carrier(goal, limits, work, lease)

        async def carry(one: PlannedHost) -> HostOutcome:
            outcome = await carried_safely(run, carrier, one)
            return run.gate.seen(outcome, if_dry_run=run.planned(one, outcome, limits, outlook))

        carried, halted = await run.carry_out(fit, lease, carry, nodes_go=goes, one_by_one=work.one_by_one)
        run.live.close(halted or "ended")
    return _answer(run, goal, [*settled, *unfit, *carried], halted)


async def _wait_for_a_word(run: RolloutRun, plan: Plan, why: str, settled: Iterable[HostOutcome]) -> Answer:
    """Hold nothing until a person has spoken: a deployment's run is suspended, any other one ends here."""
    told = f"waits for a person's word, since {why}: `poolkeeper approve {run.recorder.run_id}`, or `reject`"
    _log.info("plan %s %s", plan.digest[:12], told)
    if deployment.id:
        await asuspend_flow_run(timeout=APPROVAL_WITHIN_S)
    waiting = [HostOutcome(p.host.name, HostState.LEFT, f"nothing was begun: it {told}") for p in plan.hosts]
    return _answer(run, plan.goal, [*settled, *waiting], told if deployment.id else f"{told}; then start it again")


async def _look(run: RolloutRun, goal: Goal, limits: Limits, work: HostWork) -> dict[str, Looked]:
    looked: dict[str, Looked] = {}
    for batch in batched(list(run.hosts), BATCH):
        looked |= await steps.look(run, f"{batch[0]} to {batch[-1]}", batch, goal, limits, work)
    return looked


async def carried_safely(run: RolloutRun, carrier: Carrier, planned: PlannedHost) -> HostOutcome:
    """One host's task; what it raises in the end becomes this host's outcome and nobody else's."""
    try:
        return await steps.carry(carrier, planned.host.name, planned.host)
    except Exception as error:
        return run.broke_off(planned.host, error)


def _answer(run: RolloutRun, goal: Goal, outcomes: list[HostOutcome], halted: str = "") -> Answer:
    return Answer.of_run(goal.flow, run.recorder, list(run.hosts), outcomes, run.gate, halted=halted)
