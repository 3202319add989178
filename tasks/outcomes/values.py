"""What was observed, or that it could not be: unknown is a value, never a pass and never a failure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

T = TypeVar("T")


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
