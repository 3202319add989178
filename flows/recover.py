"""Find what killed rollouts have left on hosts, and finish it or return the nodes to service.

It reads each pool's lease that no run renews, and the hosts on which that rollout had started. Nodes whose hosts were
not changed yet return to service. Hosts that were being changed are finished and proven, within their windows. Nothing
new is started. Hosts with a person, failed hosts, unknown ones, and claims without an intent are only reported.
Needs: the fleet file, an SSH key, a kubeconfig, the provider's credentials.
Killed at any point: start it again, or the next scheduled run continues; its schedule is off until switched on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from poolkeeper.flows.registry import FLOWS
from poolkeeper.flows.rolling import run_host_safely
from poolkeeper.flows.surroundings import load_declared, run_name, run_of, secrets
from poolkeeper.tasks.cluster.leases import HeldLease
from poolkeeper.tasks.fleet import Fleet
from poolkeeper.tasks.outcomes import Gate, HostOutcome
from poolkeeper.tasks.rollout import recovery
from poolkeeper.tasks.rollout.goal import Limits
from poolkeeper.tasks.rollout.host_work import HostWork
from poolkeeper.tasks.rollout.maintenance import ReturnToService
from poolkeeper.tasks.rollout.remedies import Found, Remedy
from poolkeeper.tasks.rollout.rollout_state import shared_by
from poolkeeper.tasks.rollout.run import RolloutRun, open_rollout
from poolkeeper.tasks.runs.choosing import choose_pools, secrets_of
from poolkeeper.tasks.runs.recording import Recorder
from poolkeeper.tasks.runs.result import RunResult
from poolkeeper.tasks.upgrade.goal import GoalInvalid

WITHOUT_NODE = {flow.name: flow.recovery.without_node for flow in FLOWS.values() if flow.recovery is not None}
"""Flow whose work is finished -> whether it is finished where the Node is gone, too."""


@flow(name="recover", flow_run_name=lambda: run_name(flow_run.parameters, "recover"))
async def recover(pool: str = "", dry_run: bool = True, fleet: str = "") -> State[Any]:
    """Finish what killed rollouts have left, or return the nodes to service.

    Args:
        pool: The pool, as named in the fleet file; empty for every one.
        dry_run: Show what would be done, and change nothing.
        fleet: Fleet file in a folder that the worker allows; empty for its $POOLKEEPER_FLEET, else ./fleet.yaml.
    """

    async def recover_all(recorder: Recorder) -> RunResult:
        recorder.dry_run = dry_run
        everything, declared = Gate(dry_run=dry_run), load_declared(fleet, recorder)
        outcomes, failed = await recovery.recover_pools(
            choose_pools(declared, pool), lambda name: _recover_pool(declared, name, recorder, everything)
        )
        names = [outcome.name for outcome in outcomes]
        return RunResult.of_run("recover", recorder, names, outcomes, everything, failed=failed)

    return await run_of("recover", recover_all)


async def _recover_pool(declared: Fleet, pool: str, recorder: Recorder, everything: Gate) -> AsyncIterator[HostOutcome]:
    """What was left in one pool: each host's outcome as soon as it is known."""
    hosts = tuple(host for host in declared.hosts.values() if host.pool.name == pool)
    if not hosts:
        return
    secret = await secrets(secrets_of(hosts))
    async with open_rollout(declared, hosts, "recover", secret, recorder, dry_run=everything.dry_run) as run:
        run.gate.records = everything.records  # one list for all pools
        async for outcome in recovery.recover_pool(run, WITHOUT_NODE, partial(_recover_host, run)):
            yield outcome


async def _recover_host(run: RolloutRun, left: Found, lease: HeldLease) -> HostOutcome:
    one, work = _finishing(run, left)
    if work is not None:
        work.remember(shared_by(lease.note, one.goal.id))
    limits = Limits(node_is_dead=one.node_is_dead)
    runner = run.host_runner(one.goal, limits, work or ReturnToService(run.prove_works), lease)
    run_host, postponed = partial(run_host_safely, run, runner), partial(run.postponed, one.host)
    return await recovery.recover(one, runner, lease, run_host, postponed)


def _finishing(run: RolloutRun, one: Found) -> tuple[Found, HostWork | None]:
    """The work that finishes a host, if any. A goal that cannot be reached becomes the host's finding."""
    if one.remedy is not Remedy.FINISH:
        return one, None
    try:
        return one, FLOWS[one.goal.flow].finishing(run, one)
    except GoalInvalid as error:
        return recovery.unreachable(one, error.summary), None
