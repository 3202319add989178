"""What differs from kind to kind when objects are written: defaults, validation, what may not change.

Pure: objects in, new objects or flaws out. Pods and Nodes have modules of their own. Sources: each kind's strategy
in k8s.io/kubernetes, pkg/registry, and its defaults and validation in pkg/apis (v1.36).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

from poolkeeper.deployments.lab.kubernetes import nodes, pods, quantities
from poolkeeper.deployments.lab.kubernetes.names import QUALIFIED, key_flaws, name_flaws
from poolkeeper.deployments.lab.kubernetes.resources import Resource
from poolkeeper.deployments.lab.kubernetes.statuses import Flaw

Json = dict[str, Any]

_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_DATA_KEY_RULE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  "
    "or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)


def check_metadata(resource: Resource, obj: Json) -> list[Flaw]:
    """Name, labels and annotations of any object."""
    metadata = obj["metadata"]
    flaws: list[Flaw] = []
    if not resource.group.startswith("rbac."):
        flaws += name_flaws(resource, metadata["name"])
    elif "/" in metadata["name"] or "%" in metadata["name"]:
        flaws.append(Flaw.invalid("metadata.name", metadata["name"], "may not contain '/' or '%'"))
    for key, value in (metadata.get("labels") or {}).items():
        flaws += key_flaws("metadata.labels", key)
        if not isinstance(value, str) or (value and not QUALIFIED.fullmatch(value)):
            flaws.append(Flaw.invalid("metadata.labels", value, _VALUE_RULE))
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        flaws += key_flaws("metadata.annotations", key)
    if sum(len(k) + len(str(v)) for k, v in annotations.items()) > 256 * 1024:
        flaws.append(Flaw("metadata.annotations", "FieldValueTooLong", "Too long: may not be more than 262144 bytes"))
    return flaws


def set_defaults(resource: Resource, obj: Json) -> Json:
    """The object with what a kube-apiserver fills in, on every write."""
    change = _DEFAULTS.get(resource.qualified)
    return change(obj) if change else obj


def check(resource: Resource, obj: Json, old: Json | None) -> list[Flaw]:
    """What is wrong with an object that is about to be stored in place of `old` (None: created)."""
    rule = _CHECKS.get(resource.qualified)
    return rule(obj, old) if rule else []


def first_status(resource: Resource, obj: Json) -> Json:
    """The object as it is created: a status that is not the creator's to set is put right."""
    if resource.plural == "nodes" or not resource.has_status:
        return obj
    if resource.plural == "pods":
        return {**obj, "status": pods.first_status(obj)}
    if resource.plural in {"namespaces"}:
        return {**obj, "status": {"phase": "Active"}}
    if resource.plural in {"persistentvolumes", "persistentvolumeclaims"}:
        return {**obj, "status": {"phase": "Pending"}}
    if resource.plural == "services":
        return {**obj, "status": {"loadBalancer": {}}}
    counted = {"replicas": 0} if resource.plural in {"replicasets", "statefulsets"} else {}
    return {**obj, "status": counted}


def _workload(obj: Json, spec_defaults: Json) -> Json:
    spec = {**spec_defaults, **(obj.get("spec") or {})}
    template = spec.get("template")
    if isinstance(template, dict) and isinstance(template.get("spec"), dict):
        spec["template"] = {
            **template,
            "metadata": template.get("metadata") or {},
            "spec": pods.default_spec(template["spec"]),
        }
    return {**obj, "spec": spec}


def _deployment(obj: Json) -> Json:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
    obj = _workload(
        obj,
        {
            "replicas": 1,
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            "strategy": rolling,
        },
    )
    strategy = obj["spec"]["strategy"]
    if strategy.get("type", "RollingUpdate") == "RollingUpdate":
        update = {**rolling["rollingUpdate"], **(strategy.get("rollingUpdate") or {})}  # type: ignore[dict-item]  # literal above
        obj["spec"]["strategy"] = {"type": "RollingUpdate", "rollingUpdate": update}
    return obj


def _replicaset(obj: Json) -> Json:
    return _workload(obj, {"replicas": 1})


def _daemonset(obj: Json) -> Json:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    return _workload(obj, {"revisionHistoryLimit": 10, "updateStrategy": rolling})


def _statefulset(obj: Json) -> Json:
    return _workload(
        obj,
        {
            "replicas": 1,
            "revisionHistoryLimit": 10,
            "podManagementPolicy": "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        },
    )


def _job(obj: Json) -> Json:
    return _workload(obj, {"completions": 1, "parallelism": 1, "backoffLimit": 6})


def _namespace(obj: Json) -> Json:
    metadata = obj["metadata"]
    labels = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata["name"]}
    return {
        **obj,
        "metadata": {**metadata, "labels": labels},
        "spec": {"finalizers": ["kubernetes"], **(obj.get("spec") or {})},
    }


def _service(obj: Json) -> Json:
    spec = {"type": "ClusterIP", "sessionAffinity": "None", **(obj.get("spec") or {})}
    spec["ports"] = [{"protocol": "TCP", "targetPort": port.get("port"), **port} for port in spec.get("ports") or []]
    return {**obj, "spec": spec}


def _secret(obj: Json) -> Json:
    obj = {"type": "Opaque", **obj}
    plain = obj.pop("stringData", None) or {}
    if plain:
        encoded = {key: base64.b64encode(str(text).encode()).decode() for key, text in plain.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}
    return obj


def _claim(obj: Json) -> Json:
    return {**obj, "spec": {"volumeMode": "Filesystem", **(obj.get("spec") or {})}}


