from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolkeeper.tasks.cluster.claims import Claim, Phase, claim_text
from poolkeeper.tasks.cluster.nodes import ACCEPTED, CORDON, MACHINE_ID
from poolkeeper.tasks.onboard.next_action import (
    DEAD_AFTER,
    JoinState,
    Step,
    next_action,
    other_names,
    own_node,
    reason_not_to_undo,
)
from poolkeeper.tasks.outcomes import Known, Unknown
from tests.unit.onboard.builders import NOW, a_host, a_node

SEEN = Known("m-1", NOW)
UNREAD = Unknown("permission denied", NOW)
OURS = {"unschedulable": True, "annotations": {CORDON: "{}"}}


@pytest.mark.parametrize(
    ("host", "machine_id", "node", "join", "step", "finding"),
    [
        pytest.param({}, SEEN, None, JoinState.NONE, Step.JOIN, None, id="fresh"),
        pytest.param(
            {}, UNREAD, None, JoinState.NONE, Step.JOIN, None, id="fresh, id unreadable: acceptance will tell"
        ),
        pytest.param({}, SEEN, None, JoinState.RUNNING, Step.FOLLOW_JOIN, None, id="our join runs"),
        pytest.param({}, SEEN, None, JoinState.SUCCEEDED, Step.FOLLOW_JOIN, None, id="our join ended, no Node yet"),
        pytest.param({}, SEEN, None, JoinState.FAILED, Step.UNDO_THEN_JOIN, None, id="our join failed"),
        pytest.param({}, SEEN, None, JoinState.UNKNOWN, Step.STOP, "onboard.join.unknown", id="join unreadable"),
        pytest.param({}, SEEN, OURS, JoinState.SUCCEEDED, Step.ACCEPT, None, id="in quarantine"),
        pytest.param({}, SEEN, OURS, JoinState.NONE, Step.ACCEPT, None, id="in quarantine, rebooted since"),
        pytest.param({}, SEEN, {}, JoinState.SUCCEEDED, Step.ACCEPT, None, id="joined by us, killed before the cordon"),
        pytest.param({}, SEEN, {}, JoinState.NONE, Step.ADOPT, None, id="in service since before us"),
        pytest.param(
            {}, SEEN, {"unread": "x"}, JoinState.FAILED, Step.STOP, "onboard.node.unread", id="its Node cannot be read"
        ),
        pytest.param(
            {},
            SEEN,
            {"ready": False},
            JoinState.NONE,
            Step.ADOPT,
            None,
            id="a node before us, not Ready now: not ours to undo",
        ),
        pytest.param({}, SEEN, {"unschedulable": True}, JoinState.NONE, Step.ADOPT, None, id="cordoned by a person"),
        pytest.param(
            {}, SEEN, OURS, JoinState.FAILED, Step.UNDO_THEN_JOIN, None, id="registered, then the join failed"
        ),
        pytest.param(
            {},
            SEEN,
            {"ready": False},
            JoinState.FAILED,
            Step.UNDO_THEN_JOIN,
            None,
            id="registered, never Ready, join failed",
        ),
        pytest.param(
            {}, SEEN, {}, JoinState.FAILED, Step.ADOPT, None, id="join failed, and someone took it into service"
        ),
        pytest.param({}, SEEN, {"annotations": {ACCEPTED: "{}"}}, JoinState.NONE, Step.NOTHING, None, id="accepted"),
        pytest.param(
            {},
            SEEN,
            {"annotations": {ACCEPTED: "{}", MACHINE_ID: "m-0"}},
            JoinState.NONE,
            Step.STOP,
            "onboard.identity.other-machine",
            id="accepted for another machine",
        ),
        pytest.param(
            {},
            SEEN,
            {"machine_id": "m-2", "annotations": {ACCEPTED: "{}", MACHINE_ID: "m-1"}},
            JoinState.NONE,
            Step.STOP,
            "onboard.identity.other-machine",
            id="accepted for this one, and another has registered since",
        ),
        pytest.param(
            {"machine_id": "m-1"},
            SEEN,
            {"annotations": {ACCEPTED: "{}", MACHINE_ID: "m-0"}},
            JoinState.SUCCEEDED,
            Step.ACCEPT,
            None,
            id="reinstalled and joined again: accepted for the old one only",
        ),
        pytest.param(
            {},
            SEEN,
            {"machine_id": "", "annotations": {ACCEPTED: "{}", MACHINE_ID: "m-1"}},
            JoinState.NONE,
            Step.NOTHING,
            None,
            id="accepted, and the Node has forgotten its id",
        ),
        pytest.param(
            {},
            SEEN,
            {"machine_id": ""},
            JoinState.NONE,
            Step.STOP,
            "onboard.identity.unverified",
            id="a Node without id",
        ),
        pytest.param(
            {}, SEEN, {"machine_id": ""}, JoinState.RUNNING, Step.FOLLOW_JOIN, None, id="without id, our join runs"
        ),
        pytest.param(
            {}, SEEN, {"machine_id": "m-2"}, JoinState.NONE, Step.STOP, "onboard.identity.other-machine", id="impostor"
        ),
        pytest.param(
            {"machine_id": "m-1"},
            SEEN,
            {"machine_id": "m-0", "ready": False, "ready_since": NOW - DEAD_AFTER},
            JoinState.NONE,
            Step.JOIN,
            None,
            id="reinstalled, the operator says so, old Node dead",
        ),
        pytest.param(
            {"machine_id": "m-1"},
            SEEN,
            {"machine_id": "m-0", "ready": False, "ready_since": NOW - DEAD_AFTER + timedelta(seconds=1)},
            JoinState.NONE,
            Step.STOP,
            "onboard.identity.other-machine",
            id="the operator says so, but the old Node may only be restarting",
        ),
        pytest.param(
            {"machine_id": "m-1"},
            SEEN,
            {"machine_id": "m-0", "ready": None},
            JoinState.NONE,
            Step.STOP,
            "onboard.identity.other-machine",
            id="the operator says so, but since when it is silent is not told",
        ),
        pytest.param(
            {},
            SEEN,
            {"annotations": {CORDON: "{}"}},
            JoinState.SUCCEEDED,
            Step.ADOPT,
            None,
            id="uncordoned in quarantine",
        ),
        pytest.param(
            {},
            SEEN,
            {"unschedulable": True},
            JoinState.FAILED,
            Step.ADOPT,
            None,
            id="join failed, a person's cordon since",
        ),
        pytest.param(
            {},
            SEEN,
            {"ready": False},
            JoinState.FAILED,
            Step.UNDO_THEN_JOIN,
            None,
            id="join failed, its Node never Ready",
        ),
        pytest.param(
            {"machine_id": "m-1"},
            SEEN,
            {"machine_id": "m-0", "ready": True},
            JoinState.NONE,
            Step.STOP,
            "onboard.identity.other-machine",
            id="the operator says so, but the other machine lives",
        ),
        pytest.param(
            {"machine_id": "m-9"},
            SEEN,
            None,
            JoinState.NONE,
            Step.STOP,
            "onboard.identity.machine-id",
            id="not the declared one",
        ),
        pytest.param(
            {}, UNREAD, {}, JoinState.NONE, Step.STOP, "onboard.identity.unknown", id="Node there, id unreadable"
        ),
    ],
)
def test_where_a_host_stands(host, machine_id, node, join, step, finding):
    row = None if node is None else a_node(**node)
    action = next_action(a_host(**host), machine_id, row, join, NOW)
    assert action.step is step
    assert (action.finding.id if action.finding else None) == finding


