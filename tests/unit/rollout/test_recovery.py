"""Pools recovered in turn: what ends the recovery of one ends no other's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from poolkeeper.tasks.cluster import ClusterUnreachable
from poolkeeper.tasks.outcomes import HostOutcome, HostState
from poolkeeper.tasks.rollout.recovery import recover_pools

LEFT = HostOutcome("n0", HostState.DONE, "returned to service")
OTHER = HostOutcome("n1", HostState.DONE, "returned to service")


@pytest.mark.parametrize(
    ("error", "failed"),
    [
        pytest.param(None, "", id="none"),
        pytest.param(ClusterUnreachable("no answer"), f"pool a: no answer. {ClusterUnreachable.next_step}", id="its cluster does not answer"),
        pytest.param(OSError(28, "No space left on device"), "pool a: OSError: [Errno 28] No space left on device", id="full disk"),
        pytest.param(TimeoutError(), "pool a: TimeoutError", id="an error without text"),
    ],
)  # fmt: skip
async def test_what_ends_one_pool_ends_no_other(error: Exception | None, failed: str) -> None:
    async def recover(pool: str) -> AsyncIterator[HostOutcome]:
        yield {"a": LEFT, "b": OTHER}[pool]
        if pool == "a" and error is not None:
            raise error

    assert await recover_pools(["a", "b"], recover) == ([LEFT, OTHER], failed)


async def test_a_mistake_of_ours_is_no_pools_trouble() -> None:
    async def recover(pool: str) -> AsyncIterator[HostOutcome]:
        yield LEFT
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await recover_pools(["a"], recover)
