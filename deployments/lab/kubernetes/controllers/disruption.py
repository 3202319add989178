"""PodDisruptionBudgets: how many healthy pods there are, and how many may go.

Rules: k8s.io/kubernetes, pkg/controller/disruption (v1.36).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from poolkeeper.deployments.lab.kubernetes.controllers.loop import ControlLoop, controller_of, own_key
from poolkeeper.deployments.lab.kubernetes.controllers.workloads import with_condition
from poolkeeper.deployments.lab.kubernetes.journal import Key
from poolkeeper.deployments.lab.kubernetes.pods import is_ready
from poolkeeper.deployments.lab.kubernetes.quantities import scaled
from poolkeeper.deployments.lab.kubernetes.resources import by_kind
from poolkeeper.deployments.lab.kubernetes.selectors import from_label_selector, labels_of
from poolkeeper.deployments.lab.kubernetes.store import Store, key_of

Json = dict[str, Any]

_KIND = "poddisruptionbudgets.policy"
_SCALABLE = ("Deployment", "ReplicaSet", "ReplicationController", "StatefulSet")
DELETION_TIMEOUT = timedelta(minutes=2)
"""After so long, a pod that was evicted and is still there counts again."""


class _Unknown(Exception):
    """How many pods there should be cannot be told."""


class Disruption:
    """Writes the status of budgets."""

    def __init__(self, store: Store) -> None:
        self._store = store
        sources = {_KIND: own_key, "pods": self._of_pod}
        sources |= dict.fromkeys(
            ("deployments.apps", "replicasets.apps", "statefulsets.apps", "replicationcontrollers"),
            self._of_namespace,
        )
        self.loop = ControlLoop("disruption", store, sources, self.reconcile)

    def _of_pod(self, pod: Json) -> Iterable[Key]:
        labels = labels_of(pod)
        for budget in self._store.list(_KIND, pod["metadata"]["namespace"]):
            if from_label_selector(budget["spec"].get("selector"))(labels):
                yield key_of(budget)

    def _of_namespace(self, workload: Json) -> Iterable[Key]:
        return [key_of(budget) for budget in self._store.list(_KIND, workload["metadata"]["namespace"])]

    def reconcile(self, key: Key) -> float | None:
        """Count anew; comes back when an eviction that did not happen has to be forgotten."""
        namespace, name = key
        budget = self._store.find(_KIND, name, namespace)
        if budget is None:
            return None
        matches = from_label_selector(budget["spec"].get("selector"))
        pods = self._store.list("pods", namespace, lambda pod: matches(labels_of(pod)))
        now = datetime.now(UTC)
        status = budget.get("status") or {}
        disrupted = _still_disrupted(status.get("disruptedPods") or {}, pods, now)
        conditions = status.get("conditions") or []
        try:
            expected, desired = self._expected(budget["spec"], pods)
        except _Unknown as error:
            counts: Json = {k: status.get(k, 0) for k in ("currentHealthy", "desiredHealthy", "expectedPods")}
            counts["disruptionsAllowed"] = 0
            conditions = _condition(budget, conditions, "False", "SyncFailed", str(error))
        else:
            healthy = sum(
                1
                for pod in pods
                if "deletionTimestamp" not in pod["metadata"]
                and pod["metadata"]["name"] not in disrupted
                and is_ready(pod)
            )
            allowed = max(0, healthy - desired) if expected > 0 else 0
            counts = {
                "currentHealthy": healthy,
                "desiredHealthy": desired,
                "expectedPods": expected,
                "disruptionsAllowed": allowed,
            }
            state, reason = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
            conditions = _condition(budget, conditions, state, reason, "")
        new: Json = {**counts, "observedGeneration": budget["metadata"]["generation"], "conditions": conditions}
        if disrupted:
            new["disruptedPods"] = disrupted
        self._store.update(_KIND, {**budget, "status": new}, subresource="status")
        ends = [datetime.fromisoformat(since) + DELETION_TIMEOUT for since in disrupted.values()]
        return (min(ends) - now).total_seconds() + 1 if ends else None

    def _expected(self, spec: Json, pods: list[Json]) -> tuple[int, int]:
        """How many pods there should be, and how many of them healthy."""
        if "maxUnavailable" in spec:
            expected = self._scale_of(pods)
            return expected, max(0, expected - scaled(spec["maxUnavailable"], expected))
        wanted = spec.get("minAvailable")
        if isinstance(wanted, int):
            return len(pods), wanted
        if wanted is None:
            # upstream neither counts nor allows anything without a limit
            return 0, 0
        expected = self._scale_of(pods)
        return expected, scaled(wanted, expected)

    def _scale_of(self, pods: list[Json]) -> int:
        """The replicas that the controllers of these pods are asked for. Pods without one do not count."""
        scales: dict[str, int] = {}
        for pod in pods:
            owner = controller_of(pod)
            if owner is None:
                continue
            found = self._owner(owner, pod)
            upper = controller_of(found)
            if found["kind"] == "ReplicaSet" and upper is not None:
                found = self._owner(upper, pod)
            scales[found["metadata"]["uid"]] = int(found["spec"].get("replicas", 1))
        return sum(scales.values())

    def _owner(self, owner: Json, pod: Json) -> Json:
        resource = by_kind(owner["apiVersion"], owner["kind"])
        namespace, name = key_of(pod)
        found = self._store.find(resource, owner["name"], namespace) if resource else None
        if resource is None or resource.kind not in _SCALABLE:
            plural = resource.qualified if resource else owner["kind"]
            raise _Unknown(f"{plural} does not implement the scale subresource")
        if found is None or found["metadata"]["uid"] != owner["uid"]:
            raise _Unknown(f'found no controllers for pod "{name}"')
        return found


def _still_disrupted(disrupted: dict[str, str], pods: list[Json], now: datetime) -> dict[str, str]:
    """The evicted pods whose deletion has not been seen yet, but is still to be expected."""
    there = {pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}
    return {
        name: since
        for name, since in disrupted.items()
        if name in there and datetime.fromisoformat(since) + DELETION_TIMEOUT > now
    }


def _condition(budget: Json, conditions: list[Json], status: str, reason: str, message: str) -> list[Json]:
    changed = with_condition(conditions, "DisruptionAllowed", status, reason, message)
    generation = budget["metadata"]["generation"]
    kept = [{k: v for k, v in each.items() if k != "lastUpdateTime"} for each in changed]
    return [{**each, "observedGeneration": generation} for each in kept]
