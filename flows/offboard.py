"""Remove hosts from their pool for good.

Forecast -> cordon -> drain -> clean the host: the provider's reset, then revert what the host's record says that its
join changed -> remove the node from the provider's list, delete its Node -> proof: the kubelet is off, and the Node
stays away.
Needs: the fleet file, an SSH key, a kubeconfig, the provider's credentials.
Killed at any point: start it again, or let `recover` finish it; a host whose Node is gone is still finished.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from pydantic import PositiveFloat, PositiveInt

from poolkeeper.flows.rolling import answered, roll
from poolkeeper.flows.surroundings import run_name
from poolkeeper.tasks.onboard.offboarding import Offboarding
from poolkeeper.tasks.rollout.goal import Goal, Limits, OnBlocked
from poolkeeper.tasks.rollout.remedies import Found
from poolkeeper.tasks.rollout.run import RolloutRun
from poolkeeper.tasks.runs.result import RunResult


@flow(name="offboard", flow_run_name=lambda: run_name(flow_run.parameters, "offboard"))
async def offboard(
    hosts: str,
    pool: str = "",
    dry_run: bool = True,
    host_is_gone: bool = False,
    approval: bool = False,
    on_blocked: OnBlocked = OnBlocked.STOP,
    delete_emptydir_data: bool = False,
    failure_budget: PositiveInt = 1,
    drain_timeout_s: PositiveFloat = 600,
    outside_windows: bool = False,
    fleet: str = "",
) -> State[Any]:
    """Drain hosts, clean them, and remove them from the cluster; they can be onboarded again.

    Args:
        hosts: Which hosts, such as `name=fra1-n03`; all of one pool.
        pool: Their pool, as named in the fleet file; empty: whichever it is.
        dry_run: Publish the plan, with what each drain would meet, and change nothing.
        host_is_gone: The machines are dead: do not ask them, and remove their Nodes. Refused where one answers.
        approval: Wait for `poolkeeper approve` before anything is changed.
        on_blocked: What to do when a drain does not end in time: stop, skip, or force (ignores budgets; is approved).
        delete_emptydir_data: Evict pods with emptyDir volumes too; their data is lost.
        failure_budget: As soon as so many hosts have failed, nothing new starts.
        drain_timeout_s: How long one drain may take, in seconds.
        outside_windows: Start although a site has no window now; freezes count all the same.
        fleet: Fleet file in a folder that the worker allows; empty for its $POOLKEEPER_FLEET, else ./fleet.yaml.
    """
    limits = Limits(
        on_blocked=on_blocked,
        delete_emptydir_data=delete_emptydir_data,
        drain_timeout_s=drain_timeout_s,
        failure_budget=failure_budget,
        outside_windows=outside_windows,
        works_on_cordoned=True,
        node_is_dead=host_is_gone,
    )

    async def carry_out(run: RolloutRun) -> RunResult:
        work = offboarding_of(run, host_is_gone=host_is_gone)
        return await roll(run, Goal("offboard", run.pool.name), limits, work, approval=approval)

    return await answered("offboard", pool, hosts, fleet, carry_out, dry_run=dry_run)


def offboarding_of(run: RolloutRun, *, host_is_gone: bool = False) -> Offboarding:
    """The work on one host."""
    return Offboarding(
        api=run.api,
        sessions=run.sessions,
        provider=run.provider,
        gate=run.gate,
        recorder=run.recorder,
        request=run.request,
        host_is_gone=host_is_gone,
    )


def finishing(run: RolloutRun, found: Found) -> Offboarding:
    """For `recover`: the work that a killed run had started."""
    return offboarding_of(run, host_is_gone=found.node_is_dead)
