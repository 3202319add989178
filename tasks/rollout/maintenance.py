"""One host out of service for a person's work, and back: the smallest work that a rollout can do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts.fence import Fence
from poolkeeper.tasks.outcomes import Finding

Prove = Callable[[Host], Awaitable[tuple[Finding, ...]]]
"""Shows that a node works; blockers are why it does not."""


class NothingToPrepare:
    """Work that has nothing to do before the first cordon, and nothing that hosts share."""

    one_by_one = False

    async def prepare(self, host: Host) -> tuple[Finding, ...]:
        """Nothing."""
        return ()

    def remembered(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def remember(self, what: Mapping[str, Any]) -> None:
        """Nothing."""


class HandOver(NothingToPrepare):
    """Cordon and drain, then leave the node to a person."""

    hands_over = True
    works_on_not_ready = True
    works_without_node = False

    async def at_goal(self, host: Host, node: NodeRow | None) -> bool:
        """Never before it is drained; a node that is out already is taken up at that claim."""
        return False

    async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
        """The change is the person's."""
        raise AssertionError("a host that is handed over is not changed by us")

    async def prove(self, host: Host, before: NodeRow | None) -> tuple[Finding, ...]:
        """That comes when it is taken back."""
        raise AssertionError("a host that is handed over is not proven by us")


class ReturnToService(NothingToPrepare):
    """Prove what a person gives back, and let workloads return. A node that is not out is left alone."""

    hands_over = False
    works_on_not_ready = True
    works_without_node = False

    def __init__(self, prove: Prove) -> None:
        self._prove = prove

    async def at_goal(self, host: Host, node: NodeRow | None) -> bool:
        """The person has done what was to be done; what is left is to prove it."""
        return node is not None

    async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
        """Nothing: the person has."""
        return ()

    async def prove(self, host: Host, before: NodeRow | None) -> tuple[Finding, ...]:
        """As onboarding does."""
        return await self._prove(host)
