"""Nodes: defaults and validation."""

from __future__ import annotations

from typing import Any

from poolkeeper.deployments.lab.kubernetes import quantities
from poolkeeper.deployments.lab.kubernetes.names import key_flaws
from poolkeeper.deployments.lab.kubernetes.statuses import Flaw

Json = dict[str, Any]

NOT_READY = "node.kubernetes.io/not-ready"
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def set_defaults(node: Json) -> Json:
    """Allocatable is the capacity where nobody says otherwise."""
    status = dict(node.get("status") or {})
    if "capacity" in status and "allocatable" not in status:
        status["allocatable"] = status["capacity"]
    return {**node, "spec": node.get("spec") or {}, "status": status}


def admit(node: Json) -> Json:
    """A node as it is created: repelling pods until its kubelet says Ready (admission plugin TaintNodesByCondition)."""
    spec = node["spec"]
    taints = list(spec.get("taints") or ())
    if any(taint.get("key") == NOT_READY and taint.get("effect") == "NoSchedule" for taint in taints):
        return node
    return {**node, "spec": {**spec, "taints": [*taints, {"key": NOT_READY, "effect": "NoSchedule"}]}}


def check(node: Json, old: Json | None) -> list[Flaw]:
    """Taints that cannot be, quantities that are none, identity that may not change."""
    flaws: list[Flaw] = []
    spec, seen = node.get("spec") or {}, set()
    for position, taint in enumerate(spec.get("taints") or ()):
        field = f"metadata.taints[{position}]"  # upstream looks for them there
        if not taint.get("key"):
            flaws.append(Flaw.required(f"{field}.key", "name part must be non-empty"))
        else:
            flaws += key_flaws(f"{field}.key", taint["key"])
        if taint.get("effect") not in EFFECTS:
            flaws.append(Flaw.unsupported(f"{field}.effect", taint.get("effect"), EFFECTS))
        identity = taint.get("key"), taint.get("effect")
        if identity in seen:
            flaws.append(Flaw(field, "FieldValueDuplicate", f"Duplicate value: {taint}"))
        seen.add(identity)
    for kind in ("capacity", "allocatable"):
        for name, value in ((node.get("status") or {}).get(kind) or {}).items():
            try:
                quantities.quantity(value)
            except ValueError:
                field = f"status.{kind}.{name}"
                flaws.append(Flaw.invalid(field, value, "quantities must match the regular expression"))
    if old is not None:
        before = old.get("spec") or {}
        for field in ("podCIDR", "providerID"):
            if before.get(field) and before[field] != spec.get(field):
                flaws.append(Flaw.forbidden("spec", f"node updates may not change {field} once it is set"))
    return flaws
