"""What every controller is made of: keys queued by changes, worked off one at a time.

A controller costs nothing while nothing changes. Reconciling is synchronous, so it sees one state of the cluster
and writes into the same one; a failure is tried again later, as with upstream's rate-limited queues.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from poolkeeper.deployments.lab.kubernetes import resources
from poolkeeper.deployments.lab.kubernetes.journal import Event, Key
from poolkeeper.deployments.lab.kubernetes.resources import Resource
from poolkeeper.deployments.lab.kubernetes.statuses import StatusError
from poolkeeper.deployments.lab.kubernetes.store import Store, key_of

Json = dict[str, Any]
Source = Callable[[Json], Iterable[Key]]
"""Tells for an object that came, changed or went which keys to look at."""

_log = logging.getLogger(__name__)
_FIRST_RETRY_S = 0.05
_LAST_RETRY_S = 5.0


def own_key(obj: Json) -> Iterable[Key]:
    """The source of a resource that is reconciled itself."""
    return (key_of(obj),)


def controller_of(obj: Json) -> Json | None:
    """The owner reference of whoever manages an object."""
    owners = obj["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


def owner_key(kind: str) -> Source:
    """A source that leads from an object to its managing owner, if that is of a kind."""

    def source(obj: Json) -> Iterable[Key]:
        owner = controller_of(obj)
        if owner is not None and owner["kind"] == kind:
            yield obj["metadata"].get("namespace", ""), owner["name"]

    return source


class ControlLoop:
    """One controller. `reconcile(key)` may return seconds after which it wants to look again."""

    def __init__(
        self,
        name: str,
        store: Store,
        sources: Mapping[str, Source],
        reconcile: Callable[[Key], float | None],
    ) -> None:
        self.name = name
        self._store = store
        self._sources = {resources.by_name(each): source for each, source in sources.items()}
        self._reconcile = reconcile
        self._queue: dict[Key, None] = {}
        self._wake = asyncio.Event()
        self._failures: defaultdict[Key, int] = defaultdict(int)
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    def start(self) -> None:
        """Queue everything that is there, and listen from now on."""
        for resource, source in self._sources.items():
            for obj in self._store.list(resource):
                self.enqueue(source(obj))
        self._store.journal.listeners.append(self._hear)

    def stop(self) -> None:
        """Listen no longer."""
        self._store.journal.listeners.remove(self._hear)
        for timer in self._timers.values():
            timer.cancel()

    def enqueue(self, keys: Iterable[Key]) -> None:
        """Have keys looked at soon, each once."""
        for key in keys:
            self._queue[key] = None
        if self._queue:
            self._wake.set()

    def _hear(self, resource: Resource, event: Event) -> None:
        source = self._sources.get(resource)
        if source is None:
            return
        for obj in (event.before, event.after):
            if obj is not None:
                self.enqueue(source(obj))

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._wake.wait()
            while self._queue:
                key = next(iter(self._queue))
                del self._queue[key]
                self._work(key)
                await asyncio.sleep(0)
            self._wake.clear()

    def _work(self, key: Key) -> None:
        try:
            again_s = self._reconcile(key)
            self._failures.pop(key, None)
        except StatusError as error:
            again_s = self._retry_s(key)
            _log.debug("%s: %s: %s; again in %.2f s", self.name, "/".join(key), error, again_s)
        except Exception:
            # one bad object must not end the controller for all others
            again_s = self._retry_s(key)
            _log.exception("%s: %s: again in %.2f s", self.name, "/".join(key), again_s)
        if again_s is not None:
            self._later(key, again_s)

    def _retry_s(self, key: Key) -> float:
        self._failures[key] += 1
        return float(min(_LAST_RETRY_S, _FIRST_RETRY_S * 2 ** self._failures[key]))

    def _later(self, key: Key, seconds: float) -> None:
        if key in self._timers:
            self._timers[key].cancel()
        loop = asyncio.get_running_loop()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def _due(self, key: Key) -> None:
        del self._timers[key]
        self.enqueue((key,))
