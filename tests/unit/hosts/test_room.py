"""Places for open connections: who is served next, who gives way, and what a cancelled wait leaves."""

from __future__ import annotations

import asyncio
from zoneinfo import ZoneInfo

import pytest

from poolkeeper.tasks.fleet.model import Site, SshLimits
from poolkeeper.tasks.hosts.errors import ConnectionLost
from poolkeeper.tasks.hosts.room import Room

UTC_ZONE = ZoneInfo("UTC")


class Guest:
    """A tenant that notes that it had to go."""

    def __init__(self, site: str = "a", places: int = 10) -> None:
        self.site = Site(site, UTC_ZONE, ssh_limits=SshLimits(sessions=places))
        self.gone = False

    def give_way(self) -> None:
        self.gone = True


async def waiting(room: Room, *guests: Guest) -> list[asyncio.Task[None]]:
    """Tasks that have asked for a place, in this order."""
    tasks = [asyncio.create_task(room.enter(guest)) for guest in guests]
    await asyncio.sleep(0)
    return tasks


async def served(*tasks: asyncio.Task[None]) -> list[bool]:
    for _ in range(3):
        await asyncio.sleep(0)
    return [task.done() for task in tasks]


async def test_longest_idle_gives_way_first() -> None:
    room, old, new, busy = Room(3), Guest(), Guest(), Guest()
    for guest in (old, new, busy):
        await room.enter(guest)
    room.rest(old)
    room.rest(new)
    await room.enter(Guest())
    assert (old.gone, new.gone, busy.gone) == (True, False, False)


async def test_who_was_woken_does_not_give_way() -> None:
    room, guest = Room(1), Guest()
    await room.enter(guest)
    room.rest(guest)
    room.wake(guest)
    (task,) = await waiting(room, Guest())
    assert await served(task) == [False]
    room.rest(guest)
    assert await served(task) == [True]
    assert guest.gone


async def test_a_full_site_asks_its_own_only() -> None:
    room, own, other = Room(10), Guest("a", 1), Guest("b", 1)
    await room.enter(own)
    await room.enter(other)
    room.rest(other)
    (task,) = await waiting(room, Guest("a", 1))
    assert await served(task) == [False]
    assert not other.gone
    room.rest(own)
    assert await served(task) == [True]


async def test_served_in_turn_and_a_newcomer_does_not_overtake() -> None:
    room, inside = Room(1), Guest()
    await room.enter(inside)
    first, second = await waiting(room, Guest(), Guest())
    room.leave(inside)
    (newcomer,) = await waiting(room, Guest())
    assert await served(first, second, newcomer) == [True, False, False]
    for task in (second, newcomer):
        task.cancel()


async def test_sites_take_turns() -> None:
    room, inside = Room(1), Guest("x")
    await room.enter(inside)
    guests = [Guest(site) for site in "aaabbb"]
    tasks = await waiting(room, *guests)
    order = []
    for _ in guests:
        room.leave(inside)
        await served()
        inside = next(guest for guest, task in zip(guests, tasks, strict=True) if task.done() and guest not in order)
        order.append(inside)
    assert [guest.site.name for guest in order] == ["a", "b", "a", "b", "a", "b"]


async def test_a_full_site_does_not_hold_up_another() -> None:
    room, inside = Room(10), Guest("a", 1)
    await room.enter(inside)
    held, free = await waiting(room, Guest("a", 1), Guest("b", 1))
    assert await served(held, free) == [False, True]
    held.cancel()


async def test_a_cancelled_wait_leaves_its_turn_to_the_next() -> None:
    room, inside = Room(1), Guest()
    await room.enter(inside)
    first, second = await waiting(room, Guest(), Guest())
    first.cancel()
    await served()
    room.leave(inside)
    assert await served(second) == [True]


async def test_served_and_cancelled_in_the_same_moment() -> None:
    room, inside = Room(1), Guest()
    await room.enter(inside)
    first, second = await waiting(room, Guest(), Guest())
    room.leave(inside)
    first.cancel()
    assert await served(first, second) == [True, True]
    assert first.cancelled()
    assert not second.cancelled()


async def test_closing_tells_who_waits() -> None:
    room, inside = Room(1), Guest()
    await room.enter(inside)
    (task,) = await waiting(room, Guest())
    room.close()
    with pytest.raises(ConnectionLost):
        await task
