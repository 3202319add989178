"""The audit's Prefect tasks: names, artifacts, nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import State, StateType
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run

from poolkeeper.tasks.audit.remote.worker import NoWorker, Reply, WorkerAway
from poolkeeper.tasks.audit.report.messages import finding_rows
from poolkeeper.tasks.audit.report.page import page
from poolkeeper.tasks.outcomes import named
from poolkeeper.tasks.runs.steps import table

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from poolkeeper.tasks.audit.run import AuditRun

REPLIES = "poolkeeper-replies"
"""Type of the artifact in which a site's worker leaves its replies; it has no key, so that no page shows it."""
WORKER_S = 240.0
"""Time for a worker to take a run, start its process, and probe: hosts need about 35 s at most."""
POLL_S = 2.0


@task(name="probe hosts", task_run_name="probe {hosts}", cache_policy=NO_CACHE)
async def ask(run: AuditRun, hosts: str, names: Sequence[str]) -> None:
    """Let some hosts probe what they depend on. hosts: the first and the last, for the task's name"""
    await run.ask(names)


@task(name="probe by a worker", task_run_name="probe by a worker of {pool}: {hosts}", cache_policy=NO_CACHE)
async def ask_by_worker(run: AuditRun, pool: str, hosts: str, batches: dict[str, str]) -> bool:
    """Let a worker in a site probe hosts there, by the deployment that has the name of the site's work pool.

    hosts: the first and the last, for the task's name
    Returns whether a worker has taken the run.
    """
    _log.info("waiting up to %.0f s for a worker of %s to probe %s", WORKER_S, pool, hosts)
    try:
        run.asked_by_worker(pool, batches, await _replies(f"ask-site/{pool}", batches))
    except NoWorker as error:
        run.not_asked(pool, batches, error.observed)
        return False
    except WorkerAway as error:
        run.not_asked(pool, batches, error.observed)
    except Exception as error:  # of one site's worker: the rest of the audit continues
        run.not_asked(pool, batches, f"the probe was aborted: {named(error)}")
    return True


async def _replies(deployment: str, batches: dict[str, str]) -> dict[str, Any]:
    """The replies that the run of a deployment has left as its artifact. Raises WorkerAway."""
    async with get_client() as prefect:
        try:
            started = await arun_deployment(
                deployment, prefect, {"batches": batches}, timeout=WORKER_S, poll_interval=POLL_S
            )
        except ObjectNotFound:
            raise NoWorker(f"this Prefect server has no deployment {deployment}") from None
        state = started.state
        if state is None or not state.is_final():
            started_running = state is not None and state.is_running()
            end = State(
                type=StateType.CANCELLING if started_running else StateType.CANCELLED,
                message="the audit continued without these hosts",
            )
            await prefect.set_flow_run_state(started.id, end)
            if started_running:
                raise WorkerAway(f"run {started.name} of {deployment} did not end within {WORKER_S:.0f} s")
            raise NoWorker(f"no worker started run {started.name} of {deployment} within {WORKER_S:.0f} s")
        if not state.is_completed():
            raise WorkerAway(f"run {started.name} of {deployment} ended as {state.name}: {state.message}"[:500])
        left = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[started.id]))
        data: dict[str, Any] = {}
        for artifact in await prefect.read_artifacts(artifact_filter=left):
            if artifact.type == REPLIES and isinstance(artifact.data, dict):
                data |= artifact.data
                await prefect.delete_artifact(artifact.id)  # this run has read it, and nothing else does
        return data


@task(name="leave replies", cache_policy=NO_CACHE)
async def leave_replies(replies: dict[str, Reply]) -> None:
    """The worker's part: leave the replies for the audit to fetch."""
    async with get_client() as prefect:
        await prefect.create_artifact(ArtifactCreate(type=REPLIES, data=replies, flow_run_id=UUID(flow_run.id)))


@task(name="run test pods", cache_policy=NO_CACHE)
async def run_test_pods(run: AuditRun, names: Sequence[str]) -> None:
    """Run a short-lived test pod on each of the nodes."""
    await run.run_test_pods(names)


@task(name="conclude", cache_policy=NO_CACHE)
async def conclude(run: AuditRun) -> None:
    """Judge the answers, compare with other nights, group by root cause."""
    await asyncio.to_thread(run.conclude)


@task(name="publish report", cache_policy=NO_CACHE)
async def publish_report(run: AuditRun, folder: Path) -> str:
    """Write the page into the run's own folder, and a table with one row per finding. Returns the page's path."""
    path = folder / run.recorder.run_id / "audit.html"
    run.recorder.file(path, await asyncio.to_thread(page, run.report))
    await table("audit-findings", finding_rows(run.report), run.report.summary)
    return str(path)
