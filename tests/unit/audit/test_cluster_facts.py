"""What the cluster tells of its nodes: whom a fact accuses."""

from __future__ import annotations

import pytest

from tasks.audit.cluster_facts import pod_facts
from tasks.audit.measured import Part, Quality
from tasks.audit.planning import View
from tasks.audit.proving import Probed
from tasks.audit.testpod import PodAnswers
from tasks.cluster.dns import ClusterDns
from tasks.fleet.model import SiteDns
from tests.unit.audit.test_planning import a_node, a_view
from tests.unit.onboard.builders import a_host

HOST = a_host("n1", site={"dns": SiteDns(("10.1.0.2",))})
SERVICE, SITE = "172.21.0.10 of main", "10.1.0.2"


def view(*, has_cache: bool) -> View:
    return a_view(a_node("n1"), dns=ClusterDns(("172.21.0.10",), (), has_cache=has_cache), label="main")


@pytest.mark.parametrize(
    ("has_cache", "answer", "inside", "outside"),
    [
        pytest.param(False, "SERVFAIL", {SERVICE}, {SERVICE, SITE}, id="without a cache"),
        pytest.param(True, "SERVFAIL", {SERVICE}, {SERVICE, SITE}, id="a cache hides whom it asks"),
        pytest.param(True, "", set(), set(), id="a cache may answer from memory"),
        pytest.param(False, "", {SERVICE}, {SERVICE, SITE}, id="without a cache, who answered works"),
    ],
)
def test_whom_a_pods_name_accuses(has_cache: bool, answer: str, inside: set[str], outside: set[str]) -> None:
    probed = Probed(PodAnswers(dns_internal=answer, dns_external=answer), ran=True)
    facts = [fact for fact in pod_facts(HOST, view(has_cache=has_cache), probed) if fact.check == "pods.dns"]
    assert {fact.quality for fact in facts} == {Quality.FAIL if answer else Quality.OK}
    named = [{s.name for s in fact.suspects if s.part is Part.RESOLVER and "/53" not in s.name} for fact in facts]
    assert named == [inside, outside]
