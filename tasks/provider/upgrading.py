"""How a provider lets a host's Kubernetes be upgraded, as data. `tasks/upgrade/ways.py` acts by the kind of way.

- `OnHost`: a script that the drained host runs.
- `ByCall`: the provider is called and upgrades the host; its task reports the result.
- `HandOff`: a person upgrades the host by the vendor's steps; the Node reports its new version.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from poolkeeper.tasks.outcomes import Secret


@dataclass(frozen=True, slots=True)
class UpgradeRule:
    """How far apart a provider lets versions be, in minors of Kubernetes 1, and what else it asks for."""

    minors_behind: int
    """How many minors a kubelet may be older than the API server; it may never be newer."""
    one_minor_steps: bool
    """Whether a node has to go through every minor on its way."""
    source: str
    """The document with this rule, for a finding."""
    min_disk_free_share: float = 0.0
    """Share of each file system that packages are installed on, which has to be free afterwards."""


UPSTREAM = UpgradeRule(3, one_minor_steps=False, source="https://kubernetes.io/releases/version-skew-policy/")
"""Kubernetes' own rule: a drained node's kubelet may skip minors."""


@dataclass(frozen=True, slots=True)
class OnHost:
    """A script that the host runs as root; run again, it finishes what was interrupted."""

    script: Secret


@dataclass(frozen=True, slots=True)
class ByCall:
    """The provider upgrades the node when it is called."""

    run: Callable[[Callable[[], Awaitable[bool]]], Awaitable[str]]
    """Waits for a task that runs already, calls unless the given function says that the node is upgraded by then, and
    waits for the end of the task. Returns why it failed; empty: it succeeded. Raises ProviderError. Has no deadline of
    its own."""
    refuses: Callable[[], Awaitable[str]]
    """Why the provider does not upgrade nodes to that version; empty: it does. Called before anything is touched.
    Raises ProviderError."""


@dataclass(frozen=True, slots=True)
class HandOff:
    """poolkeeper runs nothing: a person is shown what to do."""

    steps: str
    """The vendor's steps, with the commands in them."""


Way = OnHost | ByCall | HandOff
