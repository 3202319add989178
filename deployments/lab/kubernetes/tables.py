"""What `kubectl get` prints: objects as rows of a Table, with upstream's columns.

Columns: k8s.io/kubernetes, pkg/printers/internalversion/printers.go (v1.36).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from poolkeeper.deployments.lab.kubernetes.resources import Resource

Json = dict[str, Any]
Column = tuple[str, int]
"""Name, and priority: above 0 is printed with `-o wide` only."""
_ROLE = "node-role.kubernetes.io/"


def age(since: str | None) -> str:
    """How long ago, in the short form that kubectl prints."""
    if not since:
        return "<unknown>"
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds())
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d" if days < 730 else f"{days // 365}y{days % 365}d"


def _age_of(obj: Json) -> str:
    return age(obj["metadata"].get("creationTimestamp"))


def _node(node: Json) -> list[Any]:
    labels, status = node["metadata"].get("labels") or {}, node.get("status") or {}
    ready = next((c["status"] for c in status.get("conditions") or () if c["type"] == "Ready"), None)
    words = [{"True": "Ready", None: "Unknown"}.get(ready, "NotReady")]
    if (node.get("spec") or {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    roles = sorted(key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE))
    addresses = {a["type"]: a["address"] for a in status.get("addresses") or ()}
    info = status.get("nodeInfo") or {}
    return [
        node["metadata"]["name"],
        ",".join(words),
        ",".join(roles) or "<none>",
        _age_of(node),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", "<none>"),
        addresses.get("ExternalIP", "<none>"),
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def _pod(pod: Json) -> list[Any]:
    spec, status, metadata = pod["spec"], pod.get("status") or {}, pod["metadata"]
    containers = status.get("containerStatuses") or []
    word = status.get("reason") or status.get("phase", "Unknown")
    for container in containers:
        state = container.get("state") or {}
        for kind in ("waiting", "terminated"):
            reason = (state.get(kind) or {}).get("reason")
            if reason and (kind == "waiting" or status.get("phase") != "Running"):
                word = reason
    if "deletionTimestamp" in metadata and status.get("phase") not in ("Succeeded", "Failed"):
        word = "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    ready = sum(1 for container in containers if container.get("ready"))
    return [
        metadata["name"],
        f"{ready}/{len(spec['containers'])}",
        word,
        sum(container.get("restartCount", 0) for container in containers),
        _age_of(pod),
        status.get("podIP") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        "<none>",
    ]


def _deployment(obj: Json) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}"
    counts = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    return [obj["metadata"]["name"], ready, *counts, _age_of(obj)]


def _replicaset(obj: Json) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    counts = spec.get("replicas", 1), status.get("replicas", 0), status.get("readyReplicas", 0)
    return [obj["metadata"]["name"], *counts, _age_of(obj)]


def _daemonset(obj: Json) -> list[Any]:
    status = obj.get("status") or {}
    counts = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    selector = obj["spec"]["template"]["spec"].get("nodeSelector") or {}
    shown = ",".join(f"{key}={value}" for key, value in selector.items()) or "<none>"
    return [obj["metadata"]["name"], *(status.get(key, 0) for key in counts), shown, _age_of(obj)]


def _budget(obj: Json) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    limits = [str(spec.get(field, "N/A")) for field in ("minAvailable", "maxUnavailable")]
    return [obj["metadata"]["name"], *limits, status.get("disruptionsAllowed", 0), _age_of(obj)]


def _namespace(obj: Json) -> list[Any]:
    return [obj["metadata"]["name"], (obj.get("status") or {}).get("phase", ""), _age_of(obj)]


def _lease(obj: Json) -> list[Any]:
    return [obj["metadata"]["name"], (obj.get("spec") or {}).get("holderIdentity", ""), _age_of(obj)]


def _service(obj: Json) -> list[Any]:
    spec = obj["spec"]
    ports = ",".join(f"{p.get('port')}/{p.get('protocol', 'TCP')}" for p in spec.get("ports") or ())
    address = spec.get("clusterIP") or "<none>"
    return [obj["metadata"]["name"], spec["type"], address, "<none>", ports or "<none>", _age_of(obj)]


def _event(obj: Json) -> list[Any]:
    about = obj.get("involvedObject") or {}
    seen = obj.get("lastTimestamp") or obj.get("eventTime") or obj["metadata"].get("creationTimestamp")
    subject = f"{about.get('kind', '').lower()}/{about.get('name', '')}"
    return [age(seen), obj.get("type", ""), obj.get("reason", ""), subject, str(obj.get("message", "")).strip()]


def _generic(obj: Json) -> list[Any]:
    return [obj["metadata"]["name"], _age_of(obj)]


def _columns(*names: str, wide: tuple[str, ...] = ()) -> list[Column]:
    return [*((name, 0) for name in names), *((name, 1) for name in wide)]


_ROWS: dict[str, tuple[list[Column], Callable[[Json], list[Any]]]] = {
    "nodes": (
        _columns(
            "Name",
            "Status",
            "Roles",
            "Age",
            "Version",
            wide=("Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime"),
        ),
        _node,
    ),
    "pods": (
        _columns(
            "Name",
            "Ready",
            "Status",
            "Restarts",
            "Age",
            wide=("IP", "Node", "Nominated Node", "Readiness Gates"),
        ),
        _pod,
    ),
    "deployments.apps": (_columns("Name", "Ready", "Up-to-date", "Available", "Age"), _deployment),
    "replicasets.apps": (_columns("Name", "Desired", "Current", "Ready", "Age"), _replicaset),
    "daemonsets.apps": (
        _columns("Name", "Desired", "Current", "Ready", "Up-to-date", "Available", "Node Selector", "Age"),
        _daemonset,
    ),
    "poddisruptionbudgets.policy": (
        _columns("Name", "Min Available", "Max Unavailable", "Allowed Disruptions", "Age"),
        _budget,
    ),
    "namespaces": (_columns("Name", "Status", "Age"), _namespace),
    "leases.coordination.k8s.io": (_columns("Name", "Holder", "Age"), _lease),
    "services": (_columns("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age"), _service),
    "events": (_columns("Last Seen", "Type", "Reason", "Object", "Message"), _event),
}


def table(resource: Resource, objects: list[Json], metadata: Json | None = None) -> Json:
    """Objects as a Table; metadata: of the list, where it is one."""
    columns, row = _ROWS.get(resource.qualified, (_columns("Name", "Age"), _generic))
    definitions = [
        {
            "name": name,
            "type": "integer" if name == "Restarts" else "string",
            "format": "name" if name == "Name" else "",
            "description": "",
            "priority": priority,
        }
        for name, priority in columns
    ]
    rows = [
        {
            "cells": row(obj),
            "object": {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": obj["metadata"],
            },
        }
        for obj in objects
    ]
    if metadata is None:
        metadata = {"resourceVersion": objects[0]["metadata"]["resourceVersion"]} if objects else {}
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    }
