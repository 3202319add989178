"""One set of versions for a whole rollout: what the first host is offered is what every host after it gets. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from poolkeeper.tasks.fleet.versions import numbers, older_package, same_version
from poolkeeper.tasks.hosts.packages import Package, newest
from poolkeeper.tasks.upgrade.goal import Goal


@dataclass(frozen=True, slots=True)
class Pins:
    """What was looked up so far. Kept with a rollout's plan, it makes a later run of it go on with the same."""

    kubernetes: str | None = None
    """What a goal such as `1.36` means: `1.36.3`."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Package -> exact version of those that carry the Kubernetes version."""

    def row(self) -> dict[str, Any]:
        """The pins as plain JSON types."""
        return {"kubernetes": self.kubernetes, "packages": dict(sorted(self.packages.items()))}

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Pins:
        """The pins that `row` was made of."""
        return cls(row.get("kubernetes"), dict(row.get("packages") or {}))


@dataclass(frozen=True, slots=True)
class Choice:
    """The versions that one host gets, or what it lacks for them."""

    versions: Mapping[str, str]
    """Package -> exact version, of every package that is to have one."""
    not_installed: tuple[str, ...] = ()
    """Packages that are named and that apt has not installed: they came there by other means, or never."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Package -> version that the host's sources do not have."""
    going_back: Mapping[str, str] = field(default_factory=dict)
    """Package -> version that is older than the installed one."""


def choose(goal: Goal, version: str | None, carriers: Sequence[str], here: Mapping[str, Package], pins: Pins) -> Choice:
    """The exact version of each package of one host.

    version: of Kubernetes, exact; None: kubelets stay
    carriers: packages that carry it, the kubelet's first; those that are not installed are left out, but the first
    here: every package of the goal and of the carriers, as the host has them
    """
    versions: dict[str, str] = {}
    missing: dict[str, str] = {}
    going_back: dict[str, str] = {}
    not_installed: list[str] = []
    for name, wanted in goal.packages.items():
        if not here[name].installed:
            not_installed.append(name)
        elif older_package(wanted, here[name].installed):
            going_back[name] = wanted
        elif here[name].installed == wanted or wanted in here[name].available:
            versions[name] = wanted
        else:
            missing[name] = wanted
    for name in carriers if version else ():
        package = here[name]
        if not package.installed:
            not_installed += [name] if name == carriers[0] else []
            continue
        assert version is not None
        found = pins.packages.get(name) or _there(package, version) or newest(package, version)
        if found is not None and older_package(found, package.installed):
            going_back[name] = found
        elif found is not None and (found == package.installed or found in package.available):
            versions[name] = found
        else:
            missing[name] = found or version
    return Choice(versions, tuple(not_installed), missing, going_back)


def _there(package: Package, version: str) -> str | None:
    """The installed version, where it is a wanted one already."""
    return package.installed if same_version(package.installed, version) else None


def exact_version(package_version: str) -> str:
    """`1.36.3` of `1.36.3-1.1`."""
    return ".".join(map(str, numbers(package_version.partition(":")[2] or package_version)))


def same_runtime(told: str, packages: Mapping[str, str]) -> bool:
    """Whether a node's runtime, told as `containerd://1.6.24~ds1`, is of the version that the packages have.

    Distributions write builds in their own ways, so the numbers alone are compared; where no package is a runtime's
    there is nothing to compare.
    """
    kind, _, version = told.partition("://")
    wanted = [exact_version(packages[name]) for name in RUNTIMES if name in packages and RUNTIMES[name].kind == kind]
    return not wanted or exact_version(version) in wanted


@dataclass(frozen=True, slots=True)
class Runtime:
    """A container runtime's package."""

    unit: str
    """systemd's name of it."""
    kind: str
    """What a Node calls it."""


RUNTIMES: Mapping[str, Runtime] = {
    "containerd": Runtime("containerd", "containerd"),
    "containerd.io": Runtime("containerd", "containerd"),
    "runc": Runtime("containerd", "runc"),
    "cri-o": Runtime("crio", "cri-o"),
    "docker.io": Runtime("docker", "docker"),
    "docker-ce": Runtime("docker", "docker"),
}
