"""The goal of an upgrade: versions that hosts are brought to."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from poolkeeper.tasks.fleet.versions import KUBERNETES_VERSION, numbers
from poolkeeper.tasks.outcomes import Invalid

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
"""Debian Policy 5.6.1."""
_PACKAGE_VERSION = re.compile(r"([0-9]+:)?[0-9][A-Za-z0-9.+~-]*")
"""Debian Policy 5.6.12."""
KUBERNETES_PACKAGES = ("kubelet", "kubeadm", "kubectl")
"""Packages whose version is the goal's `kubernetes`."""


class GoalInvalid(Invalid):
    """The goal of an upgrade cannot be used."""

    id = "upgrade.goal.invalid"
    expected = "a version of Kubernetes, exact versions of packages, or both"
    next_step = "Correct the parameters `kubernetes` and `packages`."


@dataclass(frozen=True, slots=True)
class VersionGoal:
    """A Kubernetes version, packages' versions, or both. Raises GoalInvalid."""

    kubernetes: str | None = None
    """`v1.36.3`, or `1.36` for the newest patch; None: kubelets keep theirs."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Name -> exact version, such as `containerd` -> `1.6.24~ds1-1+deb12u1`."""

    def __post_init__(self) -> None:
        if not self.kubernetes and not self.packages:
            raise GoalInvalid(
                "the goal is empty", next_step="Give a version of Kubernetes, exact versions of packages, or both."
            )
        if self.kubernetes and not re.fullmatch(KUBERNETES_VERSION, self.kubernetes):
            raise _no_version(self.kubernetes)
        for name, version in self.packages.items():
            if not _PACKAGE.fullmatch(name) or not _PACKAGE_VERSION.fullmatch(version):
                raise GoalInvalid(
                    f"{name[:60]}={version[:60]} is not a package with its version",
                    next_step="Write name and version as `dpkg-query -W` shows them.",
                )
            if name in KUBERNETES_PACKAGES:
                raise GoalInvalid(
                    f"package {name} is upgraded with Kubernetes", next_step="Give its version as `kubernetes`."
                )

    @property
    def exact(self) -> bool:
        """Whether every version is exact; else the newest patch is still to be looked up."""
        return self.kubernetes is None or len(numbers(self.kubernetes)) > 2

    def require_exact(self) -> None:
        """A person approves exact versions. Raises GoalInvalid for a goal such as 1.36."""
        if not self.exact:
            raise GoalInvalid(
                f"an approval is for an exact version, and {self.kubernetes} is not exact",
                next_step="Write the whole version, such as 1.36.3.",
            )

    def pinned(self, kubernetes: str) -> VersionGoal:
        """The same goal with an exact version of Kubernetes."""
        return replace(self, kubernetes=f"v{kubernetes.removeprefix('v')}")

    def row(self) -> dict[str, Any]:
        """The goal as plain JSON types; goals that mean the same have the same row."""
        version = self.kubernetes and f"v{self.kubernetes.removeprefix('v')}"
        return {"kubernetes": version, "packages": dict(sorted(self.packages.items()))}

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> VersionGoal:
        """The goal that `row` was made of. Raises GoalInvalid."""
        kubernetes, packages = row.get("kubernetes"), row.get("packages") or {}
        if not isinstance(kubernetes, str | None) or not isinstance(packages, Mapping):
            raise GoalInvalid("the row is not a goal that poolkeeper has written")
        if not all(isinstance(word, str) for pair in packages.items() for word in pair):
            raise GoalInvalid("the row is not a goal that poolkeeper has written")
        return cls(kubernetes, dict(packages))

    @property
    def digest(self) -> str:
        """Identifies the goal on a host, a Node or a Lease; 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.row(), sort_keys=True).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        parts = [f"Kubernetes {self.row()['kubernetes']}"] if self.kubernetes else []
        parts += [f"{name} {version}" for name, version in sorted(self.packages.items())]
        return " and ".join(parts)


def _no_version(text: str) -> GoalInvalid:
    """What to write instead of a text that is no version of Kubernetes."""
    packaged = re.fullmatch(r"(v|[0-9]+:)?(?P<version>1\.[0-9]{1,3}\.[0-9]{1,3})[-~.].*", text)
    if packaged is None:
        return GoalInvalid(
            f"{text[:60]} is not a version of Kubernetes", next_step="Write the version like 1.36.3, or 1.36."
        )
    return GoalInvalid(
        f"{text[:60]} is the version of a package, which no kubelet reports",
        next_step=f"Write the version of Kubernetes in it, {packaged['version']}; every host gets the same package.",
    )
