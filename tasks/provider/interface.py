"""What any provider of a control plane gives: a look at the pool, a way in, a way to newer versions, a way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from poolkeeper.tasks.fleet.model import Host, Pool
from poolkeeper.tasks.outcomes import CannotGoOn, ChangeState, Checked, Secret
from poolkeeper.tasks.provider.upgrading import UpgradeRule, Way


class ProviderError(CannotGoOn):
    """The provider refused or failed; the message says what to do."""

    def __init__(self, message: str, *, code: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class OutcomeUnknown(ProviderError):
    """The call may or may not have taken effect: read the state again, do not repeat it blindly."""

    leaves = ChangeState.UNKNOWN


class Throttled(ProviderError):
    """The provider has too many requests, and still so after some patience: nothing was carried out."""

    def __init__(
        self, message: str, *, code: str = "", status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, code=code, status=status)
        self.retry_after_s = retry_after_s


class Provider(Protocol):
    """Who owns the control plane that a pool's hosts join."""

    async def check_pool(self, pool: Pool) -> tuple[Checked, ...]:
        """Whether the cluster and the pool can take hosts now. Raises ProviderError."""

    async def join_script(self, host: Host, arch: str) -> Secret:
        """A short-lived POSIX shell script that makes this host, of architecture `arch`, join. Raises ProviderError.

        Run as root, within the pool's `join.timeout`.
        """

    async def join_ended(self, host: Host) -> None:
        """Take back what `join_script` made for this host, such as a token: its script has ended. Raises ProviderError.

        Not called while the script may still run, nor for one that another run had made.
        """

    def leave_script(self, host: Host) -> Secret:
        """A POSIX shell script that takes the provider's parts off a host.

        It never deletes through a mount: what is mounted below what it removes is unmounted, or stops it before it
        has changed anything.
        """

    async def lists_node(self, host: Host) -> bool:
        """Whether it keeps a list of a pool's nodes, beside their Node objects, and the host's is in it.

        Raises ProviderError.
        """

    async def remove_node(self, host: Host) -> str:
        """Take a drained host's node off that list, to the end; why it failed, empty when it did not.

        The Node object may go with it. Raises ProviderError; waits for ever: put it under a deadline.
        """

    @property
    def upgrade_rule(self) -> UpgradeRule:
        """How far apart it lets versions be."""

    @property
    def upgrades_one_by_one(self) -> bool:
        """Whether it takes one node of a pool after the other: more at once would be drained, and only wait."""

    @property
    def upgrade_packages(self) -> tuple[str, ...]:
        """Packages of a host that carry the Kubernetes version, the kubelet's first; empty: it has means of its own."""

    async def newest_patch(self, minor: str) -> str | None:
        """The version that `1.36` means, as `1.36.3`; None: whatever its packages have. Raises ProviderError."""

    def upgrade_way(self, host: Host, version: str, packages: Mapping[str, str]) -> Way:
        """How a drained host is brought to a version.

        version: `1.36.3`
        packages: the exact version of each of `upgrade_packages` that is installed on the host
        """
