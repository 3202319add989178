"""What a rollout asks of the flow that it runs for: what is done to a host, and what hosts keep of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts.fence import Begun, Fence
from poolkeeper.tasks.outcomes import Finding, Observed


class HostWork(Protocol):
    """What a flow does to a host. Each method reads afresh, is idempotent, and mutates through the gate only."""

    hands_over: bool
    """The drained node is handed to a person: neither changed nor given back by this run."""
    works_on_not_ready: bool
    works_without_node: bool
    """At the goal there is no Node: it goes with the change, and is not given back."""

    @property
    def one_by_one(self) -> bool:
        """Whether hosts are taken one after the other, however many may be unavailable."""

    async def at_goal(self, host: Host, node: NodeRow | None) -> bool:
        """Whether what is wanted holds already. Raises HostError and ProviderError."""

    async def prepare(self, host: Host) -> tuple[Finding, ...]:
        """What can be done before the first cordon without disturbing anything; a blocker keeps the host out."""

    def remembered(self) -> Mapping[str, Any]:
        """What every host of the rollout is to share, such as versions looked up; plain JSON types."""

    def remember(self, what: Mapping[str, Any]) -> None:
        """What an earlier run of this rollout had found."""

    async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
        """Bring the drained host to the goal, or take up what an earlier run began; a blocker means that it failed.

        fence: what the host is shown before its first change; it compares, and keeps for what it was changed
        """

    async def prove(self, host: Host, before: NodeRow | None) -> tuple[Finding, ...]:
        """Show that the node works and the goal holds; a blocker means that it does not, and the slot is kept."""


class HostRecords(Protocol):
    """What hosts keep of the rollouts that change them; see `tasks.hosts.fence`."""

    async def begun_on(self, host: Host) -> Observed[Begun | None]:
        """For what a host was changed last, as it says itself."""

    async def fence_off(self, host: Host, fencing_token: int) -> Observed[Begun | None]:
        """The same, once the host turns away every earlier run. Raises HostError."""

    async def forget(self, host: Host, rollout: str) -> None:
        """Nothing of that rollout is begun on the host any more. Raises HostError."""
