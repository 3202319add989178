"""What a Lease remembers of rollouts: each its own, also while another goal has the pool."""

from __future__ import annotations

from tasks.rollout.memory import KEPT, begun, ended, members_of, remembered, with_remembered, without_member

AT = "2026-11-24T12:00:00+00:00"


def failed(note: dict[str, object], rollout: str) -> dict[str, object]:
    return with_remembered(note, rollout, "spent", {"h1": "not proven"})


def test_a_rollout_begins_with_nothing_spent() -> None:
    note = begun({}, "a", {"run": "r1"}, AT)
    assert (note["run"], note["rollout"]) == ("r1", "a")
    assert remembered(note, "a", "spent") == {}


def test_what_was_spent_is_there_when_it_goes_on() -> None:
    note = begun(failed(begun({}, "a", {}, AT), "a"), "a", {"run": "r2"}, AT)
    assert remembered(note, "a", "spent") == {"h1": "not proven"}


def test_another_goal_in_between_forgets_nothing() -> None:
    note = begun(failed(begun({}, "a", {}, AT), "a"), "maintain", {}, AT)
    assert remembered(note, "maintain", "spent") == {}
    assert remembered(begun(ended(note, "maintain"), "a", {}, AT), "a", "spent") == {"h1": "not proven"}


def test_one_that_is_over_is_forgotten() -> None:
    assert remembered(begun(ended(failed(begun({}, "a", {}, AT), "a"), "a"), "a", {}, AT), "a", "spent") == {}


def test_what_hosts_share_stays_while_one_is_half_changed_and_a_month_at_most() -> None:
    note = with_remembered(failed(begun({}, "a", {}, AT), "a"), "a", "shared", {"kubernetes": "1.36.3"})
    note = ended(note, "a", half_changed=True)
    assert (remembered(note, "a", "spent"), remembered(note, "a", "shared")) == ({}, {"kubernetes": "1.36.3"})
    soon, late = begun(note, "a", {}, "2026-12-24T12:00:00+00:00"), begun(note, "a", {}, "2026-12-24T12:00:01+00:00")
    assert remembered(soon, "a", "shared") == {"kubernetes": "1.36.3"}
    assert remembered(late, "a", "shared") == {}


def test_the_oldest_are_forgotten() -> None:
    note: dict[str, object] = {}
    for n in range(KEPT + 2):
        note = failed(begun(note, f"r{n}", {}, f"2026-11-24T12:0{n}:00+00:00"), f"r{n}")
    assert [n for n in range(KEPT + 2) if remembered(note, f"r{n}", "spent")] == list(range(2, KEPT + 2))


def test_the_nodes_that_a_pool_had_stay_when_rollouts_end() -> None:
    note = ended(failed(begun({}, "a", {}, AT, {"h2", "h1"}), "a"), "a")
    assert members_of(note) == {"h1", "h2"}
    assert members_of(begun(note, "b", {}, AT, {"h1"})) == {"h1"}, "whoever begins says which there are"
    assert members_of(without_member(note, "h2")) == {"h1"}


def test_a_note_that_someone_has_written_into_names_no_nodes() -> None:
    assert members_of({"members": "h1"}) == members_of({}) == frozenset()
