"""The breaks: one rule of the product taken away in each, and the quickest test that must fail then.

`old` stands exactly once in its file. A row is named by what the broken product would do. A module for each package.
"""

from __future__ import annotations

from tests.mutations.breaks import (
    acceptance,
    audit,
    cluster,
    deployments,
    fees,
    fleet,
    flows,
    hosts,
    onboard,
    others,
    outcomes,
    provider,
    rollout,
    runs,
    upgrade,
)
from tests.mutations.breaks.row import Break

_PACKAGES = (
    acceptance,
    audit,
    cluster,
    deployments,
    fees,
    fleet,
    flows,
    hosts,
    onboard,
    others,
    outcomes,
    provider,
    rollout,
    runs,
    upgrade,
)
BREAKS: tuple[Break, ...] = tuple(row for package in _PACKAGES for row in package.BREAKS)

__all__ = ["BREAKS", "Break"]
