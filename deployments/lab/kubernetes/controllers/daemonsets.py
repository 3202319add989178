"""DaemonSets: one pod on each node that wants it and does not repel it.

Rules: k8s.io/kubernetes, pkg/controller/daemon (v1.36). maxSurge is not used: a pod is replaced by first deleting it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from poolkeeper.deployments.lab.kubernetes import placement
from poolkeeper.deployments.lab.kubernetes.controllers.indexes import Indexes
from poolkeeper.deployments.lab.kubernetes.controllers.loop import ControlLoop, own_key, owner_key
from poolkeeper.deployments.lab.kubernetes.controllers.workloads import count_ready, is_active, new_pod, template_hash
from poolkeeper.deployments.lab.kubernetes.journal import Key
from poolkeeper.deployments.lab.kubernetes.pods import FINISHED, is_ready
from poolkeeper.deployments.lab.kubernetes.quantities import scaled
from poolkeeper.deployments.lab.kubernetes.store import Store, key_of

Json = dict[str, Any]

_KIND = "daemonsets.apps"
_HASH = "controller-revision-hash"
_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_HOST_NETWORK_TOLERATED = (("node.kubernetes.io/network-unavailable", "NoSchedule"),)


class DaemonSets:
    """Keeps one pod of each DaemonSet on each of its nodes."""

    def __init__(self, store: Store, indexes: Indexes) -> None:
        self._store = store
        self._indexes = indexes
        sources = {_KIND: own_key, "pods": owner_key("DaemonSet"), "nodes": self._all}
        self.loop = ControlLoop("daemonsets", store, sources, self.reconcile)
        self._shapes: dict[str, Json] = {}

    def _all(self, node: Json) -> Iterable[Key]:
        """Every DaemonSet, when what a node is to pods has changed; heartbeats change nothing."""
        name = node["metadata"]["name"]
        shape = {"labels": node["metadata"].get("labels"), "spec": node.get("spec")}
        current = self._store.find("nodes", name)
        if current is None:
            self._shapes.pop(name, None)
        elif self._shapes.get(name) == shape:
            return ()
        else:
            self._shapes[name] = shape
        return [key_of(each) for each in self._store.list(_KIND)]

    def reconcile(self, key: Key) -> None:
        """Place, replace and remove pods, then write the status."""
        namespace, name = key
        found = self._store.find(_KIND, name, namespace)
        if found is None:
            return
        wanted = template_hash(found["spec"]["template"])
        spec = _pod_spec(found["spec"]["template"]["spec"])
        nodes = self._store.list("nodes")
        placed = self._by_node(found)
        if "deletionTimestamp" not in found["metadata"]:
            for node in nodes:
                self._settle(found, spec, wanted, node, placed.get(node["metadata"]["name"], []))
            self._replace_outdated(found, wanted)
            placed = self._by_node(found)
        self._write_status(found, spec, wanted, nodes, placed)

    def _by_node(self, daemonset: Json) -> dict[str, list[Json]]:
        placed: dict[str, list[Json]] = {}
        for pod in self._indexes.pods_of(daemonset):
            placed.setdefault(_node_of(pod), []).append(pod)
        return placed

    def _settle(self, daemonset: Json, spec: Json, wanted: str, node: Json, pods: list[Json]) -> None:
        name = node["metadata"]["name"]
        for pod in pods:
            if (pod.get("status") or {}).get("phase") in FINISHED and "deletionTimestamp" not in pod["metadata"]:
                self._delete(pod)
        active = [pod for pod in pods if is_active(pod)]
        if not placement.wants(spec, node) or placement.untolerated(spec, node, ("NoExecute",)):
            for pod in active:
                self._delete(pod)
        elif not active and not placement.untolerated(spec, node):
            if any("deletionTimestamp" in pod["metadata"] for pod in pods if _is_there(self._store, pod)):
                # one that is on its way out still counts, as upstream
                return
            pod = new_pod(daemonset, daemonset["spec"]["template"], {_HASH: wanted})
            self._store.create("pods", {**pod, "spec": _on_node(spec, name)})
        else:
            for pod in sorted(active, key=lambda each: each["metadata"]["creationTimestamp"])[1:]:
                self._delete(pod)

    def _replace_outdated(self, daemonset: Json, wanted: str) -> None:
        strategy = daemonset["spec"]["updateStrategy"]
        if strategy.get("type") != "RollingUpdate":
            return
        pods = [pod for pod in self._indexes.pods_of(daemonset) if is_active(pod)]
        limit = scaled((strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1), len(pods))
        desired = (daemonset.get("status") or {}).get("desiredNumberScheduled", len(pods))
        room = limit - max(0, max(desired, len(pods)) - count_ready(pods))
        for pod in pods:
            if pod["metadata"]["labels"].get(_HASH) == wanted:
                continue
            if not is_ready(pod):
                self._delete(pod)
            elif room > 0:
                room -= 1
                self._delete(pod)

    def _delete(self, pod: Json) -> None:
        namespace, name = key_of(pod)
        self._store.delete("pods", name, namespace, uid=pod["metadata"]["uid"])

    def _write_status(
        self, daemonset: Json, spec: Json, wanted: str, nodes: list[Json], placed: dict[str, list[Json]]
    ) -> None:
        counts = dict.fromkeys(("desired", "current", "mis", "ready", "updated"), 0)
        for node in nodes:
            pods = [p for p in placed.get(node["metadata"]["name"], []) if "deletionTimestamp" not in p["metadata"]]
            should = placement.wants(spec, node) and not placement.untolerated(spec, node)
            if not should:
                counts["mis"] += bool(pods)
                continue
            counts["desired"] += 1
            counts["current"] += bool(pods)
            counts["ready"] += any(map(is_ready, pods))
            counts["updated"] += any(pod["metadata"]["labels"].get(_HASH) == wanted for pod in pods)
        status = {
            "observedGeneration": daemonset["metadata"]["generation"],
            "desiredNumberScheduled": counts["desired"],
            "currentNumberScheduled": counts["current"],
            "numberMisscheduled": counts["mis"],
            "numberReady": counts["ready"],
        }
        extra = {
            "updatedNumberScheduled": counts["updated"],
            "numberAvailable": counts["ready"],
            "numberUnavailable": counts["desired"] - counts["ready"],
        }
        status |= {key: value for key, value in extra.items() if value}
        self._store.update(_KIND, {**daemonset, "status": status}, subresource="status")


def _is_there(store: Store, pod: Json) -> bool:
    namespace, name = key_of(pod)
    return store.find("pods", name, namespace) is not None


def _pod_spec(spec: Json) -> Json:
    """The template's spec with the tolerations that every daemon gets."""
    keys = _TOLERATED + (_HOST_NETWORK_TOLERATED if spec.get("hostNetwork") else ())
    added = [{"key": key, "operator": "Exists", "effect": effect} for key, effect in keys]
    tolerations = list(spec.get("tolerations") or ())
    return {**spec, "tolerations": tolerations + [each for each in added if each not in tolerations]}


def _on_node(spec: Json, name: str) -> Json:
    """The spec bound to one node by affinity, which the scheduler then obeys."""
    field = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}
    affinity = dict(spec.get("affinity") or {})
    affinity["nodeAffinity"] = {
        **(affinity.get("nodeAffinity") or {}),
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [field]},
    }
    return {**spec, "affinity": affinity}


def _node_of(pod: Json) -> str:
    """The node that a daemon's pod is on, or is meant for."""
    if pod["spec"].get("nodeName"):
        return str(pod["spec"]["nodeName"])
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    terms = (affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms") or ()
    fields = [field for term in terms for field in term.get("matchFields") or ()]
    return str(fields[0]["values"][0]) if fields else ""
