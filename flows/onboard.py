"""Onboard hosts: make declared machines accepted nodes of their pool.

Preflight -> plan -> join -> quarantine -> acceptance -> release. On machines it runs the provider's join
script and writes one record; in the cluster it cordons, runs test pods, and releases.
Needs: the fleet file, an SSH key, a kubeconfig, the provider's credentials.
Killed at any point: start it again; accepted hosts are skipped, and half-joined hosts continue where they are. A node
that has joined and that preflight now excludes is still cordoned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from poolkeeper.flows.surroundings import load_declared, run_name, run_of, secrets
from poolkeeper.tasks.onboard import steps
from poolkeeper.tasks.onboard.plan import plan_joins
from poolkeeper.tasks.onboard.run import OnboardRun, Reading, open_run
from poolkeeper.tasks.onboard.skipped_checks import check_skips
from poolkeeper.tasks.outcomes import HostOutcome, batched, in_slots
from poolkeeper.tasks.runs.choosing import choose_hosts, secrets_of
from poolkeeper.tasks.runs.recording import Recorder
from poolkeeper.tasks.runs.result import RunResult

BATCH = 100
"""Hosts per observing task."""


@flow(name="onboard", flow_run_name=lambda: run_name(flow_run.parameters, "onboard"))
async def onboard(
    pool: str = "",
    hosts: str = "all",
    dry_run: bool = True,
    skip_checks: dict[str, str] | None = None,
    fleet: str = "",
) -> State[Any]:
    """Make declared hosts accepted nodes of their pool, or report what excludes them.

    Args:
        pool: Pool whose hosts to onboard, as named in the fleet file; empty for any.
        hosts: Which of them, such as `site=fra1,name=fra1-n0*`; `all` for every one.
        dry_run: Check and publish the plan, and change nothing.
        skip_checks: Preflight checks to skip by name, each with the reason, which is recorded.
        fleet: Fleet file in a folder that the worker allows; empty for its $POOLKEEPER_FLEET, else ./fleet.yaml.
    """

    async def onboard_hosts(recorder: Recorder) -> RunResult:
        declared = load_declared(fleet, recorder)
        chosen = choose_hosts(declared, pool, hosts)
        skips = check_skips(skip_checks or {})
        recorder.skips(skips)
        secret = await secrets(secrets_of(chosen))
        async with open_run(declared, chosen, secret, recorder, dry_run=dry_run) as run:
            outcomes = await _admit_all(run, skips)
            return RunResult.of_run("onboard", recorder, list(run.hosts), outcomes, run.gate)

    return await run_of("onboard", onboard_hosts)


async def _admit_all(run: OnboardRun, skips: Mapping[str, str]) -> list[HostOutcome]:
    """Observe, decide, publish the plan, act; every chosen host gets an outcome."""
    ineligible = await run.ineligible_pools()
    readings: dict[str, Reading] = {}
    names = list(run.hosts)
    for batch in batched(names, BATCH):
        readings |= await steps.observe(run, f"{batch[0]} to {batch[-1]}", batch)

    results = run.preflight(readings, skips, ineligible)
    plan = plan_joins((result.host, result.action) for result in results if result.has_work)
    await steps.publish_plan(plan, run.expected_host_s)

    uncordoned = [result.host.name for result in results if result.to_quarantine]
    ended = [run.ended_in_preflight(result) for result in results if not (result.has_work or result.to_quarantine)]
    going_on = [*uncordoned, *(planned.host.name for planned in plan.hosts)]
    return [*ended, *await in_slots(going_on, run.slot, lambda name: _admit(run, name))]


async def _admit(run: OnboardRun, name: str) -> HostOutcome:
    """One host's task; an error that it raises after all retries is the outcome of this host alone."""
    try:
        return await steps.admit(run, name)
    except Exception as error:
        return run.aborted(name, error)
