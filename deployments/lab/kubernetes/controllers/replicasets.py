"""ReplicaSets: as many pods as asked for. Orphans are not adopted; minReadySeconds is not waited for."""

from __future__ import annotations

from typing import Any

from poolkeeper.deployments.lab.kubernetes.controllers.indexes import Indexes
from poolkeeper.deployments.lab.kubernetes.controllers.loop import ControlLoop, own_key, owner_key
from poolkeeper.deployments.lab.kubernetes.controllers.workloads import count_ready, is_active, new_pod
from poolkeeper.deployments.lab.kubernetes.journal import Key
from poolkeeper.deployments.lab.kubernetes.pods import is_ready
from poolkeeper.deployments.lab.kubernetes.store import Store

Json = dict[str, Any]

_KIND = "replicasets.apps"
_BURST = 500
"""At most so many pods are made or deleted at a time, as upstream."""


class ReplicaSets:
    """Keeps the pods of ReplicaSets at their number."""

    def __init__(self, store: Store, indexes: Indexes) -> None:
        self._store = store
        self._indexes = indexes
        sources = {_KIND: own_key, "pods": owner_key("ReplicaSet")}
        self.loop = ControlLoop("replicasets", store, sources, self.reconcile)

    def reconcile(self, key: Key) -> None:
        """Make or delete pods, then write the status."""
        namespace, name = key
        found = self._store.find(_KIND, name, namespace)
        if found is None:
            return
        pods = [pod for pod in self._indexes.pods_of(found) if is_active(pod)]
        if "deletionTimestamp" not in found["metadata"]:
            missing = found["spec"]["replicas"] - len(pods)
            for _ in range(min(missing, _BURST)):
                self._store.create("pods", new_pod(found, found["spec"]["template"]))
            for pod in sorted(pods, key=_keep_rank)[: min(max(-missing, 0), _BURST)]:
                self._store.delete("pods", pod["metadata"]["name"], namespace, uid=pod["metadata"]["uid"])
            pods = [pod for pod in self._indexes.pods_of(found) if is_active(pod)]
        ready = count_ready(pods)
        status: Json = {"replicas": len(pods), "observedGeneration": found["metadata"]["generation"]}
        if pods:
            status["fullyLabeledReplicas"] = len(pods)
        if ready:
            status |= {"readyReplicas": ready, "availableReplicas": ready}
        self._store.update(_KIND, {**found, "status": status}, subresource="status")


def _keep_rank(pod: Json) -> tuple[bool, bool, bool, str]:
    """What goes first comes first: unplaced, then not running, then not ready, then the cheaper to delete."""
    status = pod.get("status") or {}
    return (
        bool(pod["spec"].get("nodeName")),
        status.get("phase") == "Running",
        is_ready(pod),
        # the newest goes first; names break the tie of one second
        "".join(chr(0x10FFFF - ord(c)) for c in pod["metadata"]["creationTimestamp"]),
    )
