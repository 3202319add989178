"""Releases what rollouts hold in a cluster, on a person's order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from poolkeeper.tasks.cluster import ApiError, ClusterApi, ClusterUnreachable
from poolkeeper.tasks.cluster.claims import ClaimedByOthers, Phase, release_node
from poolkeeper.tasks.cluster.leases import DURATION_S, RENEWALS, amend_lease, list_leases, release_lease
from poolkeeper.tasks.cluster.node_names import NodesMistyped
from poolkeeper.tasks.cluster.nodes import list_nodes
from poolkeeper.tasks.cluster.pods import delete_pod, list_pods
from poolkeeper.tasks.cluster.stops import NAMESPACE
from poolkeeper.tasks.rollout.holdings import Holding, all_holdings
from poolkeeper.tasks.rollout.rollout_state import without_node

SEEN_WITHIN_S = DURATION_S / RENEWALS + 2
"""Within this time a living holder tries to renew its lease, and sees that it has lost it."""


async def find_holdings(api: ClusterApi, nodes: Sequence[str]) -> tuple[Holding, ...]:
    """Everything that poolkeeper holds in the cluster, or only what is on these nodes. Raises NodesMistyped."""
    there, leases = await list_nodes(api), await list_leases(api)
    if not nodes:
        return all_holdings(there.values(), leases, await list_pods(api, NAMESPACE))
    found = [one for one in all_holdings(there.values(), leases, ()) if one.kind != "lease" and one.name in nodes]
    if mistyped := [name for name in nodes if name not in there and name not in {one.name for one in found}]:
        raise NodesMistyped(mistyped, there)
    return tuple(found)


async def release(api: ClusterApi, found: Sequence[Holding], named: Sequence[str]) -> list[str]:
    """Release each; sentences for those that could not be released.

    named: nodes that are released in any phase; others only while they are being drained
    Invariant: between leases and nodes, a living run gets the time to see that it has lost its leases.
    """
    left = []
    leases = [one for one in found if one.kind == "lease"]
    for one in found:
        if leases and one.kind != "lease":
            await asyncio.sleep(SEEN_WITHIN_S)
            leases = []
        try:
            if one.kind == "node":
                await release_node(api, one.name, None, None if one.name in named else Phase.DRAINING)
            elif one.kind == "lease":
                await release_lease(api, one.name)
            elif one.kind == "pod":
                await delete_pod(api, NAMESPACE, one.name)
            if one.name in named:  # no rollout is to finish anything on this node any more
                for lease in await list_leases(api):
                    await amend_lease(api, lease, partial(without_node, node=one.name))
        except ClaimedByOthers as error:
            left.append(f"{error}: it is not released; `poolkeeper release {one.name}` releases it in any phase")
        except ApiError as error:
            left.append(f"{one.kind} {one.name} is not released: {error.summary}")
        except ClusterUnreachable as error:  # a patch whose answer was lost may have been applied
            left.append(f"{one.kind} {one.name} may not be released: {error.summary}")
    return left
