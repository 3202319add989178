"""`poolkeeper approve` and `reject`: decide on a plan that waits for approval."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from poolkeeper.deployments.cli.asking import bad_input, cluster_option, fleet_option, in_cluster, stop_of
from poolkeeper.deployments.terminal import echo

if TYPE_CHECKING:
    from poolkeeper.tasks.cluster import ClusterApi
    from poolkeeper.tasks.cluster.approvals import Approval


@click.command()
@click.argument("run")
@fleet_option
@cluster_option
@click.option("--reason", default="", help="Why; shown in the run's log.")
@click.option("--yes", is_flag=True, help="Do not ask after showing the plan.")
def approve(run: str, fleet: str | None, cluster: str | None, reason: str, yes: bool) -> None:
    """Approve the plan of RUN. Afterwards the run may change fewer hosts, and nothing else.

    RUN is the run's id, the plan's id, or the start of one.
    """
    _decide(run, fleet, cluster, "approved", reason, yes=yes)


@click.command()
@click.argument("run")
@fleet_option
@cluster_option
@click.option("--reason", default="", help="Why; shown when someone starts it again.")
def reject(run: str, fleet: str | None, cluster: str | None, reason: str) -> None:
    """Reject the plan of RUN: the same plan is refused from then on."""
    _decide(run, fleet, cluster, "rejected", reason, yes=True)


def _decide(run: str, fleet: str | None, cluster: str | None, word: str, reason: str, *, yes: bool) -> None:
    from dataclasses import replace

    from poolkeeper.deployments.cli import suspended
    from poolkeeper.tasks.cluster.approvals import write_approval

    asked: Approval = in_cluster(fleet, cluster, lambda api: _asked_for(api, run))
    _show_plan(asked)
    if not yes:
        click.confirm("Approve this plan?", abort=True, err=True)
    by = stop_of(reason)
    decided = replace(asked, word=word, by=by.by, at=by.since, reason=reason)
    in_cluster(fleet, cluster, lambda api: write_approval(api, decided))
    url = os.environ.get("PREFECT_API_URL", "")
    after = suspended.resume(url, asked.run) if word == "approved" else suspended.cancel(url, asked.run)
    echo(f"{word}: plan {asked.key} of run {asked.run}; {after}")


async def _asked_for(api: ClusterApi, run: str) -> Approval:
    """The plan that waits for approval. Exits with bad input where no single one fits."""
    from poolkeeper.tasks.cluster.approvals import read_approvals

    waiting = [one for one in (await read_approvals(api)).values() if not one.word]
    found = [one for one in waiting if one.run.startswith(run) or one.key.startswith(run)]
    if not found:
        there = _runs(waiting)
        bad_input(f"no plan of {run} waits for approval" + (f"; waiting: {there}" if there else ""))
    if len(found) > 1:
        bad_input(f"{run} is the start of several: {_runs(found)}")
    return found[0]


def _runs(approvals: Sequence[Approval]) -> str:
    return ", ".join(f"{one.run} (plan {one.key})" for one in approvals)


def _show_plan(asked: Approval) -> None:
    """What a person approves, on stderr."""
    plan = asked.plan
    goal = json.dumps(plan.get("goal"), sort_keys=True)
    echo(f"{plan.get('flow')} of pool {plan.get('pool')}: {goal}", err=True)
    echo(f"  asked at {asked.asked_at}, because {plan.get('why')}", err=True)
    waves: dict[int, list[str]] = {}
    for name, wave in plan.get("hosts") or ():
        waves.setdefault(wave, []).append(name)
    for wave, names in sorted(waves.items()):
        echo(f"  wave {wave}: {', '.join(names)}", err=True)
    limits = ", ".join(f"{name} {value}" for name, value in sorted((plan.get("limits") or {}).items()))
    echo(f"  limits: {limits}", err=True)