def _volume(obj: Json) -> Json:
    defaults = {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"}
    return {**obj, "spec": {**defaults, **(obj.get("spec") or {})}}


def _storage_class(obj: Json) -> Json:
    return {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate", **obj}


def _binding(obj: Json) -> Json:
    role = {"apiGroup": "rbac.authorization.k8s.io", **(obj.get("roleRef") or {})}
    return {**obj, "roleRef": role}


def _check_workload(obj: Json, old: Json | None) -> list[Flaw]:
    spec = obj["spec"]
    flaws: list[Flaw] = []
    selector, template = spec.get("selector"), spec.get("template") or {}
    if obj["kind"] != "Job":
        if not selector:
            flaws.append(Flaw.required("spec.selector"))
        elif any(
            ((template.get("metadata") or {}).get("labels") or {}).get(key) != value
            for key, value in (selector.get("matchLabels") or {}).items()
        ):
            labels = (template.get("metadata") or {}).get("labels") or {}
            flaws.append(
                Flaw.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
            )
        if old is not None and old["spec"].get("selector") != selector:
            flaws.append(Flaw.invalid("spec.selector", selector, "field is immutable"))
    if "replicas" in spec and (not isinstance(spec["replicas"], int) or spec["replicas"] < 0):
        flaws.append(Flaw.invalid("spec.replicas", spec["replicas"], "must be greater than or equal to 0"))
    return flaws + pods.check_spec(template.get("spec") or {}, "spec.template.spec")


def _check_budget(obj: Json, old: Json | None) -> list[Flaw]:
    spec = obj.get("spec") or {}
    flaws: list[Flaw] = []
    if "minAvailable" in spec and "maxUnavailable" in spec:
        flaws.append(Flaw.invalid("spec", "", "minAvailable and maxUnavailable cannot be both set"))
    for field in ("minAvailable", "maxUnavailable"):
        if field in spec and (wrong := _count_flaw(spec[field])):
            flaws.append(Flaw.invalid(f"spec.{field}", spec[field], wrong))
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy not in (None, "AlwaysAllow", "IfHealthyBudget"):
        supported = ("AlwaysAllow", "IfHealthyBudget")
        flaws.append(Flaw.unsupported("spec.unhealthyPodEvictionPolicy", policy, supported))
    return flaws


def _count_flaw(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return "" if value >= 0 else "must be greater than or equal to 0"
    if not quantities.is_count_or_percent(value):
        return (
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex "
            "used for validation is '[0-9]+%')"
        )
    return "" if int(value.rstrip("%")) <= 100 else "must not be greater than 100%"


def _check_lease(obj: Json, old: Json | None) -> list[Flaw]:
    spec = obj.get("spec") or {}
    flaws: list[Flaw] = []
    for field, least in (("leaseDurationSeconds", 1), ("leaseTransitions", 0)):
        value = spec.get(field)
        if value is not None and value < least:
            bound = "greater than 0" if least else "greater than or equal to 0"
            flaws.append(Flaw.invalid(f"spec.{field}", value, f"must be {bound}"))
    return flaws


def _check_service(obj: Json, old: Json | None) -> list[Flaw]:
    spec = obj["spec"]
    if spec["type"] != "ExternalName" and not spec["ports"] and spec.get("clusterIP") != "None":
        return [Flaw.required("spec.ports")]
    return []


def _check_fixed(field: str) -> Callable[[Json, Json | None], list[Flaw]]:
    def rule(obj: Json, old: Json | None) -> list[Flaw]:
        if old is not None and old.get(field) != obj.get(field):
            return [Flaw.invalid(field, obj.get(field), "cannot change " + field)]
        return []

    return rule


def _check_data(obj: Json, old: Json | None) -> list[Flaw]:
    flaws = [
        Flaw.invalid(f"data[{key}]", key, _DATA_KEY_RULE)
        for key in obj.get("data") or {}
        if not _DATA_KEY.fullmatch(key)
    ]
    return flaws + _check_immutable_data(obj, old)


def _check_immutable_data(obj: Json, old: Json | None) -> list[Flaw]:
    if old is not None and old.get("immutable") and obj.get("data") != old.get("data"):
        return [Flaw.forbidden("data", "field is immutable when `immutable` is set")]
    return []


_DEFAULTS: dict[str, Callable[[Json], Json]] = {
    "pods": pods.set_defaults,
    "nodes": nodes.set_defaults,
    "namespaces": _namespace,
    "services": _service,
    "secrets": _secret,
    "persistentvolumes": _volume,
    "persistentvolumeclaims": _claim,
    "replicationcontrollers": _replicaset,
    "deployments.apps": _deployment,
    "replicasets.apps": _replicaset,
    "daemonsets.apps": _daemonset,
    "statefulsets.apps": _statefulset,
    "jobs.batch": _job,
    "rolebindings.rbac.authorization.k8s.io": _binding,
    "clusterrolebindings.rbac.authorization.k8s.io": _binding,
    "storageclasses.storage.k8s.io": _storage_class,
}

_CHECKS: dict[str, Callable[[Json, Json | None], list[Flaw]]] = {
    "pods": pods.check,
    "nodes": nodes.check,
    "services": _check_service,
    "configmaps": _check_data,
    "secrets": _check_data,
    "deployments.apps": _check_workload,
    "replicasets.apps": _check_workload,
    "daemonsets.apps": _check_workload,
    "statefulsets.apps": _check_workload,
    "jobs.batch": _check_workload,
    "poddisruptionbudgets.policy": _check_budget,
    "leases.coordination.k8s.io": _check_lease,
    "rolebindings.rbac.authorization.k8s.io": _check_fixed("roleRef"),
    "clusterrolebindings.rbac.authorization.k8s.io": _check_fixed("roleRef"),
}
