"""One function a verb: what the server does with a request that is authenticated and authorized."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from poolkeeper.deployments.lab.kubernetes import eviction, patches, statuses, subresources, tables
from poolkeeper.deployments.lab.kubernetes.identity import User
from poolkeeper.deployments.lab.kubernetes.journal import encode
from poolkeeper.deployments.lab.kubernetes.listing import Page, read_page
from poolkeeper.deployments.lab.kubernetes.requests import Target, is_dry_run, read_body, read_object
from poolkeeper.deployments.lab.kubernetes.resources import Resource
from poolkeeper.deployments.lab.kubernetes.selectors import matcher
from poolkeeper.deployments.lab.kubernetes.shapes import mistyped
from poolkeeper.deployments.lab.kubernetes.store import Store
from poolkeeper.deployments.lab.kubernetes.watches import serve_watch

Json = dict[str, Any]

_PATCHES: dict[str, Callable[[Json, Any], Json]] = {
    "application/json-patch+json": patches.json_patch,
    "application/merge-patch+json": patches.merge_patch,
    "application/strategic-merge-patch+json": patches.strategic_patch,
}
_APPLY = ("application/apply-patch+yaml", "application/apply-patch+cbor")
_IMMORTAL = ("default", "kube-system", "kube-public")
_ONLY_POSTED = ("binding", "eviction", "token")
_PROPAGATIONS = ("Foreground", "Background", "Orphan")
_ITEMS_AT_ONCE = 500


@dataclass(slots=True)
class Call:
    """A request with what was found out about it."""

    request: web.Request
    target: Target
    resource: Resource
    query: Mapping[str, str]
    user: User
    body: Any = None
    """What the client sent, for the audit."""

    @property
    def namespace(self) -> str:
        """The namespace of the object; empty for what has none."""
        return self.target.namespace if self.resource.namespaced else ""

    @property
    def wants_table(self) -> bool:
        """Whether the client asks for columns to print."""
        return "as=Table" in self.request.headers.get("Accept", "")


def json_response(body: Json, code: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer in JSON."""
    return web.Response(body=encode(body), status=code, headers=headers, content_type="application/json")


def shown(call: Call, obj: Json) -> Json:
    """An object as the client asked to see it."""
    return tables.table(call.resource, [obj]) if call.wants_table else obj


async def get(store: Store, call: Call) -> web.StreamResponse:
    """One object, or a part of it."""
    if call.target.subresource in _ONLY_POSTED:
        raise statuses.method_not_allowed()
    found = store.get(call.resource, call.target.name, call.namespace)
    if call.target.subresource == "scale":
        return json_response(subresources.scale_of(found))
    return json_response(shown(call, found))


async def list_(store: Store, call: Call) -> web.StreamResponse:
    """A list or a page of one."""
    namespace = call.namespace or None
    match = matcher(call.resource, call.query.get("labelSelector", ""), call.query.get("fieldSelector", ""))
    page = read_page(store, call.resource, namespace, match, call.query)
    if call.wants_table:
        return json_response(tables.table(call.resource, page.items, page.metadata))
    return await _list_response(call.resource, page)


async def _list_response(resource: Resource, page: Page) -> web.Response:
    """Serialised part by part, so that a long list does not hold up everybody else."""
    parts: list[bytes] = []
    for start in range(0, len(page.items), _ITEMS_AT_ONCE):
        if start:
            await asyncio.sleep(0)
        rows = page.items[start : start + _ITEMS_AT_ONCE]
        # items of a list do not repeat kind and apiVersion
        bare = [{k: v for k, v in obj.items() if k not in ("kind", "apiVersion")} for obj in rows]
        parts.append(encode(bare)[1:-1])
    head = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": page.metadata}
    body = encode(head)[:-1] + b',"items":[' + b",".join(parts) + b"]}"
    return web.Response(body=body, content_type="application/json")


async def watch(store: Store, call: Call) -> web.StreamResponse:
    """Changes of a list, or of the one object that is named."""
    fields = call.query.get("fieldSelector", "")
    if call.target.name:
        fields = ",".join(filter(None, (fields, f"metadata.name={call.target.name}")))
    match = matcher(call.resource, call.query.get("labelSelector", ""), fields, call.namespace or None)
    render = (lambda obj: tables.table(call.resource, [obj])) if call.wants_table else None
    return await serve_watch(call.request, store, call.resource, match, call.query, render)


async def create(store: Store, tokens: dict[str, User], call: Call) -> web.StreamResponse:
    """A new object, or what a subresource does when it is posted to."""
    target, namespace = call.target, call.namespace
    dry_run = is_dry_run(call.query)
    if target.subresource:
        body = call.body = await read_body(call.request)
        if target.subresource == "eviction":
            dry_run = dry_run or is_dry_run({}, body.get("deleteOptions") or {})
            return json_response(eviction.evict(store, namespace, target.name, body, dry_run=dry_run), 201)
        if target.subresource == "binding":
            return json_response(subresources.bind(store, target.name, namespace, body, dry_run=dry_run), 201)
        if target.subresource == "token":
            return json_response(subresources.request_token(store, tokens, target.name, namespace, body), 201)
        raise statuses.method_not_allowed()
    obj = call.body = await read_object(call.request, call.resource)
    made = store.create(call.resource, _in_namespace(call, obj), dry_run=dry_run)
    return json_response(shown(call, made), 201)


