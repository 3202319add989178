"""Pods: defaults, admission, validation, and how long they may take to go.

Sources: k8s.io/kubernetes, pkg/apis/core/v1/defaults.go, pkg/apis/core/validation,
pkg/registry/core/pod/strategy.go; the admission plugins DefaultTolerationSeconds, Priority and ServiceAccount (v1.36).
"""

from __future__ import annotations

from typing import Any

from poolkeeper.deployments.lab.kubernetes.names import LABEL, LABEL_RULE
from poolkeeper.deployments.lab.kubernetes.statuses import Flaw

Json = dict[str, Any]

FINISHED = ("Succeeded", "Failed")

_SPEC_DEFAULTS: Json = {
    "restartPolicy": "Always",
    "dnsPolicy": "ClusterFirst",
    "terminationGracePeriodSeconds": 30,
    "securityContext": {},
    "schedulerName": "default-scheduler",
}
_CONTAINER_DEFAULTS: Json = {
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
_OUTLIVE = (("node.kubernetes.io/not-ready", 300), ("node.kubernetes.io/unreachable", 300))
PRIORITIES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}


def default_spec(spec: Json) -> Json:
    """A pod's spec, or a pod template's, with what is filled in."""
    filled = {**_SPEC_DEFAULTS, **spec}
    for field in ("containers", "initContainers"):
        if isinstance(spec.get(field), list):
            filled[field] = [_default_container(each) for each in spec[field]]
    if spec.get("serviceAccount") and not spec.get("serviceAccountName"):
        filled["serviceAccountName"] = spec["serviceAccount"]
    return filled


def _default_container(container: Json) -> Json:
    image = str(container.get("image", ""))
    latest = image.endswith(":latest") or ":" not in image.rpartition("/")[2]
    filled = {
        **_CONTAINER_DEFAULTS,
        "imagePullPolicy": "Always" if latest and "@" not in image else "IfNotPresent",
        **container,
    }
    limits = (container.get("resources") or {}).get("limits") or {}
    if limits:
        requests = {**limits, **(container["resources"].get("requests") or {})}
        filled["resources"] = {**container["resources"], "requests": requests}
    if container.get("ports"):
        filled["ports"] = [{"protocol": "TCP", **port} for port in container["ports"]]
    return filled


def set_defaults(pod: Json) -> Json:
    """A pod with the defaults of its spec."""
    return {**pod, "spec": default_spec(pod.get("spec") or {})}


def admit(pod: Json) -> Json:
    """A pod as the admission plugins leave it when it is created."""
    spec = dict(pod["spec"])
    spec.setdefault("serviceAccountName", "default")
    spec["serviceAccount"] = spec["serviceAccountName"]
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    spec.setdefault("priority", PRIORITIES.get(spec.get("priorityClassName", ""), 0))
    tolerations = list(spec.get("tolerations") or ())
    for key, seconds in _OUTLIVE:
        if not any(t.get("key") in (key, None, "") and t.get("effect") in ("NoExecute", None, "") for t in tolerations):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds})
    spec["tolerations"] = tolerations
    return {**pod, "spec": spec}


def first_status(pod: Json) -> Json:
    """The status of a pod that has just been created."""
    return {"phase": "Pending", "qosClass": qos_class(pod)}


def qos_class(pod: Json) -> str:
    """Guaranteed, Burstable or BestEffort."""
    guaranteed, any_set = True, False
    for container in pod["spec"].get("containers") or ():
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        any_set = any_set or bool(limits or requests)
        for name in ("cpu", "memory"):
            if name not in limits or requests.get(name, limits[name]) != limits[name]:
                guaranteed = False
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def grace_period_s(pod: Json, asked: int | None) -> int:
    """How long a pod that is deleted now may take to go."""
    if not pod["spec"].get("nodeName") or (pod.get("status") or {}).get("phase") in FINISHED:
        return 0
    period = asked if asked is not None else int(pod["spec"].get("terminationGracePeriodSeconds", 0))
    return 1 if period < 0 else period


def is_ready(pod: Json) -> bool:
    """Whether its Ready condition is True."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def check(pod: Json, old: Json | None) -> list[Flaw]:
    """What is wrong with a pod; its spec hardly changes once it exists."""
    if old is None:
        return check_spec(pod["spec"], "spec")
    if _fixed_part(pod["spec"], old["spec"]) != _fixed_part(old["spec"], old["spec"]):
        return [
            Flaw.forbidden(
                "spec",
                "pod updates may not change fields other than `spec.containers[*].image`,"
                "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
                "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
                "previously negative)",
            )
        ]
    before, after = old["spec"].get("tolerations") or [], pod["spec"].get("tolerations") or []
    if any(toleration not in after for toleration in before):
        return [
            Flaw.forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")
        ]
    return []


def _fixed_part(spec: Json, old: Json) -> Json:
    fixed = {k: v for k, v in spec.items() if k not in ("tolerations", "activeDeadlineSeconds")}
    for field in ("containers", "initContainers"):
        if field in fixed:
            fixed[field] = [{k: v for k, v in each.items() if k != "image"} for each in fixed[field]]
    return fixed


def check_spec(spec: Json, field: str) -> list[Flaw]:
    """What is wrong with a pod's spec, or a template's."""
    flaws: list[Flaw] = []
    containers = spec.get("containers")
    if not containers:
        return [Flaw.required(f"{field}.containers")]
    seen: set[str] = set()
    for kind in ("initContainers", "containers"):
        for position, container in enumerate(spec.get(kind) or ()):
            place = f"{field}.{kind}[{position}]"
            name = container.get("name")
            if not name:
                flaws.append(Flaw.required(f"{place}.name"))
            elif name in seen:
                flaws.append(Flaw(f"{place}.name", "FieldValueDuplicate", f'Duplicate value: "{name}"'))
            elif not LABEL.fullmatch(name):
                flaws.append(Flaw.invalid(f"{place}.name", name, LABEL_RULE))
            seen.add(name or "")
            if not container.get("image"):
                flaws.append(Flaw.required(f"{place}.image"))
    policies = ("Always", "Never", "OnFailure")
    if spec.get("restartPolicy") not in policies:
        flaws.append(Flaw.unsupported(f"{field}.restartPolicy", spec.get("restartPolicy"), policies))
    for position, toleration in enumerate(spec.get("tolerations") or ()):
        place = f"{field}.tolerations[{position}]"
        if toleration.get("operator", "Equal") not in ("Equal", "Exists"):
            flaws.append(Flaw.unsupported(f"{place}.operator", toleration["operator"], ("Equal", "Exists")))
        if not toleration.get("key") and toleration.get("operator") != "Exists":
            flaws.append(
                Flaw.invalid(
                    f"{place}.operator",
                    toleration.get("operator", ""),
                    'operator must be Exists when `key` is empty, which means "match all values and all keys"',
                )
            )
    return flaws
