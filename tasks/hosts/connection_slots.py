"""Slots for open connections, per site and in all: waiting users get one in turn, and idle users give theirs up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from poolkeeper.tasks.fleet.model import Site
from poolkeeper.tasks.hosts import errors


class SlotUser(Protocol):
    """A connection that takes a slot."""

    @property
    def site(self) -> Site: ...

    def close(self) -> None:
        """Close: the connection is idle, and another one needs its slot."""


@dataclass(slots=True)
class _SiteSlots:
    taken: int = 0
    idle: dict[SlotUser, None] = field(default_factory=dict)
    """The longest idle one first."""
    waiting: deque[tuple[SlotUser, asyncio.Future[None]]] = field(default_factory=deque)


class ConnectionSlots:
    """At most `slots` connections in all, and at most each site's own limit there.

    The invariant: a user holds at most one slot, and an idle user holds it only until another user needs it. A change
    costs one look at each site, however many users wait: only the first one in a site's queue can be next.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._taken = 0
        self._sites: dict[str, _SiteSlots] = {}

    async def acquire(self, user: SlotUser) -> None:
        """Get a slot, waiting for one; the user counts as busy."""
        site = self._of(user)
        if not site.waiting and self._admit(user):
            return
        served = asyncio.get_running_loop().create_future()
        site.waiting.append((user, served))
        try:
            await served
        except asyncio.CancelledError:
            if served.done() and not served.cancelled():
                self.release(user)  # served and cancelled in the same moment
            elif (user, served) in site.waiting:
                site.waiting.remove((user, served))
            raise

    def release(self, user: SlotUser) -> None:
        """Give up the slot."""
        self._vacate(user)
        self._serve()

    def idle(self, user: SlotUser) -> None:
        """The connection is not used now: it may be closed for another one."""
        self._of(user).idle[user] = None
        self._serve()

    def busy(self, user: SlotUser) -> None:
        """The connection is used again."""
        self._of(user).idle.pop(user, None)

    def close(self) -> None:
        """No user gets a slot any more; waiting users get ConnectionLost."""
        for site in self._sites.values():
            while site.waiting:
                _, served = site.waiting.popleft()
                if not served.done():
                    served.set_exception(errors.ConnectionLost("the sessions were closed before a slot was free"))

    def _of(self, user: SlotUser) -> _SiteSlots:
        return self._sites.setdefault(user.site.name, _SiteSlots())

    def _vacate(self, user: SlotUser) -> None:
        site = self._of(user)
        site.idle.pop(user, None)
        site.taken -= 1
        self._taken -= 1

    def _admit(self, user: SlotUser) -> bool:
        """Give the user a free slot, or one whose user is idle; False if there is none."""
        site = self._of(user)
        if site.taken >= user.site.ssh_limits.sessions:
            leaving = next(iter(site.idle), None)
        elif self._taken >= self._slots:
            leaving = next(self._idle(), None)
        else:
            site.taken += 1
            self._taken += 1
            return True
        if leaving is None:
            return False
        self._vacate(leaving)
        leaving.close()
        return self._admit(user)

    def _idle(self) -> Iterator[SlotUser]:
        for site in self._sites.values():
            yield from site.idle

    def _serve(self) -> None:
        """Admit every user that can have a slot now; a site that was served goes behind the others."""
        for name in tuple(self._sites):
            site = self._sites[name]
            while site.waiting:
                user, served = site.waiting[0]
                if not served.done():
                    if not self._admit(user):
                        break
                    served.set_result(None)
                    self._sites[name] = self._sites.pop(name)
                site.waiting.popleft()
