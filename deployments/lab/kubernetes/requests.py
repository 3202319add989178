"""What an HTTP request asks for: resource, name, verb and options, read from path, query and body."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from aiohttp import web

from poolkeeper.deployments.lab.kubernetes import protobuf, resources
from poolkeeper.deployments.lab.kubernetes.rbac import Attributes
from poolkeeper.deployments.lab.kubernetes.resources import Resource
from poolkeeper.deployments.lab.kubernetes.shapes import mistyped
from poolkeeper.deployments.lab.kubernetes.statuses import (
    StatusError,
    bad_request,
    method_not_allowed,
    not_implemented,
    unsupported_media_type,
)

Json = dict[str, Any]

_BODY_TYPES = ("application/json", "application/yaml", protobuf.CONTENT_TYPE)
_CORE_UNSERVED = {"bindings", "componentstatuses", "podtemplates"}
_OTHERS_UNSERVED = {
    ("apps", "controllerrevisions"),
    ("batch", "cronjobs"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csistoragecapacities"),
    ("storage.k8s.io", "volumeattachments"),
    ("storage.k8s.io", "volumeattributesclasses"),
    ("coordination.k8s.io", "leasecandidates"),
}


@dataclass(frozen=True, slots=True)
class Target:
    """The resource that a path names."""

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    def resource(self) -> Resource:
        """Its row in the table. Raises StatusError 501 for what only a real server has, 404 for nonsense."""
        found = resources.by_path(self.group, self.version, self.plural)
        if found is not None:
            return found
        where = f"{self.plural}.{self.group}" if self.group else self.plural
        if (
            self.group in resources.UNSERVED_GROUPS
            or (not self.group and self.plural in _CORE_UNSERVED)
            or (self.group, self.plural) in _OTHERS_UNSERVED
        ):
            raise not_implemented(f"the resource {where} ({self.version})")
        raise StatusError(404, "NotFound", "the server could not find the requested resource")

    def attributes(self, verb: str, path: str, fields: str = "") -> Attributes:
        """The same in the words of RBAC. A list or watch whose field selector asks for one name is about that one."""
        name = self.name
        if not name and verb in ("list", "watch"):
            asked = re.search(r"(?:^|,)metadata\.name==?([^,]+)", fields)
            name = asked[1] if asked else ""
        return Attributes(verb, self.group, self.plural, self.subresource, self.namespace, name, path)


def parse_path(path: str) -> Target | None:
    """The resource of a path; None for discovery, health and everything else that is no resource."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    elif rest[0] == "namespaces" and len(rest) > 1:
        # RBAC sees a request for a namespace as one inside it
        namespace = rest[1]
    name = rest[1] if len(rest) > 1 else ""
    return Target(group, version, rest[0], namespace, name, "/".join(rest[2:]))


def verb_of(method: str, target: Target, query: Mapping[str, str]) -> str:
    """The API verb of a request."""
    if method in ("GET", "HEAD"):
        if is_true(query.get("watch", "")):
            return "watch"
        return "get" if target.name else "list"
    if method == "DELETE":
        return "delete" if target.name else "deletecollection"
    verbs = {"POST": "create", "PUT": "update", "PATCH": "patch"}
    if method not in verbs:
        raise method_not_allowed()
    return verbs[method]


def is_true(text: str) -> bool:
    """A boolean of a query."""
    return text.lower() in ("1", "true", "t")


def number(query: Mapping[str, str], name: str) -> int | None:
    """A whole number of a query; None if it is not there. Raises StatusError 400."""
    text = query.get(name, "")
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise bad_request(f'{name}: strconv.ParseInt: parsing "{text}": invalid syntax') from None


def is_dry_run(query: Mapping[str, str], *options: Json) -> bool:
    """Whether the request asks for nothing to be kept. Raises StatusError 400, 422."""
    asked = query.get("dryRun", "")
    values = [asked] if asked else []
    for each in options:
        values += each.get("dryRun") or []
    if any(value != "All" for value in values):
        message = (
            f'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: {values}: supported values: "All"'
        )
        raise StatusError(422, "Invalid", message)
    return bool(values)


async def read_body(request: web.Request) -> Any:
    """The body as data; nothing is an empty object. Raises StatusError 400, 415, 501."""
    kind, raw = request.content_type, await request.read()
    if not raw:
        return {}
    try:
        if kind == protobuf.CONTENT_TYPE:
            return protobuf.decode(raw)
        if kind.endswith(("/yaml", "+yaml")):
            return yaml.safe_load(raw)
        # a body without a Content-Type is JSON; aiohttp then says octet-stream
        if kind.endswith(("/json", "+json")) or kind == "application/octet-stream":
            return json.loads(raw)
    except protobuf.NotReadable as error:
        raise not_implemented(str(error)) from None
    except (ValueError, yaml.YAMLError) as error:
        raise bad_request(f"the object provided is unrecognized (must be of type object): {error}") from None
    raise unsupported_media_type(_BODY_TYPES)


async def read_object(request: web.Request, resource: Resource) -> Json:
    """The object in the body, checked to be of the resource's kind. Raises StatusError 400, 415."""
    body = await read_body(request)
    if not isinstance(body, dict):
        raise bad_request("the body must be an object")
    kind = body.get("kind") or resource.kind
    version = body.get("apiVersion") or resource.api_version
    if (kind, version) != (resource.kind, resource.api_version):
        raise bad_request(
            f'{kind} in version "{version}" cannot be handled as a {resource.kind}: '
            f"the API version in the data ({version}) does not match the expected API version ({resource.api_version})"
        )
    if not isinstance(body.get("metadata") or {}, dict):
        raise bad_request("metadata must be an object")
    if wrong := mistyped(resource, body):
        raise bad_request(f'{resource.kind} in version "{version}" cannot be handled as a {resource.kind}: {wrong}')
    return body
