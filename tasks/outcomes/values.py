"""An observed value, or that it could not be observed: unknown is a value, never a pass and never a failure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from poolkeeper.tasks.outcomes.errors import PoolkeeperError

T = TypeVar("T", covariant=True)


@dataclass(frozen=True, slots=True)
class Known(Generic[T]):
    """A value and when it was seen (aware, UTC)."""

    value: T
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that could not be read: `reason` is a clause that completes "unknown: ..."."""

    reason: str
    seen_at: datetime


Observed = Known[T] | Unknown
"""Either of the two; every fact about a host or a node has this type."""


class NotKnown(PoolkeeperError):
    """A rule needs a value that could not be read; the message is the reason."""

    id = "facts.unknown"
    expected = "a value that could be read"


def known(observed: Observed[T]) -> T:
    """The value, for a rule that needs it. Raises NotKnown with the reason."""
    if isinstance(observed, Unknown):
        raise NotKnown(observed.reason)
    return observed.value
