"""The preflight checks that a run skips, validated before anything is read from outside."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from poolkeeper.tasks.onboard.preflight import REGISTRY
from poolkeeper.tasks.runs.choosing import ChoiceInvalid


def check_skips(skips: Mapping[str, str]) -> Mapping[str, str]:
    """The checks to skip, each a known one with a reason. Raises ChoiceInvalid."""
    for name, reason in skips.items():
        if name not in REGISTRY:
            near = difflib.get_close_matches(name, REGISTRY, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ChoiceInvalid(f"skip_checks: there is no check {name}{hint}")
        if not reason.strip():
            raise ChoiceInvalid(f"skip_checks: give the reason why {name} is skipped; the reason is recorded")
    return skips
