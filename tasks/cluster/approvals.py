"""Plans that wait for a person's word, and the word: in the ConfigMap `poolkeeper/approvals`, one key a plan.

An approval is bound to the plan that was shown: its goal, limits, hosts and order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tasks.cluster.api import MERGE_PATCH, ClusterApi
from tasks.cluster.errors import Conflict, NotFound
from tasks.cluster.stops import NAMESPACE, PATH

NAME = "approvals"


@dataclass(frozen=True, slots=True)
class Approval:
    """One plan that was shown, and what a person said to it."""

    key: str
    """The first twelve digits of the plan's digest."""
    run: str
    """The run that showed it."""
    plan: Mapping[str, Any]
    """As plain JSON types."""
    asked_at: str
    """ISO 8601, UTC."""
    word: str = ""
    """`approved`, `rejected`, or empty."""
    by: str = ""
    at: str = ""
    reason: str = ""


async def read_approvals(api: ClusterApi) -> dict[str, Approval]:
    """All of them, by key. One that cannot be read is none."""
    try:
        found = await api.request("GET", f"{PATH}/{NAME}")
    except NotFound:
        return {}
    approvals = {}
    for key, text in (found.get("data") or {}).items():
        with suppress(ValueError, TypeError):
            approvals[key] = Approval(key, **json.loads(text))
    return approvals


async def write_approval(api: ClusterApi, approval: Approval) -> None:
    """Ask for a word, or give it."""
    fields = {name: getattr(approval, name) for name in Approval.__slots__ if name != "key"}
    data = {approval.key: json.dumps(fields, sort_keys=True)}
    try:
        await api.request("PATCH", f"{PATH}/{NAME}", body={"data": data}, content_type=MERGE_PATCH)
    except NotFound:
        body = {"metadata": {"name": NAME, "namespace": NAMESPACE}, "data": data}
        try:
            await api.request("POST", PATH, body=body)
        except Conflict:
            await api.request("PATCH", f"{PATH}/{NAME}", body={"data": data}, content_type=MERGE_PATCH)


async def forget_approval(api: ClusterApi, key: str) -> None:
    """It has been used, or is no longer wanted."""
    with suppress(NotFound):
        await api.request("PATCH", f"{PATH}/{NAME}", body={"data": {key: None}}, content_type=MERGE_PATCH)
