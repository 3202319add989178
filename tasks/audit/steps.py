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

from poolkeeper.tasks.audit.remote.worker import NoWorker, Said, WorkerAway
from poolkeeper.tasks.audit.report.messages import finding_rows
from poolkeeper.tasks.audit.report.page import page
from poolkeeper.tasks.outcomes import named
from poolkeeper.tasks.runs.steps import table

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from poolkeeper.tasks.audit.run import AuditRun

ANSWERS = "poolkeeper-answers"
"""Type of the artifact in which a site's worker leaves what it has; it has no key, so that no page shows it."""
WORKER_S = 240.0
"""For a worker to take a run, start its process, and ask: hosts take some 35 s at most."""
POLL_S = 2.0


@task(name="ask hosts", task_run_name="ask {batch}", cache_policy=NO_CACHE)
async def ask(run: AuditRun, batch: str, names: Sequence[str]) -> None:
    """Let one batch of hosts probe what they depend on."""
    await run.ask(names)


@task(name="ask by a worker", task_run_name="ask by a worker of {pool}: {batch}", cache_policy=NO_CACHE)
async def ask_by_worker(run: AuditRun, pool: str, batch: str, batches: dict[str, str]) -> bool:
    """Let a worker in a site ask hosts there, by the deployment that is called like its work pool.

    False: nobody there takes questions at all.
    """
    _log.info("a worker of %s is to ask %s: waits for it up to %.0f s", pool, batch, WORKER_S)
    try:
        run.asked_by_worker(pool, batches, await _asked_there(f"ask-site/{pool}", batches))
    except NoWorker as error:
        run.not_asked(pool, batches, error.observed)
        return False
    except WorkerAway as error:
        run.not_asked(pool, batches, error.observed)
    except Exception as error:  # whatever is wrong with one site's worker, the night goes on
        run.not_asked(pool, batches, f"asking it broke off: {named(error)}")
    return True


async def _asked_there(deployment: str, batches: dict[str, str]) -> dict[str, Any]:
    """What the run of a deployment has left as its artifact. Raises WorkerAway."""
    async with get_client() as prefect:
        try:
            started = await arun_deployment(
                deployment, prefect, {"batches": batches}, timeout=WORKER_S, poll_interval=POLL_S
            )
        except ObjectNotFound:
            raise NoWorker(f"this Prefect server has no deployment {deployment}") from None
        state = started.state
        if state is None or not state.is_final():
            begun = state is not None and state.is_running()
            end = State(
                type=StateType.CANCELLING if begun else StateType.CANCELLED, message="the audit went on without"
            )
            await prefect.set_flow_run_state(started.id, end)
            if begun:
                raise WorkerAway(f"run {started.name} of {deployment} was not ended within {WORKER_S:.0f} s")
            raise NoWorker(f"run {started.name} of {deployment} was taken by no worker within {WORKER_S:.0f} s")
        if not state.is_completed():
            raise WorkerAway(f"run {started.name} of {deployment} ended as {state.name}: {state.message}"[:500])
        left = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[started.id]))
        data: dict[str, Any] = {}
        for artifact in await prefect.read_artifacts(artifact_filter=left):
            if artifact.type == ANSWERS and isinstance(artifact.data, dict):
                data |= artifact.data
                await prefect.delete_artifact(artifact.id)  # it has come: nobody else reads it
        return data


@task(name="leave answers", cache_policy=NO_CACHE)
async def leave_answers(said: dict[str, Said]) -> None:
    """The worker's half: what it has, for the audit to fetch."""
    async with get_client() as prefect:
        await prefect.create_artifact(ArtifactCreate(type=ANSWERS, data=said, flow_run_id=UUID(flow_run.id)))


@task(name="try pods", cache_policy=NO_CACHE)
async def try_pods(run: AuditRun, names: Sequence[str]) -> None:
    """Run a short-lived test pod on each of the nodes."""
    await run.try_pods(names)


@task(name="conclude", cache_policy=NO_CACHE)
async def conclude(run: AuditRun) -> None:
    """Judge, compare with other nights, group_by_cause into causes."""
    await asyncio.to_thread(run.conclude)


@task(name="publish report", cache_policy=NO_CACHE)
async def publish_report(run: AuditRun, folder: Path) -> str:
    """The page in the run's own folder, and a table with one row a finding; the page's path."""
    path = folder / run.recorder.run_id / "audit.html"
    run.recorder.file(path, await asyncio.to_thread(page, run.report))
    await table("audit-findings", finding_rows(run.report), run.report.summary)
    return str(path)
