"""A snapshot with its indexes: who is where, who belongs together, which budgets match. Made once, asked often."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from poolkeeper.tasks.cluster.budgets import Budget
from poolkeeper.tasks.cluster.selectors import Selector
from poolkeeper.tasks.cluster.services import Service
from poolkeeper.tasks.cluster.snapshot import Snapshot
from poolkeeper.tasks.cluster.workloads import Pod, Workload, deployment_of
from poolkeeper.tasks.outcomes import Unknown

_T = TypeVar("_T")

WorkloadKey = tuple[str, str, str]
"""(kind, namespace, name)."""


class SnapshotIndex:
    """What rules ask about a snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.pods_on: Mapping[str, list[Pod]] = _grouped(snapshot.pods, lambda pod: pod.node)
        self.pods_in: Mapping[str, list[Pod]] = _grouped(snapshot.pods, lambda pod: pod.namespace)
        workloads = [] if isinstance(snapshot.workloads, Unknown) else snapshot.workloads.value
        self._workloads: dict[WorkloadKey, Workload] = {(w.kind, w.namespace, w.name): w for w in workloads}
        budgets = [] if isinstance(snapshot.budgets, Unknown) else snapshot.budgets.value
        self._budgets_in: dict[str, list[Budget]] = _grouped(budgets, lambda budget: budget.namespace)
        self._matching: dict[tuple[str, int], tuple[Budget, ...]] = {}
        self._replicas: dict[str, int | None] = {}
        services = [] if isinstance(snapshot.services, Unknown) else snapshot.services.value
        self.services_in: Mapping[str, list[Service]] = _grouped(services, lambda service: service.namespace)
        self._labelled: dict[tuple[str, str, str], list[Pod]] | None = None
        self._ready: dict[WorkloadKey, int] = defaultdict(int)
        for pod in snapshot.pods:
            if pod.ready and pod.deleting_at is None and not pod.finished:
                key = self.workload_of(pod)
                if key is not None:
                    self._ready[key] += 1

    def selected(self, namespace: str, selector: Selector) -> Sequence[Pod]:
        """The pods of a namespace that a selector matches, whatever their state."""
        if selector.nothing:
            return ()
        candidates: Sequence[Pod] = self.pods_in.get(namespace, ())
        for key, value in selector.equal:
            found = self._by_label().get((namespace, key, value), ())
            if len(found) < len(candidates):
                candidates = found
        return [pod for pod in candidates if selector.matches(pod.labels)]

    def _by_label(self) -> Mapping[tuple[str, str, str], list[Pod]]:
        """Pods by namespace and one label."""
        if self._labelled is None:
            made: defaultdict[tuple[str, str, str], list[Pod]] = defaultdict(list)
            for pod in self.snapshot.pods:
                for key, value in pod.labels.items():
                    made[pod.namespace, key, value].append(pod)
            self._labelled = dict(made)
        return self._labelled

    def workload_of(self, pod: Pod) -> WorkloadKey | None:
        """What replaces the pod: its Deployment where its ReplicaSet is one's, else its controller; None: nothing."""
        owner = pod.owner
        if owner is None:
            return None
        deployment = deployment_of(pod)
        if deployment is not None:
            key = ("Deployment", pod.namespace, deployment)
            found = self._workloads.get(key)
            if isinstance(self.snapshot.workloads, Unknown):
                return key
            if found and (found.unread or found.selector.matches(pod.labels)):
                return key
        return owner.kind, pod.namespace, owner.name

    def ready_of(self, workload: WorkloadKey) -> int:
        """How many Ready pods a workload has now."""
        return self._ready.get(workload, 0)

    def budgets_of(self, pod: Pod) -> tuple[Budget, ...]:
        """The budgets whose selectors match a pod. Only where budgets could be read."""
        inside = self._budgets_in.get(pod.namespace)
        if not inside:
            return ()
        key = pod.namespace, id(pod.labels)  # pods of one template share their labels
        found = self._matching.get(key)
        if found is None:
            found = tuple(budget for budget in inside if budget.selector.matches(pod.labels))
            self._matching[key] = found
        return found

    def replicas_under(self, budget: Budget) -> int | None:
        """How many pods the workloads under a budget should have; None where the workloads could not be read.

        A workload that does not say so to us (a bare ReplicaSet, another program's kind) should have those it has.
        """
        key = str(budget)
        if key not in self._replicas:
            self._replicas[key] = self._count_replicas(budget)
        return self._replicas[key]

    def _count_replicas(self, budget: Budget) -> int | None:
        if isinstance(self.snapshot.workloads, Unknown):
            return None
        total, seen = 0, set()
        for pod in self.selected(budget.namespace, budget.selector):
            if pod.finished or pod.deleting_at is not None:
                continue
            workload = self.workload_of(pod)
            declared = self._workloads.get(workload) if workload else None
            if declared is None:
                total += 1
            elif declared.unread:
                return None
            elif workload not in seen:
                seen.add(workload)
                total += declared.replicas
        return total


def _grouped(rows: Sequence[_T], key: Callable[[_T], str]) -> dict[str, list[_T]]:
    groups: defaultdict[str, list[_T]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(groups)
