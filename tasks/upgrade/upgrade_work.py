"""Upgrades as the work of a rollout: what `HostWork` asks for, answered by `HostUpgrade`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts.fence import Fence
from poolkeeper.tasks.outcomes import Finding
from poolkeeper.tasks.upgrade.host_upgrade import HostUpgrade
from poolkeeper.tasks.upgrade.messages import node_gone
from poolkeeper.tasks.upgrade.pinning import Pins


class UpgradeWork:
    """Upgrades hosts to one goal. A node that is not Ready or was deleted is not touched."""

    hands_over = False
    works_on_not_ready = False
    works_without_node = False

    def __init__(self, upgrade: HostUpgrade) -> None:
        self._upgrade = upgrade

    @property
    def one_by_one(self) -> bool:
        """Whether the provider upgrades one node after the other; it has no part in a goal of packages alone."""
        return self._upgrade.goal.kubernetes is not None and self._upgrade.provider.upgrades_one_by_one

    async def at_goal(self, host: Host, node: NodeRow | None) -> bool:
        """Whether kubelet and packages have the goal's versions."""
        return node is not None and await self._upgrade.is_finished(host, node)

    async def prepare(self, host: Host) -> tuple[Finding, ...]:
        """Fetch the packages that the change installs, and check that there is enough space."""
        return await self._upgrade.stage(host)

    def remembered(self) -> Mapping[str, Any]:
        """The versions that were looked up; every host gets the same."""
        return self._upgrade.pins.row()

    def remember(self, what: Mapping[str, Any]) -> None:
        """Use the versions that an earlier run has looked up."""
        self._upgrade.pin(Pins.of_row(what))

    async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
        """Upgrade the drained host by the provider's way."""
        return await self._upgrade.change(host, fence) if node is not None else (node_gone(host),)

    async def prove(self, host: Host, before: NodeRow | None) -> tuple[Finding, ...]:
        """Whether the versions are the goal's and the node passes acceptance; no finding: it does."""
        return await self._upgrade.prove(host, before) if before is not None else (node_gone(host),)
