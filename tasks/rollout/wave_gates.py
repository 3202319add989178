"""The gates after a wave: nodes and workloads that were fine before must be fine again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.api import Json
from poolkeeper.tasks.cluster.claims import claim_of
from poolkeeper.tasks.cluster.fields import Unread, required, section, total, whole
from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.outcomes import Evidence, Finding, Severity, Subject


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment or StatefulSet as it is now."""

    kind: str
    namespace: str
    name: str
    wanted: int
    ready: int
    unread: str = ""
    """Why its object cannot be read: then none of its pods counts as Ready. Empty: it can."""

    @property
    def key(self) -> str:
        """`Deployment shop/web`."""
        return f"{self.kind} {self.namespace}/{self.name}"


async def list_workloads(api: ClusterApi) -> dict[str, Workload]:
    """Every Deployment and StatefulSet of the cluster, by key."""
    found = {}
    for plural, kind in (("deployments", "Deployment"), ("statefulsets", "StatefulSet")):
        for workload in await api.list_rows(f"/apis/apps/v1/{plural}", partial(parse_workload, kind=kind)):
            found[workload.key] = workload
    return found


def _unread(item: Unread, kind: str) -> Workload:
    return Workload(kind, item.namespace, item.name, 1, 0, unread=item.why)


@total(_unread)
def parse_workload(item: Json, kind: str) -> Workload:
    """A Deployment or StatefulSet object as it is now."""
    metadata, spec, status = section(item, "metadata"), section(item, "spec"), section(item, "status")
    names = required(metadata, "namespace"), required(metadata, "name")
    return Workload(kind, *names, whole(spec, "replicas", 1), whole(status, "readyReplicas"))


def lost_nodes(
    before: Mapping[str, NodeRow], now: Mapping[str, NodeRow], at: datetime, going: Collection[str] = ()
) -> tuple[Finding, ...]:
    """Nodes that were Ready when the run started and are not, without a claim of ours that explains it.

    going: those that the rollout itself removes; they may be gone
    """
    findings = []
    for name, was in sorted(before.items()):
        node = now.get(name)
        if node is None and name in going:
            continue
        if not was.ready or (node is not None and (node.ready or claim_of(node) is not None)):
            continue
        observed = "it is gone" if node is None else f"it is not Ready: {node.ready_message}"
        findings.append(_finding("rollout.gate.node", Subject("node", name), observed, "Ready, as before", at))
    return tuple(findings)


def lost_workloads(before: Mapping[str, Workload], now: Mapping[str, Workload], at: datetime) -> tuple[Finding, ...]:
    """Workloads that had all they want when the run started and do not. One that was deleted or scaled is no loss."""
    findings = []
    for key, was in sorted(before.items()):
        workload = now.get(key)
        if workload is None or was.ready < was.wanted or workload.ready >= min(was.wanted, workload.wanted):
            continue
        observed = f"{workload.ready} of {workload.wanted} ready"
        if workload.unread:
            observed = f"its object cannot be read: {workload.unread}"
        expected = f"{was.ready} of {was.wanted}, as before"
        findings.append(_finding("rollout.gate.workload", Subject("workload", key), observed, expected, at))
    return tuple(findings)


def _finding(id: str, subject: Subject, observed: str, expected: str, at: datetime) -> Finding:
    evidence = Evidence(observed, expected, "Kubernetes API", at)
    next_step = "Repair it before more nodes leave service; then run this again: it continues from the current state."
    return Finding(id, Severity.BLOCKER, subject, evidence, next_step)
