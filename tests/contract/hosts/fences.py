"""What runs of one rollout show a host before they change it."""

from __future__ import annotations

from poolkeeper.tasks.hosts.fence import Fence, HostIntent

INTENT = HostIntent("0123456789ab", "0123456789abcdef")


def fence(fencing_token: int = 1, intent: HostIntent = INTENT) -> Fence:
    """A run of that fencing token."""
    return Fence(fencing_token, intent)
