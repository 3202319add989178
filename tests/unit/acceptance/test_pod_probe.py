import pytest

from poolkeeper.tasks.acceptance.pod_probe import choose_cloud_node
from tests.unit.onboard.builders import a_node

CLOUD = {"labels": {"kubernetes.io/os": "linux"}}


@pytest.mark.parametrize(
    ("nodes", "chosen"),
    [
        pytest.param([a_node("b", **CLOUD), a_node("a", **CLOUD)], "a", id="by the name of the node"),
        pytest.param([a_node("a", labels={})], "a", id="a node that tells no system"),
        pytest.param([a_node("a", unschedulable=True, **CLOUD), a_node("b", **CLOUD)], "b", id="not one being drained"),
        pytest.param([a_node("a", unschedulable=True, **CLOUD)], "a", id="unless there is no other"),
        pytest.param([a_node("a")], None, id="none of the user's own machines"),
        pytest.param([a_node("a", ready=False, **CLOUD)], None, id="none that is not Ready"),
        pytest.param([a_node("a", ready=None, **CLOUD)], None, id="none that is silent"),
        pytest.param(
            [a_node("a", labels={"type": "virtual-kubelet"})], None, id="no virtual node: pods there are billed"
        ),
        pytest.param([a_node("a", labels={"kubernetes.io/os": "windows"})], None, id="no Windows"),
        pytest.param([], None, id="none at all"),
    ],
)
def test_which_cloud_node_the_peer_runs_on(nodes, chosen):
    assert choose_cloud_node({row.name: row for row in nodes}, "fra1-n01") == chosen


def test_nodes_are_spread_over_the_cloud_nodes():
    cloud = {name: a_node(name, **CLOUD) for name in ("a", "b", "c")}
    assert {choose_cloud_node(cloud, f"fra1-n{number:02}") for number in range(30)} == set(cloud)
