"""One set of versions for a whole rollout: every later host gets what was chosen for the first one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from poolkeeper.tasks.fleet.versions import same_version
from poolkeeper.tasks.packages.versions import Choice, Package, newest
from poolkeeper.tasks.packages.versions import choose as choose_exact
from poolkeeper.tasks.upgrade.goal import VersionGoal


@dataclass(frozen=True, slots=True)
class Pins:
    """The versions that were looked up so far. A later run of the same rollout reads them from the pool's Lease."""

    kubernetes: str | None = None
    """The exact version that a goal such as `1.36` stands for: `1.36.3`."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Package -> exact version, of the packages that have Kubernetes' version."""

    def row(self) -> dict[str, Any]:
        """The pins as plain JSON types."""
        return {"kubernetes": self.kubernetes, "packages": dict(sorted(self.packages.items()))}

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Pins:
        """The pins that `row` was made of."""
        return cls(row.get("kubernetes"), dict(row.get("packages") or {}))


def choose(
    goal: VersionGoal, version: str | None, kubernetes_packages: Sequence[str], here: Mapping[str, Package], pins: Pins
) -> Choice:
    """The exact version of each package of one host.

    version: of Kubernetes, exact; None: kubelets keep theirs
    kubernetes_packages: packages that have Kubernetes' version, the kubelet's first; the others may be missing
    here: every package of the goal and of Kubernetes, as the host has them

    The invariant: a pinned version wins; else the installed one, if it is the wanted one; else the newest build of it.
    """
    wanted, not_offered = dict(goal.packages), dict[str, str]()
    for name in kubernetes_packages if version else ():
        package = here[name]
        if not package.installed and name != kubernetes_packages[0]:
            continue
        assert version is not None
        found = pins.packages.get(name) or _installed(package, version) or newest(package, version)
        if found is None and package.installed:
            not_offered[name] = version
        else:
            wanted[name] = found or version
    choice = choose_exact(wanted, here)
    return replace(choice, missing={**choice.missing, **not_offered})


def _installed(package: Package, version: str) -> str | None:
    """The installed version, if it is the wanted one."""
    return package.installed if same_version(package.installed, version) else None
