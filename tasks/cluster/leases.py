"""Leases that fence what a rollout does.

Kubernetes checks no fencing token, so three rules work together. A run that waits for a lease decides whether the lease
has lapsed by its own clock, from when it last saw a renewal: clocks of two machines are never compared. The holder
trusts its lease for the duration from the moment when it *sent* the last renewal that succeeded, and sends nothing that
could take effect later. And each holder has a greater fencing token than all holders before it, which hosts compare.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from poolkeeper.tasks.cluster.api import MERGE_PATCH, ClusterApi, Json
from poolkeeper.tasks.cluster.errors import ApiError, ClusterUnreachable, Conflict, NotFound
from poolkeeper.tasks.cluster.fields import Unread, pairs, required, section, text, text_at, total, whole
from poolkeeper.tasks.cluster.written import LAST_FENCING_TOKEN, JsonObject, UnreadableText, read_written
from poolkeeper.tasks.outcomes import CannotGoOn, Change, Guard, Refusal

_log = logging.getLogger(__name__)

NAMESPACE = "poolkeeper"
PATH = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
FENCING = "poolkeeper.io/fencing-token"
"""Annotation: the holder's fencing token, a whole number."""
ROLLOUT = "poolkeeper.io/rollout"
"""Annotation: the goals of rollouts, with their intents and the failures that their budgets have spent; JSON."""
DURATION_S = 40
LONGEST_S = 3600
"""A longer duration counts as this one: otherwise a Lease that somebody edited would block its pool for as long."""
RENEWALS = 4
"""Renewals within one duration."""
PATIENCE = 1.0
"""Durations for which a lapsed lease is reserved for runs that may finish its work; then a waiting run gives up."""


Note = Mapping[str, Any]
"""The content of a Lease's annotation, as plain JSON types; its values are not validated."""


class LeaseHeld(CannotGoOn):
    """Another run holds the lease and renews it."""

    id = "cluster.lease.held"
    expected = "no other run holds the lease"
    next_step = "Wait until that run has ended, or stop it with `poolkeeper stop`."
    source = "Kubernetes Lease"


class LeaseUnfinished(LeaseHeld):
    """The lease has lapsed, and only the goal of its killed holder, or `recover`, may finish what that had started."""

    id = "cluster.lease.unfinished"
    expected = "no unfinished work of a killed run"
    next_step = ""


class LeaseLost(CannotGoOn):
    """This run held the lease and does not hold it any more, or cannot verify that it does: it sends nothing more."""

    id = "cluster.lease.lost"
    expected = "this run holds the lease until it ends"
    next_step = "Start this again: it continues where this run ended."
    source = "Kubernetes Lease"


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """A Lease as it was read."""

    name: str
    resource_version: str
    holder: str
    """Empty: released."""
    duration_s: int
    fencing_token: int
    note: Note
    """What its holder wrote; empty if it cannot be read."""
    unreadable: str = ""
    """Why the note cannot be read; empty: it can."""


def _unread(lease: Unread) -> LeaseRow:
    """Held by an unknown run, until it has not been renewed for one duration."""
    version = lease.text("metadata", "resourceVersion")
    return LeaseRow(lease.name, version, "(it cannot be read)", DURATION_S, 0, {}, unreadable=lease.why)


@total(_unread)
def parse_lease(lease: Json) -> LeaseRow:
    """A Lease object as a row."""
    metadata, spec = section(lease, "metadata"), section(lease, "spec")
    annotations = pairs(metadata, "annotations")
    try:
        note, unreadable = read_written(annotations.get(ROLLOUT, "{}"), JsonObject), ""
    except UnreadableText as error:
        note, unreadable = {}, str(error)
    return LeaseRow(
        name=required(metadata, "name"),
        resource_version=required(metadata, "resourceVersion"),
        holder=text(spec, "holderIdentity"),
        duration_s=_duration_s(spec),
        fencing_token=_fencing_token(annotations.get(FENCING, "")),
        note=note,
        unreadable=unreadable,
    )


def _duration_s(spec: Json) -> int:
    found = whole(spec, "leaseDurationSeconds")
    return min(found, LONGEST_S) if found > 0 else DURATION_S


def _fencing_token(text: str) -> int:
    """A fencing token that a holder can have had; 0 for any other text."""
    known = text.isascii() and text.isdecimal() and len(text) < len(str(LAST_FENCING_TOKEN))
    return int(text) if known else 0


