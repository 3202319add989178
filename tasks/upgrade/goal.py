"""What hosts are to be upgraded to."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from poolkeeper.tasks.fleet.versions import KUBERNETES_VERSION, numbers

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
"""Debian Policy 5.6.1."""
_PACKAGE_VERSION = re.compile(r"([0-9]+:)?[0-9][A-Za-z0-9.+~-]*")
"""Debian Policy 5.6.12."""
KUBERNETES_PACKAGES = ("kubelet", "kubeadm", "kubectl")
"""Their version is the goal's `kubernetes`, never a package's of its own."""


class GoalInvalid(ValueError):
    """The goal makes no sense; the message says what to write."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A Kubernetes version, packages' versions, or both. Raises GoalInvalid."""

    kubernetes: str | None = None
    """`v1.36.3`, or `1.36` for the newest patch; None: kubelets stay as they are."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Name -> exact version: the container runtime's, as `containerd` -> `1.6.24~ds1-1+deb12u1`."""

    def __post_init__(self) -> None:
        if not self.kubernetes and not self.packages:
            raise GoalInvalid("the goal is empty: name a Kubernetes version, a package's version, or both.")
        if self.kubernetes and not re.fullmatch(KUBERNETES_VERSION, self.kubernetes):
            raise GoalInvalid(_no_version(self.kubernetes))
        for name, version in self.packages.items():
            if not _PACKAGE.fullmatch(name) or not _PACKAGE_VERSION.fullmatch(version):
                raise GoalInvalid(f"{name}={version} is no package with its version: write both as dpkg shows them.")
            if name in KUBERNETES_PACKAGES:
                raise GoalInvalid(f"{name} is upgraded with Kubernetes: give its version as `kubernetes`.")

    @property
    def exact(self) -> bool:
        """Whether every version is named to its end; else the newest patch is still to be looked up."""
        return self.kubernetes is None or len(numbers(self.kubernetes)) > 2

    def pinned(self, kubernetes: str) -> Goal:
        """The same with its newest patch looked up."""
        return replace(self, kubernetes=f"v{kubernetes.removeprefix('v')}")

    def row(self) -> dict[str, Any]:
        """The goal as plain JSON types, the same for goals that mean the same."""
        version = self.kubernetes and f"v{self.kubernetes.removeprefix('v')}"
        return {"kubernetes": version, "packages": dict(sorted(self.packages.items()))}

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Goal:
        """The goal that `row` was made of. Raises GoalInvalid."""
        kubernetes, packages = row.get("kubernetes"), row.get("packages") or {}
        if not isinstance(kubernetes, str | None) or not isinstance(packages, Mapping):
            raise GoalInvalid("the goal is none that poolkeeper has written.")
        if not all(isinstance(word, str) for pair in packages.items() for word in pair):
            raise GoalInvalid("the goal is none that poolkeeper has written.")
        return cls(kubernetes, dict(packages))

    @property
    def digest(self) -> str:
        """Tells goals apart, on a Node or a Lease; 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.row(), sort_keys=True).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        parts = [f"Kubernetes {self.row()['kubernetes']}"] if self.kubernetes else []
        parts += [f"{name} {version}" for name, version in sorted(self.packages.items())]
        return " and ".join(parts)


def _no_version(text: str) -> str:
    """What to write instead of a text that is no version of Kubernetes."""
    packaged = re.fullmatch(r"(v|[0-9]+:)?(?P<version>1\.[0-9]{1,3}\.[0-9]{1,3})[-~.].*", text)
    if packaged is None:
        return f"{text[:60]} is no version of Kubernetes: write it like 1.36.3, or 1.36."
    return (
        f"{text[:60]} is a package's version, which no kubelet tells: write the version of Kubernetes in it,"
        f" {packaged['version']}; every host gets the same package of it."
    )
