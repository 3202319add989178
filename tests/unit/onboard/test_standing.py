import pytest

from tasks.cluster.nodes import ACCEPTED, CORDON, MACHINE_ID
from tasks.onboard.standing import Join, Step, where_it_stands
from tasks.outcomes import Known, Unknown
from tests.unit.onboard.builders import NOW, a_host, a_node

SEEN = Known("m-1", NOW)
UNREAD = Unknown("permission denied", NOW)
OURS = {"unschedulable": True, "annotations": {CORDON: "{}"}}


@pytest.mark.parametrize(
    ("host", "machine_id", "node", "join", "step", "finding"),
    [
        pytest.param({}, SEEN, None, Join.NONE, Step.JOIN, None, id="fresh"),
        pytest.param({}, UNREAD, None, Join.NONE, Step.JOIN, None, id="fresh, id unreadable: acceptance will tell"),
        pytest.param({}, SEEN, None, Join.RUNNING, Step.FOLLOW_JOIN, None, id="our join runs"),
        pytest.param({}, SEEN, None, Join.SUCCEEDED, Step.FOLLOW_JOIN, None, id="our join ended, no Node yet"),
        pytest.param({}, SEEN, None, Join.FAILED, Step.UNDO_THEN_JOIN, None, id="our join failed"),
        pytest.param({}, SEEN, None, Join.UNKNOWN, Step.STOP, "onboard.join.unknown", id="join unreadable"),
        pytest.param({}, SEEN, OURS, Join.SUCCEEDED, Step.ACCEPT, None, id="in quarantine"),
        pytest.param({}, SEEN, OURS, Join.NONE, Step.ACCEPT, None, id="in quarantine, rebooted since"),
        pytest.param({}, SEEN, {}, Join.SUCCEEDED, Step.ACCEPT, None, id="joined by us, killed before the cordon"),
        pytest.param({}, SEEN, {}, Join.NONE, Step.ADOPT, None, id="in service since before us"),
        pytest.param({}, SEEN, {"ready": False}, Join.NONE, Step.ACCEPT, None, id="a node that is not Ready"),
        pytest.param({}, SEEN, {"unschedulable": True}, Join.NONE, Step.ACCEPT, None, id="cordoned by a person"),
        pytest.param({}, SEEN, {}, Join.FAILED, Step.UNDO_THEN_JOIN, None, id="registered, then the join failed"),
        pytest.param({}, SEEN, {"annotations": {ACCEPTED: "{}"}}, Join.NONE, Step.NOTHING, None, id="accepted"),
        pytest.param(
            {},
            SEEN,
            {"annotations": {ACCEPTED: "{}", MACHINE_ID: "m-0"}},
            Join.NONE,
            Step.STOP,
            "onboard.identity.other-machine",
            id="accepted for another machine",
        ),
        pytest.param(
            {}, SEEN, {"machine_id": "m-2"}, Join.NONE, Step.STOP, "onboard.identity.other-machine", id="impostor"
        ),
        pytest.param(
            {"machine_id": "m-1"},
            SEEN,
            {"machine_id": "m-0", "ready": False},
            Join.NONE,
            Step.JOIN,
            None,
            id="reinstalled, the operator says so, old Node dead",
        ),
        pytest.param(
            {"machine_id": "m-1"},
            SEEN,
            {"machine_id": "m-0", "ready": True},
            Join.NONE,
            Step.STOP,
            "onboard.identity.other-machine",
            id="the operator says so, but the other machine lives",
        ),
        pytest.param(
            {"machine_id": "m-9"},
            SEEN,
            None,
            Join.NONE,
            Step.STOP,
            "onboard.identity.machine-id",
            id="not the declared one",
        ),
        pytest.param({}, UNREAD, {}, Join.NONE, Step.STOP, "onboard.identity.unknown", id="Node there, id unreadable"),
    ],
)
def test_where_a_host_stands(host, machine_id, node, join, step, finding):
    row = None if node is None else a_node(**node)
    standing = where_it_stands(a_host(**host), machine_id, row, join, NOW)
    assert standing.step is step
    assert (standing.finding.id if standing.finding else None) == finding


def test_a_reinstalled_hosts_dead_node_goes_before_it_joins():
    dead = a_node(machine_id="m-0", ready=False)
    standing = where_it_stands(a_host(machine_id="m-1"), SEEN, dead, Join.NONE, NOW)
    assert standing.stale_node is dead
