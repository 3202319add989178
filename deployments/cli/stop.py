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
@click.option("--reason", default="no reason given", help="Why; shown in the run's summary.")
def stop(run: str, fleet: str | None, cluster: str | None, reason: str) -> None:
    """Stop a rollout: it starts nothing new, finishes running hosts or returns them to service, and ends.

    RUN is the run's id, or the start of it.
    """
    from poolkeeper.tasks.cluster import stops

    async def order(api: ClusterApi) -> str:
        found = await _running(api, run)
        await stops.stop_run(api, found, stop_of(reason))
        return found

    found = in_cluster(fleet, cluster, order)
    echo(f"run {found} starts nothing new, finishes running hosts or returns them to service, and ends")


async def _running(api: ClusterApi, run: str) -> str:
    """The full id of a rollout that holds a pool. Exits with bad input where no single one fits."""
    from poolkeeper.tasks.cluster.leases import list_leases

    rows = (await list_leases(api)).values()
    holders = {row.holder.partition("/")[0] for row in rows if row.name.startswith("pool-") and row.holder}
    found = sorted(holder for holder in holders if holder.startswith(run))
    if not found:
        there = f"; running: {', '.join(sorted(holders))}" if holders else "; no rollout is running"
        bad_input(
            f"no rollout {run} holds a pool{there}. One that waits for approval holds none: `poolkeeper reject` it"
        )
    if len(found) > 1:
        bad_input(f"{run} is the start of several runs: {', '.join(found)}")
    return found[0]
