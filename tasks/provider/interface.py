"""What every provider of a control plane offers: checks of a pool, joining, upgrading, removing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from poolkeeper.tasks.fleet.model import Host, Pool
from poolkeeper.tasks.outcomes import CannotGoOn, ChangeState, Checked, Secret
from poolkeeper.tasks.provider.upgrading import UpgradeRule, Way


class ProviderError(CannotGoOn):
    """The provider refused or failed."""

    id = "provider.refused"
    expected = "the provider does what it is asked for"
    next_step = "Correct what it reports, then start again; poolkeeper looks first and repeats no call blindly."
    source = "provider"

    def __init__(
        self, observed: str, *, next_step: str | None = None, code: str = "", status: int | None = None
    ) -> None:
        """code, status: as the provider's API answered; empty and None where it did not"""
        super().__init__(observed, next_step=next_step)
        self.code = code
        self.status = status


class OutcomeUnknown(ProviderError):
    """There is no usable answer: the call may or may not have taken effect. Read the state before calling again."""

    id = "provider.no-answer"
    expected = "an answer of the provider's API"
    next_step = "Check the way to its endpoint (route, proxy settings), then start again."
    leaves = ChangeState.UNKNOWN


class ProviderThrottled(ProviderError):
    """The provider refused because of too many requests, also after some retries: nothing was done."""

    id = "provider.throttled"
    expected = "the provider accepts the request"
    next_step = "Wait a minute and start again; other automation uses up the API's quota."

    def __init__(
        self, observed: str, *, code: str = "", status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(observed, code=code, status=status)
        self.retry_after_s = retry_after_s


class Provider(Protocol):
    """The owner of the control plane that a pool's hosts join."""

    async def check_pool(self, pool: Pool) -> tuple[Checked, ...]:
        """Whether hosts can join the cluster and the pool now. Raises ProviderError."""

    async def join_script(self, host: Host, arch: str) -> Secret:
        """A short-lived POSIX shell script that makes this host, of architecture `arch`, join. Raises ProviderError.

        Run as root, within the pool's `join.timeout`.
        """

    async def join_ended(self, host: Host) -> None:
        """Revoke what `join_script` made for this host, such as a token. Raises ProviderError.

        Called only when the script has ended, and only by the run that made it.
        """

    def leave_script(self, host: Host) -> Secret:
        """A POSIX shell script that removes the provider's parts from a host.

        It never deletes through a mount: it unmounts what is mounted below the folders that it removes, or it stops
        before it has changed anything.
        """

    async def lists_node(self, host: Host) -> bool:
        """Whether the provider has a list of the pool's nodes, beside their Node objects, with this host's node.

        Raises ProviderError.
        """

    async def remove_node(self, host: Host) -> str:
        """Remove a drained host's node from that list, and wait for the end; why it failed, empty: it succeeded.

        The Node object may be deleted with it. Raises ProviderError. Has no deadline of its own.
        """

    @property
    def upgrade_rule(self) -> UpgradeRule:
        """How far apart versions may be."""

    @property
    def upgrades_one_by_one(self) -> bool:
        """Whether it upgrades one node of a pool after the other: further drained nodes would only wait."""

    @property
    def upgrade_packages(self) -> tuple[str, ...]:
        """Packages with Kubernetes' version, the kubelet's first; empty: the provider does not upgrade by packages."""

    async def newest_patch(self, minor: str) -> str | None:
        """The version that `1.36` stands for, such as `1.36.3`; None: the newest package's. Raises ProviderError."""

    def upgrade_way(self, host: Host, version: str, packages: Mapping[str, str]) -> Way:
        """How a drained host is upgraded to a version.

        version: `1.36.3`
        packages: the exact version of each of `upgrade_packages` that is installed on the host
        """
