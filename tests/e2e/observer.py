"""An observer of rollouts that shares nothing with them: it sees the API server's own history, with an admin's eyes.

It watches from a thread while a test runs, in a process of its own where runs are; afterwards `history` answers with
everything that was seen (`tests/e2e/history.py`). It never sees a part for the whole: where events were missed, or do
not lead to what the API server has in the end, it says so and answers nothing.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp

from poolkeeper.deployments.lab.layout import LabFolder
from tests.e2e.history import Event, History, Key, Write

Json = dict[str, Any]

WATCHED = {
    "nodes": "/api/v1/nodes",
    "pods": "/api/v1/pods",
    "poddisruptionbudgets": "/apis/policy/v1/poddisruptionbudgets",
    "leases": "/apis/coordination.k8s.io/v1/namespaces/poolkeeper/leases",
}
START_WITHIN_S = 15.0
CAUGHT_UP_WITHIN_S = 20.0


class NotWhole(AssertionError):
    """What was seen is not all that happened, so nothing can be said about it."""


@dataclass
class _Seen:
    """One resource: its events, and where each object stands after them."""

    events: list[Event] = field(default_factory=list)
    versions: dict[Key, int] = field(default_factory=dict)
    version: int = 0
    listed: bool = False

    def take(self, resource: str, kind: str, item: Json) -> None:
        metadata = item["metadata"]
        key, version = (metadata.get("namespace", ""), metadata["name"]), int(metadata["resourceVersion"])
        gone = kind == "DELETED"
        self.events.append(Event(version, resource, key, None if gone else item))
        if gone:
            self.versions.pop(key, None)
        else:
            self.versions[key] = version
        self.version = max(self.version, version)


class Observer:
    """Watches from `with` on. `history` may be asked for at any time, also afterwards."""

    def __init__(self, folder: LabFolder) -> None:
        config = json.loads(folder.admin_kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._server, self._token = str(cluster["server"]), str(config["users"][0]["user"]["token"])
        self._tls = ssl.create_default_context(cadata=authority)
        self._audit = folder.audit
        self._seen = {resource: _Seen() for resource in WATCHED}
        self._trouble: list[str] = []
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._until(lambda: all(seen.listed for seen in self._seen.values()), START_WITHIN_S, "the first lists")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join()

    def history(self) -> History:
        """All that has happened up to now. Raises NotWhole."""
        if self._thread.is_alive():
            there = asyncio.run_coroutine_threadsafe(self._list_all(), self._loop).result(CAUGHT_UP_WITHIN_S)
            self._until(lambda: self._has(there), CAUGHT_UP_WITHIN_S, "what the API server has")
        if self._trouble:
            raise NotWhole("; ".join(self._trouble))
        with self._changed:
            events = [event for seen in self._seen.values() for event in seen.events]
        events.sort(key=lambda event: event.version)  # one counter for all resources
        lines = self._audit.read_text(encoding="utf-8").splitlines() if self._audit.exists() else []
        return History(events, [Write.of(json.loads(line)) for line in lines])

    def wait_for(self, what: str, holds: Callable[[Event], bool], within_s: float, since: int = 0) -> Event:
        """The first event after a version for which it holds, as soon as it is there. Raises NotWhole."""
        found: list[Event] = []
        looked = dict.fromkeys(self._seen, 0)

        def look() -> bool:
            for resource, seen in self._seen.items():
                new, looked[resource] = seen.events[looked[resource] :], len(seen.events)
                found.extend(event for event in new if event.version > since and holds(event))
            return bool(found)

        self._until(look, within_s, what)
        return min(found, key=lambda event: event.version)

    @property
    def version(self) -> int:
        """Of the newest event so far."""
        with self._changed:
            return max(seen.version for seen in self._seen.values())

    def _has(self, there: dict[str, dict[Key, int]]) -> bool:
        """Whether all that was listed has been seen, and nothing is thought to be there that was not listed."""
        for resource, versions in there.items():
            seen = self._seen[resource].versions
            if any(seen.get(key, self._seen[resource].version) < version for key, version in versions.items()):
                return False
            if any(
                key not in versions and version <= max(versions.values(), default=0) for key, version in seen.items()
            ):
                return False
        return True

    def _until(self, holds: Callable[[], bool], within_s: float, what: str) -> None:
        with self._changed:
            held = False

            def over() -> bool:
                nonlocal held
                held = held or holds()
                return held or bool(self._trouble)

            self._changed.wait_for(over, within_s)
            if not held:
                raise NotWhole(f"{what}: not seen within {within_s:.0f} s; {'; '.join(self._trouble)}")

    # in the thread

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._watch_all())
        self._loop.close()

    def _end(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    async def _watch_all(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        async with aiohttp.ClientSession(
            self._server, connector=connector, headers=headers, read_bufsize=2**22
        ) as session:
            self._session = session
            async with asyncio.TaskGroup() as group:
                for resource in WATCHED:
                    group.create_task(self._watch(resource))

    async def _watch(self, resource: str) -> None:
        seen = self._seen[resource]
        while True:
            try:
                if not seen.listed:
                    await self._first_list(resource)
                query = {"watch": "true", "resourceVersion": str(seen.version), "timeoutSeconds": "600"}
                async with self._session.get(WATCHED[resource], params=query, timeout=_PATIENT) as answer:
                    answer.raise_for_status()
                    async for line in answer.content:
                        self._take(resource, json.loads(line))
            except (aiohttp.ClientError, OSError, ValueError):
                await asyncio.sleep(
                    0.05
                )  # it is away: a test has cut it off; what was missed comes with the next watch

    async def _first_list(self, resource: str) -> None:
        seen = self._seen[resource]
        async with self._session.get(WATCHED[resource]) as answer:
            answer.raise_for_status()
            told = await answer.json()
        with self._changed:
            for item in told["items"]:
                seen.take(resource, "ADDED", item)
            seen.version, seen.listed = int(told["metadata"]["resourceVersion"]), True
            self._changed.notify_all()

    def _take(self, resource: str, event: Json) -> None:
        with self._changed:
            if event["type"] == "ERROR":
                self._trouble.append(f"the watch of {resource} ended: {event['object'].get('message')}")
            else:
                self._seen[resource].take(resource, event["type"], event["object"])
            self._changed.notify_all()

    async def _list_all(self) -> dict[str, dict[Key, int]]:
        there = {}
        deadline = time.monotonic() + CAUGHT_UP_WITHIN_S
        for resource, path in WATCHED.items():
            while True:
                try:
                    async with self._session.get(path) as answer:
                        answer.raise_for_status()
                        items = (await answer.json())["items"]
                    break
                except (aiohttp.ClientError, OSError):
                    if time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(0.1)
            there[resource] = {
                (i["metadata"].get("namespace", ""), i["metadata"]["name"]): int(i["metadata"]["resourceVersion"])
                for i in items
            }
        return there


_PATIENT = aiohttp.ClientTimeout(total=None, sock_connect=5)
