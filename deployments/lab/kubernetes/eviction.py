"""The eviction subresource: deletes a pod unless a PodDisruptionBudget says no.

Order and wording follow k8s.io/kubernetes v1.36, pkg/registry/core/pod/storage/eviction.go.
"""

from __future__ import annotations

from typing import Any

from poolkeeper.deployments.lab.kubernetes import pods, statuses
from poolkeeper.deployments.lab.kubernetes.selectors import from_label_selector, labels_of
from poolkeeper.deployments.lab.kubernetes.statuses import StatusError
from poolkeeper.deployments.lab.kubernetes.store import Store, timestamp

Json = dict[str, Any]

_BUDGETS = "poddisruptionbudgets.policy"
_REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."
_TWO_BUDGETS = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
MAX_DISRUPTED_PODS = 2000


def evict(store: Store, namespace: str, name: str, body: Json, *, dry_run: bool) -> Json:
    """Evict a pod and answer the Status to send.

    Raises StatusError 404, 409, 429 when the budget says no, and 500 for a pod under two budgets.
    """
    if (body.get("metadata") or {}).get("name") != name:
        raise statuses.bad_request("name in URL does not match name in Eviction object")
    options = body.get("deleteOptions") or {}
    pod = store.get("pods", name, namespace)
    pinned = None
    if not _needs_no_budget(pod):
        budgets = _budgets_of(store, pod)
        if len(budgets) > 1:
            raise StatusError(500, "", _TWO_BUDGETS)
        if budgets:
            if _unhealthy_may_go(pod, budgets[0]):
                # it must still be the unhealthy pod that was looked at
                pinned = pod["metadata"]["resourceVersion"]
            else:
                _spend(store, budgets[0], name, dry_run=dry_run)
    _delete(store, pod, options, pinned, dry_run=dry_run)
    return statuses.success({}, 201)


def _needs_no_budget(pod: Json) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    return phase in (*pods.FINISHED, "Pending") or "deletionTimestamp" in pod["metadata"]


def _budgets_of(store: Store, pod: Json) -> list[Json]:
    labels = labels_of(pod)
    return [
        budget
        for budget in store.list(_BUDGETS, pod["metadata"]["namespace"])
        if from_label_selector(budget["spec"].get("selector"))(labels)
    ]


def _unhealthy_may_go(pod: Json, budget: Json) -> bool:
    if pods.is_ready(pod):
        return False
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    desired = status.get("desiredHealthy", 0)
    return bool(desired > 0 and status.get("currentHealthy", 0) >= desired)


def _spend(store: Store, budget: Json, pod_name: str, *, dry_run: bool) -> None:
    """Take one disruption out of a budget. Raises StatusError 429, 403."""
    name, status = budget["metadata"]["name"], budget.get("status") or {}
    if status.get("observedGeneration", 0) < budget["metadata"]["generation"]:
        raise _refused(f"The disruption budget {name} is still being processed by the server.", 10)
    left, disrupted = status.get("disruptionsAllowed", 0), status.get("disruptedPods") or {}
    if left < 0:
        raise _forbidden(name, "pdb disruptions allowed is negative")
    if len(disrupted) > MAX_DISRUPTED_PODS:
        raise _forbidden(name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller")
    if left == 0:
        raise _refused(_why_zero(name, status), 0)
    if dry_run:
        return
    status = {
        **status,
        "disruptionsAllowed": left - 1,
        "disruptedPods": {**disrupted, pod_name: timestamp()},
    }
    store.update(_BUDGETS, {**budget, "status": status}, subresource="status")


def _why_zero(name: str, status: Json) -> str:
    conditions = status.get("conditions") or ()
    condition: Json = next((c for c in conditions if c["type"] == "DisruptionAllowed"), {})
    message = condition.get("message") if condition.get("status") == "False" else None
    current, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    if message and condition["reason"] == "SyncFailed":
        return f"The disruption budget {name} does not allow evicting pods currently because it failed sync: {message}"
    if current <= desired:
        return f"The disruption budget {name} needs {desired} healthy pods and has {current} currently"
    if message:
        return f"The disruption budget {name} does not allow evicting pods currently ({condition['reason']}): {message}"
    return f"The disruption budget {name} does not allow evicting pods currently"


def _refused(why: str, retry_after_s: int) -> StatusError:
    causes = [{"reason": "DisruptionBudget", "message": why}]
    return statuses.too_many_requests(_REFUSED, retry_after_s, causes)


def _forbidden(name: str, why: str) -> StatusError:
    message = f'poddisruptionbudget.policy "{name}" is forbidden: {why}'
    details = {"name": name, "group": "policy", "kind": "poddisruptionbudget"}
    return StatusError(403, "Forbidden", message, details)


def _delete(store: Store, pod: Json, options: Json, pinned: str | None, *, dry_run: bool) -> None:
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    wanted = options.get("preconditions") or {}
    version = wanted.get("resourceVersion") or pinned
    grace_s, uid = options.get("gracePeriodSeconds"), wanted.get("uid")
    # all preconditions are looked at before anything is written
    store.delete("pods", name, namespace, grace_s=grace_s, uid=uid, version=version, dry_run=True)
    if dry_run:
        return
    store.modify("pods", name, namespace, _as_disrupted, subresource="status")
    store.delete(
        "pods",
        name,
        namespace,
        grace_s=grace_s,
        uid=uid,
        propagation=options.get("propagationPolicy"),
    )


def _as_disrupted(pod: Json) -> Json:
    """With the condition that tells a workload's controller why the pod goes."""
    status = pod.get("status") or {}
    kept = [c for c in status.get("conditions") or () if c["type"] != "DisruptionTarget"]
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": timestamp(),
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }
    return {**pod, "status": {**status, "conditions": [*kept, condition]}}
