"""Other tools that take nodes out of service: looked for before every wave. Pure."""

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
    """What other tools do to the nodes of a pool now; each finding is a reason to wait."""
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
        Evidence(f"node {node.name}: {what}", "no other tool takes nodes out of service", source, now),
        "Wait until it has ended, or stop that tool during the rollout; then run this again.",
    )
