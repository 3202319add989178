"""Objects and their history: one counter of versions, a bounded window of events, and who listens.

Stored objects are immutable: whoever changes one stores a new dict that may share parts with the old one.
Nothing here knows what a Pod is. All of it runs on one event loop, so each call is atomic.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from poolkeeper.deployments.lab.kubernetes.resources import Resource

Json = dict[str, Any]
Key = tuple[str, str]
"""Namespace (empty where there is none) and name."""
Match = Callable[[Json], bool]


class HistoryGone(Exception):
    """The window of events no longer reaches back that far."""


def encode(value: Any) -> bytes:
    """JSON as the server sends it."""
    return orjson.dumps(value)


@dataclass(slots=True, eq=False)
class Event:
    """One change of one object."""

    version: int
    key: Key
    before: Json | None
    after: Json | None
    """None: deleted. A deletion has a version of its own."""
    _lines: dict[str, bytes] = field(default_factory=dict)

    def seen_by(self, match: Match) -> str | None:
        """What a watcher of the objects that match is told: ADDED, MODIFIED, DELETED or nothing."""
        was = self.before is not None and match(self.before)
        now = self.after is not None and match(self.after)
        if now:
            return "MODIFIED" if was else "ADDED"
        return "DELETED" if was else None

    def object(self, seen_as: str) -> Json:
        """The object that goes with the event; one that left carries the version at which it left."""
        if seen_as != "DELETED" and self.after is not None:
            return self.after
        assert self.before is not None
        metadata = {**self.before["metadata"], "resourceVersion": str(self.version)}
        return {**self.before, "metadata": metadata}

    def line(self, seen_as: str) -> bytes:
        """The event as one line of a watch, made once however many watch."""
        if seen_as not in self._lines:
            body = encode(self.object(seen_as))
            self._lines[seen_as] = b'{"type":"%b","object":%b}\n' % (seen_as.encode(), body)
        return self._lines[seen_as]


class Subscription:
    """The events that one watcher has not taken yet."""

    def __init__(self, match: Match, limit: int) -> None:
        self._match = match
        self._limit = limit
        self._waiting: deque[tuple[str, Event]] = deque()
        self._wake = asyncio.Event()
        self.overrun = False
        """It took events too slowly, some are lost, and it must start anew."""

    def offer(self, event: Event) -> None:
        """Queue the event if it concerns this watcher."""
        seen_as = event.seen_by(self._match)
        if seen_as is None or self.overrun:
            return
        if len(self._waiting) >= self._limit:
            self._waiting.clear()
            self.overrun = True
        else:
            self._waiting.append((seen_as, event))
        self._wake.set()

    def take(self) -> list[tuple[str, Event]]:
        """All queued events, oldest first."""
        taken = list(self._waiting)
        self._waiting.clear()
        self._wake.clear()
        return taken

    async def wait(self) -> None:
        """Until there is something to take."""
        await self._wake.wait()


@dataclass(slots=True)
class _Shelf:
    """The objects of one resource, in the order of their keys."""

    objects: dict[Key, Json] = field(default_factory=dict)
    keys: list[Key] = field(default_factory=list)
    events: deque[Event] = field(default_factory=deque)
    forgotten: int = 0
    """Version of the newest event that fell out of the window."""
    subscriptions: set[Subscription] = field(default_factory=set)


class Journal:
    """Every object of the cluster, with `window` events of history per resource."""

    def __init__(self, window: int = 5_000, queue: int = 10_000) -> None:
        self.version = 1
        self._window = window
        self._queue = queue
        self._shelves: dict[Resource, _Shelf] = defaultdict(_Shelf)
        self.listeners: list[Callable[[Resource, Event], None]] = []
        """Called at once for every event of every resource, in order; they must not write."""

    def get(self, resource: Resource, key: Key) -> Json | None:
        """One object, or None."""
        return self._shelves[resource].objects.get(key)

    def count(self, resource: Resource) -> int:
        """How many objects of a resource there are."""
        return len(self._shelves[resource].objects)

    def put(self, resource: Resource, key: Key, obj: Json) -> Json:
        """Store an object under the next version, which is written into its metadata."""
        shelf = self._shelves[resource]
        before = shelf.objects.get(key)
        self.version += 1
        stored = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        shelf.objects[key] = stored
        if before is None:
            insort(shelf.keys, key)
        self._publish(resource, shelf, Event(self.version, key, before, stored))
        return stored

    def remove(self, resource: Resource, key: Key) -> None:
        """Forget an object; its history stays."""
        shelf = self._shelves[resource]
        before = shelf.objects.pop(key)
        del shelf.keys[bisect_left(shelf.keys, key)]
        self.version += 1
        self._publish(resource, shelf, Event(self.version, key, before, None))

    def compact(self) -> None:
        """Forget all history, as etcd does every few minutes: older watches and continue tokens end in 410."""
        for shelf in self._shelves.values():
            shelf.events.clear()
            shelf.forgotten = self.version

    def _publish(self, resource: Resource, shelf: _Shelf, event: Event) -> None:
        shelf.events.append(event)
        if len(shelf.events) > self._window:
            shelf.forgotten = shelf.events.popleft().version
        for subscription in shelf.subscriptions:
            subscription.offer(event)
        for listener in self.listeners:
            listener(resource, event)

    def items(self, resource: Resource, namespace: str | None = None) -> Iterator[Json]:
        """The objects as they are now, by namespace and name."""
        shelf = self._shelves[resource]
        for key in _range(shelf.keys, namespace, None):
            yield shelf.objects[key]

    def items_at(
        self, resource: Resource, version: int, namespace: str | None = None, after: Key | None = None
    ) -> Iterator[tuple[Key, Json]]:
        """The objects as they were at a version, from the first key greater than `after`.

        Later events are undone while going along. Raises HistoryGone.
        """
        shelf = self._shelves[resource]
        if version < shelf.forgotten:
            raise HistoryGone
        undone: dict[Key, Json | None] = {}
        for event in reversed(shelf.events):
            if event.version <= version:
                break
            undone[event.key] = event.before
        keys: list[Key] = list(_range(shelf.keys, namespace, after))
        lost = [key for key, obj in undone.items() if obj is not None and key not in shelf.objects]
        if lost:
            keys = sorted([*keys, *_range(sorted(lost), namespace, after)])
        for key in keys:
            obj = undone[key] if key in undone else shelf.objects.get(key)
            if obj is not None:
                yield key, obj

    def subscribe(self, resource: Resource, since: int, match: Match) -> Subscription:
        """Listen to every change after version `since`. Raises HistoryGone.

        Give the subscription back with `unsubscribe`.
        """
        shelf = self._shelves[resource]
        if since < shelf.forgotten:
            raise HistoryGone
        subscription = Subscription(match, self._queue)
        for event in shelf.events:
            if event.version > since:
                subscription.offer(event)
        shelf.subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, resource: Resource, subscription: Subscription) -> None:
        """Stop listening."""
        self._shelves[resource].subscriptions.discard(subscription)


def _range(keys: list[Key], namespace: str | None, after: Key | None) -> Iterator[Key]:
    """The keys of one namespace (None: of all), from the first one greater than `after`."""
    start = 0
    if namespace is not None:
        start = bisect_left(keys, (namespace, ""))
    if after is not None:
        start = max(start, bisect_left(keys, (after[0], after[1] + "\0")))
    for key in keys[start:]:
        if namespace is not None and key[0] != namespace:
            return
        yield key
