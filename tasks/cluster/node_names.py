"""Names of nodes that a person has typed. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class NodesMistyped(Exception):
    """Names of nodes that there are not; the message has names that are near."""

    def __init__(self, names: Sequence[str], there: Iterable[str]) -> None:
        known = sorted(there)
        told = []
        for name in names:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
            hint = f"did you mean {' or '.join(near)}?" if near else "`kubectl get nodes` lists those there are."
            told.append(f"there is no node {name}: {hint}")
        super().__init__("\n".join(told))
