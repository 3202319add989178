"""Slots for open connections: which waiting user is next, which idle one is closed, and cancelled waits."""

from __future__ import annotations

import asyncio
from zoneinfo import ZoneInfo

import pytest

from poolkeeper.tasks.fleet.model import Site, SshLimits
from poolkeeper.tasks.hosts.connection_slots import ConnectionSlots
from poolkeeper.tasks.hosts.errors import ConnectionLost

UTC_ZONE = ZoneInfo("UTC")


class User:
    """A user that notes that it was closed."""

    def __init__(self, site: str = "a", limit: int = 10) -> None:
        self.site = Site(site, UTC_ZONE, ssh_limits=SshLimits(sessions=limit))
        self.closed = False

    def close(self) -> None:
        self.closed = True


async def waiting(slots: ConnectionSlots, *users: User) -> list[asyncio.Task[None]]:
    """Tasks that wait for a slot, in this order."""
    tasks = [asyncio.create_task(slots.acquire(user)) for user in users]
    await asyncio.sleep(0)
    return tasks


async def served(*tasks: asyncio.Task[None]) -> list[bool]:
    for _ in range(3):
        await asyncio.sleep(0)
    return [task.done() for task in tasks]


async def test_longest_idle_is_closed_first() -> None:
    slots, old, new, busy = ConnectionSlots(3), User(), User(), User()
    for user in (old, new, busy):
        await slots.acquire(user)
    slots.idle(old)
    slots.idle(new)
    await slots.acquire(User())
    assert (old.closed, new.closed, busy.closed) == (True, False, False)


async def test_who_was_woken_does_not_close() -> None:
    slots, user = ConnectionSlots(1), User()
    await slots.acquire(user)
    slots.idle(user)
    slots.busy(user)
    (task,) = await waiting(slots, User())
    assert await served(task) == [False]
    slots.idle(user)
    assert await served(task) == [True]
    assert user.closed


async def test_a_full_site_asks_its_own_only() -> None:
    slots, own, other = ConnectionSlots(10), User("a", 1), User("b", 1)
    await slots.acquire(own)
    await slots.acquire(other)
    slots.idle(other)
    (task,) = await waiting(slots, User("a", 1))
    assert await served(task) == [False]
    assert not other.closed
    slots.idle(own)
    assert await served(task) == [True]


async def test_served_in_turn_and_a_newcomer_does_not_overtake() -> None:
    slots, inside = ConnectionSlots(1), User()
    await slots.acquire(inside)
    first, second = await waiting(slots, User(), User())
    slots.release(inside)
    (newcomer,) = await waiting(slots, User())
    assert await served(first, second, newcomer) == [True, False, False]
    for task in (second, newcomer):
        task.cancel()


async def test_sites_take_turns() -> None:
    slots, inside = ConnectionSlots(1), User("x")
    await slots.acquire(inside)
    users = [User(site) for site in "aaabbb"]
    tasks = await waiting(slots, *users)
    order = []
    for _ in users:
        slots.release(inside)
        await served()
        inside = next(user for user, task in zip(users, tasks, strict=True) if task.done() and user not in order)
        order.append(inside)
    assert [user.site.name for user in order] == ["a", "b", "a", "b", "a", "b"]


async def test_a_full_site_does_not_hold_up_another() -> None:
    slots, inside = ConnectionSlots(10), User("a", 1)
    await slots.acquire(inside)
    held, free = await waiting(slots, User("a", 1), User("b", 1))
    assert await served(held, free) == [False, True]
    held.cancel()


async def test_a_cancelled_wait_leaves_its_turn_to_the_next() -> None:
    slots, inside = ConnectionSlots(1), User()
    await slots.acquire(inside)
    first, second = await waiting(slots, User(), User())
    first.cancel()
    await served()
    slots.release(inside)
    assert await served(second) == [True]


async def test_served_and_cancelled_in_the_same_moment() -> None:
    slots, inside = ConnectionSlots(1), User()
    await slots.acquire(inside)
    first, second = await waiting(slots, User(), User())
    slots.release(inside)
    first.cancel()
    assert await served(first, second) == [True, True]
    assert first.cancelled()
    assert not second.cancelled()


async def test_closing_tells_who_waits() -> None:
    slots, inside = ConnectionSlots(1), User()
    await slots.acquire(inside)
    (task,) = await waiting(slots, User())
    slots.close()
    with pytest.raises(ConnectionLost):
        await task
