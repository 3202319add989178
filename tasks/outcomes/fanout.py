"""Doing something to many at once, in bounded slots."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def batched(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """So many of them at a time, in order."""
    return [items[start : start + size] for start in range(0, len(items), size)]


async def in_slots(
    items: Sequence[T], slot: Callable[[T], asyncio.Semaphore], work: Callable[[T], Awaitable[R]]
) -> list[R]:
    """`work` on every item, started in the given order, each as soon as its slot is free; results in that order.

    The first exception cancels the rest: `work` turns what one item may do wrong into its result.
    """

    async def one(item: T) -> R:
        async with slot(item):
            return await work(item)

    async with asyncio.TaskGroup() as group:
        started = [group.create_task(one(item)) for item in items]
    return [task.result() for task in started]