async def list_leases(api: ClusterApi) -> dict[str, LeaseRow]:
    """Every lease of ours, by name."""
    items, _ = await api.list_all(PATH)
    return {row.name: row for row in map(parse_lease, items)}


async def get_lease(api: ClusterApi, name: str) -> LeaseRow | None:
    """One lease, or None if there is none."""
    try:
        return parse_lease(await api.request("GET", f"{PATH}/{name}"))
    except NotFound:
        return None


def _now() -> float:
    """Seconds that go on while the machine sleeps, and are not set by anyone."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class HeldLease:
    """A lease of ours. Make it with `hold_lease`."""

    def __init__(self, api: ClusterApi, row: LeaseRow, sent_at: float) -> None:
        self._api = api
        self._row = row
        self._trusted_until = sent_at + row.duration_s
        self._lost = ""
        self._writing = asyncio.Lock()

    @property
    def name(self) -> str:
        """The Lease's name."""
        return self._row.name

    @property
    def holder(self) -> str:
        """Our own identity."""
        return self._row.holder

    @property
    def fencing_token(self) -> int:
        """Greater than that of every holder before."""
        return self._row.fencing_token

    @property
    def note(self) -> Note:
        """The content of its annotation."""
        return self._row.note

    @property
    def duration_s(self) -> int:
        """How long it is trusted after a renewal."""
        return self._row.duration_s

    @property
    def remaining_s(self) -> float:
        """Seconds for which no other run can hold it; 0 once it is lost."""
        return 0.0 if self._lost else max(0.0, self._trusted_until - _now())

    @property
    def lost_because(self) -> str:
        """Why this run does not hold it any more; empty: it does."""
        if self._lost or self.remaining_s > 0:
            return self._lost
        return f"it could not be renewed for {self._row.duration_s} s"

    async def renew(self) -> None:
        """One renewal. Raises LeaseLost, ClusterUnreachable and ApiError."""
        await self._write(None)

    async def change(self, note: Callable[[Note], Note]) -> None:
        """Change the content of its annotation, as it is at that moment, and renew the lease.

        Raises LeaseLost, ClusterUnreachable and ApiError.
        """
        await self._write(note)

    async def release(self, left: Callable[[Note], Note] = lambda note: {}) -> None:
        """Release it at once; a lease that this run does not hold is not changed. Raises ClusterUnreachable, ApiError.

        left: the part of its annotation that stays
        """
        with suppress(LeaseLost):
            await self._write(left, {"holderIdentity": ""})
        self._lost = self._lost or "it was released"

    async def _write(self, note: Callable[[Note], Note] | None, spec: Mapping[str, str] = MappingProxyType({})) -> None:
        async with self._writing:
            for _ in range(5):
                if self.remaining_s <= 0:
                    raise LeaseLost(f"lease {self.name}: {self.lost_because}")
                sent_at = _now()
                metadata: Json = {"resourceVersion": self._row.resource_version}
                if note is not None:
                    metadata["annotations"] = {ROLLOUT: _text(note(self._row.note))}
                try:
                    async with asyncio.timeout(self.remaining_s):
                        answer = await self._api.request(
                            "PATCH",
                            f"{PATH}/{self.name}",
                            body={"metadata": metadata, "spec": {"renewTime": _micro_time(), **spec}},
                            content_type=MERGE_PATCH,
                        )
                except TimeoutError:
                    continue
                except NotFound:
                    self._lost = "someone deleted it"
                    continue
                except Conflict:
                    await self._look_again()
                    continue
                self._row = parse_lease(answer)
                self._trusted_until = sent_at + self._row.duration_s
                return
            raise Conflict(409, f"PATCH {PATH}/{self.name}: others changed it 5 times in a row", None, None)

    async def _look_again(self) -> None:
        """Read it after a conflict: a person changed its annotations, or another run acquired it."""
        row = await get_lease(self._api, self.name)
        if row is None:
            self._lost = "someone deleted it"
        elif row.holder != self._row.holder or row.fencing_token != self._row.fencing_token:
            self._lost = f"it was taken over by {row.holder or 'another run, which has released it'}"
        else:
            self._row = row

    async def keep(self) -> None:
        """Renew it until it is lost. If the API server does not answer, it is asked again while the lease lasts."""
        pause_s = self._row.duration_s / RENEWALS
        while self.remaining_s > 0:
            await asyncio.sleep(min(pause_s, max(self.remaining_s, 0.1)))
            try:
                await self.renew()
                pause_s = self._row.duration_s / RENEWALS
            except LeaseLost:
                return
            except (ClusterUnreachable, ApiError):
                pause_s = min(1.0, self._row.duration_s / RENEWALS)