def test_a_reinstalled_hosts_dead_node_goes_before_it_joins():
    dead = a_node(machine_id="m-0", ready=False, ready_since=NOW - DEAD_AFTER)
    action = next_action(a_host(machine_id="m-1"), SEEN, dead, JoinState.NONE, NOW)
    assert action.stale_node is dead


@pytest.mark.parametrize(
    ("node", "machine_id", "mine"),
    [
        pytest.param({}, SEEN, True, id="the same machine"),
        pytest.param({"machine_id": "m-2"}, SEEN, False, id="another machine took the name while ours joined"),
        pytest.param({"machine_id": ""}, SEEN, False, id="a Node that does not tell"),
        pytest.param({}, UNREAD, False, id="a host that does not tell"),
        pytest.param({"machine_id": ""}, Known("", NOW), False, id="neither tells"),
        pytest.param(None, SEEN, False, id="no Node"),
    ],
)
def test_only_its_own_node_goes_when_a_join_is_undone(node, machine_id, mine):
    row = None if node is None else a_node(**node)
    assert own_node(row, machine_id) is (row if mine else None)


IDS = st.sampled_from(["", "m-1", "m-2", "m-3"])


@given(
    seen=IDS,
    declared=st.none() | IDS,
    join=st.sampled_from(JoinState),
    node=st.none()
    | st.fixed_dictionaries(
        {
            "machine_id": IDS,
            "ready": st.sampled_from([True, False, None]),
            "unschedulable": st.booleans(),
            "annotations": st.dictionaries(st.sampled_from([ACCEPTED, CORDON, MACHINE_ID]), IDS | st.just("{}")),
        }
    ),
)
def test_whatever_is_found_a_living_node_of_another_machine_is_never_touched(seen, declared, join, node):
    row = None if node is None else a_node(**node)
    machine_id = Known(seen, NOW) if seen else UNREAD
    action = next_action(a_host(machine_id=declared), machine_id, row, join, NOW)
    assert action.reason
    assert (action.finding is not None) == (action.step is Step.STOP)
    if action.finding is not None:
        assert action.finding.next_step.endswith(".")
    if row is None:
        assert action.step in (Step.JOIN, Step.FOLLOW_JOIN, Step.UNDO_THEN_JOIN, Step.STOP)
        return
    if row.machine_id not in ("", seen):
        replaces = action.step in (Step.JOIN, Step.UNDO_THEN_JOIN) and action.stale_node is row
        assert action.step is Step.STOP or (replaces and not row.ready and declared == seen)
    if action.step is Step.JOIN:
        assert action.stale_node is row
    if action.step is Step.UNDO_THEN_JOIN:
        assert join is JoinState.FAILED
        assert not row.ready or row.unschedulable, "what is in service is not reset"
    if action.step is Step.NOTHING:
        assert row.accepted
        assert seen


