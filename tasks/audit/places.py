"""Where hosts are."""

from __future__ import annotations

from dataclasses import dataclass

CLOUD = "cloud"
"""The place of the control plane, and of everything that is in no site of the fleet."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a host is, and what is known to happen to it."""

    site: str
    domain: str
    """Empty: none is declared."""
    note: str = ""
    """Why trouble with the host is expected: `cordoned`, `a rollout works on it`, ...; empty: nothing is known."""
