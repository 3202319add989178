"""A person's word to runs: freeze, hold and stop, kept in the cluster so that they count from anywhere.

All three stand in one ConfigMap, `poolkeeper/stops`, so that the gate needs one read before a mutation. A hold is
kept by node name and not on the Node object: it must also keep a host from joining, and survive a
Node that is deleted and registers anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from tasks.cluster.api import MERGE_PATCH, ClusterApi
from tasks.cluster.errors import ApiError, ClusterUnreachable, Conflict, NotFound
from tasks.outcomes import Change, Guard, Refusal

NAMESPACE = "poolkeeper"
PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
NAME = "stops"
_FREEZE = "freeze"
_HOLD = "hold."
_RUN = "stop."


@dataclass(frozen=True, slots=True)
class Stop:
    """Who said stop, when, and why."""

    by: str
    since: str
    """ISO 8601, UTC."""
    reason: str

    def __str__(self) -> str:
        return f"by {self.by} since {self.since}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Stops:
    """All stops of a cluster, as read at one moment."""

    freeze: Stop | None
    holds: Mapping[str, Stop]
    """Per node name."""
    runs: Mapping[str, Stop] = field(default_factory=dict)
    """Per id of a run: it is to start nothing new."""


async def read_stops(api: ClusterApi) -> Stops:
    """The stops as they are now. Raises ApiError and ClusterUnreachable."""
    try:
        found = await api.request("GET", f"{PATH}/{NAME}")
    except NotFound:
        return Stops(None, {})
    data = found.get("data") or {}
    if not isinstance(data, dict):
        raise ClusterUnreachable("what stands at poolkeeper/stops is no ConfigMap")
    stops = {key: _parse(str(text)) for key, text in data.items()}
    return Stops(
        stops.get(_FREEZE),
        {key.removeprefix(_HOLD): stop for key, stop in stops.items() if key.startswith(_HOLD)},
        {key.removeprefix(_RUN): stop for key, stop in stops.items() if key.startswith(_RUN)},
    )


def _parse(text: str) -> Stop:
    """A stop that a person wrote by hand still stops: whatever it says becomes the reason."""
    try:
        fields = json.loads(text)
        return Stop(str(fields["by"]), str(fields["since"]), str(fields["reason"]))
    except (ValueError, KeyError, TypeError):
        return Stop("a person, by hand", "an unknown time", text or "no reason given")


async def freeze(api: ClusterApi, stop: Stop) -> None:
    """Stop every later mutation in this cluster."""
    await _write(api, _FREEZE, stop)


async def thaw(api: ClusterApi) -> bool:
    """Take the freeze back; False if there was none."""
    return await _remove(api, _FREEZE)


async def hold(api: ClusterApi, node: str, stop: Stop) -> None:
    """Stop every later mutation of one node and of its host."""
    await _write(api, _HOLD + node, stop)


async def unhold(api: ClusterApi, node: str) -> bool:
    """Take a hold back; False if there was none."""
    return await _remove(api, _HOLD + node)


async def stop_run(api: ClusterApi, run: str, stop: Stop) -> None:
    """Let a rollout start nothing new; what is in flight is finished or given back."""
    await _write(api, _RUN + run, stop)


async def forget_run(api: ClusterApi, run: str) -> bool:
    """Take the word to a run back, once it has ended; False if there was none."""
    return await _remove(api, _RUN + run)


async def _write(api: ClusterApi, key: str, stop: Stop) -> None:
    text = json.dumps({"by": stop.by, "since": stop.since, "reason": stop.reason})
    try:
        await _merge(api, {key: text})
        return
    except NotFound:
        await _make_namespace(api)
    try:
        await api.request("POST", PATH, body={"metadata": {"name": NAME, "namespace": NAMESPACE}, "data": {key: text}})
    except Conflict:
        await _merge(api, {key: text})  # someone else's first stop was quicker; theirs stays beside ours


async def _make_namespace(api: ClusterApi) -> None:
    """The first word in a new cluster must count, too. Without the right to look, it is taken to be there."""
    try:
        await api.request("GET", f"/api/v1/namespaces/{NAMESPACE}")
    except NotFound:
        with suppress(Conflict):
            await api.request("POST", "/api/v1/namespaces", body={"metadata": {"name": NAMESPACE}})
    except ApiError as error:
        if error.status != 403:
            raise


async def _remove(api: ClusterApi, key: str) -> bool:
    try:
        found = await api.request("GET", f"{PATH}/{NAME}")
        if key not in (found.get("data") or {}):
            return False
        await _merge(api, {key: None})
    except NotFound:
        return False
    return True


async def _merge(api: ClusterApi, data: Mapping[str, str | None]) -> None:
    """One key at a time, in a patch of its own: two people who write at once do not undo each other."""
    await api.request("PATCH", f"{PATH}/{NAME}", body={"data": data}, content_type=MERGE_PATCH)


def stops_guard(api: ClusterApi, node_of: Mapping[str, str]) -> Guard:
    """Refuses while the cluster is frozen, a node is held, or neither can be read.

    `node_of` gives the node name of each host name.
    """

    async def guard(change: Change) -> Refusal | None:
        try:
            stops = await read_stops(api)
        except (ApiError, ClusterUnreachable) as error:
            return Refusal(
                "freeze",
                f"whether the cluster is frozen cannot be read ({error})",
                "Make the API server reachable and let poolkeeper read the ConfigMap poolkeeper/stops.",
                temporary=isinstance(error, ClusterUnreachable) or error.temporary,
            )
        if stops.freeze is not None:
            return Refusal("freeze", f"the cluster is frozen {stops.freeze}", "Run `poolkeeper thaw`.")
        subject = change.subject
        node = node_of.get(subject.name, subject.name) if subject.kind == "host" else subject.name
        if subject.kind in ("host", "node") and node in stops.holds:
            return Refusal("hold", f"node {node} is held {stops.holds[node]}", f"Run `poolkeeper unhold {node}`.")
        return None

    return guard
