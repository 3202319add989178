"""What an API server does to its clients on bad days, on demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _every_request(method: str, path: str) -> bool:
    return True


@dataclass(slots=True)
class Faults:
    """Set the fields at any time; they hold from the next request on."""

    down: bool = False
    """Connections are cut without an answer."""
    throttled: int = 0
    """So many of the next requests get 429 with `Retry-After: 1` and no cause, as from API priority and fairness."""
    unavailable: int = 0
    """So many of the next requests get 503."""
    unanswered: int = 0
    """So many of the next requests are carried out, and then the connection is cut in place of an answer."""
    concerns: Callable[[str, str], bool] = _every_request
    """Which requests, by method and path, the three counts are for."""

    def spend(self, count: str, method: str, path: str) -> bool:
        """Whether this request meets the named fault; if so, it is one fewer from now on."""
        left = getattr(self, count)
        if left <= 0 or not self.concerns(method, path):
            return False
        setattr(self, count, left - 1)
        return True
