"""What a pool's Lease remembers of its rollouts: failures spent and what hosts share, per rollout. Pure.

A rollout that is not finished yet is remembered also while another goal has the pool, such as a host's maintenance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEPT = 5
"""So many unfinished rollouts; of more, those that were carried on longest ago are forgotten."""

Note = Mapping[str, Any]


def begun(before: Note, rollout: str, about: Note, at: str) -> dict[str, Any]:
    """The note of a rollout that begins or goes on.

    about: who carries it out now, and what it is, for people; at: the present moment, ISO 8601, UTC
    """
    unfinished = dict(before.get("unfinished") or {})
    mine = {"spent": {}, "shared": {}, **unfinished.pop(rollout, {}), "at": at}
    latest = sorted(unfinished.items(), key=lambda one: str(one[1].get("at", "")))[-(KEPT - 1) :]
    return {**about, "rollout": rollout, "unfinished": {**dict(latest), rollout: mine}}


def ended(note: Note, rollout: str) -> dict[str, Any]:
    """The note when a rollout needs no more runs: the others' memory stays."""
    unfinished = {key: value for key, value in (note.get("unfinished") or {}).items() if key != rollout}
    return {"unfinished": unfinished}


def remembered(note: Note, rollout: str, what: str) -> dict[str, Any]:
    """`spent` (host -> what failed) or `shared` of one rollout."""
    return dict(((note.get("unfinished") or {}).get(rollout) or {}).get(what) or {})


def with_remembered(note: Note, rollout: str, what: str, value: Note) -> dict[str, Any]:
    """The note with one of the two replaced."""
    unfinished = dict(note.get("unfinished") or {})
    unfinished[rollout] = {**(unfinished.get(rollout) or {}), what: dict(value)}
    return {**note, "unfinished": unfinished}