@pytest.mark.parametrize(
    ("node", "guests", "why"),
    [
        pytest.param(OURS, 0, "", id="in quarantine"),
        pytest.param(
            OURS,
            3,
            "3 pods run on the node, placed before our cordon",
            id="in quarantine, with pods that were there before",
        ),
        pytest.param({}, 0, "", id="killed before the cordon, and empty"),
        pytest.param({}, 2, "the node is not cordoned, and 2 pods run on it", id="not cordoned, and used"),
        pytest.param(
            {"annotations": {CORDON: "{}"}}, 0, "someone has uncordoned the node", id="uncordoned by a person"
        ),
        pytest.param({"unschedulable": True}, 0, "someone else has cordoned the node", id="cordoned by a person"),
        pytest.param(
            {"annotations": {ACCEPTED: "{}"}}, 0, "the node has been accepted since", id="accepted by another run"
        ),
        pytest.param({**OURS, "unread": "x"}, 0, "its Node object cannot be read: x", id="not to be read"),
    ],
)
def test_what_must_not_be_undone_any_more(node, guests, why):
    assert reason_not_to_undo(a_node(**node), guests) == why


@pytest.mark.parametrize(
    ("nodes", "machine_id", "names"),
    [
        pytest.param([{}], SEEN, (), id="under its declared name"),
        pytest.param([{"name": "old"}, {}], SEEN, ("old",), id="under an older name as well"),
        pytest.param([{}, {"name": "old"}], SEEN, ("old",), id="whatever their order"),
        pytest.param([{"name": "b1", "machine_id": "m-2"}], SEEN, (), id="another machine"),
        pytest.param([{"name": "b1", "machine_id": ""}], Known("", NOW), (), id="neither tells"),
        pytest.param([{"name": "b1"}], UNREAD, (), id="a host that does not tell"),
    ],
)
def test_names_that_a_machine_is_in_the_cluster_as(nodes, machine_id, names):
    assert other_names(a_host(), [a_node(**node) for node in nodes], machine_id) == names


def test_a_node_that_a_rollout_has_is_left_to_it() -> None:
    claim = Claim("r", "maintain", {}, "run-1", 1, Phase.WITH_A_PERSON, "2026-11-23T11:00:00+00:00")
    annotations = {"poolkeeper.io/cordon": "{}", "poolkeeper.io/rollout": claim_text(claim)}
    node = a_node(unschedulable=True, annotations=annotations)
    action = next_action(a_host(), Known("m-1", NOW), node, JoinState.NONE, NOW)
    assert (action.step, action.finding and action.finding.id) == (Step.STOP, "onboard.node.rollout")
