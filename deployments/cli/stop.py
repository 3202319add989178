"""`poolkeeper stop`: a rollout starts nothing new."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from poolkeeper.deployments.cli.asking import bad_input, cluster_option, fleet_option, in_cluster, stop_of
from poolkeeper.deployments.terminal import echo

if TYPE_CHECKING:
    from poolkeeper.tasks.cluster import ClusterApi


@click.command()
@click.argument("run")
@fleet_option
@cluster_option
@click.option("--reason", default="no reason given", help="Why; it stands in the run's summary.")
def stop(run: str, fleet: str | None, cluster: str | None, reason: str) -> None:
    """Let a rollout start nothing new: hosts in flight are finished or given back, then RUN ends by itself.

    RUN is its id, or the beginning of it.
    """
    from poolkeeper.tasks.cluster import stops

    async def say(api: ClusterApi) -> str:
        found = await _running(api, run)
        await stops.stop_run(api, found, stop_of(reason))
        return found

    found = in_cluster(fleet, cluster, say)
    echo(f"told: run {found} starts nothing new, finishes or gives back what is in flight, and ends")


async def _running(api: ClusterApi, run: str) -> str:
    """The id of the one rollout that is meant, among those that hold a pool. Bad input where there is none."""
    from poolkeeper.tasks.cluster.leases import list_leases

    rows = (await list_leases(api)).values()
    holders = {row.holder.partition("/")[0] for row in rows if row.name.startswith("pool-") and row.holder}
    found = sorted(holder for holder in holders if holder.startswith(run))
    if not found:
        there = f"; running: {', '.join(sorted(holders))}" if holders else ", and no other one is under way"
        bad_input(f"no rollout {run} holds a pool{there}. One that waits for approval holds nothing: reject it")
    if len(found) > 1:
        bad_input(f"{run} is the beginning of several runs: {', '.join(found)}")
    return found[0]
