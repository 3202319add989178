"""SelfSubjectAccessReview and SelfSubjectRulesReview: a client asks what it may do."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from poolkeeper.deployments.lab.kubernetes import statuses
from poolkeeper.deployments.lab.kubernetes.handlers import json_response
from poolkeeper.deployments.lab.kubernetes.identity import User
from poolkeeper.deployments.lab.kubernetes.rbac import Attributes, allowed, rules_for
from poolkeeper.deployments.lab.kubernetes.requests import Target, read_body
from poolkeeper.deployments.lab.kubernetes.store import Store

Json = dict[str, Any]


async def serve_review(request: web.Request, store: Store, user: User, target: Target) -> web.Response:
    """Answer a review. Raises StatusError 400, 405, 501."""
    if target.plural not in ("selfsubjectaccessreviews", "selfsubjectrulesreviews"):
        raise statuses.not_implemented(f"the resource {target.plural}.{target.group}")
    if request.method != "POST":
        raise statuses.method_not_allowed()
    body = await read_body(request)
    spec = body.get("spec") or {}
    if target.plural == "selfsubjectrulesreviews":
        status = _rules(store, user, spec.get("namespace", ""))
    else:
        asked = _attributes(spec)
        may = allowed(store, user, asked)
        status = {"allowed": may}
    kind = "SelfSubjectAccessReview" if "access" in target.plural else "SelfSubjectRulesReview"
    answer = {"kind": kind, "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": spec}
    return json_response(answer | {"status": status}, 201)


def _attributes(spec: Json) -> Attributes:
    wanted, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if path is not None and wanted is None:
        return Attributes(path.get("verb", ""), path=path.get("path", ""))
    if wanted is None or path is not None:
        raise statuses.bad_request("exactly one of nonResourceAttributes or resourceAttributes must be specified")
    return Attributes(
        wanted.get("verb", ""),
        wanted.get("group", ""),
        wanted.get("resource", ""),
        wanted.get("subresource", ""),
        wanted.get("namespace", ""),
        wanted.get("name", ""),
    )


def _rules(store: Store, user: User, namespace: str) -> Json:
    resource_rules: list[Json] = []
    path_rules: list[Json] = []
    for rule in rules_for(store, user, namespace):
        if rule.get("nonResourceURLs"):
            path_rules.append({key: rule[key] for key in ("verbs", "nonResourceURLs")})
        else:
            keys = ("verbs", "apiGroups", "resources", "resourceNames")
            resource_rules.append({key: rule[key] for key in keys if key in rule})
    return {"resourceRules": resource_rules, "nonResourceRules": path_rules, "incomplete": False}
