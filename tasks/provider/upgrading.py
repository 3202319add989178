"""By which way a provider lets a host's Kubernetes be upgraded, as data: who carries it out looks at the kind.

- `OnHost`: a script that the drained host runs, with packages that were fetched before.
- `ByCall`: the provider does it on the host when it is called; a task of its own tells how it went.
- `HandOff`: a person does it by the vendor's own steps, and the Node tells when it is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tasks.outcomes import Secret


@dataclass(frozen=True, slots=True)
class SkewRule:
    """How far apart a provider lets versions be. Minors of Kubernetes 1."""

    minors_behind: int
    """A kubelet may be so much older than the API server; it may never be newer."""
    one_minor_steps: bool
    """Whether a node goes through every minor on its way."""
    source: str
    """Who says so, for a finding."""


UPSTREAM = SkewRule(3, one_minor_steps=False, source="https://kubernetes.io/releases/version-skew-policy/")
"""Kubernetes' own rule: a drained node's kubelet may skip minors."""


@dataclass(frozen=True, slots=True)
class OnHost:
    """A script that the host runs as root."""

    script: Secret
    packages: Mapping[str, str] = field(default_factory=dict)
    """Packages that it installs, each in exactly this version: to be fetched before the drain."""


@dataclass(frozen=True, slots=True)
class ByCall:
    """The provider is called, see `Provider.begin_upgrade`."""


@dataclass(frozen=True, slots=True)
class HandOff:
    """Nothing is run: a person is shown what to do."""

    steps: str
    """The vendor's steps, as one paragraph with the commands in it."""


Way = OnHost | ByCall | HandOff


class TaskState(StrEnum):
    """Where a provider's task stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class UpgradeTask:
    """A provider's task as it was read."""

    state: TaskState
    told: str = ""
    """What the provider says of it, for a person."""
