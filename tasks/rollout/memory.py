"""What a pool's Lease remembers: of each rollout failures spent and what hosts share; which Nodes the pool had. Pure.

A rollout that is not finished yet is remembered also while another goal has the pool, such as a host's maintenance.
Which Nodes there were is the pool's and no rollout's: one that was deleted is missing, whatever the goal.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

KEPT = 5
"""So many unfinished rollouts; of more, those that were carried on longest ago are forgotten."""
KEPT_FOR = timedelta(days=30)
"""One that nobody has carried on for that long begins anew: with the versions of that day, and nothing spent."""

Note = Mapping[str, Any]


def begun(before: Note, rollout: str, about: Note, at: str, members: Collection[str] = ()) -> dict[str, Any]:
    """The note of a rollout that begins or goes on.

    about: who carries it out now, and what it is, for people; at: the present moment, ISO 8601, UTC
    members: the pool's Nodes that are counted on from now
    """
    unfinished = {key: value for key, value in (before.get("unfinished") or {}).items() if _carried_on_since(value, at)}
    mine = {"spent": {}, "shared": {}, **unfinished.pop(rollout, {}), "at": at}
    latest = sorted(unfinished.items(), key=lambda one: str(one[1].get("at", "")))[-(KEPT - 1) :]
    note = {**about, "rollout": rollout, "unfinished": {**dict(latest), rollout: mine}}
    return note | ({"members": sorted(members)} if members else {})


def _carried_on_since(one: Note, at: str) -> bool:
    """Whether that was not too long ago; an entry that does not tell when is kept."""
    then = str(one.get("at", ""))
    return not then or datetime.fromisoformat(at) - datetime.fromisoformat(then) <= KEPT_FOR


def ended(note: Note, rollout: str, *, half_changed: bool = False) -> dict[str, Any]:
    """The note when a rollout goes no further by itself: the others' memory stays.

    half_changed: a host's change was begun and did not end; whoever finishes it needs what its hosts share
    """
    unfinished = {key: value for key, value in (note.get("unfinished") or {}).items() if key != rollout}
    if half_changed and (mine := (note.get("unfinished") or {}).get(rollout)):
        unfinished[rollout] = {**mine, "spent": {}}
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
