"""What only an upgrade can get wrong."""

from __future__ import annotations

from typing import Any

import pytest

from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.packages.versions import Package
from poolkeeper.tasks.upgrade.proof import unlike_before
from tests.unit.onboard.builders import a_host, a_node

WANTED = {"containerd": "1.6.24~ds1-1+deb12u1"}
RUNTIME = "containerd://1.6.24~ds1"


def found(installed: str = WANTED["containerd"], **node: Any) -> list[str]:
    after: NodeRow = a_node(**{"runtime_version": RUNTIME, **node})
    here = {"containerd": Package("containerd", installed, False, ())}
    return [finding.id for finding in unlike_before(a_host(), a_node(), after, WANTED, here)]


@pytest.mark.parametrize(
    ("changed", "ids"),
    [
        pytest.param({}, [], id="at the goal"),
        pytest.param({"boot_id": "b-2", "unschedulable": True}, [], id="cordoned, and it has restarted"),
        pytest.param({"uid": "u-2"}, ["upgrade.node.replaced"], id="another Node"),
        pytest.param({"machine_id": "m-2"}, ["upgrade.node.replaced"], id="another machine"),
        pytest.param(
            {"runtime_version": "containerd://1.6.20~ds1"}, ["upgrade.runtime.version"], id="a runtime not restarted"
        ),
        pytest.param({"installed": "1.6.20~ds1-1"}, ["upgrade.packages.behind"], id="a package taken back"),
        pytest.param({"installed": ""}, ["upgrade.packages.behind"], id="a package removed"),
    ],
)
def test_a_node_after_its_upgrade(changed: dict[str, Any], ids: list[str]) -> None:
    assert found(**changed) == ids


def test_without_packages_the_runtime_may_be_any() -> None:
    assert unlike_before(a_host(), a_node(), a_node(runtime_version="containerd://9.9.9"), {}, {}) == ()
