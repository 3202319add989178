"""The state of rollouts on a pool's Lease: failures, what hosts share, intents; and the Nodes of the pool. Pure.

The state of an unfinished rollout stays on the Lease while another goal has the pool, such as a host's maintenance.
The list of Nodes belongs to the pool and not to a rollout: a deleted Node is missing, whatever the goal.

An **intent** is written before a Node is claimed, and removed once nothing of it is left on Node and host. A claim can
be written by everyone who may patch Nodes; an intent only by those who may write Leases in our namespace.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar

from pydantic import AwareDatetime, ConfigDict, StringConstraints, TypeAdapter

from poolkeeper.tasks.cluster.leases import Note
from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.cluster.written import STRICT, Short, UnreadableText, Word, read_part
from poolkeeper.tasks.hosts.fence import HostIntent
from poolkeeper.tasks.rollout.goal import Goal

KEPT = 5
"""At most so many unfinished rollouts are kept; the oldest without intents are dropped first."""
KEPT_FOR = timedelta(days=30)
"""A rollout that nobody has continued for so long starts over, with newly resolved versions and an unspent budget."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What a rollout is about to do to one host, or has started."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    node: Short
    """Name of its Node."""
    machine_id: Short
    """As its Node reported it; empty where there was no Node."""
    token: Annotated[str, StringConstraints(pattern="^[0-9a-f]{16}$")]
    """Also written to the host before it is changed."""
    node_is_dead: bool = False
    """A person has declared the machine gone for good; recovery relies on that."""
    hands_over: bool = False
    """The node is handed over to a person: poolkeeper changes nothing on its host."""

    @classmethod
    def of(cls, name: str, node: NodeRow | None, *, node_is_dead: bool = False, hands_over: bool = False) -> Intent:
        """A new one for the Node of that name, as it is."""
        machine_id = node.machine_id[:253] if node is not None else ""
        return cls(name, machine_id, secrets.token_hex(8), node_is_dead, hands_over)

    @property
    def asks_host(self) -> bool:
        """Whether the host keeps a record of it: not a dead one, nor one that is only handed over."""
        return not self.node_is_dead and not self.hands_over

    def begun(self, rollout: str) -> HostIntent:
        """The record on the host if it was changed for this intent."""
        return HostIntent(rollout, self.token)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """One rollout that may be continued."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    flow: Word
    goal: Mapping[str, Any]
    at: AwareDatetime
    """When a run continued it last."""
    spent: Mapping[Short, str] = field(default_factory=dict)
    """Host -> what failed."""
    shared: Mapping[str, Any] = field(default_factory=dict)
    """What hosts share, such as resolved versions."""
    intents: Mapping[Short, Intent] = field(default_factory=dict)
    """By host."""


_UNFINISHED = TypeAdapter(Unfinished)
_MEMBERS = TypeAdapter(dict[str, Short])


def unfinished(note: Note) -> dict[str, Unfinished]:
    """By rollout; an entry that cannot be read, or whose goal does not fit its id, is ignored."""
    return {rollout: one for rollout, one in _parts(note) if isinstance(one, Unfinished)}


def unreadable_parts(note: Note) -> tuple[str, ...]:
    """Why entries cannot be read, a sentence for each."""
    unreadable = (one for _, one in _parts(note) if isinstance(one, UnreadableText))
    return tuple(f"an unfinished rollout cannot be read: {one}" for one in unreadable)


def _parts(note: Note) -> Iterator[tuple[str, Unfinished | UnreadableText]]:
    there = note.get("unfinished")
    for rollout, value in there.items() if isinstance(there, dict) else ():
        try:
            one = read_part(value, _UNFINISHED)
        except UnreadableText as error:
            yield rollout, error
            continue
        known = Goal(one.flow, str(note.get("pool")), one.goal).id == rollout
        yield rollout, one if known else UnreadableText("its id is not that of its goal")


def _with(note: Note, rollout: str, one: Unfinished | None) -> Note:
    """The state with one rollout replaced, or without it; entries that could not be read are dropped."""
    after = {**unfinished(note), rollout: one}
    rows = {key: _UNFINISHED.dump_python(each, mode="json") for key, each in after.items() if each is not None}
    return {**note, "unfinished": rows}


def begun(before: Note, goal: Goal, about: Note, at: datetime, members: Mapping[str, str] | None = None) -> Note:
    """The state of a rollout that starts or continues.

    about: the run, for people; at: the present moment, aware
    members: the pool's Nodes in service from now on, with their uids
    """
    there = unfinished({**before, "pool": goal.pool})
    mine = there.pop(goal.id, None)
    if mine is None or (not mine.intents and at - mine.at > KEPT_FOR):
        mine = Unfinished(flow=goal.flow, goal=goal.wanted, at=at)
    young = [key for key, one in there.items() if not one.intents and at - one.at <= KEPT_FOR]
    latest = sorted(young, key=lambda key: there[key].at)[-(KEPT - 1) :]
    kept = {key: one for key, one in there.items() if one.intents or key in latest}
    rows = {key: _UNFINISHED.dump_python(one, mode="json") for key, one in kept.items()}
    note = {**about, "flow": goal.flow, "pool": goal.pool, "rollout": goal.id, "unfinished": rows}
    note |= {"members": dict(members)} if members else {}
    return _with(note, goal.id, replace(mine, at=at))


def ended(note: Note, rollout: str) -> Note:
    """The state when a rollout has ended: the other rollouts' state stays, and its own intents.

    What its hosts share stays with the intents, for the run that finishes them.
    """
    mine = unfinished(note).get(rollout)
    left = replace(mine, spent={}) if mine is not None and mine.intents else None
    after = _with(note, rollout, left)
    return {key: after[key] for key in ("pool", "unfinished", "members") if key in after}


def members_of(note: Note) -> Mapping[str, str]:
    """The Nodes that the pool had when its latest rollout started, with the uids that were proven."""
    try:
        return read_part(note.get("members"), _MEMBERS)
    except UnreadableText:
        return {}


def with_member(note: Note, node: NodeRow) -> Note:
    """The state once a Node that has registered again is proven."""
    return {**note, "members": {**members_of(note), node.name: node.uid}}


def without_member(note: Note, node: str) -> Note:
    """The state when a Node is about to be removed for good: it does not count as missing."""
    return {**note, "members": {name: uid for name, uid in members_of(note).items() if name != node}}


def rollout_of(note: Note, rollout: str) -> Unfinished | None:
    """The state of one rollout; None: there is none."""
    return unfinished(note).get(rollout)


def spent_by(note: Note, rollout: str) -> dict[str, str]:
    """Host -> what failed."""
    mine = rollout_of(note, rollout)
    return dict(mine.spent) if mine is not None else {}


def shared_by(note: Note, rollout: str) -> dict[str, Any]:
    """What its hosts share."""
    mine = rollout_of(note, rollout)
    return dict(mine.shared) if mine is not None else {}


def intent_for(note: Note, rollout: str, host: str) -> Intent | None:
    """A rollout's intent for a host; None: there is none."""
    return intents_by(note, rollout).get(host)


