"""What a Lease remembers of rollouts: each its own, also while another goal has the pool."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from poolkeeper.tasks.cluster.leases import Note
from poolkeeper.tasks.rollout.goal import Goal
from poolkeeper.tasks.rollout.rollout_state import (
    KEPT,
    Intent,
    begun,
    ended,
    intent_for,
    members_of,
    others_unfinished,
    shared_by,
    spent_by,
    unfinished,
    unreadable_parts,
    with_intent,
    with_shared,
    with_spent,
    without_member,
    without_node,
)

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
A, B = (Goal("upgrade", "general", {"kubernetes": version}) for version in ("1.36.3", "1.36.4"))
INTENT = Intent("n1", "m-1", "0123456789abcdef")


def failed(note: Note, goal: Goal = A) -> Note:
    return with_spent(note, goal.id, "h1", "not proven")


def test_a_rollout_begins_with_nothing_spent() -> None:
    note = begun({}, A, {"run": "r1"}, AT)
    assert (note["run"], note["rollout"], note["flow"]) == ("r1", A.id, "upgrade")
    assert spent_by(note, A.id) == {}


def test_what_was_spent_is_there_when_it_goes_on() -> None:
    note = begun(failed(begun({}, A, {}, AT)), A, {"run": "r2"}, AT)
    assert spent_by(note, A.id) == {"h1": "not proven"}


def test_another_goal_in_between_forgets_nothing() -> None:
    note = begun(failed(begun({}, A, {}, AT)), B, {}, AT)
    assert spent_by(note, B.id) == {}
    assert spent_by(begun(ended(note, B.id), A, {}, AT), A.id) == {"h1": "not proven"}


def test_one_that_is_over_is_forgotten() -> None:
    assert spent_by(begun(ended(failed(begun({}, A, {}, AT)), A.id), A, {}, AT), A.id) == {}


def test_what_hosts_share_stays_while_something_is_begun_on_one() -> None:
    note = with_shared(failed(begun({}, A, {}, AT)), A.id, {"kubernetes": "1.36.3"})
    note = ended(with_intent(note, A.id, "h1", INTENT), A.id)
    assert (spent_by(note, A.id), shared_by(note, A.id)) == ({}, {"kubernetes": "1.36.3"})
    years = AT + timedelta(days=900)
    assert intent_for(begun(note, B, {}, years), A.id, "h1") == INTENT, "however long ago that is"
    assert shared_by(begun(note, A, {}, years), A.id) == {"kubernetes": "1.36.3"}
    assert shared_by(ended(with_intent(note, A.id, "h1", None), A.id), A.id) == {}


@pytest.mark.parametrize(("days", "kept"), [(30, {"h1": "not proven"}), (31, {})])
def test_a_month_after_it_was_carried_on_last_it_begins_anew(days: int, kept: dict[str, str]) -> None:
    assert spent_by(begun(failed(begun({}, A, {}, AT)), A, {}, AT + timedelta(days=days)), A.id) == kept


def test_the_oldest_are_forgotten_but_for_those_that_have_begun_something() -> None:
    goals = [Goal("upgrade", "general", {"n": n}) for n in range(KEPT + 2)]
    note: Note = {}
    for n, goal in enumerate(goals):
        note = failed(begun(note, goal, {}, AT + timedelta(minutes=n)), goal)
        if n == 0:
            note = with_intent(note, goal.id, "h1", INTENT)
    assert [n for n, goal in enumerate(goals) if spent_by(note, goal.id)] == [0, *range(2, KEPT + 2)]


def test_the_nodes_that_a_pool_had_stay_when_rollouts_end() -> None:
    note = ended(failed(begun({}, A, {}, AT, {"h2": "u2", "h1": "u1"})), A.id)
    assert members_of(note) == {"h1": "u1", "h2": "u2"}
    assert members_of(begun(note, B, {}, AT, {"h1": "u1"})) == {"h1": "u1"}, "whoever begins says which there are"
    assert members_of(without_member(note, "h2")) == {"h1": "u1"}


def test_a_person_takes_back_whatever_was_begun_on_a_node() -> None:
    note = with_intent(with_intent(begun({}, A, {}, AT), A.id, "h1", INTENT), A.id, "h2", Intent("n2", "", "0" * 16))
    after = without_node(note, "n1")
    assert (intent_for(after, A.id, "h1"), intent_for(after, A.id, "h2")) == (None, Intent("n2", "", "0" * 16))


def test_only_the_goal_that_has_begun_something_takes_over_without_a_word() -> None:
    idle = begun({}, A, {}, AT)
    assert others_unfinished(idle, B.id) == ""
    busy = with_intent(idle, A.id, "h1", INTENT)
    assert others_unfinished(busy, A.id) == ""
    assert others_unfinished(busy, B.id).startswith("upgrade {'kubernetes': '1.36.3'} is unfinished on h1: ")


ODD: dict[str, Any] = {
    "no object": {"unfinished": 3},
    "a word": {"unfinished": {A.id: "yesterday"}},
    "no moment": {"unfinished": {A.id: {"flow": "upgrade", "goal": dict(A.wanted), "at": "yesterday"}}},
    "without its zone": {
        "unfinished": {A.id: {"flow": "upgrade", "goal": dict(A.wanted), "at": "2026-11-24T12:00:00"}}
    },
    "another goal": {"unfinished": {A.id: {"flow": "upgrade", "goal": {}, "at": AT.isoformat()}}},
    "a token of another kind": {
        "unfinished": {
            A.id: {
                "flow": "upgrade",
                "goal": dict(A.wanted),
                "at": AT.isoformat(),
                "intents": {"h1": {"node": "n1", "machine_id": "m-1", "token": "; rm -rf /"}},
            }
        }
    },
    "members of no kind": {"members": ["h1"]},
    "members without a uid": {"members": {"h1": None}},
}


@pytest.mark.parametrize("note", [pytest.param({"pool": "general", **note}, id=id) for id, note in ODD.items()])
def test_what_someone_has_written_into_it_is_none_and_is_told(note: Note) -> None:
    """And the other rollouts' memory stays."""
    there = dict(failed(begun({}, B, {}, AT), B)["unfinished"])
    if isinstance(note.get("unfinished"), dict):
        note = {**note, "unfinished": {**note["unfinished"], **there}}
    told = unreadable_parts(note)
    assert len(told) == (1 if isinstance(note.get("unfinished"), dict) else 0)
    assert "yesterday" not in "".join(told)
    after = begun(note, A, {}, AT)
    assert (spent_by(after, A.id), intent_for(after, A.id, "h1"), dict(members_of(after))) == ({}, None, {})
    assert set(unfinished(after)) == {A.id, *(there if isinstance(note.get("unfinished"), dict) else ())}
