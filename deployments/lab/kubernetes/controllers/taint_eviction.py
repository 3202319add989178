"""NoExecute taints: pods that do not tolerate them go, at once or when their tolerationSeconds are over.

Rules: k8s.io/kubernetes, pkg/controller/tainteviction (v1.36).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from poolkeeper.deployments.lab.kubernetes import placement
from poolkeeper.deployments.lab.kubernetes.controllers.indexes import Indexes
from poolkeeper.deployments.lab.kubernetes.controllers.loop import ControlLoop
from poolkeeper.deployments.lab.kubernetes.journal import Key
from poolkeeper.deployments.lab.kubernetes.store import Store, key_of, timestamp

Json = dict[str, Any]


class TaintEviction:
    """Deletes pods from nodes with NoExecute taints.

    second_s: how long one second of tolerationSeconds lasts; below 1 in practice worlds that cannot wait
    """

    def __init__(self, store: Store, indexes: Indexes, *, second_s: float) -> None:
        self._store = store
        self._indexes = indexes
        self._second_s = second_s
        sources = {"nodes": self._of_node, "pods": self._of_pod}
        self.loop = ControlLoop("taint-eviction", store, sources, self.reconcile)

    def _of_node(self, node: Json) -> Iterable[Key]:
        return (key_of(node),) if _expelling(node) else ()

    def _of_pod(self, pod: Json) -> Iterable[Key]:
        name = pod["spec"].get("nodeName")
        node = self._store.find("nodes", name) if name else None
        return (key_of(node),) if node is not None and _expelling(node) else ()

    def reconcile(self, key: Key) -> float | None:
        """Delete what is due on one node; comes back for the next."""
        node = self._store.find("nodes", key[1])
        taints = _expelling(node) if node is not None else []
        if not taints:
            return None
        waits: list[float] = []
        for pod in self._indexes.pods_by_node.objects(key[1]):
            if "deletionTimestamp" in pod["metadata"]:
                continue
            left = self._left_s(pod, taints)
            if left is not None and left <= 0:
                self._expel(pod)
            elif left is not None:
                waits.append(left)
        return min(waits, default=None)

    def _left_s(self, pod: Json, taints: list[Json]) -> float | None:
        """Seconds that a pod may stay; None: for ever."""
        now, left = datetime.now(UTC), []
        for taint in taints:
            tolerations = [t for t in pod["spec"].get("tolerations") or () if placement.tolerates(t, taint)]
            if not tolerations:
                return 0
            limits = [t["tolerationSeconds"] for t in tolerations if t.get("tolerationSeconds") is not None]
            if limits:
                added = datetime.fromisoformat(taint.get("timeAdded") or timestamp())
                left.append(max(0, min(limits)) * self._second_s - (now - added).total_seconds())
        return min(left, default=None)

    def _expel(self, pod: Json) -> None:
        namespace, name = key_of(pod)
        status = pod.get("status") or {}
        kept = [c for c in status.get("conditions") or () if c["type"] != "DisruptionTarget"]
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": timestamp(),
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
        }
        self._store.update(
            "pods", {**pod, "status": {**status, "conditions": [*kept, condition]}}, subresource="status"
        )
        self._store.delete("pods", name, namespace)


def _expelling(node: Json) -> list[Json]:
    return [taint for taint in placement.taints_of(node) if taint["effect"] == "NoExecute"]
