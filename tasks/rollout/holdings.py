"""All that poolkeeper holds in a cluster, and the kubectl commands that release it without poolkeeper. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from poolkeeper.tasks.cluster.claims import Phase, claim_of
from poolkeeper.tasks.cluster.leases import NAMESPACE, LeaseRow
from poolkeeper.tasks.cluster.nodes import CORDON, ROLLOUT, NodeRow
from poolkeeper.tasks.cluster.pods import PodRow
from poolkeeper.tasks.rollout.rollout_state import intents_of


@dataclass(frozen=True, slots=True)
class Holding:
    """One object that poolkeeper holds."""

    kind: str
    """`node`, `intent` (of a node without a claim), `quarantine`, `lease` or `pod`."""
    name: str
    why: str
    commands: tuple[str, ...]
    """What a person can type instead."""
    releasable: bool = True
    """False: a node that may be half changed or with a person; it is released only if it is named."""


def all_holdings(
    nodes: Iterable[NodeRow], leases: Mapping[str, LeaseRow], pods: Iterable[PodRow]
) -> tuple[Holding, ...]:
    """In the order of their release: leases first, so that a living run claims no more nodes."""
    held = []
    for name, lease in sorted(leases.items()):
        if lease.holder:
            # not deleted: its fencing token is what hosts and claims are compared with
            patch = '{"spec":{"holderIdentity":""}}'
            command = f"kubectl patch lease -n {NAMESPACE} {name} --type merge -p '{patch}'"
            held.append(Holding("lease", name, f"held by {lease.holder}", (command,)))
    nodes = sorted(nodes, key=lambda node: node.name)
    for name, lease in sorted(leases.items()):
        gone = {intent.node: (one, host) for _, one, host, intent in intents_of(lease.note)}
        for node_name in sorted(gone.keys() - {node.name for node in nodes if claim_of(node) is not None}):
            one, host = gone[node_name]
            why = f"{one.flow} {dict(one.goal)} was started on host {host}, as lease {name} says; no Node has its claim"
            held.append(Holding("intent", node_name, why, (), releasable=False))
    for node in nodes:
        claim = claim_of(node)
        uncordon = (f"kubectl annotate node {node.name} {CORDON}-", f"kubectl uncordon {node.name}")
        if claim is not None:
            commands = (f"kubectl annotate node {node.name} {ROLLOUT}-", *(uncordon if node.cordoned_by_us else ()))
            why = f"{claim.phase} by flow {claim.flow}, run {claim.run}, since {claim.since}"
            held.append(Holding("node", node.name, why, commands, releasable=claim.phase is Phase.DRAINING))
        elif node.cordoned_by_us:
            held.append(Holding("quarantine", node.name, "quarantined until acceptance", uncordon, releasable=False))
    for pod in sorted(pods, key=lambda pod: pod.name):
        command = f"kubectl delete pod -n {NAMESPACE} {pod.name}"
        held.append(Holding("pod", pod.name, f"a test pod on node {pod.node}", (command,)))
    return tuple(held)
