"""What a rollout is: a goal for a pool, and the limits within which it runs. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class OnBlocked(StrEnum):
    """What happens when a drain does not end in time."""

    STOP = "stop"
    """The node returns to service, and nothing new starts."""
    SKIP = "skip"
    """The node returns to service, and the rollout continues."""
    FORCE = "force"
    """The remaining pods are deleted, despite their budgets. Needs approval."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What is wanted in the end. Two runs with the same goal for the same pool are runs of the same rollout."""

    flow: str
    pool: str
    wanted: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits; written in claims and on the Lease."""
        text = json.dumps([self.flow, self.pool, self.wanted], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Limits:
    """How careful a rollout is. An approval is bound to all of these."""

    on_blocked: OnBlocked = OnBlocked.STOP
    delete_emptydir_data: bool = False
    """Pods with an emptyDir on disk may be evicted; their data is lost."""
    drain_timeout_s: float = 600.0
    failure_budget: int = 1
    """As soon as so many hosts have failed, nothing new starts."""
    soak_s: float = 0.0
    """How long to wait after a wave, before its gates."""
    gate_timeout_s: float = 300.0
    """How long workloads that were Ready before may take to be Ready again after a wave."""
    headroom_timeout_s: float = 1800.0
    """How long a host waits until its pool and domain have headroom."""
    outside_windows: bool = False
    """Hosts may start at any time; freezes count all the same."""
    works_on_cordoned: bool = False
    """Nodes that someone else has cordoned are changed too; their cordon stays."""

    node_is_dead: bool = False
    """The machine is gone: its drain asks once what may be evicted, and waits for nothing that only a kubelet ends."""

    def row(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {**asdict(self), "on_blocked": str(self.on_blocked)}
