"""Freezes, holds and stops: an operator's instructions to runs, kept in the cluster so that every run reads them.

All three are in one ConfigMap, `poolkeeper/stops`, so that the gate needs one read before a change. A hold has the name
of a node and is not on the Node object: it also keeps a host from joining, and stays when a Node is deleted and
registered again.

While an instruction is in force, the ConfigMap has a finalizer. Deleting the ConfigMap or its namespace therefore does
not end it: it is in force until `thaw` or `unhold` removes the last one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from poolkeeper.tasks.cluster.api import MERGE_PATCH, ClusterApi, Json
from poolkeeper.tasks.cluster.errors import ApiError, ClusterUnreachable, Conflict, NotFound
from poolkeeper.tasks.cluster.fields import Malformed, section, text_at, texts
from poolkeeper.tasks.cluster.written import JsonObject, UnreadableText, read_written
from poolkeeper.tasks.outcomes import Change, Guard, Refusal

NAMESPACE = "poolkeeper"
PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
NAME = "stops"
FINALIZER = "poolkeeper.io/stops-in-force"
_FREEZE = "freeze"
_HOLD = "hold."
_RUN = "stop."
_TRIES = 50
"""Many operators may write at the same time; with each try one of them has finished."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Who gave the instruction, when, and why."""

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
    """Run id -> the instruction that this run starts work on no further host."""


async def read_stops(api: ClusterApi) -> Stops:
    """The stops as they are now. Raises ApiError and ClusterUnreachable."""
    found = await _find(api)
    stops = {key: _parse(str(text)) for key, text in section(found or {}, "data").items()}
    return Stops(
        stops.get(_FREEZE),
        {key.removeprefix(_HOLD): stop for key, stop in stops.items() if key.startswith(_HOLD)},
        {key.removeprefix(_RUN): stop for key, stop in stops.items() if key.startswith(_RUN)},
    )


def _parse(text: str) -> Stop:
    """A text that somebody wrote by hand is in force too, and becomes the reason."""
    try:
        fields = read_written(text, JsonObject)
        return Stop(str(fields["by"]), str(fields["since"]), str(fields["reason"]))
    except (UnreadableText, KeyError):
        return Stop("a person, by hand", "an unknown time", text or "no reason given")


async def freeze(api: ClusterApi, stop: Stop) -> None:
    """Refuse every later change in this cluster."""
    await _write(api, _FREEZE, stop)


async def thaw(api: ClusterApi) -> bool:
    """End the freeze; False if there was none."""
    return await _remove(api, _FREEZE)


async def hold(api: ClusterApi, node: str, stop: Stop) -> None:
    """Refuse every later change of one node and its host."""
    await _write(api, _HOLD + node, stop)


async def unhold(api: ClusterApi, node: str) -> bool:
    """End a hold; False if there was none."""
    return await _remove(api, _HOLD + node)


async def stop_run(api: ClusterApi, run: str, stop: Stop) -> None:
    """Let a rollout start work on no further host; hosts in progress are finished or released."""
    await _write(api, _RUN + run, stop)


async def forget_run(api: ClusterApi, run: str) -> bool:
    """Remove the instruction to a run that has ended; False if there was none."""
    return await _remove(api, _RUN + run)


async def _write(api: ClusterApi, key: str, stop: Stop) -> None:
    text = json.dumps({"by": stop.by, "since": stop.since, "reason": stop.reason})
    body: Json = {"metadata": {"name": NAME, "namespace": NAMESPACE, "finalizers": [FINALIZER]}, "data": {key: text}}
    for _ in range(_TRIES):
        if (found := await _find(api)) is not None:
            if await _change(api, found, {key: text}):
                return
            continue
        await _make_namespace(api)
        try:
            await api.request("POST", PATH, body=body)
            return
        except Conflict:
            continue  # another first instruction was faster; both are kept
    raise _never_alone()


async def _make_namespace(api: ClusterApi) -> None:
    """Create the namespace for the first instruction. Without the right to read it, it counts as existing."""
    try:
        await api.request("GET", f"/api/v1/namespaces/{NAMESPACE}")
    except NotFound:
        with suppress(Conflict):
            await api.request("POST", "/api/v1/namespaces", body={"metadata": {"name": NAMESPACE}})
    except ApiError as error:
        if not error.missing_right:
            raise


async def _remove(api: ClusterApi, key: str) -> bool:
    for _ in range(_TRIES):
        found = await _find(api)
        if found is None or key not in section(found, "data"):
            return False
        if await _change(api, found, {key: None}):
            return True
    raise _never_alone()


async def _find(api: ClusterApi) -> Json | None:
    """The ConfigMap, with valid metadata and data; None: there is none."""
    try:
        found = await api.request("GET", f"{PATH}/{NAME}")
        section(found, "data")
        texts(section(found, "metadata"), "finalizers")
    except NotFound:
        return None
    except Malformed as malformed:
        raise ClusterUnreachable(
            f"the ConfigMap poolkeeper/stops cannot be read: {malformed}",
            next_step="Inspect it with `kubectl -n poolkeeper get configmap stops -o yaml`.",
        ) from None
    return found


async def _change(api: ClusterApi, found: Json, data: Mapping[str, str | None]) -> bool:
    """Change instructions, and keep the finalizer while there are any; False: someone else was faster."""
    metadata = section(found, "metadata")
    in_force = {key for key, text in {**section(found, "data"), **data}.items() if text is not None}
    others = [name for name in texts(metadata, "finalizers") if name != FINALIZER]
    may_hold = in_force and (text_at(metadata, "deletionTimestamp") == "" or FINALIZER in texts(metadata, "finalizers"))
    changed: Json = {
        "resourceVersion": text_at(metadata, "resourceVersion"),
        "finalizers": [*others, FINALIZER] if may_hold else others,
    }
    try:
        await api.request("PATCH", f"{PATH}/{NAME}", body={"metadata": changed, "data": data}, content_type=MERGE_PATCH)
    except (Conflict, NotFound):
        return False
    return True


def _never_alone() -> Conflict:
    return Conflict(409, f"PATCH {PATH}/{NAME}: others changed it {_TRIES} times in a row", None, None)


def stops_guard(api: ClusterApi, node_of: Mapping[str, str]) -> Guard:
    """Refuses while the cluster is frozen or the node is held, or if this cannot be read.

    node_of: host name -> node name
    """

    async def guard(change: Change) -> Refusal | None:
        try:
            stops = await read_stops(api)
        except (ApiError, ClusterUnreachable) as error:
            return Refusal(
                "freeze",
                f"freezes and holds cannot be read ({error})",
                "Make the API server reachable, and give poolkeeper the right to read the ConfigMap poolkeeper/stops.",
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
