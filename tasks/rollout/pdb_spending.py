"""Spending disruption budgets as the eviction API does, one pod after another.

Rules: k8s.io/kubernetes v1.36, pkg/registry/core/pod/storage/eviction.go (who needs a budget, what refuses) and
pkg/controller/disruption/disruption.go (how the counts change when a pod has gone). Beyond them: a pod that has gone
and whose replacement finds room gives the budget back when the replacement is Ready, so that the next one only waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from poolkeeper.tasks.cluster.budgets import Budget
from poolkeeper.tasks.cluster.quantities import scaled_up
from poolkeeper.tasks.cluster.workloads import Pod
from poolkeeper.tasks.rollout.verdicts import PodVerdict, Reason

MAX_DISRUPTED_PODS = 2000
"""More evictions that were granted and not seen to happen make the API server refuse any other with 403."""


@dataclass(slots=True)
class _Spent:
    """A budget as it stands after the evictions so far."""

    allowed: int
    current: int
    coming_back: int = 0
    """Evicted pods whose replacements will be Ready and that nobody waits for yet."""


class Budgets:
    """Budgets being spent by one wave."""

    def __init__(self) -> None:
        self._spent: dict[str, _Spent] = {}

    def evict(self, pod: Pod, matching: Sequence[Budget], *, replaced: bool, replicas: int | None) -> Reason | None:
        """Evict a pod, or say why that is refused.

        matching: the budgets whose selectors match it
        replaced: a replacement would find room elsewhere
        replicas: how many pods the workloads under its budget should have; None: cannot be told
        """
        if not needs_budget(pod):
            if pod.ready and pod.deleting_at is None:
                for budget in matching:
                    self._gone(budget, healthy=pod.name not in budget.disrupted, replaced=replaced)
            return None
        if not matching:
            return None
        if unread := [budget for budget in matching if budget.unread]:
            text = f"whether PDB {unread[0].name} blocks it: it cannot be read ({unread[0].unread})"
            return Reason(PodVerdict.UNKNOWN, text, unread[0].name)
        if len(matching) > 1:
            names = ", ".join(sorted(budget.name for budget in matching))
            text = f"{len(matching)} PDBs match it ({names}); the API server refuses to evict such a pod (HTTP 500)"
            return Reason(PodVerdict.TWO_BUDGETS, text, names)
        budget = matching[0]
        spent = self._of(budget)
        if not pod.ready and (budget.always_allows_unhealthy or spent.current >= budget.desired > 0):
            return None
        refusal = _refusal(budget, spent)
        if refusal is None:
            self._gone(budget, healthy=pod.ready, replaced=replaced)
            return None
        why_never = never_allows(budget, replicas)
        if why_never:
            return Reason(PodVerdict.BUDGET_NEVER, f"PDB {budget.name} can never allow it: {why_never}", budget.name)
        if spent.coming_back > 0:
            spent.coming_back += int(replaced) - 1
            text = (
                f"PDB {budget.name} ({budget.rule}) is used up by pods that are drained before it; it is evicted"
                " once their replacements are Ready"
            )
            return Reason(PodVerdict.BUDGET_WAITS, text, budget.name)
        return Reason(PodVerdict.BUDGET_BLOCKS, f"PDB {budget.name} ({budget.rule}) {refusal}", budget.name)

    def _of(self, budget: Budget) -> _Spent:
        key = str(budget)
        if key not in self._spent:
            self._spent[key] = _Spent(budget.allowed, budget.current)
        return self._spent[key]

    def _gone(self, budget: Budget, *, healthy: bool, replaced: bool) -> None:
        """A pod has gone. One that was not healthy changes no count, once the controller has looked again."""
        spent = self._of(budget)
        if healthy:
            spent.allowed = max(0, spent.allowed - 1)
            spent.current -= 1
            spent.coming_back += int(replaced)


def needs_budget(pod: Pod) -> bool:
    """Whether the eviction API asks any budget: not for a pod that has ended, not started, or been deleted already."""
    return not pod.finished and pod.phase != "Pending" and pod.deleting_at is None


def _refusal(budget: Budget, spent: _Spent) -> str | None:
    if budget.observed_generation < budget.generation:
        return "was changed and its controller has not counted since: check kube-controller-manager"
    if budget.allowed < 0:
        return "has a negative count of allowed disruptions; the API server refuses (HTTP 403)"
    if len(budget.disrupted) > MAX_DISRUPTED_PODS:
        return f"waits for more than {MAX_DISRUPTED_PODS} evictions to be confirmed; the API server refuses (HTTP 403)"
    if spent.allowed > 0:
        return None
    if budget.sync_failed:
        return f"cannot be counted: {budget.sync_failed}"
    return f"allows no disruption now: it needs {budget.desired} healthy pods and has {spent.current}"


def never_allows(budget: Budget, replicas: int | None) -> str:
    """Why a budget cannot allow an eviction even with every replica healthy; empty where it can, or may.

    replicas: how many pods its workloads should have; None: cannot be told, and then only its own words count
    """
    try:
        if budget.max_unavailable is not None and scaled_up(budget.max_unavailable, 100) == 0:
            return f"it says {budget.rule}"
        if budget.min_available == "100%":
            return f"it says {budget.rule}"
    except ValueError as error:
        return f"its limit cannot be read: {error}"
    if budget.min_available is None and budget.max_unavailable is None:
        return "it has neither minAvailable nor maxUnavailable"
    if budget.observed_generation < budget.generation:
        return ""
    if budget.sync_failed:
        return f"its controller cannot count ({budget.sync_failed.rstrip('.')})"
    by_scale = not isinstance(budget.min_available, int)
    if by_scale and budget.expected <= 0:
        return f"{budget.rule} is counted from the replicas of controllers, and its pods have none"
    steady = budget.expected if by_scale else replicas
    if steady is not None and budget.desired >= steady:
        return f"{budget.rule} keeps {budget.desired} of {steady} pods, which leaves none to spare"
    return ""
