"""Plans that wait for approval, and the decisions: in the ConfigMap `poolkeeper/approvals`, one key per plan.

A decision is bound to the plan that was shown: its goal, limits, hosts and order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter

from poolkeeper.tasks.cluster.api import MERGE_PATCH, ClusterApi
from poolkeeper.tasks.cluster.errors import Conflict, NotFound
from poolkeeper.tasks.cluster.fields import Unread
from poolkeeper.tasks.cluster.stops import NAMESPACE, PATH
from poolkeeper.tasks.cluster.written import STRICT, JsonObject, Short, UnreadableText, read_part, read_written

NAME = "approvals"


@dataclass(frozen=True, slots=True)
class Approval:
    """One plan that was shown, and the decision about it."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    key: Short
    """The first twelve digits of the plan's digest."""
    run: Short
    """The run that showed it."""
    plan: Mapping[str, Any]
    """As plain JSON types."""
    asked_at: Short
    """ISO 8601, UTC."""
    word: Short = ""
    """`approved`, `rejected`, or empty."""
    by: Short = ""
    at: Short = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Plan:
    """The fields that a plan needs to be shown, or to cover another plan."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    flow: Short
    pool: Short
    goal: Mapping[str, Any]
    limits: Mapping[str, Any]
    hosts: Sequence[tuple[Short, int]]


_APPROVAL, _PLAN = TypeAdapter(Approval), TypeAdapter(_Plan)


async def read_approvals(api: ClusterApi) -> dict[str, Approval]:
    """All approvals, by key. One that cannot be read is ignored."""
    try:
        found = await api.request("GET", f"{PATH}/{NAME}")
    except NotFound:
        return {}
    approvals = {}
    for key, text in Unread(found, "").pairs("data").items():
        with suppress(UnreadableText):
            fields = read_written(text, JsonObject)
            approval = read_part({**fields, "key": key}, _APPROVAL)
            read_part(dict(approval.plan), _PLAN)
            approvals[key] = approval
    return approvals


async def write_approval(api: ClusterApi, approval: Approval) -> None:
    """Write a plan that needs a decision, or a decision."""
    fields = {name: value for name, value in asdict(approval).items() if name != "key"}
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
    """Delete an approval that was used or is not needed any more."""
    with suppress(NotFound):
        await api.request("PATCH", f"{PATH}/{NAME}", body={"data": {key: None}}, content_type=MERGE_PATCH)
