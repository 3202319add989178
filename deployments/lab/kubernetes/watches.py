"""Watches: one line a change, until the client, the timeout or the server ends it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from poolkeeper.deployments.lab.kubernetes.journal import Event, HistoryGone, Match, encode
from poolkeeper.deployments.lab.kubernetes.requests import is_true, number
from poolkeeper.deployments.lab.kubernetes.resources import Resource
from poolkeeper.deployments.lab.kubernetes.statuses import StatusError, expired
from poolkeeper.deployments.lab.kubernetes.store import Store

Json = dict[str, Any]
Render = Callable[[Json], Json]
"""Turns an object into what the client asked to see, such as a Table."""

BOOKMARK_PERIOD_S = 60.0
_INITIAL_END = "k8s.io/initial-events-end"


async def serve_watch(
    request: web.Request,
    store: Store,
    resource: Resource,
    match: Match,
    query: Mapping[str, str],
    render: Render | None = None,
) -> web.StreamResponse:
    """Answer a watch. Raises StatusError 400."""
    asked = number(query, "resourceVersion") or 0
    timeout_s = number(query, "timeoutSeconds") or random.randint(1800, 3600)
    bookmarks = is_true(query.get("allowWatchBookmarks", ""))
    streaming_list = is_true(query.get("sendInitialEvents", ""))
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"})
    initial = store.list(resource, match=match) if streaming_list or not asked else []
    since = store.journal.version if streaming_list or not asked else asked
    try:
        subscription = store.subscribe(resource, since, match)
    except HistoryGone:
        await response.prepare(request)
        oldest = store.journal.version
        await response.write(error_line(expired(f"too old resource version: {asked} ({oldest})")))
        return response
    try:
        await response.prepare(request)
        lines = [_line("ADDED", render(obj) if render else obj) for obj in initial]
        if streaming_list and bookmarks:
            lines.append(_bookmark(resource, since, {_INITIAL_END: "true"}))
        if lines:
            await response.write(b"".join(lines))
        loop = asyncio.get_running_loop()
        end, next_bookmark = loop.time() + timeout_s, loop.time() + BOOKMARK_PERIOD_S
        while (now := loop.time()) < end and not subscription.overrun:
            try:
                async with asyncio.timeout_at(min(end, max(next_bookmark, now))):
                    await subscription.wait()
            except TimeoutError:
                next_bookmark = loop.time() + BOOKMARK_PERIOD_S
            taken = subscription.take()
            if taken:
                await response.write(b"".join(_shown(seen_as, event, render) for seen_as, event in taken))
            elif bookmarks:
                await response.write(_bookmark(resource, store.journal.version))
    finally:
        store.unsubscribe(resource, subscription)
    return response


def _shown(seen_as: str, event: Event, render: Render | None) -> bytes:
    return _line(seen_as, render(event.object(seen_as))) if render else event.line(seen_as)


def _line(kind: str, obj: Json) -> bytes:
    return encode({"type": kind, "object": obj}) + b"\n"


def _bookmark(resource: Resource, version: int, annotations: Json | None = None) -> bytes:
    metadata: Json = {"resourceVersion": str(version), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = annotations
    obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    return _line("BOOKMARK", obj)


def error_line(error: StatusError) -> bytes:
    """An error in a watch that has begun."""
    return _line("ERROR", error.body)