class DryRunLease(HeldLease):
    """The lease of a dry run: nothing is acquired, and changes of its note stay in this process.

    note: the note that the Lease would have after it is acquired
    """

    def __init__(self, name: str, note: Note) -> None:
        self._row = LeaseRow(name, "", "", DURATION_S, 0, note)

    @property
    def remaining_s(self) -> float:
        """It is never lost."""
        return math.inf

    @property
    def lost_because(self) -> str:
        """It is never lost."""
        return ""

    async def renew(self) -> None:
        """Nothing to renew."""

    async def change(self, note: Callable[[Note], Note]) -> None:
        """Change the note that later steps read."""
        self._row = replace(self._row, note=note(self._row.note))

    async def release(self, left: Callable[[Note], Note] = lambda note: {}) -> None:
        """Nothing to release."""


def _text(note: Note) -> str | None:
    """A note as it is written; None removes the annotation."""
    return json.dumps(dict(note), sort_keys=True) if note else None


@asynccontextmanager
async def hold_lease(
    api: ClusterApi,
    name: str,
    holder: str,
    *,
    duration_s: int = DURATION_S,
    patience_s: float = 0.0,
    note: Callable[[Note], Note] = lambda before: before,
    left: Callable[[Note], Note] = lambda note: {},
    others: Callable[[Note], str] = lambda note: "",
) -> AsyncIterator[HeldLease]:
    """Acquire a lease, renew it until the block ends, then release it.

    holder: identity of this run; each process has its own
    patience_s: seconds to wait for a holder that renews; a lease that is not renewed is waited for until it lapses
    note: the new content of its annotation, made from what the previous holder left
    left: the part of the note that stays when the lease is released
    others: unfinished work on a lapsed lease and who may finish it; empty: the lease may be taken over

    Raises LeaseHeld, LeaseUnfinished, ClusterUnreachable and ApiError.
    """
    held = await acquire_lease(
        api, name, holder, duration_s=duration_s, patience_s=patience_s, note=note, others=others
    )
    keeping = asyncio.create_task(held.keep())
    try:
        yield held
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        with suppress(ClusterUnreachable, ApiError):  # it lapses by itself
            await held.release(left)


async def acquire_lease(
    api: ClusterApi,
    name: str,
    holder: str,
    *,
    duration_s: int = DURATION_S,
    patience_s: float = 0.0,
    note: Callable[[Note], Note] = lambda before: before,
    others: Callable[[Note], str] = lambda note: "",
) -> HeldLease:
    """Acquire a lease as soon as it is free or has lapsed, without renewing it. See `hold_lease`."""
    give_up_at = _now() + patience_s
    seen, seen_at, saw_it_live = "", 0.0, False
    while True:
        row = await get_lease(api, name)
        if row is not None and row.unreadable:
            _log.warning("the note of lease %s cannot be read and is dropped: %s", name, row.unreadable)
        if row is None or not row.holder:
            held = await _try_to_take(api, name, holder, row, duration_s, note)
            if held is not None:
                return held
            continue
        if row.resource_version != seen:
            saw_it_live = bool(seen)
            if not seen:
                _log.info("lease %s is held by %s; waiting until it is released or lapses", name, row.holder)
            seen, seen_at = row.resource_version, _now()
        left_s = seen_at + row.duration_s - _now()
        if left_s <= 0 and (what := others(row.note)):
            # a run that may finish the work may be waiting too, or start soon
            if left_s <= -PATIENCE * row.duration_s:
                raise LeaseUnfinished(f"lease {name} has lapsed, and {what}")
            _log.info("lease %s was not renewed by %s for %d s, and %s", name, row.holder, row.duration_s, what)
            await _wait_changed(api, row, PATIENCE * row.duration_s + left_s)
            continue
        if left_s <= 0:
            _log.info("lease %s was not renewed by %s for %d s: taken over", name, row.holder, row.duration_s)
            held = await _try_to_take(api, name, holder, row, duration_s, note)
            if held is not None:
                return held
            continue
        if saw_it_live and _now() >= give_up_at:
            raise LeaseHeld(f"lease {name} is held by {row.holder}, which renews it")
        await _wait_changed(api, row, left_s)


