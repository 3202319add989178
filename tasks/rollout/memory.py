"""What a pool's Lease remembers: of each rollout failures spent and what hosts share; which Nodes the pool had. Pure.

A rollout that is not finished yet is remembered also while another goal has the pool, such as a host's maintenance.
Which Nodes there were is the pool's and no rollout's: one that was deleted is missing, whatever the goal.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

KEPT = 5
"""So many unfinished rollouts; of more, those that were carried on longest ago are forgotten."""

Note = Mapping[str, Any]


def begun(before: Note, rollout: str, about: Note, at: str, members: Collection[str] = ()) -> dict[str, Any]:
    """The note of a rollout that begins or goes on.

    about: who carries it out now, and what it is, for people; at: the present moment, ISO 8601, UTC
    members: the pool's Nodes that are counted on from now
    """
    unfinished = dict(before.get("unfinished") or {})
    mine = {"spent": {}, "shared": {}, **unfinished.pop(rollout, {}), "at": at}
    latest = sorted(unfinished.items(), key=lambda one: str(one[1].get("at", "")))[-(KEPT - 1) :]
    note = {**about, "rollout": rollout, "unfinished": {**dict(latest), rollout: mine}}
    return note | ({"members": sorted(members)} if members else {})


def ended(note: Note, rollout: str) -> dict[str, Any]:
    """The note when a rollout needs no more runs: the others' memory stays."""
    unfinished = {key: value for key, value in (note.get("unfinished") or {}).items() if key != rollout}
    return {"unfinished": unfinished} | {key: note[key] for key in ("members",) if key in note}


def members_of(note: Note) -> frozenset[str]:
    """Nodes that the pool had when its latest rollout began."""
    told = note.get("members")
    return frozenset(map(str, told)) if isinstance(told, list) else frozenset()


def without_member(note: Note, node: str) -> dict[str, Any]:
    """The note when one of them is about to go for good: it is not missed."""
    return {**note, "members": sorted(members_of(note) - {node})}


def remembered(note: Note, rollout: str, what: str) -> dict[str, Any]:
    """`spent` (host -> what failed) or `shared` of one rollout."""
    return dict(((note.get("unfinished") or {}).get(rollout) or {}).get(what) or {})


def with_remembered(note: Note, rollout: str, what: str, value: Note) -> dict[str, Any]:
    """The note with one of the two replaced."""
    unfinished = dict(note.get("unfinished") or {})
    unfinished[rollout] = {**(unfinished.get(rollout) or {}), what: dict(value)}
    return {**note, "unfinished": unfinished}
