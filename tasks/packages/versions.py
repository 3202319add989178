"""Which exact version of each package a host gets, and what keeps it from one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.fleet.versions import numbers, older_package, same_version
from poolkeeper.tasks.outcomes import Evidence, Finding, Severity, Subject

MISSING = "hosts.packages.missing"
"""Finding: the lists of the host, which may be old, do not have the version."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package on a host."""

    name: str
    installed: str
    """Version; empty: it is not installed."""
    held: bool
    """`apt-mark hold`: by a person, or by a join of poolkeeper."""
    available: tuple[str, ...]
    """Versions in the host's lists, the newest first."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The versions that one host gets, and the packages that it cannot have."""

    versions: Mapping[str, str]
    """Package -> exact version, of every package that is to have one."""
    not_installed: tuple[str, ...] = ()
    """Packages that are wanted and not installed by the package manager; nothing new is installed."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Package -> version that the host's sources do not have."""
    older: Mapping[str, str] = field(default_factory=dict)
    """Package -> version that is older than the installed one; no package is downgraded."""


def choose(wanted: Mapping[str, str], here: Mapping[str, Package]) -> Choice:
    """What a host gets of the wanted packages.

    wanted: name -> exact version
    here: every wanted package, as the host has it
    """
    not_installed = []
    versions, missing, older = dict[str, str](), dict[str, str](), dict[str, str]()
    for name, version in wanted.items():
        package = here[name]
        if not package.installed:
            not_installed.append(name)
        elif older_package(version, package.installed):
            older[name] = version
        elif package.installed == version or version in package.available:
            versions[name] = version
        else:
            missing[name] = version
    return Choice(versions, tuple(not_installed), missing, older)


def newest(package: Package, wanted: str) -> str | None:
    """The newest available version of a package that is a wanted one; None: there is none.

    wanted: `1.36` or `v1.36.3`
    """
    return next((version for version in package.available if same_version(without_epoch(version), wanted)), None)


def without_epoch(version: str) -> str:
    """`27.1.1-1` of `5:27.1.1-1`."""
    return version.partition(":")[2] or version


def numbers_of(version: str) -> str:
    """The numbers alone: `1.36.3` of `1.36.3-1.1`."""
    return ".".join(map(str, numbers(without_epoch(version))))


def findings_of(host: Host, choice: Choice, here: Mapping[str, Package]) -> tuple[Finding, ...]:
    """A blocker for each package that the host cannot have.

    here: the packages as the host has them
    """

    def blocker(id: str, observed: str, expected: str, next_step: str, source: str) -> Finding:
        evidence = Evidence(observed, expected, source, datetime.now(UTC))
        return Finding(id, Severity.BLOCKER, Subject("host", host.name), evidence, next_step)

    missing = (
        blocker(
            MISSING,
            f"its sources have no {name} {version}; they have {', '.join(here[name].available[:5]) or 'no version'}",
            f"{name} {version}, which every host of this run gets",
            f"Add the source that has it, or wait for the mirror; see `apt-cache madison {name}` on the host.",
            "apt-cache madison",
        )
        for name, version in choice.missing.items()
    )
    older = (
        blocker(
            "hosts.packages.downgrade",
            f"{name} {here[name].installed} is installed, which is newer than {version}",
            f"{name} {version} or older: poolkeeper downgrades no package",
            f"Choose a newer version; or downgrade by hand: `apt-get install --allow-downgrades {name}={version}`.",
            "dpkg-query",
        )
        for name, version in choice.older.items()
    )
    not_installed = (
        blocker(
            "hosts.packages.not-installed",
            f"{name} is not installed by apt on this host",
            f"a package {name} that can be upgraded",
            "Upgrade it in the way in which it was installed, or remove it from the goal.",
            "dpkg-query",
        )
        for name in choice.not_installed
    )
    return (*missing, *older, *not_installed)
