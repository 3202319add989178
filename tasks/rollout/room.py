"""How many nodes may be unavailable, per pool and per domain: counted from the API server's Nodes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from tasks.cluster.marks import Phase, mark_of
from tasks.cluster.nodes import POOL_ID_LABEL, NodeRow
from tasks.fleet.model import Host


@dataclass(frozen=True, slots=True)
class Room:
    """Whether one more node may become unavailable."""

    free: bool
    why: str = ""
    """What is full and who fills it; empty where there is room."""


def in_service(nodes: Mapping[str, NodeRow]) -> frozenset[str]:
    """Names of nodes that are counted on: all but those that have joined and were never accepted."""
    return frozenset(name for name, node in nodes.items() if not _in_quarantine(node))


def _in_quarantine(node: NodeRow) -> bool:
    """It has not carried anything yet: it is no loss."""
    return node.cordoned_by_us and not node.accepted and mark_of(node) is None


def is_down(node: NodeRow) -> bool:
    """Whether a node takes no workloads: not Ready, of unknown readiness, or cordoned by whomever.

    One that has joined and was never accepted is not counted on.
    """
    mark = mark_of(node)
    if _in_quarantine(node):
        return False
    # half changed, or not proven: it is no room for another, though someone has uncordoned it
    return not node.ready or node.unschedulable or (mark is not None and mark.phase is not Phase.DRAINING)


def serves_nobody(node: NodeRow) -> bool:
    """Whether a node is down and no pods are counted on there: not Ready, or in a rollout's hands."""
    return is_down(node) and (not node.ready or mark_of(node) is not None)


def counted_against(node: NodeRow | None) -> Callable[[NodeRow], bool] | None:
    """Which other nodes count when this one is to become unavailable; None: it may, whatever the others are.

    A node that serves nobody takes no room. One that a person has cordoned serves its pods until it is drained: it
    waits for those that serve nobody, not for others that are merely cordoned: a cordoned rack is to be emptied too.
    """
    if node is None or not is_down(node):
        return is_down
    return None if serves_nobody(node) else serves_nobody


def room_for(host: Host, declared: Iterable[Host], nodes: Mapping[str, NodeRow], members: Collection[str] = ()) -> Room:
    """Whether `host`'s node may be cordoned now.

    declared: every host of the fleet; a percentage is of the active ones. nodes: the cluster's, by name. A node that
    the fleet file does not declare counts in the pool that its label names.
    members: Nodes that were there before. One of an active host that is not there any more is down: someone has deleted
    it, which a host that was never a node does not show.
    """
    hosts = list(declared)
    gone = {h.node_name for h in hosts if h.active and h.node_name in members and h.node_name not in nodes}
    counts = counted_against(nodes.get(host.node_name))
    if counts is None:
        return Room(True)
    down = {name for name, node in nodes.items() if name != host.node_name and counts(node)}
    cluster = host.pool.cluster.name
    in_pool = [h for h in hosts if h.pool.name == host.pool.name]
    names = {h.node_name for h in in_pool}
    known = {h.node_name for h in hosts if h.pool.cluster.name == cluster}
    strangers = {
        node.name
        for node in nodes.values()
        if node.name not in known and node.labels.get(POOL_ID_LABEL) == host.pool.nodepool_id
    }
    active = sum(1 for h in in_pool if h.active)
    room = _room(f"pool {host.pool.name}", names | strangers, down, gone, host.pool.max_unavailable.of(active))
    if not room.free or host.domain is None:
        return room
    domain = host.domain
    in_domain = [h for h in hosts if h.domain is not None and h.domain.name == domain.name]
    active = sum(1 for h in in_domain if h.active)
    names = {h.node_name for h in in_domain}
    return _room(f"domain {domain.name}", names, down, gone, domain.max_unavailable.of(active))


def _room(what: str, names: set[str], down: set[str], gone: set[str], limit: int) -> Room:
    there = sorted([*(names & down), *(f"{name} (its Node is gone)" for name in names & gone)])
    if len(there) < limit:
        return Room(True)
    who = ", ".join(there[:5]) or "none"
    return Room(False, f"{what} may have {limit} nodes unavailable and has {len(there)}: {who}")
