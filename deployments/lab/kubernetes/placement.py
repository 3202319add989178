"""Where a pod may run: selectors, affinity to nodes, taints and tolerations, requests against what is left.

Pure. Rules: k8s.io/component-helpers scheduling/corev1 and the scheduler's plugins NodeAffinity, TaintToleration,
NodeUnschedulable, NodeResourcesFit (v1.36). Affinity between pods, topology spread, host ports and preemption are
not looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from poolkeeper.deployments.lab.kubernetes.quantities import quantity
from poolkeeper.deployments.lab.kubernetes.selectors import from_expressions, labels_of

Json = dict[str, Any]

UNSCHEDULABLE: Json = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
REPELS = ("NoSchedule", "NoExecute")


def tolerates(toleration: Json, taint: Json) -> bool:
    """Whether one toleration is for one taint."""
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("key") not in (None, "", taint["key"]):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")


def taints_of(node: Json) -> list[Json]:
    """The node's taints."""
    return list((node.get("spec") or {}).get("taints") or ())


def untolerated(spec: Json, node: Json, effects: tuple[str, ...] = REPELS) -> list[Json]:
    """The taints of these effects that keep a pod away; a cordon counts as the taint that stands for it."""
    taints = taints_of(node)
    if (node.get("spec") or {}).get("unschedulable") and UNSCHEDULABLE["key"] not in {t["key"] for t in taints}:
        taints.append(UNSCHEDULABLE)
    tolerations = spec.get("tolerations") or ()
    return [t for t in taints if t["effect"] in effects and not any(tolerates(each, t) for each in tolerations)]


def wants(spec: Json, node: Json) -> bool:
    """Whether node selector and required node affinity of a pod's spec hold for a node."""
    labels = labels_of(node)
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or matches_terms(required, node)


def matches_terms(selector: Json, node: Json) -> bool:
    """Whether one of the terms of a NodeSelector holds for a node."""
    return any(_matches_term(term, node) for term in selector.get("nodeSelectorTerms") or ())


def _matches_term(term: Json, node: Json) -> bool:
    labels, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    if not labels and not fields:
        return False
    by_field = {"metadata.name": node["metadata"]["name"]}
    return from_expressions(labels)(labels_of(node)) and from_expressions(fields)(by_field)


def requests_of(pod: Json) -> Counter[str]:
    """What a pod asks for, by resource name, in base units; one `pods` included."""
    total: Counter[str] = Counter()
    spec = pod["spec"]
    for container in spec.get("containers") or ():
        total.update(_requests(container))
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            total.update(_requests(container))
        else:
            for name, value in _requests(container).items():
                total[name] = max(total[name], value)
    total.update({name: quantity(value) for name, value in (spec.get("overhead") or {}).items()})
    total["pods"] = 1
    return total


def _requests(container: Json) -> dict[str, Any]:
    requests = (container.get("resources") or {}).get("requests") or {}
    return {name: quantity(value) for name, value in requests.items()}


def allocatable(node: Json) -> dict[str, Decimal]:
    """What a node has for pods, by resource name."""
    status = node.get("status") or {}
    declared = status.get("allocatable") or status.get("capacity") or {}
    return {name: quantity(value) for name, value in declared.items()}


def lacking(wanted: Counter[str], node: Json, used: Counter[str]) -> list[str]:
    """The resources of which a node has too little left."""
    has = allocatable(node)
    return [name for name, value in wanted.items() if value and used[name] + value > has.get(name, 0)]


def used_by(pods: Iterable[Json]) -> Counter[str]:
    """What pods on a node take away; finished ones take nothing."""
    total: Counter[str] = Counter()
    for pod in pods:
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            total.update(requests_of(pod))
    return total
