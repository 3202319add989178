"""Audit the network between hosts, sites and the control plane, and the names that they resolve.

It changes nothing on hosts: each host runs a probe program that it gets over SSH and that leaves nothing behind. In
the cluster the audit runs a short-lived test pod on some nodes. Failures are grouped by root cause and compared with
earlier nights.
Needs: the fleet file, an SSH key, a kubeconfig; the rows that earlier runs have written to the spool.
Killed at any point: start it again; test pods end by themselves within ten minutes, and the next run removes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from pydantic import NonNegativeInt

from poolkeeper.flows.surroundings import load_declared, run_name, run_of, secrets
from poolkeeper.tasks.audit import steps
from poolkeeper.tasks.audit.remote.worker import parcels
from poolkeeper.tasks.audit.report.messages import as_json, host_outcomes, markdown, run_state
from poolkeeper.tasks.audit.run import AuditRun, open_run
from poolkeeper.tasks.outcomes import batched, in_slots
from poolkeeper.tasks.provider.endpoints import required_endpoints
from poolkeeper.tasks.runs.choosing import choose_hosts_of_any, secrets_of
from poolkeeper.tasks.runs.recording import Recorder
from poolkeeper.tasks.runs.result import RunResult
from poolkeeper.tasks.settings import state_folder

BATCH = 100
"""Hosts in one Prefect task."""
BATCHES_AT_ONCE = 4


@flow(name="audit", flow_run_name=lambda: run_name(flow_run.parameters, "audit", only_looks=True))
async def audit(
    pool: str = "",
    hosts: str = "all",
    pod_nodes: NonNegativeInt = 100,
    fail_on: Literal["nothing", "new-blockers", "blockers"] = "nothing",
    fleet: str = "",
) -> State[Any]:
    """Report in one page what is broken in the network and the names of the fleet, what is new, and what to do.

    Args:
        pool: Pool whose hosts to ask, as named in the fleet file; empty for any.
        hosts: Which hosts, such as `site=fra1,name=fra1-n0*`; `all` for every host.
        pod_nodes: Number of nodes on which to run a test pod, other nodes every night; 0 for none.
        fail_on: Findings that make the run's state Failed: `nothing`, `new-blockers`, or `blockers`.
        fleet: Fleet file in a folder that the worker allows; empty for its $POOLKEEPER_FLEET, else ./fleet.yaml.
    """

    async def run_audit(recorder: Recorder) -> RunResult:
        declared = load_declared(fleet, recorder)
        chosen = choose_hosts_of_any(declared, pool, hosts)
        secret = await secrets(secrets_of(chosen), at_use=True)
        async with open_run(declared, chosen, secret, recorder, required=required_endpoints) as run:
            await _measure(run, pod_nodes)
            page = await steps.publish_report(run, state_folder() / "runs")
            report = run.report
        state = run_state(report, fail_on)
        return RunResult(
            "audit",
            recorder,
            state,
            f"{state}: {report.summary}",
            host_outcomes(report),
            markdown(report),
            extra={"audit": as_json(report)},
            extra_files=(page,),
        )

    return await run_of("audit", run_audit)


async def _measure(run: AuditRun, pod_nodes: int) -> None:
    """Probe hosts and run test pods at the same time, then conclude."""
    await run.remove_abandoned_pods()
    pools = run.by_work_pool()
    names = pools.pop("", [])
    async with asyncio.TaskGroup() as together:
        together.create_task(_ask(run, names))
        for pool, inside in pools.items():
            together.create_task(_ask_by_worker(run, pool, inside))
        together.create_task(steps.run_test_pods(run, run.nodes_to_test(pod_nodes)))
    await steps.conclude(run)


async def _ask(run: AuditRun, names: Sequence[str]) -> None:
    slots = asyncio.Semaphore(BATCHES_AT_ONCE)
    await in_slots(
        batched(names, BATCH), lambda batch: slots, lambda batch: steps.ask(run, f"{batch[0]} to {batch[-1]}", batch)
    )


async def _ask_by_worker(run: AuditRun, pool: str, names: Sequence[str]) -> None:
    """Probe hosts of a site that only a worker inside it reaches. After a parcel without a worker, no other is sent."""
    has_worker = True
    for parcel in parcels({name: run.request_batch(name) for name in names}):
        if has_worker:
            has_worker = await steps.ask_by_worker(run, pool, f"{min(parcel)} to {max(parcel)}", parcel)
        else:
            run.not_asked(pool, parcel, run.workers[pool])
