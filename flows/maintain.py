"""Take hosts out of service for a person's work on them, and return them to service.

Out: forecast -> cordon -> drain -> handed over. Back: proven as at onboarding -> uncordoned. Between the two no run
is active and no lease is held; the nodes count as unavailable, and no other flow changes them.
Needs: the fleet file, an SSH key, a kubeconfig, the provider's credentials.
Killed at any point: start it again. `recover` returns a node to service that was not handed over yet.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from pydantic import PositiveFloat

from poolkeeper.flows.rolling import answered, roll
from poolkeeper.flows.surroundings import run_name
from poolkeeper.tasks.rollout.goal import Goal, Limits, OnBlocked
from poolkeeper.tasks.rollout.maintenance import HandOver, ReturnToService
from poolkeeper.tasks.rollout.run import RolloutRun
from poolkeeper.tasks.runs.result import RunResult


@flow(name="maintain", flow_run_name=lambda: run_name(flow_run.parameters, "maintain"))
async def maintain(
    hosts: str,
    back: bool = False,
    dry_run: bool = True,
    on_blocked: OnBlocked = OnBlocked.STOP,
    delete_emptydir_data: bool = False,
    drain_timeout_s: PositiveFloat = 600,
    outside_windows: bool = False,
    fleet: str = "",
) -> State[Any]:
    """Take hosts out of service for hardware work, or return them to service when it is done.

    Args:
        hosts: Which hosts, such as `name=fra1-n03`; all of one pool.
        back: The work is done: prove the nodes and let workloads return.
        dry_run: Publish the plan and change nothing.
        on_blocked: What to do when a drain does not end in time: stop, skip, or force (which ignores budgets).
        delete_emptydir_data: Evict pods with emptyDir volumes too; their data is lost.
        drain_timeout_s: How long one drain may take, in seconds.
        outside_windows: Start although the site has no window now; freezes count all the same.
        fleet: Fleet file in a folder that the worker allows; empty for its $POOLKEEPER_FLEET, else ./fleet.yaml.
    """
    limits = Limits(
        on_blocked=on_blocked,
        delete_emptydir_data=delete_emptydir_data,
        drain_timeout_s=drain_timeout_s,
        outside_windows=outside_windows,
        works_on_cordoned=True,
    )

    async def roll_out(run: RolloutRun) -> RunResult:
        work = ReturnToService(run.prove_works) if back else HandOver()
        return await roll(run, Goal("maintain", run.pool.name), limits, work)

    return await answered("maintain", "", hosts, fleet, roll_out, dry_run=dry_run)
