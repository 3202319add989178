"""`poolkeeper hold` and `unhold`: stop every later change of one node and its host, and allow them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from poolkeeper.deployments.cli import completion
from poolkeeper.deployments.cli.asking import (
    bad_input,
    cluster_option,
    fleet_option,
    in_cluster,
    loaded,
    reason_option,
    stop_of,
)
from poolkeeper.deployments.terminal import echo

if TYPE_CHECKING:
    from poolkeeper.tasks.cluster import ClusterApi


@click.command()
@click.argument("node", shell_complete=completion.nodes)
@fleet_option
@cluster_option
@reason_option
def hold(node: str, fleet: str | None, cluster: str | None, reason: str) -> None:
    """Stop every later change of one NODE and its host; it also keeps a host from joining."""
    from poolkeeper.tasks.cluster import stops

    _refuse_host_name("hold", node, fleet)

    async def held(api: ClusterApi) -> None:
        if (why := await _no_such_node(api, node, fleet)) is not None:
            bad_input(why)
        await stops.hold(api, node, stop_of(reason))

    in_cluster(fleet, cluster, held)
    echo(f"held: {node} is not changed until `poolkeeper unhold {node}`")


@click.command()
@click.argument("node", shell_complete=completion.nodes)
@fleet_option
@cluster_option
def unhold(node: str, fleet: str | None, cluster: str | None) -> None:
    """Remove a hold."""
    from poolkeeper.tasks.cluster import stops

    _refuse_host_name("unhold", node, fleet)
    was_held = in_cluster(fleet, cluster, lambda api: stops.unhold(api, node))
    echo(f"{node} is not held any more" if was_held else f"{node} was not held")


async def _no_such_node(api: ClusterApi, node: str, fleet: str | None) -> str | None:
    """Why a name is refused: neither a Node nor a declared host has it. None: one has."""
    from poolkeeper.tasks.cluster.nodes import list_nodes
    from poolkeeper.tasks.fleet.problems import nearest

    names = {*(await list_nodes(api)), *(host.node_name for host in loaded(fleet).hosts.values())}
    if node in names:
        return None
    return f"there is no node {node}, neither in the cluster nor in the fleet file. {nearest(node, names)}"


def _refuse_host_name(command: str, node: str, fleet: str | None) -> None:
    """A hold is kept by node name: by the name of a host whose node is named otherwise it would hold nothing."""
    hosts = loaded(fleet).hosts
    if node in hosts and node not in {host.node_name for host in hosts.values()}:
        name = hosts[node].node_name
        bad_input(f"{node} is a host, and its node is named {name}: `poolkeeper {command} {name}`")
