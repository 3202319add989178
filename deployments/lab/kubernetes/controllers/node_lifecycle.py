"""Nodes that no longer report: conditions go Unknown, taints come, and go again with the next report.

Rules: k8s.io/kubernetes, pkg/controller/nodelifecycle (v1.36). As there, what counts is that lease or status
changed, by this process's own clock; the times written in them are not compared.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from poolkeeper.deployments.lab.kubernetes import placement
from poolkeeper.deployments.lab.kubernetes.controllers.indexes import Indexes
from poolkeeper.deployments.lab.kubernetes.controllers.loop import ControlLoop, own_key
from poolkeeper.deployments.lab.kubernetes.journal import Key
from poolkeeper.deployments.lab.kubernetes.store import Store, key_of, timestamp

Json = dict[str, Any]

LEASES = "kube-node-lease"
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
_PRESSURES = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
_REPORTED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
_EXCLUDED = "node.kubernetes.io/exclude-disruption"
_ZONE_LABELS = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone")
_UNHEALTHY_SHARE = 0.55
_SMALL_ZONE = 50
"""Up to so many nodes, a zone of which too many are lost has no further pods evicted; larger ones do so slowly."""
_LOOK_AGAIN_S = 1.0
"""How soon a node that is not Ready is judged again by how the others are; upstream looks at all every 5 s."""
OWN_TAINTS = frozenset({NOT_READY, UNREACHABLE, str(placement.UNSCHEDULABLE["key"]), *_PRESSURES.values()})


class NodeLifecycle:
    """Judges nodes by their reports and taints them.

    grace_s: without a report for so long, a node is Unknown; None: reports are not asked for
    """

    def __init__(self, store: Store, indexes: Indexes, *, grace_s: float | None) -> None:
        self._store = store
        self._indexes = indexes
        self._grace_s = grace_s
        self._heard: dict[str, tuple[Any, float]] = {}
        sources = {"nodes": own_key, "leases.coordination.k8s.io": self._of_lease}
        self.loop = ControlLoop("node-lifecycle", store, sources, self.reconcile)

    def _of_lease(self, lease: Json) -> Iterable[Key]:
        namespace, name = key_of(lease)
        return (("", name),) if namespace == LEASES else ()

    def reconcile(self, key: Key) -> float | None:
        """Judge one node; comes back when its grace would be over."""
        name = key[1]
        node = self._store.find("nodes", name)
        if node is None:
            self._heard.pop(name, None)
            return None
        left = self._left_s(node)
        if left is not None and left <= 0:
            node = self._lose(node)
            left = None
        self._taint(node)
        if _ready_status(node) in (None, "True"):
            return left
        return _LOOK_AGAIN_S if left is None else min(left, _LOOK_AGAIN_S)

    def _left_s(self, node: Json) -> float | None:
        """Seconds until the node counts as lost; None if it never does."""
        if self._grace_s is None:
            return None
        name, now = node["metadata"]["name"], time.monotonic()
        lease = self._store.find("leases.coordination.k8s.io", name, LEASES)
        beats = [c.get("lastHeartbeatTime") for c in (node.get("status") or {}).get("conditions") or ()]
        report = (lease or {}).get("spec", {}).get("renewTime"), tuple(beats), node["metadata"]["uid"]
        known = self._heard.get(name)
        if known is None or known[0] != report:
            self._heard[name] = report, now
            return self._grace_s
        return known[1] + self._grace_s - now

    def _lose(self, node: Json) -> Json:
        status = node.get("status") or {}
        conditions = {c["type"]: c for c in status.get("conditions") or ()}
        now = timestamp()
        for kind in _REPORTED:
            before = conditions.get(kind, {})
            if before.get("status") == "Unknown":
                continue
            never = not before
            conditions[kind] = {
                **before,
                "type": kind,
                "status": "Unknown",
                "reason": "NodeStatusNeverUpdated" if never else "NodeStatusUnknown",
                "message": "Kubelet never posted node status." if never else "Kubelet stopped posting node status.",
                "lastHeartbeatTime": before.get("lastHeartbeatTime", node["metadata"]["creationTimestamp"]),
                "lastTransitionTime": now,
            }
        changed = {**node, "status": {**status, "conditions": list(conditions.values())}}
        lost = self._store.update("nodes", changed, subresource="status")
        for pod in self._indexes.pods_by_node.objects(node["metadata"]["name"]):
            self._unready(pod)
        return lost

    def _unready(self, pod: Json) -> None:
        """A pod on a lost node is not Ready, whatever its last report said."""
        status = pod.get("status") or {}
        conditions = status.get("conditions") or []
        if not any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
            return
        changed = [
            {**c, "status": "False", "lastTransitionTime": timestamp()} if c["type"] == "Ready" else c
            for c in conditions
        ]
        self._store.update("pods", {**pod, "status": {**status, "conditions": changed}}, subresource="status")

    def _taint(self, node: Json) -> None:
        spec = node.get("spec") or {}
        taints = list(spec.get("taints") or ())
        wanted = _wanted_taints(node)
        if any(effect == "NoExecute" for _, effect in wanted):
            wanted = self._bounded(node, wanted)
        kept = [t for t in taints if t["key"] not in OWN_TAINTS or (t["key"], t["effect"]) in wanted]
        there = {(taint["key"], taint["effect"]) for taint in kept}
        for taint_key, effect in sorted(wanted - there):
            taint = {"key": taint_key, "effect": effect}
            kept.append(taint | {"timeAdded": timestamp()} if effect == "NoExecute" else taint)
        if kept != taints:
            spec = {k: v for k, v in spec.items() if k != "taints"} | ({"taints": kept} if kept else {})
            self._store.update("nodes", {**node, "spec": spec})

    def _bounded(self, node: Json, wanted: set[tuple[str, str]]) -> set[tuple[str, str]]:
        """Without evicting taints while so much is lost that the fault is likely not with the nodes.

        Upstream's modes: with no Ready node in the whole cluster these taints are taken away; in a small zone with
        most of its nodes lost no new ones are set.
        """
        counted = [n for n in self._store.list("nodes") if _EXCLUDED not in (n["metadata"].get("labels") or {})]
        if not any(_ready_status(n) == "True" for n in counted):
            return {(key, effect) for key, effect in wanted if effect != "NoExecute"}
        zone = [n for n in counted if _zone(n) == _zone(node)]
        lost = sum(_ready_status(n) != "True" for n in zone)
        if lost > 2 and lost / len(zone) >= _UNHEALTHY_SHARE and lost < len(zone) <= _SMALL_ZONE:
            there = {(t["key"], t["effect"]) for t in (node.get("spec") or {}).get("taints") or ()}
            swapped = bool(there & {(NOT_READY, "NoExecute"), (UNREACHABLE, "NoExecute")})
            return {(key, effect) for key, effect in wanted if effect != "NoExecute" or swapped}
        return wanted


def _ready_status(node: Json) -> str | None:
    """Status of the Ready condition; None where nobody has reported one."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    return next((c["status"] for c in conditions if c["type"] == "Ready"), None)


def _zone(node: Json) -> tuple[str, ...]:
    labels = node["metadata"].get("labels") or {}
    return tuple(labels.get(label, "") for label in _ZONE_LABELS)


def _wanted_taints(node: Json) -> set[tuple[str, str]]:
    """(key, effect) of the taints that stand for a node's conditions and its cordon."""
    conditions = {c["type"]: c["status"] for c in (node.get("status") or {}).get("conditions") or ()}
    wanted = {(key, "NoSchedule") for kind, key in _PRESSURES.items() if conditions.get(kind) == "True"}
    if (node.get("spec") or {}).get("unschedulable"):
        wanted.add((placement.UNSCHEDULABLE["key"], "NoSchedule"))
    ready = _ready_status(node)
    if ready == "False":
        wanted |= {(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")}
    if ready == "Unknown":
        wanted |= {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")}
    return wanted
