"""A host taken out of service for a person's work, and returned to service: the smallest work of a rollout."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts.fence import Fence
from poolkeeper.tasks.outcomes import Finding

Prove = Callable[[Host], Awaitable[tuple[Finding, ...]]]
"""Proves that a node works; blockers say why it does not."""


class NothingToPrepare:
    """Work without preparation, whose hosts share nothing."""

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
    """Cordon and drain, then hand the node over to a person."""

    hands_over = True
    works_on_not_ready = True
    works_without_node = False

    async def at_goal(self, host: Host, node: NodeRow | None) -> bool:
        """Never before it is drained. A node that is out of service already is recognised by its claim."""
        return False

    async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
        """Not reached: the person makes the change."""
        raise AssertionError("a host that is handed over is not changed by us")

    async def prove(self, host: Host, before: NodeRow | None) -> tuple[Finding, ...]:
        """Not reached: the proof comes when the host returns to service."""
        raise AssertionError("a host that is handed over is not proven by us")


class ReturnToService(NothingToPrepare):
    """Prove a host that a person has finished with, and uncordon its node. A node that is in service is not changed."""

    hands_over = False
    works_on_not_ready = True
    works_without_node = False

    def __init__(self, prove: Prove) -> None:
        self._prove = prove

    async def at_goal(self, host: Host, node: NodeRow | None) -> bool:
        """The person has made the change; the proof is all that is missing."""
        return node is not None

    async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
        """Nothing: the person has made the change."""
        return ()

    async def prove(self, host: Host, before: NodeRow | None) -> tuple[Finding, ...]:
        """As onboarding does."""
        return await self._prove(host)
