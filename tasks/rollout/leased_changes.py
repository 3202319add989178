"""Changes that a rollout makes under its lease."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from poolkeeper.tasks.cluster import ClusterUnreachable
from poolkeeper.tasks.cluster.leases import HeldLease
from poolkeeper.tasks.outcomes import DONE, End, Gate, Subject

T = TypeVar("T")


async def change_under_lease(
    gate: Gate,
    lease: HeldLease,
    subject: Subject,
    sentence: str,
    act: Callable[[], Awaitable[T]],
    *,
    if_dry_run: T,
    end: Callable[[T], End] = lambda value: DONE,
) -> T:
    """One change through the gate; see `Gate.change`.

    Invariant: the change is not waited for longer than the lease is certainly ours, so that none lands later.
    """

    async def in_time() -> T:
        try:
            async with asyncio.timeout(lease.remaining_s):
                return await act()
        except TimeoutError:
            raise ClusterUnreachable(f"to {sentence} took longer than the lease lasts") from None

    return await gate.change(subject, sentence, in_time, if_dry_run=if_dry_run, end=end, one_request=True)
