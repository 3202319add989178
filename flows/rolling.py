"""What every rollout does, whatever its change is: look, plan, tell the plan, and carry it out under the pool's lease.

Killed at any point: start the same flow again; finished hosts are skipped by looking at them, half-done ones are taken
up where they stand. `recover` does the same for runs that nobody starts again.
"""

from __future__ import annotations

from tasks.outcomes import HostOutcome
from tasks.rollout import steps
from tasks.rollout.carrying import Carrier, HostWork
from tasks.rollout.goal import Goal, Limits
from tasks.rollout.plan import PlannedHost
from tasks.rollout.run import Looked, RolloutRun
from tasks.runs.answer import Answer
from tasks.settings import state_folder

BATCH = 100
"""Hosts per looking task."""


async def roll(run: RolloutRun, goal: Goal, limits: Limits, work: HostWork) -> Answer:
    """Carry a goal across the run's hosts, or in a dry run tell how. Raises LeaseHeld."""
    looked = await _look(run, goal, limits, work)
    plan = run.plan(goal, limits, list(looked.values()), {})
    await steps.publish_plan(plan)

    planned = {p.host.name for p in plan.hosts}
    settled = [run.settled(one) for name, one in looked.items() if name not in planned]
    if run.gate.dry_run or not plan.hosts:
        rehearsed = [await run.rehearse(one, limits, work) for one in plan.hosts]
        return _answer(run, goal, [*settled, *rehearsed])

    live_file = state_folder() / "runs" / run.recorder.run_id / "live.md"
    async with run.holding(plan) as lease, steps.showing(run.live, f"{goal.flow}-live", live_file):
        carrier = run.carrier(goal, limits, work, lease)
        carried, halted = await run.carry_out(plan, lease, lambda one: _carry(run, carrier, one))
        run.live.close(halted or "ended")
    return _answer(run, goal, [*settled, *carried], halted)


async def _look(run: RolloutRun, goal: Goal, limits: Limits, work: HostWork) -> dict[str, Looked]:
    looked: dict[str, Looked] = {}
    names = list(run.hosts)
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        told = f"{start + 1}-{start + len(batch)} of {len(names)}"
        looked |= await steps.look(run, told, batch, goal, limits, work)
    return looked


async def _carry(run: RolloutRun, carrier: Carrier, planned: PlannedHost) -> HostOutcome:
    """One host's task; what it raises in the end becomes this host's outcome and nobody else's."""
    try:
        return await steps.carry(carrier, planned.host.name, planned.host)
    except Exception as error:
        return run.broke_off(planned.host, error)


def _answer(run: RolloutRun, goal: Goal, outcomes: list[HostOutcome], halted: str = "") -> Answer:
    return Answer.of_run(goal.flow, run.recorder, list(run.hosts), outcomes, run.gate, halted=halted)
