"""Lists, whole or page by page; a later page is of the same moment as the first, or expired."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from poolkeeper.deployments.lab.kubernetes.journal import HistoryGone, Key, Match
from poolkeeper.deployments.lab.kubernetes.requests import number
from poolkeeper.deployments.lab.kubernetes.resources import Resource
from poolkeeper.deployments.lab.kubernetes.statuses import (
    Flaw,
    bad_request,
    expired,
    invalid_options,
    too_large_version,
)
from poolkeeper.deployments.lab.kubernetes.store import Store

Json = dict[str, Any]

_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)
_LATEST = -1
"""Version in a token that goes on with the objects as they are by then."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some objects, and what a list says about itself."""

    items: list[Json]
    metadata: Json


def read_page(
    store: Store,
    resource: Resource,
    namespace: str | None,
    match: Match,
    query: Mapping[str, str],
) -> Page:
    """The page that a query asks for. Raises StatusError 400, 410, 504."""
    _check_match(query)
    limit = number(query, "limit") or 0
    token, asked = query.get("continue", ""), query.get("resourceVersion", "")
    current = store.journal.version
    version, after, start = current, None, ""
    exact = False
    if token:
        if asked not in ("", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        version, start = _read_token(token)
        after = _key(start)
        exact = version != _LATEST
        version = version if exact else current
    elif asked not in ("", "0"):
        wanted = number(query, "resourceVersion") or 0
        if wanted > current:
            raise too_large_version(wanted, current)
        exact = query.get("resourceVersionMatch") == "Exact"
        version = wanted if exact else current
    try:
        found = store.journal.items_at(resource, version, namespace, after)
        items: list[Json] = []
        last: Key = ("", "")
        more: int | None = None
        for key, obj in found:
            if not match(obj):
                continue
            if limit and len(items) == limit:
                more = 1 + sum(1 for _, each in found if match(each))
                break
            items.append(obj)
            last = key
    except HistoryGone:
        if token:
            raise expired(_EXPIRED, _make_token(_LATEST, start)) from None
        raise expired(f"The resourceVersion for the provided list is too old: {version}") from None
    metadata: Json = {"resourceVersion": str(version)}
    if more:
        metadata["continue"] = _make_token(version, "/".join(last))
        if not query.get("labelSelector") and not query.get("fieldSelector"):
            metadata["remainingItemCount"] = more
    return Page(items, metadata)


def _check_match(query: Mapping[str, str]) -> None:
    """Raises StatusError 422 for a resourceVersionMatch that makes no sense."""
    match, field = query.get("resourceVersionMatch", ""), "resourceVersionMatch"
    if not match:
        return
    if not query.get("resourceVersion"):
        why = f"{field} is forbidden unless resourceVersion is provided"
        raise invalid_options("ListOptions", Flaw.forbidden(field, why))
    if match not in ("Exact", "NotOlderThan"):
        raise invalid_options("ListOptions", Flaw.unsupported(field, match, ("Exact", "NotOlderThan", "")))


def _make_token(version: int, start: str) -> str:
    token = {"v": "meta.k8s.io/v1", "rv": version, "start": start}
    return base64.urlsafe_b64encode(json.dumps(token).encode()).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, str]:
    try:
        fields = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(fields["rv"]), str(fields["start"])
    except (ValueError, KeyError, TypeError):
        raise bad_request("continue key is not valid: it is not a token of this server") from None


def _key(start: str) -> Key:
    namespace, _, name = start.partition("/")
    return namespace, name
