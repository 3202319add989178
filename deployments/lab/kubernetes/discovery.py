"""Discovery: which groups and resources there are, for clients such as kubectl.

The OpenAPI document says only what kubectl looks for before it writes: which kinds take `dryRun` and `fieldValidation`.
"""

from __future__ import annotations

import hashlib
import platform
import re
from typing import Any

from poolkeeper.deployments.lab.kubernetes.resources import RESOURCES, VERBS, Resource

Json = dict[str, Any]

_SUBRESOURCE_KINDS = {
    "binding": ("", "v1", "Binding", ("create",)),
    "eviction": ("policy", "v1", "Eviction", ("create",)),
    "token": ("authentication.k8s.io", "v1", "TokenRequest", ("create",)),
    "scale": ("autoscaling", "v1", "Scale", ("get", "patch", "update")),
}
_REVIEWS = ("authorization.k8s.io", "v1")


def version_info(version: str) -> Json:
    """`/version` for a gitVersion such as `v1.36.3+lab`."""
    found = re.match(r"v(\d+)\.(\d+)", version)
    major, minor = found.groups() if found else ("", "")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": version,
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "",
        "platform": f"linux/{platform.machine()}",
    }


def core_versions(address: str) -> Json:
    """`/api`."""
    clients = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": clients}


def group_versions() -> list[tuple[str, str]]:
    """Every group and version that is served, the core group (empty name) included."""
    return list(dict.fromkeys([*((r.group, r.version) for r in RESOURCES), _REVIEWS]))


def _group(group: str, version: str) -> Json:
    served = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [served], "preferredVersion": served}


def group_list() -> Json:
    """`/apis`."""
    groups = [_group(group, version) for group, version in group_versions() if group]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def one_group(name: str) -> Json | None:
    """`/apis/<group>`."""
    found = next(((g, v) for g, v in group_versions() if g == name and g), None)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(*found)} if found else None


def resource_list(group: str, version: str) -> Json | None:
    """`/api/v1`, `/apis/<group>/<version>`."""
    if (group, version) not in group_versions():
        return None
    rows: list[Json] = []
    for resource in RESOURCES:
        if (resource.group, resource.version) == (group, version):
            rows += _rows(resource)
    if (group, version) == _REVIEWS:
        for kind in ("SelfSubjectAccessReview", "SelfSubjectRulesReview"):
            plural = kind.lower() + "s"
            rows.append({"name": plural, "singularName": "", "namespaced": False, "kind": kind, "verbs": ["create"]})
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": rows}


def _rows(resource: Resource) -> list[Json]:
    row: Json = {
        "name": resource.plural,
        "singularName": resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(VERBS if resource.writable else ("get", "list", "watch")),
    }
    if resource.short_names:
        row["shortNames"] = list(resource.short_names)
    if resource.categories:
        row["categories"] = list(resource.categories)
    rows = [row]
    for name in resource.subresources:
        sub: Json = {
            "name": f"{resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": ["get"] if name == "log" else ["get", "patch", "update"],
        }
        if name in _SUBRESOURCE_KINDS:
            group, version, kind, verbs = _SUBRESOURCE_KINDS[name]
            sub |= {"group": group, "version": version, "kind": kind, "verbs": list(verbs)}
        rows.append(sub)
    return rows


def openapi_index() -> Json:
    """`/openapi/v3`."""
    paths: Json = {}
    for group, version in group_versions():
        path = f"apis/{group}/{version}" if group else f"api/{version}"
        # kubectl caches the document under its hash
        digest = hashlib.sha256(str(resource_list(group, version)).encode()).hexdigest()[:16]
        paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": paths}


def openapi_document(group: str, version: str, server_version: str) -> Json | None:
    """`/openapi/v3/<group version>`, with the write options of each kind and no schemas."""
    if (group, version) not in group_versions():
        return None
    options = [
        {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
        for name in ("dryRun", "fieldManager", "fieldValidation")
    ]
    paths: Json = {}
    for resource in RESOURCES:
        if (resource.group, resource.version) != (group, version):
            continue
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        scope = "/namespaces/{namespace}" if resource.namespaced else ""
        kind = {"group": group, "version": version, "kind": resource.kind}
        paths[f"{root}{scope}/{resource.plural}/{{name}}"] = {
            "patch": {
                "parameters": options,
                "responses": {"200": {"description": "OK"}},
                "x-kubernetes-group-version-kind": kind,
                "x-kubernetes-action": "patch",
            }
        }
    info = {"title": "Kubernetes", "version": server_version}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": {}}}
