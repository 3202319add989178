"""Deployments: a ReplicaSet for each template, rolled from the old to the new.

Arithmetic: k8s.io/kubernetes, pkg/controller/deployment (v1.36). There is no progress deadline.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from poolkeeper.deployments.lab.kubernetes.controllers.indexes import Indexes
from poolkeeper.deployments.lab.kubernetes.controllers.loop import ControlLoop, own_key, owner_key
from poolkeeper.deployments.lab.kubernetes.controllers.workloads import owner_reference, template_hash, with_condition
from poolkeeper.deployments.lab.kubernetes.journal import Key
from poolkeeper.deployments.lab.kubernetes.quantities import scaled
from poolkeeper.deployments.lab.kubernetes.store import Store

Json = dict[str, Any]

_KIND = "deployments.apps"
_SETS = "replicasets.apps"
_HASH = "pod-template-hash"
_REVISION = "deployment.kubernetes.io/revision"


class Deployments:
    """Carries each Deployment to its template and its number of replicas."""

    def __init__(self, store: Store, indexes: Indexes) -> None:
        self._store = store
        self._indexes = indexes
        sources = {_KIND: own_key, _SETS: owner_key("Deployment"), "pods": self._of_pod}
        self.loop = ControlLoop("deployments", store, sources, self.reconcile)

    def _of_pod(self, pod: Json) -> Iterable[Key]:
        """A pod that goes lets a Deployment of type Recreate go on."""
        if "deletionTimestamp" not in pod["metadata"]:
            return ()
        keys = owner_key("ReplicaSet")(pod)
        sets = [self._store.find(_SETS, name, namespace) for namespace, name in keys]
        return [key for each in sets if each for key in owner_key("Deployment")(each)]

    def reconcile(self, key: Key) -> None:
        """One step of the rollout, then the status; each step's effect brings the next."""
        namespace, name = key
        found = self._store.find(_KIND, name, namespace)
        if found is None:
            return
        if "deletionTimestamp" not in found["metadata"]:
            found = self._roll(found)
        self._write_status(found)

    def _roll(self, deployment: Json) -> Json:
        wanted = template_hash(deployment["spec"]["template"])
        sets = self._indexes.replicasets_of(deployment)
        new = next((each for each in sets if each["metadata"]["labels"].get(_HASH) == wanted), None)
        old = [each for each in sets if each is not new]
        if deployment["spec"].get("paused"):
            return deployment
        if new is None:
            new = self._store.create(_SETS, _new_set(deployment, wanted, sets))
        revision = new["metadata"]["annotations"][_REVISION]
        newest = max((_revision(each) for each in sets), default=0)
        if _revision(new) < newest:
            # back to an earlier template
            revision = str(newest + 1)
            new = self._annotate(_SETS, new, revision)
        if (deployment["metadata"].get("annotations") or {}).get(_REVISION) != revision:
            deployment = self._annotate(_KIND, deployment, revision)
        if deployment["spec"]["strategy"]["type"] == "Recreate":
            self._recreate(deployment, new, old)
        else:
            self._roll_over(deployment, new, old)
        self._trim(deployment, old)
        return deployment

    def _recreate(self, deployment: Json, new: Json, old: list[Json]) -> None:
        for each in old:
            self._scale(each, 0)
        if not any(pod for each in old for pod in self._indexes.pods_of(each)):
            self._scale(new, deployment["spec"]["replicas"])

    def _roll_over(self, deployment: Json, new: Json, old: list[Json]) -> None:
        """Up by the surge, down by what stays available above the floor."""
        desired = deployment["spec"]["replicas"]
        limits = deployment["spec"]["strategy"]["rollingUpdate"]
        surge = scaled(limits["maxSurge"], desired)
        unavailable = scaled(limits["maxUnavailable"], desired, up=False)
        if not surge and not unavailable:
            unavailable = 1
        have = new["spec"]["replicas"]
        total = have + sum(each["spec"]["replicas"] for each in old)
        if have > desired:
            new = self._scale(new, desired)
        elif have < desired:
            new = self._scale(new, have + max(0, min(desired - have, desired + surge - total)))
        total = new["spec"]["replicas"] + sum(each["spec"]["replicas"] for each in old)
        new_unavailable = new["spec"]["replicas"] - _available(new)
        spare = total - (desired - unavailable) - new_unavailable
        for each in sorted(old, key=_revision):
            # those that are not available go first, they cost nothing
            broken = min(each["spec"]["replicas"] - _available(each), max(spare, 0))
            if broken > 0:
                self._scale(each, each["spec"]["replicas"] - broken)
                spare -= broken
        may_go = _available(new) + sum(map(_available, old)) - (desired - unavailable)
        for each in sorted((self._fresh(each) for each in old), key=_revision):
            going = min(each["spec"]["replicas"], max(may_go, 0))
            if going > 0:
                self._scale(each, each["spec"]["replicas"] - going)
                may_go -= going

    def _trim(self, deployment: Json, old: list[Json]) -> None:
        """Old ReplicaSets beyond the history limit go."""
        empty = [each for each in map(self._fresh, old) if not each["spec"]["replicas"] and not _replicas(each)]
        surplus = len(empty) - deployment["spec"]["revisionHistoryLimit"]
        for each in sorted(empty, key=_revision)[: max(surplus, 0)]:
            self._store.delete(_SETS, each["metadata"]["name"], each["metadata"]["namespace"])

    def _fresh(self, obj: Json) -> Json:
        return self._store.get(_SETS, obj["metadata"]["name"], obj["metadata"]["namespace"])

    def _scale(self, obj: Json, replicas: int) -> Json:
        if obj["spec"]["replicas"] == replicas:
            return obj
        return self._store.update(_SETS, {**obj, "spec": {**obj["spec"], "replicas": replicas}})

    def _annotate(self, kind: str, obj: Json, revision: str) -> Json:
        annotations = {**(obj["metadata"].get("annotations") or {}), _REVISION: revision}
        return self._store.update(kind, {**obj, "metadata": {**obj["metadata"], "annotations": annotations}})

    def _write_status(self, deployment: Json) -> None:
        wanted = template_hash(deployment["spec"]["template"])
        sets = self._indexes.replicasets_of(deployment)
        updated = sum(_replicas(each) for each in sets if each["metadata"]["labels"].get(_HASH) == wanted)
        total, available = sum(map(_replicas, sets)), sum(map(_available, sets))
        desired = deployment["spec"]["replicas"]
        limits = deployment["spec"]["strategy"].get("rollingUpdate") or {"maxUnavailable": 0}
        enough = available >= desired - scaled(limits["maxUnavailable"], desired, up=False)
        done = updated == desired and available >= desired and total == updated
        conditions = (deployment.get("status") or {}).get("conditions") or []
        conditions = with_condition(
            conditions,
            "Available",
            "True" if enough else "False",
            "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
            f"Deployment {'has' if enough else 'does not have'} minimum availability.",
        )
        conditions = with_condition(
            conditions,
            "Progressing",
            "True",
            "NewReplicaSetAvailable" if done else "ReplicaSetUpdated",
            f"Deployment {deployment['metadata']['name']} "
            + ("has successfully progressed." if done else "is progressing."),
        )
        counts = {
            "replicas": total,
            "updatedReplicas": updated,
            "readyReplicas": available,
            "availableReplicas": available,
            "unavailableReplicas": max(0, max(total, desired) - available),
        }
        status: Json = {"observedGeneration": deployment["metadata"]["generation"]}
        status |= {key: value for key, value in counts.items() if value}
        status["conditions"] = conditions
        self._store.update(_KIND, {**deployment, "status": status}, subresource="status")


def _new_set(deployment: Json, wanted: str, sets: list[Json]) -> Json:
    metadata, spec = deployment["metadata"], deployment["spec"]
    template = spec["template"]
    labels = {**((template.get("metadata") or {}).get("labels") or {}), _HASH: wanted}
    selector = spec["selector"]
    return {
        "metadata": {
            "name": f"{metadata['name']}-{wanted}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": {_REVISION: str(max((_revision(each) for each in sets), default=0) + 1)},
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {
            "replicas": 0,
            "selector": {
                **selector,
                "matchLabels": {**(selector.get("matchLabels") or {}), _HASH: wanted},
            },
            "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}},
        },
    }


def _revision(obj: Json) -> int:
    return int((obj["metadata"].get("annotations") or {}).get(_REVISION, 0))


def _available(obj: Json) -> int:
    return int((obj.get("status") or {}).get("availableReplicas", 0))


def _replicas(obj: Json) -> int:
    return int((obj.get("status") or {}).get("replicas", 0))
