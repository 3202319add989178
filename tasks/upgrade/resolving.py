"""Which exact versions a rollout installs: looked up once, on the host that asks first, then the same for all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import Sessions
from poolkeeper.tasks.hosts.packages import NotResolved, Package, newest, read_packages, update_lists
from poolkeeper.tasks.outcomes import Finding, Gate, Subject
from poolkeeper.tasks.provider import Provider
from poolkeeper.tasks.upgrade.goal import Goal
from poolkeeper.tasks.upgrade.pinning import Choice, Pins, choose, exact_version
from poolkeeper.tasks.upgrade.telling import blocker

_log = logging.getLogger(__name__)


class Resolver:
    """One rollout's versions."""

    def __init__(self, sessions: Sessions, provider: Provider, gate: Gate, goal: Goal, pins: Pins) -> None:
        """pins: what an earlier run of the same rollout has looked up"""
        self._sessions, self._provider, self._gate = sessions, provider, gate
        self._goal = goal
        self.pins = pins
        """What was looked up so far."""
        self._looking_up = asyncio.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """Packages that matter."""
        carriers = self._provider.upgrade_packages if self._goal.kubernetes else ()
        return tuple(dict.fromkeys((*carriers, *self._goal.packages)))

    async def update_lists(self, host: Host) -> None:
        """Raises PackageError, GateRefused; HostError."""
        await self._gate.change(
            Subject("host", host.name),
            f"fetch the package lists of host {host.name} anew",
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
                _log.info("Kubernetes %s is %s in this rollout, by what %s is offered", wanted, found, host.name)
                self.pins = replace(self.pins, kubernetes=found)
            return self.pins.kubernetes

    async def _newest_patch_on(self, host: Host, wanted: str, *, lists_are_fresh: bool) -> str:
        if not lists_are_fresh:
            await self.update_lists(host)
        name = self._provider.upgrade_packages[0]
        package = (await read_packages(self._sessions, host, (name,)))[name]
        found = newest(package, wanted)
        if found is None:
            raise NotResolved(f"its sources have no {name} {wanted}, but {', '.join(package.available[:5]) or 'none'}")
        return exact_version(found)

    async def choose(self, host: Host, version: str | None) -> tuple[Choice, tuple[Finding, ...]]:
        """The exact version of each package of a host, and blockers for those that it cannot have.

        Raises PackageError; HostError.
        """
        if not self.names:
            return Choice({}), ()
        here = await read_packages(self._sessions, host, self.names)
        carriers = self._provider.upgrade_packages if version else ()
        # from here to the end nothing is awaited: of two hosts that ask at once, one is first
        choice = choose(self._goal, version, carriers, here, self.pins)
        if not choice.missing and not choice.going_back:
            chosen = {name: choice.versions[name] for name in carriers if name in choice.versions}
            self.pins = replace(self.pins, packages={**chosen, **self.pins.packages})
        return choice, _lacking(host, choice, here)

    def digest(self, version: str | None) -> str:
        """Of the goal with its version looked up."""
        return (self._goal if version is None else self._goal.pinned(version)).digest


def _lacking(host: Host, choice: Choice, here: Mapping[str, Package]) -> tuple[Finding, ...]:
    missing = (
        blocker(
            host,
            "upgrade.packages.missing",
            f"its sources have no {name} {version}; they have {', '.join(here[name].available[:5]) or 'none'}",
            f"{name} {version}, which every host of this rollout gets",
            f"Add the source that has it, or wait for its mirror; see `apt-cache madison {name}` on the host.",
            source="apt-cache madison",
        )
        for name, version in choice.missing.items()
    )
    going_back = (
        blocker(
            host,
            "upgrade.packages.downgrade",
            f"{name} {here[name].installed} is installed, which is newer than {version}",
            f"{name} {version} or older: no package is taken back",
            f"Choose a newer goal; or take it back by hand: `apt-get install --allow-downgrades {name}={version}`.",
            source="dpkg-query",
        )
        for name, version in choice.going_back.items()
    )
    not_installed = (
        blocker(
            host,
            "upgrade.packages.not-installed",
            f"{name} is not installed by apt on this host",
            f"a package {name} that can be upgraded",
            "Upgrade it by the means it was installed by, or leave it out of the goal.",
            source="dpkg-query",
        )
        for name in choice.not_installed
    )
    return (*missing, *going_back, *not_installed)
