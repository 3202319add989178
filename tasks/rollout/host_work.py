"""What a rollout needs from its flow: the work on one host, and the record that a host keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts.fence import Fence, HostIntent
from poolkeeper.tasks.outcomes import Finding, Observed


class HostWork(Protocol):
    """What a flow does to a host. Each method reads afresh, is idempotent, and mutates through the gate only."""

    hands_over: bool
    """The drained node is handed over to a person: this run neither changes it nor returns it to service."""
    works_on_not_ready: bool
    works_without_node: bool
    """At the goal there is no Node: the change removes it, and nothing returns to service."""

    @property
    def one_by_one(self) -> bool:
        """Whether hosts are changed one after the other, however many may be unavailable."""

    async def at_goal(self, host: Host, node: NodeRow | None) -> bool:
        """Whether the host is at the goal already. Raises HostError and ProviderError."""

    async def prepare(self, host: Host) -> tuple[Finding, ...]:
        """Do what disturbs nothing, before the first cordon; a blocker excludes the host, a warning is reported."""

    def remembered(self) -> Mapping[str, Any]:
        """What every host of the rollout shares, such as resolved versions; plain JSON types."""

    def remember(self, what: Mapping[str, Any]) -> None:
        """Continue with what an earlier run of this rollout has found."""

    async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
        """Bring the drained host to the goal, or finish what an earlier run began; a blocker means that it failed.

        fence: shown to the host before its first change; the host compares it and records what it is changed for
        """

    async def prove(self, host: Host, before: NodeRow | None) -> tuple[Finding, ...]:
        """Prove that the node works and is at the goal; a blocker means that it is not, and the slot stays in use."""


class HostRecords(Protocol):
    """The records that hosts keep of the rollouts that change them; see `tasks.hosts.fence`."""

    async def begun_on(self, host: Host) -> Observed[HostIntent | None]:
        """What a host was changed for last, by its own record."""

    async def fence_off(self, host: Host, fencing_token: int) -> Observed[HostIntent | None]:
        """The same, once the host refuses every earlier run. Raises HostError."""

    async def forget(self, host: Host, rollout: str) -> None:
        """Remove the record of that rollout from the host. Raises HostError."""
