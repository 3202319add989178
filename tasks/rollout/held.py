"""All that we hold anywhere in a cluster, and the plain commands that give it back without us. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tasks.cluster.leases import NAMESPACE, LeaseRow
from tasks.cluster.marks import ROLLOUT, mark_of
from tasks.cluster.nodes import CORDON, NodeRow
from tasks.cluster.pods import PodRow


@dataclass(frozen=True, slots=True)
class Held:
    """One thing of ours."""

    kind: str
    """`node`, `quarantine`, `lease` or `pod`."""
    name: str
    why: str
    commands: tuple[str, ...]
    """What a person can type in place of us."""


def all_held(nodes: Iterable[NodeRow], leases: Mapping[str, LeaseRow], pods: Iterable[PodRow]) -> tuple[Held, ...]:
    """Marks and cordons, leases, test pods, in the order in which they are given back."""
    held = []
    for node in sorted(nodes, key=lambda node: node.name):
        mark = mark_of(node)
        if mark is not None:
            commands = [f"kubectl annotate node {node.name} {ROLLOUT}-"]
            if node.cordoned_by_us:
                commands += [f"kubectl annotate node {node.name} {CORDON}-", f"kubectl uncordon {node.name}"]
            why = f"{mark.phase} by flow {mark.flow}, run {mark.run}, since {mark.since}"
            held.append(Held("node", node.name, why, tuple(commands)))
        elif node.cordoned_by_us:
            commands = [f"kubectl annotate node {node.name} {CORDON}-", f"kubectl uncordon {node.name}"]
            held.append(Held("quarantine", node.name, "quarantined until acceptance", tuple(commands)))
    for name, lease in sorted(leases.items()):
        if lease.holder:
            command = f"kubectl delete lease -n {NAMESPACE} {name}"
            held.append(Held("lease", name, f"held by {lease.holder}", (command,)))
    for pod in sorted(pods, key=lambda pod: pod.name):
        command = f"kubectl delete pod -n {NAMESPACE} {pod.name}"
        held.append(Held("pod", pod.name, f"a test pod on node {pod.node}", (command,)))
    return tuple(held)
