"""What Deployments, ReplicaSets and DaemonSets share: making pods from templates, counting them, conditions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from poolkeeper.deployments.lab.kubernetes.pods import FINISHED, is_ready
from poolkeeper.deployments.lab.kubernetes.store import timestamp

Json = dict[str, Any]

_SAFE = "bcdfghjklmnpqrstvwxz2456789"


def template_hash(template: Json) -> str:
    """A short name for a template; same template, same name."""
    text = json.dumps(template, sort_keys=True)
    digest = hashlib.sha256(text.encode()).digest()
    return "".join(_SAFE[byte % len(_SAFE)] for byte in digest[:10])


def owner_reference(owner: Json) -> Json:
    """The reference of an object that `owner` manages."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def new_pod(owner: Json, template: Json, labels: Json | None = None) -> Json:
    """A pod from a template, owned; its name is generated when it is created."""
    metadata = template.get("metadata") or {}
    return {
        "metadata": {
            "generateName": f"{owner['metadata']['name']}-",
            "namespace": owner["metadata"]["namespace"],
            "labels": {**(metadata.get("labels") or {}), **(labels or {})},
            "annotations": dict(metadata.get("annotations") or {}),
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": template["spec"],
    }


def is_active(pod: Json) -> bool:
    """Whether a pod counts: neither finished nor on its way out."""
    return (pod.get("status") or {}).get("phase") not in FINISHED and "deletionTimestamp" not in pod["metadata"]


def count_ready(pods: Iterable[Json]) -> int:
    """How many are Ready."""
    return sum(1 for pod in pods if is_ready(pod))


def with_condition(conditions: Iterable[Json], kind: str, status: str, reason: str, message: str) -> list[Json]:
    """Conditions with one set; its transition time moves only when its status does."""
    before: Json = next((c for c in conditions if c["type"] == kind), {})
    if (before.get("status"), before.get("reason"), before.get("message")) == (status, reason, message):
        return list(conditions)
    moved = timestamp() if before.get("status") != status else before["lastTransitionTime"]
    condition = {
        "type": kind,
        "status": status,
        "lastUpdateTime": timestamp(),
        "lastTransitionTime": moved,
        "reason": reason,
        "message": message,
    }
    return [c for c in conditions if c["type"] != kind] + [condition]
