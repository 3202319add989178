"""Which ids on a bill belong to the clusters of a fleet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from poolkeeper.tasks.fleet.model import AckProvider, Cluster, KubeadmProvider
from poolkeeper.tasks.provider.resources import Billed, belonging, named
from tests.unit.onboard.builders import CLUSTER

ACK = AckProvider("c-1", "cn-hangzhou")


def cluster(name: str = "main", **more: Any) -> Cluster:
    return replace(CLUSTER, name=name, **({"provider": ACK} | more))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        pytest.param(
            {
                "instance_id": "lb-1",
                "resource_type": "ALIYUN::SLB::LoadBalancer",
                "creator_type": "system",
                "associated_object": {"kind": "Service", "namespace": "kube-system", "name": "api"},
            },
            {"lb-1": "SLB LoadBalancer, for Service/kube-system/api, made by system"},
            id="all that the API tells",
        ),
        pytest.param({"instance_id": "i-1"}, {"i-1": "resource"}, id="an id alone"),
        pytest.param({"instance_id": " ", "resource_type": "ALIYUN::ROS::Stack"}, {}, id="no id"),
        pytest.param({"instance_id": None}, {}, id="null"),
        pytest.param(
            {"instance_id": "x-1", "associated_object": "odd", "resource_type": "New"},
            {"x-1": "New, for odd"},
            id="another shape",
        ),
    ],
)
def test_what_the_provider_lists(row: dict[str, Any], told: dict[str, str]) -> None:
    assert named([row]) == told


@pytest.mark.parametrize(
    ("clusters", "listed", "resources"),
    [
        pytest.param([cluster()], {}, {}, id="nothing known"),
        pytest.param(
            [cluster(billed_resources={"vbr-1": "line to fra1"})],
            {"main": {"lb-1": "SLB"}},
            {"lb-1": "SLB (main)", "vbr-1": "line to fra1 (main)"},
            id="listed and declared",
        ),
        pytest.param(
            [cluster(billed_resources={"lb-1": "API server"})],
            {"main": {"lb-1": "SLB"}},
            {"lb-1": "API server (main)"},
            id="what is declared stands",
        ),
        pytest.param(
            [cluster(billed_resources={"vbr-1": "line"}), cluster("edge", billed_resources={"vbr-1": "line"})],
            {},
            {"vbr-1": "line (main); line (edge)"},
            id="shared by two clusters",
        ),
    ],
)
def test_both_sources(clusters: list[Cluster], listed: dict[str, dict[str, str]], resources: dict[str, str]) -> None:
    assert belonging(clusters, listed, ["a note"]) == Billed(frozenset({"c-1"}), resources, ("a note",))


def test_a_cluster_that_nobody_bills_can_have_resources() -> None:
    own = cluster(provider=KubeadmProvider(), billed_resources={"vbr-1": "line"})
    assert belonging([own], {}) == Billed(frozenset(), {"vbr-1": "line (main)"}, ())
