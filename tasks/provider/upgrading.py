"""How a provider lets a host's Kubernetes be upgraded, as data: who carries it out looks at the kind of way.

- `OnHost`: a script that the drained host runs.
- `ByCall`: the provider is called, does it on the host, and a task of its own tells how it went.
- `HandOff`: a person does it by the vendor's own steps, and the Node tells when it is done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from poolkeeper.tasks.outcomes import Secret


@dataclass(frozen=True, slots=True)
class UpgradeRule:
    """How far apart a provider lets versions be, in minors of Kubernetes 1, and what else it asks for."""

    minors_behind: int
    """A kubelet may be so much older than the API server; it may never be newer."""
    one_minor_steps: bool
    """Whether a node goes through every minor on its way."""
    source: str
    """Who says so, for a finding."""
    min_disk_free_share: float = 0.0
    """Of each file system that packages take room on, to be free afterwards."""


UPSTREAM = UpgradeRule(3, one_minor_steps=False, source="https://kubernetes.io/releases/version-skew-policy/")
"""Kubernetes' own rule: a drained node's kubelet may skip minors."""


@dataclass(frozen=True, slots=True)
class OnHost:
    """A script that the host runs as root; run again it finishes what was cut off."""

    script: Secret


@dataclass(frozen=True, slots=True)
class ByCall:
    """The provider does it."""

    carry_out: Callable[[Callable[[], Awaitable[bool]]], Awaitable[str]]
    """Wait until what runs there has ended, call unless the function given says that it is done by then, wait for the
    end. Answers why it failed, empty when it did not. Raises ProviderError; waits for ever: put it under a deadline."""
    refuses: Callable[[], Awaitable[str]]
    """Why it takes no node to that version, to be asked before anything is touched; empty: it does. Raises
    ProviderError."""


@dataclass(frozen=True, slots=True)
class HandOff:
    """Nothing is run: a person is shown what to do."""

    steps: str
    """The vendor's steps, with the commands in them."""


Way = OnHost | ByCall | HandOff
