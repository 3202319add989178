"""Places for open connections, per site and in all: who waits is served in turn, and idle ones give way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from poolkeeper.tasks.fleet.model import Site
from poolkeeper.tasks.hosts import errors


class Tenant(Protocol):
    """What takes a place."""

    @property
    def site(self) -> Site: ...

    def give_way(self) -> None:
        """Close: nobody uses it, and the place is needed."""


@dataclass(slots=True)
class _SiteRoom:
    taken: int = 0
    idle: dict[Tenant, None] = field(default_factory=dict)
    """The longest idle one first."""
    waiting: deque[tuple[Tenant, asyncio.Future[None]]] = field(default_factory=deque)


class Room:
    """At most `places` connections in all, and at most each site's own limit there.

    A change costs one look at each site, however many wait: only the first in a site's queue can be next.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._taken = 0
        self._sites: dict[str, _SiteRoom] = {}

    async def enter(self, tenant: Tenant) -> None:
        """Take a place, in use from the start; waits for one."""
        room = self._of(tenant)
        if not room.waiting and self._admit(tenant):
            return
        served = asyncio.get_running_loop().create_future()
        room.waiting.append((tenant, served))
        try:
            await served
        except asyncio.CancelledError:
            if served.done() and not served.cancelled():
                self.leave(tenant)  # served and cancelled in the same moment
            elif (tenant, served) in room.waiting:
                room.waiting.remove((tenant, served))
            raise

    def leave(self, tenant: Tenant) -> None:
        """Give the place back."""
        self._vacate(tenant)
        self._serve()

    def rest(self, tenant: Tenant) -> None:
        """Nobody uses it now: it may be asked to give way."""
        self._of(tenant).idle[tenant] = None
        self._serve()

    def wake(self, tenant: Tenant) -> None:
        """It is in use again."""
        self._of(tenant).idle.pop(tenant, None)

    def close(self) -> None:
        """Nobody comes in any more; who waits gets ConnectionLost."""
        for room in self._sites.values():
            while room.waiting:
                _, served = room.waiting.popleft()
                if not served.done():
                    served.set_exception(errors.ConnectionLost("the sessions were closed before a line was free"))

    def _of(self, tenant: Tenant) -> _SiteRoom:
        return self._sites.setdefault(tenant.site.name, _SiteRoom())

    def _vacate(self, tenant: Tenant) -> None:
        room = self._of(tenant)
        room.idle.pop(tenant, None)
        room.taken -= 1
        self._taken -= 1

    def _admit(self, tenant: Tenant) -> bool:
        """Give it a place if there is one, or one whose tenant is idle."""
        room = self._of(tenant)
        if room.taken >= tenant.site.ssh_limits.sessions:
            leaving = next(iter(room.idle), None)
        elif self._taken >= self._places:
            leaving = next(self._idle(), None)
        else:
            room.taken += 1
            self._taken += 1
            return True
        if leaving is None:
            return False
        self._vacate(leaving)
        leaving.give_way()
        return self._admit(tenant)

    def _idle(self) -> Iterator[Tenant]:
        for room in self._sites.values():
            yield from room.idle

    def _serve(self) -> None:
        """Admit whoever can be now; a site that was served goes behind the others."""
        for name in tuple(self._sites):
            room = self._sites[name]
            while room.waiting:
                tenant, served = room.waiting[0]
                if not served.done():
                    if not self._admit(tenant):
                        break
                    served.set_result(None)
                    self._sites[name] = self._sites.pop(name)
                room.waiting.popleft()
