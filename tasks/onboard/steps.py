"""Onboarding's Prefect tasks: names, retries and artifacts, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run

from poolkeeper.tasks.cluster import ApiError, ClusterUnreachable
from poolkeeper.tasks.hosts import HostError
from poolkeeper.tasks.onboard.report import plan_rows, run_plan
from poolkeeper.tasks.outcomes import HostOutcome
from poolkeeper.tasks.runs.steps import table
from poolkeeper.tasks.runs.watching import watcher

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.tasks import Task

    from poolkeeper.tasks.onboard.plan import JoinPlan
    from poolkeeper.tasks.onboard.run import OnboardRun, Reading

TEMPORARY = (HostError, ClusterUnreachable, ApiError)
"""A host or a cluster that could not be reached: the next try continues where this one ended."""


async def _is_temporary(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    # async on purpose: a plain function would get a coroutine from state.result() and never see the error
    return isinstance(await state.aresult(raise_on_failure=False), TEMPORARY)


@task(name="observe hosts", task_run_name="observe {batch}", cache_policy=NO_CACHE)
async def observe(run: OnboardRun, batch: str, names: Sequence[str]) -> dict[str, Reading]:
    """Read one batch of hosts: their facts, or why they could not be read."""
    return await run.observe(names)


@task(
    name="admit host",
    task_run_name="admit {name}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_condition_fn=_is_temporary,
)
async def admit(run: OnboardRun, name: str) -> HostOutcome:
    """Bring one host to acceptance, or report why not."""
    with run.gate.attempt(str(task_run.id)):  # the same for each retry
        return await run.admit(name)


@task(name="publish plan", cache_policy=NO_CACHE)
async def publish_plan(plan: JoinPlan, host_s: float | None) -> None:
    """The plan as a table, before anything is done.

    host_s: how long one host is expected to take, in seconds; None: not known
    """
    planned = run_plan(plan, host_s)
    watcher().planned(planned)
    await table("onboard-plan", plan_rows(plan), "; ".join([plan.summary, *planned.notes]))