async def _wait_changed(api: ClusterApi, row: LeaseRow, timeout_s: float) -> None:
    """Wait until the lease differs from `row`, or until the timeout."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            async for items in api.changes(PATH, query={"fieldSelector": f"metadata.name={row.name}"}):
                if not items or text_at(items[0], "metadata", "resourceVersion") != row.resource_version:
                    return


async def _try_to_take(
    api: ClusterApi,
    name: str,
    holder: str,
    row: LeaseRow | None,
    duration_s: int,
    note: Callable[[Note], Note],
) -> HeldLease | None:
    """The lease, or None if another run was faster."""
    # tokens of a deleted and new Lease must not begin at 1 again: hosts remember the greatest token that they have seen
    fencing_token = max((row.fencing_token if row else 0) + 1, int(datetime.now(UTC).timestamp() * 1000))
    text = json.dumps(dict(note(row.note if row else {})), sort_keys=True)
    annotations = {FENCING: str(fencing_token), ROLLOUT: text}
    now = _micro_time()
    spec = {"holderIdentity": holder, "leaseDurationSeconds": duration_s, "acquireTime": now, "renewTime": now}
    sent_at = _now()
    try:
        if row is None:
            metadata: Json = {"name": name, "namespace": NAMESPACE, "annotations": annotations}
            answer = await api.request("POST", PATH, body={"metadata": metadata, "spec": spec})
        else:
            metadata = {"resourceVersion": row.resource_version, "annotations": annotations}
            answer = await api.request(
                "PATCH", f"{PATH}/{name}", body={"metadata": metadata, "spec": spec}, content_type=MERGE_PATCH
            )
    except (Conflict, NotFound) as error:
        if row is None and isinstance(error, NotFound):
            raise  # the namespace does not exist
        return None
    return HeldLease(api, parse_lease(answer), sent_at)


async def release_lease(api: ClusterApi, name: str) -> None:
    """Release a lease that another run holds, on an operator's instruction. The holder stops at its next renewal."""
    body = {"spec": {"holderIdentity": ""}}
    with suppress(NotFound):
        await api.request("PATCH", f"{PATH}/{name}", body=body, content_type=MERGE_PATCH)


async def amend_lease(api: ClusterApi, name: str, note: Callable[[Note], Note]) -> None:
    """Change the note of a lease that another run may hold, on an operator's instruction. The holder continues with it.

    Raises Conflict if others keep changing it, ClusterUnreachable and ApiError.
    """
    for _ in range(5):
        row = await get_lease(api, name)
        if row is None or (after := note(row.note)) == row.note:
            return
        metadata = {"resourceVersion": row.resource_version, "annotations": {ROLLOUT: _text(after)}}
        try:
            await api.request("PATCH", f"{PATH}/{name}", body={"metadata": metadata}, content_type=MERGE_PATCH)
            return
        except NotFound:
            return
        except Conflict:
            continue
    raise Conflict(409, f"PATCH {PATH}/{name}: others changed it 5 times in a row", None, None)


def _micro_time() -> str:
    """Kubernetes' MicroTime."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def refusal_of(lease: HeldLease, *, lands_within_s: float) -> Refusal | None:
    """Why no change may be made under a lease: a request sent now could take effect after the lease has ended.

    None: changes may be made. Keeps: no request of a holder takes effect after another run could hold the lease.
    """
    if lease.remaining_s > lands_within_s:
        return None
    reason = lease.lost_because or f"it was not renewed for {lease.duration_s - lease.remaining_s:.0f} s"
    return Refusal(
        "lease",
        f"this run may have lost lease {lease.name}: {reason}",
        "Run `kubectl get lease -n poolkeeper`; start this again when no other run holds it.",
        temporary=not lease.lost_because,
    )


def lease_guard(api: ClusterApi, lease: HeldLease) -> Guard:
    """Refuses a change whose request could take effect after the lease has ended."""

    async def guard(change: Change) -> Refusal | None:
        return refusal_of(lease, lands_within_s=api.timeout_s)

    return guard
