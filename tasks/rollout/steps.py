"""The rollouts' Prefect tasks: names, retries and artifacts, nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.runtime import task_run

from poolkeeper.tasks.cluster import ApiError, ClusterUnreachable
from poolkeeper.tasks.hosts import HostError
from poolkeeper.tasks.hosts.fence import FencedOff
from poolkeeper.tasks.outcomes import HostOutcome, visible
from poolkeeper.tasks.provider import ProviderError
from poolkeeper.tasks.runs.steps import page, table

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.tasks import Task

    from poolkeeper.tasks.fleet import Host
    from poolkeeper.tasks.rollout.goal import Goal, Limits
    from poolkeeper.tasks.rollout.host_runner import HostRunner
    from poolkeeper.tasks.rollout.host_work import HostWork
    from poolkeeper.tasks.rollout.live_view import LiveView
    from poolkeeper.tasks.rollout.plan import Plan
    from poolkeeper.tasks.rollout.run import Assessed, RolloutRun

TEMPORARY = (HostError, ClusterUnreachable, ApiError, ProviderError)
"""Errors of a host, a cluster or a provider that could not be reached: a retry continues from the current state."""
AGAIN_AFTER_S: list[float] = [2, 10, 20]
"""About as long as a lease outlives an API server that is away; after that, another run may have the hosts."""
SHOW_EVERY_S = 2.0


async def _is_temporary(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    # async on purpose: a plain function would get a coroutine from state.result() and never see the error
    error = await state.aresult(raise_on_failure=False)
    return isinstance(error, TEMPORARY) and not isinstance(error, FencedOff)


@task(name="assess hosts", task_run_name="assess {batch}", cache_policy=NO_CACHE)
async def assess(
    run: RolloutRun, batch: str, names: Sequence[str], goal: Goal, limits: Limits, work: HostWork
) -> dict[str, Assessed]:
    """Read the state of one batch of hosts, and what to do with each next."""
    return await run.assess(names, goal, limits, work)


@task(
    name="run host",
    task_run_name="run {name}",
    cache_policy=NO_CACHE,
    retries=len(AGAIN_AFTER_S),
    retry_delay_seconds=AGAIN_AFTER_S,
    retry_condition_fn=_is_temporary,
)
async def run_host(runner: HostRunner, name: str, host: Host) -> HostOutcome:
    """Bring one host from its current state to the goal, or say why not."""
    with runner.gate.attempt(str(task_run.id)):  # the same for each retry
        return await runner.run_host(host)


@task(name="publish plan", cache_policy=NO_CACHE)
async def publish_plan(plan: Plan) -> None:
    """Publish the plan as a table, before anything is changed."""
    await table(f"{plan.goal.flow}-plan", plan.rows(), plan.summary)


@asynccontextmanager
async def showing(live: LiveView, key: str, file: Path) -> AsyncIterator[None]:
    """Keep the live view up to date, as one artifact and as a file, until the block ends."""
    artifact: UUID | None = None

    async def show() -> None:
        nonlocal artifact
        live.changed.clear()
        with suppress(OSError):  # on a full disk the artifact is what there is
            live.write(file)
        if artifact is None:
            artifact = await page(key, live.text(), "what it is doing, and how to stop it")
            return
        async with get_client() as client:
            await client.update_artifact(artifact, ArtifactUpdate(data=visible(live.text())))

    async def keep_showing() -> None:
        while True:
            await live.changed.wait()
            with suppress(Exception):  # a view that cannot be written must not end what it shows
                await show()
            await asyncio.sleep(SHOW_EVERY_S)

    shown = asyncio.create_task(keep_showing())
    try:
        yield
    finally:
        shown.cancel()
        with suppress(asyncio.CancelledError):
            await shown
        with suppress(Exception):
            await show()
