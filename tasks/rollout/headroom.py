"""How many nodes may be unavailable, per pool and per domain: counted from the API server's Nodes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from poolkeeper.tasks.cluster.claims import Phase, claim_of
from poolkeeper.tasks.cluster.nodes import POOL_ID_LABEL, NodeRow
from poolkeeper.tasks.fleet.model import Host, KubeadmProvider, Pool

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
"""Key of the taint by which a person declares a machine off: its pods are deleted by force."""

Taints = Collection[tuple[str, str, str]]
"""(key, value, effect)."""


@dataclass(frozen=True, slots=True)
class Headroom:
    """Whether one more node may become unavailable."""

    free: bool
    why: str = ""
    """Which limit is reached, and by which nodes; empty where there is headroom."""


def in_service(nodes: Mapping[str, NodeRow]) -> frozenset[str]:
    """Names of nodes in service: all but those that have joined and were never accepted."""
    return frozenset(name for name, node in nodes.items() if not _in_quarantine(node))


def _in_quarantine(node: NodeRow) -> bool:
    """It has run no workloads yet, so that its absence is no loss."""
    return node.cordoned_by_us and not node.accepted and claim_of(node) is None


def usual_taints(pool: Pool, nodes: Iterable[NodeRow]) -> Taints:
    """The taints that belong to a pool, rather than to the state of one node: declared, or on all of its nodes.

    nodes: the pool's own. A single node shows nothing
    """
    provider = pool.cluster.provider
    declared = provider.taints if isinstance(provider, KubeadmProvider) else ()
    carried = [frozenset(node.taints) for node in nodes if not node.unread and not _in_quarantine(node)]
    shared = frozenset.intersection(*carried) if len(carried) > 1 else frozenset()
    return frozenset(taint for taint in (*declared, *shared) if taint[0] != OUT_OF_SERVICE)


def emptied_by(node: NodeRow, usual: Taints = ()) -> str:
    """The taint that ends pods on a node, `key:NoExecute`; empty where there is none but the pool's usual ones."""
    taints = (taint for taint in node.taints if taint not in usual)
    return next((f"{key}:{effect}" for key, _, effect in taints if effect == "NoExecute" or key == OUT_OF_SERVICE), "")


def is_down(node: NodeRow, usual: Taints = ()) -> bool:
    """Whether a node takes no workloads.

    It is not Ready, of unknown readiness, cordoned by anyone, being deleted, or has a taint that ends pods there.
    A node that has joined and was never accepted is not in service, and so not down.
    usual: the taints of its pool, which its pods tolerate
    """
    claim = claim_of(node)
    if node.unread:
        return True
    if _in_quarantine(node):
        return False
    # half changed, or without proof: it uses headroom even if someone has uncordoned it
    half_changed = claim is not None and claim.phase is not Phase.DRAINING
    return not node.ready or node.unschedulable or node.deleting or half_changed or emptied_by(node, usual) != ""


def serves_nobody(node: NodeRow, usual: Taints = ()) -> bool:
    """Whether a node is down and its pods serve nobody: not Ready, emptied, or claimed by a rollout."""
    counted_on = node.ready and claim_of(node) is None and not emptied_by(node, usual)
    return is_down(node, usual) and not counted_on


def counted_against(node: NodeRow | None, usual: Taints = ()) -> Callable[[NodeRow, Taints], bool] | None:
    """Which other nodes count when this one is to become unavailable; None: it may, whatever the other nodes are.

    A node that serves nobody uses no headroom. A node that a person has cordoned serves its pods until it is drained:
    only nodes that serve nobody count against it, not other cordoned nodes, so that a cordoned rack can be emptied.
    usual: the taints of its pool
    """
    if node is None or not is_down(node, usual):
        return is_down
    return None if serves_nobody(node, usual) else serves_nobody


def headroom_for(
    host: Host, declared: Iterable[Host], nodes: Mapping[str, NodeRow], members: Collection[str] = ()
) -> Headroom:
    """Whether `host`'s node may be cordoned now.

    declared: every host of the fleet; a percentage is of the active ones. nodes: the cluster's, by name. A node that
    the fleet file does not declare counts in the pool that its label names.
    members: names of Nodes that existed before. If such a Node of an active host is missing, someone has deleted it,
    and it counts as down.
    """
    hosts = list(declared)
    gone = {h.node_name for h in hosts if h.active and h.node_name in members and h.node_name not in nodes}
    usual = _usual_of(hosts, nodes)
    counts = counted_against(nodes.get(host.node_name), usual.get(host.node_name, ()))
    if counts is None:
        return Headroom(True)
    cluster = host.pool.cluster.name
    in_pool = [h for h in hosts if h.pool.name == host.pool.name]
    names = {h.node_name for h in in_pool}
    known = {h.node_name for h in hosts if h.pool.cluster.name == cluster}
    strangers = {
        node.name
        for node in nodes.values()
        if node.name not in known and node.labels.get(POOL_ID_LABEL) == host.pool.nodepool_id
    }
    usual |= dict.fromkeys(strangers, usual.get(host.node_name, ()))
    others = {name: (node, usual.get(name, ())) for name, node in nodes.items() if name != host.node_name}
    down = {name: _why_down(node, taints) for name, (node, taints) in others.items() if counts(node, taints)}
    active = sum(1 for h in in_pool if h.active)
    headroom = _headroom(f"pool {host.pool.name}", names | strangers, down, gone, host.pool.max_unavailable.of(active))
    if not headroom.free or host.domain is None:
        return headroom
    domain = host.domain
    in_domain = [h for h in hosts if h.domain is not None and h.domain.name == domain.name]
    active = sum(1 for h in in_domain if h.active)
    names = {h.node_name for h in in_domain}
    return _headroom(f"domain {domain.name}", names, down, gone, domain.max_unavailable.of(active))


def _usual_of(hosts: Iterable[Host], nodes: Mapping[str, NodeRow]) -> dict[str, Taints]:
    """Node name -> the usual taints of its host's pool."""
    by_pool: dict[str, list[Host]] = {}
    for host in hosts:
        by_pool.setdefault(host.pool.name, []).append(host)
    found: dict[str, Taints] = {}
    for inside in by_pool.values():
        taints = usual_taints(inside[0].pool, [nodes[h.node_name] for h in inside if h.node_name in nodes])
        found |= {h.node_name: taints for h in inside}
    return found


def _why_down(node: NodeRow, usual: Taints) -> str:
    """What does not show in `kubectl get nodes`; empty where its status says enough."""
    if node.unread:
        return " (its Node cannot be read)"
    if node.deleting:
        return " (it is being deleted)"
    taint = emptied_by(node, usual)
    return f" (taint {taint})" if taint and node.ready else ""


def _headroom(what: str, names: set[str], down: Mapping[str, str], gone: set[str], limit: int) -> Headroom:
    there = [f"{name}{down[name]}" for name in names & down.keys()]
    there = sorted([*there, *(f"{name} (its Node is gone)" for name in names & gone)])
    if len(there) < limit:
        return Headroom(True)
    who = ", ".join(there[:5]) or "none"
    return Headroom(False, f"{what} may have {limit} nodes unavailable and has {len(there)}: {who}")
