"""Subresources that are written by their own kind of object: scale, binding, token, finalize."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from poolkeeper.deployments.lab.kubernetes import statuses
from poolkeeper.deployments.lab.kubernetes.identity import User
from poolkeeper.deployments.lab.kubernetes.resources import Resource
from poolkeeper.deployments.lab.kubernetes.statuses import Flaw
from poolkeeper.deployments.lab.kubernetes.store import Store, timestamp

Json = dict[str, Any]


def scale_of(obj: Json) -> Json:
    """The Scale of a workload."""
    metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = spec.get("selector") or {}
    wanted = selector.get("matchLabels", selector) or {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": spec.get("replicas", 1)},
        "status": {
            "replicas": status.get("replicas", 0),
            "selector": ",".join(f"{k}={v}" for k, v in sorted(wanted.items()) if isinstance(v, str)),
        },
    }


def modify_scale(
    store: Store, resource: Resource, name: str, namespace: str, change: Callable[[Json], Json], *, dry_run: bool
) -> Json:
    """Set the replicas of a workload by what `change` makes of its Scale. Raises StatusError."""

    def scaled(obj: Json) -> Json:
        wanted = change(scale_of(obj))
        replicas = (wanted.get("spec") or {}).get("replicas", 0)
        if not isinstance(replicas, int) or replicas < 0:
            flaw = Flaw.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
            raise statuses.invalid(resource, name, [flaw])
        version = (wanted.get("metadata") or {}).get("resourceVersion")
        metadata = {**obj["metadata"], **({"resourceVersion": version} if version else {})}
        return {**obj, "metadata": metadata, "spec": {**obj["spec"], "replicas": replicas}}

    return scale_of(store.modify(resource, name, namespace, scaled, dry_run=dry_run))


def bind(store: Store, name: str, namespace: str, binding: Json, *, dry_run: bool = False) -> Json:
    """Put a pod on a node, once. Raises StatusError 400, 404, 409."""
    node = (binding.get("target") or {}).get("name")
    if not node:
        raise statuses.bad_request("Binding target.name: Required value")
    pod = store.get("pods", name, namespace)
    resource = Resource("", "v1", "pods/binding", "Binding")
    if "deletionTimestamp" in pod["metadata"]:
        raise statuses.conflict(resource, name, f"pod {name} is being deleted, cannot be assigned to a host")
    if pod["spec"].get("nodeName"):
        why = f'pod {name} is already assigned to node "{pod["spec"]["nodeName"]}"'
        raise statuses.conflict(resource, name, why)
    store.assign(pod, node, dry_run=dry_run)
    return statuses.success({}, 201)


def request_token(store: Store, tokens: dict[str, User], name: str, namespace: str, body: Json) -> Json:
    """A bearer token for a ServiceAccount; the lab forgets it when it ends, not when it expires."""
    account = store.get("serviceaccounts", name, namespace)
    spec = {"audiences": [], "expirationSeconds": 3600, **(body.get("spec") or {})}
    token = secrets.token_urlsafe(32)
    tokens[token] = User(f"system:serviceaccount:{namespace}:{name}")
    expires = datetime.now(UTC) + timedelta(seconds=spec["expirationSeconds"])
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {
            "name": account["metadata"]["name"],
            "namespace": namespace,
            "creationTimestamp": timestamp(),
        },
        "spec": spec,
        "status": {"token": token, "expirationTimestamp": timestamp(expires)},
    }
