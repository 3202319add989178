"""The scheduler: puts each pod on the node that fits and has the most left.

What fits is in `placement`. A pod that fits nowhere is looked at again when a node changes or a pod goes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from poolkeeper.deployments.lab.kubernetes import placement
from poolkeeper.deployments.lab.kubernetes.controllers.indexes import Indexes
from poolkeeper.deployments.lab.kubernetes.controllers.loop import ControlLoop
from poolkeeper.deployments.lab.kubernetes.journal import Key
from poolkeeper.deployments.lab.kubernetes.store import Store, key_of, timestamp

Json = dict[str, Any]

NAME = "default-scheduler"


class Scheduler:
    """Binds pods that have no node."""

    def __init__(self, store: Store, indexes: Indexes) -> None:
        self._store = store
        self._indexes = indexes
        self._unplaced: dict[Key, None] = {}
        self._shapes: dict[str, Json] = {}
        sources = {"pods": self._pod_changed, "nodes": self._node_changed}
        self.loop = ControlLoop("scheduler", store, sources, self.reconcile)

    def _pod_changed(self, pod: Json) -> Iterable[Key]:
        key = key_of(pod)
        if self._store.find("pods", key[1], key[0]) is None or "deletionTimestamp" in pod["metadata"]:
            self._unplaced.pop(key, None)
            # what it leaves behind may fit somebody
            return list(self._unplaced) if pod["spec"].get("nodeName") else ()
        if pod["spec"].get("nodeName") or pod["spec"].get("schedulerName") != NAME:
            return ()
        return () if key in self._unplaced else (key,)

    def _node_changed(self, node: Json) -> Iterable[Key]:
        name = node["metadata"]["name"]
        status = node.get("status") or {}
        shape = {
            "labels": node["metadata"].get("labels"),
            "spec": node.get("spec"),
            "allocatable": status.get("allocatable"),
        }
        if self._shapes.get(name) == shape:
            return ()
        self._shapes[name] = shape
        return list(self._unplaced)

    def reconcile(self, key: Key) -> None:
        """Bind one pod, or say on it why it fits nowhere."""
        self._unplaced.pop(key, None)
        pod = self._store.find("pods", key[1], key[0])
        if (
            pod is None
            or pod["spec"].get("nodeName")
            or pod["spec"].get("schedulingGates")
            or "deletionTimestamp" in pod["metadata"]
        ):
            return
        reasons: Counter[str] = Counter()
        best: tuple[Any, ...] | None = None
        wanted = placement.requests_of(pod)
        nodes = self._store.list("nodes")
        for node in nodes:
            used = placement.used_by(self._indexes.pods_by_node.objects(node["metadata"]["name"]))
            why = self._why_not(pod, node, wanted, used)
            if why:
                reasons.update(why)
                continue
            score = (_soft_taints(pod, node), _share(wanted, node, used), node["metadata"]["name"])
            best = min(best, score) if best else score
        if best is not None:
            self._store.assign(pod, best[-1])
            return
        self._unplaced[key] = None
        told = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        message = f"0/{len(nodes)} nodes are available" + (f": {told}." if told else ".")
        self._write_unschedulable(pod, message)

    def _why_not(self, pod: Json, node: Json, wanted: Counter[str], used: Counter[str]) -> list[str]:
        spec = pod["spec"]
        repelling = placement.untolerated(spec, node)
        if any(taint["key"] == placement.UNSCHEDULABLE["key"] for taint in repelling):
            return ["node(s) were unschedulable"]
        if repelling:
            taint = repelling[0]
            return [f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"]
        if not placement.wants(spec, node):
            return ["node(s) didn't match Pod's node affinity/selector"]
        if not self._volumes_reach(pod, node):
            return ["node(s) didn't match PersistentVolume's node affinity"]
        lacking = placement.lacking(wanted, node, used)
        return [f"Insufficient {name}" if name != "pods" else "Too many pods" for name in lacking]

    def _volumes_reach(self, pod: Json, node: Json) -> bool:
        namespace = pod["metadata"]["namespace"]
        for volume in pod["spec"].get("volumes") or ():
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            found = self._store.find("persistentvolumeclaims", claim, namespace) if claim else None
            name = ((found or {}).get("spec") or {}).get("volumeName")
            bound = self._store.find("persistentvolumes", name) if name else None
            required = (((bound or {}).get("spec") or {}).get("nodeAffinity") or {}).get("required")
            if required is not None and not placement.matches_terms(required, node):
                return False
        return True

    def _write_unschedulable(self, pod: Json, message: str) -> None:
        status = pod.get("status") or {}
        conditions = status.get("conditions") or []
        before: Json = next((c for c in conditions if c["type"] == "PodScheduled"), {})
        if before.get("message") == message:
            return
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "lastProbeTime": None,
            "lastTransitionTime": before.get("lastTransitionTime", timestamp()),
            "reason": "Unschedulable",
            "message": message,
        }
        kept = [c for c in conditions if c["type"] != "PodScheduled"]
        changed = {**pod, "status": {**status, "conditions": [*kept, condition]}}
        self._store.update("pods", changed, subresource="status")


def _soft_taints(pod: Json, node: Json) -> int:
    return len(placement.untolerated(pod["spec"], node, ("PreferNoSchedule",)))


def _share(wanted: Counter[str], node: Json, used: Counter[str]) -> Decimal:
    """The most used share of any resource, once the pod is there."""
    has = placement.allocatable(node)
    shares = [Decimal(used[name] + wanted[name]) / has[name] for name in has if has[name]]
    return max(shares, default=Decimal(0))
