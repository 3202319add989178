"""What a break is."""

from __future__ import annotations

from typing import NamedTuple


class Break(NamedTuple):
    """One row."""

    id: str
    file: str
    old: str
    new: str
    test: str
    """A test file, or the node id of one test in it."""