def intents_by(note: Note, rollout: str) -> Mapping[str, Intent]:
    """By host."""
    mine = rollout_of(note, rollout)
    return mine.intents if mine is not None else {}


def _changed(note: Note, rollout: str, change: Callable[[Unfinished], Unfinished]) -> Note:
    mine = rollout_of(note, rollout)
    return _with(note, rollout, change(mine)) if mine is not None else note


def with_spent(note: Note, rollout: str, host: str, what: str) -> Note:
    """One more failure."""
    return _changed(note, rollout, lambda mine: replace(mine, spent={**mine.spent, host: what}))


def with_shared(note: Note, rollout: str, shared: Mapping[str, Any]) -> Note:
    """With what its hosts share."""
    return _changed(note, rollout, lambda mine: replace(mine, shared=shared))


def with_intent(note: Note, rollout: str, host: str, intent: Intent | None) -> Note:
    """With a host's intent; None: without one."""
    others = {name: one for name, one in intents_by(note, rollout).items() if name != host}
    mine = others if intent is None else {**others, host: intent}
    return _changed(note, rollout, lambda one: replace(one, intents=mine))


def intents_of(note: Note) -> Iterator[tuple[str, Unfinished, str, Intent]]:
    """Every intent: rollout id, its state, host, intent."""
    for rollout, one in unfinished(note).items():
        for host, intent in one.intents.items():
            yield rollout, one, host, intent


def without_node(note: Note, node: str) -> Note:
    """Without any rollout's intent for that Node: a person has released it."""
    for rollout, _, host, intent in list(intents_of(note)):
        if intent.node == node:
            note = with_intent(note, rollout, host, None)
    return note


def others_unfinished(note: Note, rollout: str) -> str:
    """Why another rollout, which held the lease before, must be finished first; empty: there is none."""
    theirs = str(note.get("rollout", ""))
    one = unfinished(note).get(theirs)
    if theirs == rollout or one is None or not one.intents:
        return ""
    hosts = sorted(one.intents)
    more = f" and {len(hosts) - 3} more" if len(hosts) > 3 else ""
    return (
        f"{one.flow} {dict(one.goal)} is unfinished on {', '.join(hosts[:3])}{more}: start that again, or run"
        " `poolkeeper run recover --apply`; then start this"
    )