async def update(store: Store, call: Call) -> web.StreamResponse:
    """PUT: the object as the client wants it, whole."""
    target, resource = call.target, call.resource
    dry_run = is_dry_run(call.query)
    if target.subresource == "scale":
        scale = call.body = await read_body(call.request)
        return json_response(
            subresources.modify_scale(store, resource, target.name, call.namespace, lambda _: scale, dry_run=dry_run)
        )
    obj = call.body = await read_object(call.request, resource)
    obj = _in_namespace(call, obj)
    name = obj["metadata"].get("name")
    if name != target.name:
        raise statuses.bad_request(
            f"the name of the object ({name or ''}) does not match the name on the URL ({target.name})"
        )
    if store.find(resource, target.name, call.namespace) is None and resource.put_creates:
        return json_response(store.create(resource, obj, dry_run=dry_run), 201)
    if resource.update_needs_version and not obj["metadata"].get("resourceVersion"):
        store.get(resource, target.name, call.namespace)
        flaw = statuses.Flaw.invalid("metadata.resourceVersion", 0, "must be specified for an update")
        raise statuses.invalid(resource, target.name, [flaw])
    changed = store.update(resource, obj, subresource=target.subresource, dry_run=dry_run)
    return json_response(shown(call, changed))


async def patch(store: Store, call: Call) -> web.StreamResponse:
    """PATCH: what differs, in one of three languages."""
    target, resource, kind = call.target, call.resource, call.request.content_type
    dry_run = is_dry_run(call.query)
    if kind in _APPLY:
        raise statuses.not_implemented("server-side apply")
    if kind not in _PATCHES:
        raise statuses.unsupported_media_type((*_PATCHES, *_APPLY))
    wanted = call.body = await read_body(call.request)
    if isinstance(wanted, list) is not (kind == "application/json-patch+json"):
        raise statuses.bad_request(f"the body is no {kind}")

    def change(obj: Json) -> Json:
        patched = _PATCHES[kind](obj, wanted)
        name = patched.get("metadata", {}).get("name")
        if name != target.name:
            raise statuses.bad_request(
                f"the name of the object ({name}) does not match the name on the URL ({target.name})"
            )
        if wrong := mistyped(resource, patched):
            raise statuses.unreadable_patch(wrong)
        return patched

    if target.subresource == "scale":
        return json_response(
            subresources.modify_scale(store, resource, target.name, call.namespace, change, dry_run=dry_run)
        )
    changed = store.modify(
        resource, target.name, call.namespace, change, subresource=target.subresource, dry_run=dry_run
    )
    return json_response(shown(call, changed))


async def delete(store: Store, call: Call) -> web.StreamResponse:
    """DELETE of one object."""
    options = call.body = await read_body(call.request)
    if call.resource.plural == "namespaces" and call.target.name in _IMMORTAL:
        raise statuses.forbidden(call.resource, call.target.name, "this namespace may not be deleted")
    obj, gone = store.delete(call.resource, call.target.name, call.namespace, **_delete_options(call.query, options))
    if call.resource.returns_deleted or not gone:
        return json_response(obj)
    return json_response(statuses.deleted(call.resource, call.target.name, obj["metadata"]["uid"]))


async def delete_collection(store: Store, call: Call) -> web.StreamResponse:
    """DELETE of all that match."""
    if call.resource.plural == "namespaces":
        raise statuses.method_not_allowed()
    options = call.body = await read_body(call.request)
    match = matcher(call.resource, call.query.get("labelSelector", ""), call.query.get("fieldSelector", ""))
    wanted = _delete_options(call.query, options)
    removed = store.delete_matching(call.resource, call.namespace or None, match, **wanted)
    return await _list_response(call.resource, Page(list(removed), {"resourceVersion": str(store.journal.version)}))


def _delete_options(query: Mapping[str, str], body: Any) -> Json:
    """Options of a deletion. With a body, those of the query do not count, `dryRun` among them. Raises StatusError."""
    if not isinstance(body, dict):
        raise statuses.bad_request("DeleteOptions must be an object")
    if body:
        query = {}
    wanted = body.get("preconditions") or {}
    grace_s = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    propagation = body.get("propagationPolicy") or query.get("propagationPolicy")
    if propagation not in (None, *_PROPAGATIONS):
        flaw = statuses.Flaw.unsupported("propagationPolicy", propagation, (*_PROPAGATIONS, "nil"))
        raise statuses.invalid_options("DeleteOptions", flaw)
    if body.get("orphanDependents"):
        propagation = "Orphan"
    return {
        "grace_s": None if grace_s is None else int(grace_s),
        "uid": wanted.get("uid"),
        "version": wanted.get("resourceVersion"),
        "propagation": propagation,
        "dry_run": is_dry_run(query, body),
    }


def _in_namespace(call: Call, obj: Json) -> Json:
    """The object in the namespace of the URL. Raises StatusError 400 if it says it is in another."""
    metadata = dict(obj.get("metadata") or {})
    if call.resource.namespaced:
        if metadata.get("namespace") not in (None, "", call.namespace):
            raise statuses.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        metadata["namespace"] = call.namespace
    return {**obj, "metadata": metadata}
