"""`poolkeeper freeze` and `thaw`: stop every later change in a cluster, and allow changes again."""

from __future__ import annotations

import click

from poolkeeper.deployments.cli.asking import cluster_option, fleet_option, in_cluster, reason_option, stop_of
from poolkeeper.deployments.terminal import echo


@click.command()
@fleet_option
@cluster_option
@reason_option
def freeze(fleet: str | None, cluster: str | None, reason: str) -> None:
    """Stop every later change in a cluster, from every machine that runs poolkeeper."""
    from poolkeeper.tasks.cluster import stops

    in_cluster(fleet, cluster, lambda api: stops.freeze(api, stop_of(reason)))
    echo("frozen: nothing is changed until `poolkeeper thaw`")


@click.command()
@fleet_option
@cluster_option
def thaw(fleet: str | None, cluster: str | None) -> None:
    """Allow changes again after a freeze."""
    from poolkeeper.tasks.cluster import stops

    was_frozen = in_cluster(fleet, cluster, stops.thaw)
    echo("thawed" if was_frozen else "the cluster was not frozen")
