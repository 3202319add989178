"""Which exact versions a rollout installs: looked up once, on the first host, and then the same for every host."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import Sessions
from poolkeeper.tasks.outcomes import Finding, Gate, Subject
from poolkeeper.tasks.packages.apt.lists import read_packages, update_lists
from poolkeeper.tasks.packages.errors import NotResolved
from poolkeeper.tasks.packages.versions import Choice, findings_of, newest, numbers_of
from poolkeeper.tasks.provider import Provider
from poolkeeper.tasks.upgrade.goal import VersionGoal
from poolkeeper.tasks.upgrade.pinning import Pins, choose

_log = logging.getLogger(__name__)


class Resolver:
    """Looks up the versions of one rollout."""

    def __init__(self, sessions: Sessions, provider: Provider, gate: Gate, goal: VersionGoal, pins: Pins) -> None:
        """pins: versions that an earlier run of the same rollout has looked up"""
        self._sessions, self._provider, self._gate = sessions, provider, gate
        self._goal = goal
        self.pins = pins
        """The versions that were looked up so far."""
        self._looking_up = asyncio.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """Packages that the goal is about."""
        kubernetes_packages = self._provider.upgrade_packages if self._goal.kubernetes else ()
        return tuple(dict.fromkeys((*kubernetes_packages, *self._goal.packages)))

    async def update_lists(self, host: Host) -> None:
        """Fetch the package lists of a host, through the gate. Raises PackageError, GateRefused; HostError."""
        await self._gate.change(
            Subject("host", host.name),
            f"fetch the package lists of host {host.name}",
            lambda: update_lists(self._sessions, host),
            if_dry_run=None,
        )

    async def version(self, host: Host, *, lists_are_fresh: bool = False) -> str | None:
        """The exact Kubernetes version, as `1.36.3`; None: the goal has none.

        Raises PackageError, ProviderError, GateRefused; HostError.
        """
        wanted = self._goal.kubernetes
        if wanted is None or self._goal.exact:
            return wanted and wanted.removeprefix("v")
        async with self._looking_up:
            if self.pins.kubernetes is None:
                found = await self._provider.newest_patch(wanted.removeprefix("v"))
                if found is None:
                    found = await self._newest_patch_on(host, wanted, lists_are_fresh=lists_are_fresh)
                _log.info(
                    "Kubernetes %s is %s in this rollout: the newest that host %s can get", wanted, found, host.name
                )
                self.pins = replace(self.pins, kubernetes=found)
            return self.pins.kubernetes

    async def _newest_patch_on(self, host: Host, wanted: str, *, lists_are_fresh: bool) -> str:
        if not lists_are_fresh:
            await self.update_lists(host)
        name = self._provider.upgrade_packages[0]
        package = (await read_packages(self._sessions, host, (name,)))[name]
        found = newest(package, wanted)
        if found is None:
            available = ", ".join(package.available[:5]) or "no version"
            raise NotResolved(f"the sources of host {host.name} have no {name} {wanted}; they have {available}")
        return numbers_of(found)

    async def choose(self, host: Host, version: str | None) -> tuple[Choice, tuple[Finding, ...]]:
        """The exact version of each package of a host, and blockers for the packages that it cannot have.

        Raises PackageError; HostError.
        """
        if not self.names:
            return Choice({}), ()
        here = await read_packages(self._sessions, host, self.names)
        kubernetes_packages = self._provider.upgrade_packages if version else ()
        # nothing is awaited from here on, so of two hosts at the same moment one sets the pins for both
        choice = choose(self._goal, version, kubernetes_packages, here, self.pins)
        if not choice.missing and not choice.older:
            chosen = {name: choice.versions[name] for name in kubernetes_packages if name in choice.versions}
            self.pins = replace(self.pins, packages={**chosen, **self.pins.packages})
        return choice, findings_of(host, choice, here)

    def digest(self, version: str | None) -> str:
        """Digest of the goal with its exact version."""
        return (self._goal if version is None else self._goal.pinned(version)).digest
