"""Who else takes nodes away: looked for before every wave. Pure over what was read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.outcomes import Evidence, Finding, Severity, Subject

KURED = ("weave.works/kured-reboot-in-progress", "kured.dev/reboot-in-progress")
"""Annotations that kured puts on a node that it reboots (--annotate-nodes)."""
AUTOSCALER = "ToBeDeletedByClusterAutoscaler"
"""The cluster autoscaler's taint on a node that it is about to remove."""


def other_actors(pool: str, nodes: Iterable[NodeRow], now: datetime) -> tuple[Finding, ...]:
    """What others are doing to the nodes of a pool right now; each of it is a reason to wait."""
    findings = []
    for node in sorted(nodes, key=lambda node: node.name):
        taints = {key for key, _, _ in node.taints}
        for annotation in KURED:
            if annotation in node.annotations:
                findings.append(_finding(pool, node, "kured reboots it", annotation, now))
        if AUTOSCALER in taints:
            findings.append(_finding(pool, node, "the cluster autoscaler removes it", AUTOSCALER, now))
    return tuple(findings)


def _finding(pool: str, node: NodeRow, what: str, source: str, now: datetime) -> Finding:
    return Finding(
        "rollout.other-actor",
        Severity.BLOCKER,
        Subject("pool", pool),
        Evidence(f"node {node.name}: {what}", "nobody else takes nodes away meanwhile", source, now),
        "Wait for it, or stop that tool for the time of the rollout; then run this again.",
    )
