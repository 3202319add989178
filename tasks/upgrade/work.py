"""An upgrade as the work of a rollout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts.fence import Fence
from poolkeeper.tasks.outcomes import Finding
from poolkeeper.tasks.upgrade.change import Upgrade
from poolkeeper.tasks.upgrade.pinning import Pins
from poolkeeper.tasks.upgrade.telling import node_gone


class UpgradeWork:
    """Hosts brought to one goal; a node that is not Ready, or gone, is not touched."""

    hands_over = False
    works_on_not_ready = False
    works_without_node = False

    def __init__(self, upgrade: Upgrade) -> None:
        self._upgrade = upgrade

    @property
    def one_by_one(self) -> bool:
        """Where the provider takes one node after the other; packages alone are ours to install."""
        return self._upgrade.goal.kubernetes is not None and self._upgrade.provider.upgrades_one_by_one

    async def at_goal(self, host: Host, node: NodeRow | None) -> bool:
        """Whether kubelet and packages have the goal's versions."""
        return node is not None and await self._upgrade.finished(host, node)

    async def prepare(self, host: Host) -> tuple[Finding, ...]:
        """Fetch what the change will install, and see that there is room."""
        return await self._upgrade.stage(host)

    def remembered(self) -> Mapping[str, Any]:
        """The versions that were looked up: every host gets the same."""
        return self._upgrade.pins.row()

    def remember(self, what: Mapping[str, Any]) -> None:
        """Go on with the versions of an earlier run."""
        self._upgrade.pin(Pins.of_row(what))

    async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
        """The provider's way."""
        return await self._upgrade.change(host, fence) if node is not None else (node_gone(host),)

    async def prove(self, host: Host, before: NodeRow | None) -> tuple[Finding, ...]:
        """Versions as wanted, and all that acceptance asks for."""
        return await self._upgrade.prove(host, before) if before is not None else (node_gone(host),)
