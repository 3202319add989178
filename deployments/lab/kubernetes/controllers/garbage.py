"""Garbage: objects whose owners are gone, owners that wait for their dependents, pods of nodes that are gone.

Rules: k8s.io/kubernetes, pkg/controller/garbagecollector and pkg/controller/podgc (v1.36).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from poolkeeper.deployments.lab.kubernetes.controllers.indexes import Indexes
from poolkeeper.deployments.lab.kubernetes.controllers.loop import ControlLoop
from poolkeeper.deployments.lab.kubernetes.journal import Key
from poolkeeper.deployments.lab.kubernetes.resources import RESOURCES, Resource, by_kind, by_name
from poolkeeper.deployments.lab.kubernetes.store import FOREGROUND, ORPHAN, Store, key_of

Json = dict[str, Any]


class OwnerGarbage:
    """Deletes dependents of owners that are gone; finishes owners that were deleted foreground or orphaning.

    Keys are (qualified resource, namespace/name), since one queue serves all resources.
    """

    def __init__(self, store: Store, indexes: Indexes) -> None:
        self._store = store
        self._indexes = indexes
        sources = {each.qualified: _Watched(self, each) for each in RESOURCES}
        self.loop = ControlLoop("garbage", store, sources, self.reconcile)

    def concerned(self, resource: Resource, obj: Json) -> Iterable[Key]:
        """What may have become garbage when an object came, changed or went."""
        namespace, name = key_of(obj)
        owners = obj["metadata"].get("ownerReferences") or ()
        if owners or "deletionTimestamp" in obj["metadata"]:
            yield resource.qualified, f"{namespace}/{name}"
        for owner in owners:
            upper = by_kind(owner["apiVersion"], owner["kind"])
            if upper is not None:
                where = namespace if upper.namespaced else ""
                yield upper.qualified, f"{where}/{owner['name']}"
        if self._store.find(resource, name, namespace) is None:
            for other, dependent in self._indexes.by_owner.entries(obj["metadata"]["uid"]):
                yield other.qualified, "/".join(key_of(dependent))

    def reconcile(self, key: Key) -> None:
        """Look at one object as a dependent and as an owner."""
        resource = by_name(key[0])
        namespace, _, name = key[1].partition("/")
        obj = self._store.find(resource, name, namespace)
        if obj is None:
            return
        finalizers = obj["metadata"].get("finalizers") or ()
        if "deletionTimestamp" in obj["metadata"]:
            if ORPHAN in finalizers:
                self._orphan_dependents(obj)
                self._drop_finalizer(resource, obj, ORPHAN)
            elif FOREGROUND in finalizers:
                self._delete_dependents(resource, obj)
            return
        owners = obj["metadata"].get("ownerReferences") or []
        if owners and not any(self._exists(owner, namespace) for owner in owners):
            self._store.delete(resource, name, namespace, uid=obj["metadata"]["uid"], propagation="Background")

    def _exists(self, owner: Json, namespace: str) -> bool:
        resource = by_kind(owner["apiVersion"], owner["kind"])
        if resource is None:
            # of a kind that is not served here: nobody can know
            return True
        found = self._store.find(resource, owner["name"], namespace if resource.namespaced else "")
        return found is not None and found["metadata"]["uid"] == owner["uid"]

    def _delete_dependents(self, resource: Resource, obj: Json) -> None:
        uid, blocking = obj["metadata"]["uid"], 0
        for other, dependent in self._indexes.by_owner.entries(uid):
            owners = dependent["metadata"]["ownerReferences"]
            blocking += any(o["uid"] == uid and o.get("blockOwnerDeletion") for o in owners)
            if "deletionTimestamp" not in dependent["metadata"]:
                namespace, name = key_of(dependent)
                self._store.delete(other, name, namespace, propagation="Foreground")
        remaining = self._indexes.by_owner.entries(uid)
        if not any(
            o["uid"] == uid and o.get("blockOwnerDeletion")
            for _, dependent in remaining
            for o in dependent["metadata"]["ownerReferences"]
        ):
            self._drop_finalizer(resource, obj, FOREGROUND)

    def _orphan_dependents(self, obj: Json) -> None:
        uid = obj["metadata"]["uid"]
        for other, dependent in self._indexes.by_owner.entries(uid):
            kept = [o for o in dependent["metadata"]["ownerReferences"] if o["uid"] != uid]
            metadata = {**dependent["metadata"], "ownerReferences": kept}
            self._store.update(other, {**dependent, "metadata": metadata})

    def _drop_finalizer(self, resource: Resource, obj: Json, finalizer: str) -> None:
        namespace, name = key_of(obj)
        current = self._store.find(resource, name, namespace)
        if current is None:
            return
        kept = [each for each in current["metadata"].get("finalizers") or () if each != finalizer]
        self._store.update(resource, {**current, "metadata": {**current["metadata"], "finalizers": kept}})


class _Watched:
    """The source for one resource."""

    def __init__(self, garbage: OwnerGarbage, resource: Resource) -> None:
        self._garbage = garbage
        self._resource = resource

    def __call__(self, obj: Json) -> Iterable[Key]:
        return self._garbage.concerned(self._resource, obj)


class PodGarbage:
    """Deletes pods whose node is gone, without waiting for a kubelet.

    grace_s: how long after the node, so that a node that is only registering anew keeps its pods
    """

    def __init__(self, store: Store, indexes: Indexes, *, grace_s: float) -> None:
        self._store = store
        self._indexes = indexes
        self._grace_s = grace_s
        self._missed: set[str] = set()
        sources = {"nodes": self._of_node, "pods": self._of_pod}
        self.loop = ControlLoop("pod-garbage", store, sources, self.reconcile)

    def _of_node(self, node: Json) -> Iterable[Key]:
        return (key_of(node),) if self._is_gone(node["metadata"]["name"]) else ()

    def _of_pod(self, pod: Json) -> Iterable[Key]:
        name = pod["spec"].get("nodeName")
        return (("", name),) if name and self._is_gone(name) else ()

    def _is_gone(self, name: str) -> bool:
        return self._store.find("nodes", name) is None

    def reconcile(self, key: Key) -> float | None:
        """Look at one node that is gone, and again after the grace."""
        name = key[1]
        if not self._is_gone(name):
            self._missed.discard(name)
            return None
        pods = self._indexes.pods_by_node.objects(name)
        if not pods:
            self._missed.discard(name)
            return None
        if name not in self._missed:
            self._missed.add(name)
            return self._grace_s
        for pod in pods:
            self._store.delete("pods", pod["metadata"]["name"], pod["metadata"]["namespace"], grace_s=0)
        self._missed.discard(name)
        return None
