"""Checks the names of nodes that a user has typed. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from poolkeeper.tasks.outcomes import Invalid


class NodesMistyped(Invalid):
    """There are no nodes of these names; the message suggests similar names."""

    id = "cluster.nodes.not-found"
    expected = "names of existing nodes"
    source = "command line"

    def __init__(self, names: Sequence[str], there: Iterable[str]) -> None:
        known = sorted(there)
        lines = []
        for name in names:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
            hint = f"did you mean {' or '.join(near)}?" if near else "run `kubectl get nodes` for the names."
            lines.append(f"there is no node {name}: {hint}")
        super().__init__("\n".join(lines))
