"""`poolkeeper release`: what rollouts hold in a cluster, and giving it back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import click

from tasks.cluster import ApiError, ClusterApi
from tasks.cluster.leases import DURATION_S, RENEWALS, list_leases, release_lease
from tasks.cluster.marks import release_node
from tasks.cluster.nodes import list_nodes
from tasks.cluster.pods import delete_pod, list_pods
from tasks.cluster.stops import NAMESPACE
from tasks.rollout.held import Held, all_held

SEEN_WITHIN_S = DURATION_S / RENEWALS + 2
"""A holder renews so often, and learns by that."""


async def held(api: ClusterApi, nodes: Sequence[str]) -> tuple[Held, ...]:
    """Everything of ours in the cluster, or only what is on these nodes."""
    there = await list_nodes(api)
    if nodes:
        return all_held((there[name] for name in nodes if name in there), {}, ())
    return all_held(there.values(), await list_leases(api), await list_pods(api, NAMESPACE))


def show(found: Sequence[Held]) -> None:
    """What is held, each with the commands that a person can type in place of us."""
    if not found:
        click.echo("nothing of ours is held in this cluster")
    for one in found:
        kept = "" if one.proven else " (kept, unless the node is named)" if one.kind == "node" else " (kept)"
        click.echo(f"{one.kind} {one.name}: {one.why}{kept}")
        for command in one.commands:
            click.echo(f"    {command}")


async def give_back(api: ClusterApi, found: Sequence[Held]) -> list[str]:
    """Give each back; what could not be, and why.

    Between leases and nodes a run that still lives gets the time to see that it has lost them.
    """
    left = []
    leases = [one for one in found if one.kind == "lease"]
    for one in found:
        if leases and one.kind != "lease":
            await asyncio.sleep(SEEN_WITHIN_S)
            leases = []
        try:
            if one.kind == "node":
                await release_node(api, one.name)
            elif one.kind == "lease":
                await release_lease(api, one.name)
            else:
                await delete_pod(api, NAMESPACE, one.name)
        except ApiError as error:
            left.append(f"{one.kind} {one.name} is not given back: {error}")
    return left
