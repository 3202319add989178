"""Runs work on many items at once, with bounded concurrency."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def batched(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """The items in order, in batches of at most `size`."""
    return [items[start : start + size] for start in range(0, len(items), size)]


async def in_slots(
    items: Sequence[T], slot: Callable[[T], asyncio.Semaphore], work: Callable[[T], Awaitable[R]]
) -> list[R]:
    """Run `work` on every item, started in order as soon as the item's slot is free; the results are in that order.

    The first exception cancels the rest, so `work` has to return the failure of one item as its result.
    """

    async def one(item: T) -> R:
        async with slot(item):
            return await work(item)

    async with asyncio.TaskGroup() as group:
        started = [group.create_task(one(item)) for item in items]
    return [task.result() for task in started]
