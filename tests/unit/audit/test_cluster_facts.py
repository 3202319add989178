"""Measurements of the cluster itself, and their candidate causes."""

from __future__ import annotations

import pytest

from poolkeeper.tasks.acceptance.pod_probe import Probed
from poolkeeper.tasks.acceptance.testpod import PodAnswers
from poolkeeper.tasks.audit.causes.grouping import group_by_cause
from poolkeeper.tasks.audit.judging.cluster_facts import node_facts, pod_facts
from poolkeeper.tasks.audit.measurements import CandidateCause, Part, Quality
from poolkeeper.tasks.audit.planning.plan import ClusterView
from poolkeeper.tasks.cluster.dns import ClusterDns, DnsPod
from poolkeeper.tasks.fleet.model import SiteDns
from tests.unit.audit.test_plan import a_node, a_view
from tests.unit.onboard.builders import a_host

HOST = a_host("n1", site={"dns": SiteDns(("10.1.0.2",))})
SERVICE, SITE = "172.21.0.10 of main", "10.1.0.2"


def view(*, has_cache: bool) -> ClusterView:
    return a_view(a_node("n1"), dns=ClusterDns(("172.21.0.10",), (), has_cache=has_cache), label="main")


def shared(label: str) -> set[CandidateCause]:
    """What a node's cache and its pods depend on that is no host's own and no place."""
    cache = DnsPod("node-local-dns-1", "", "n1", True)
    cloud = a_node("cloud-1", labels={})
    seen = a_view(a_node("n1"), cloud, dns=ClusterDns(has_cache=True, caches={"n1": cache}), label=label)
    facts = [*node_facts(HOST, seen), *pod_facts(HOST, seen, Probed(PodAnswers(to_cloud="", from_cloud=""), ran=True))]
    candidates = {candidate for fact in facts for candidate in fact.candidates}
    return {candidate for candidate in candidates if candidate.part in (Part.TARGET, Part.SITE_TARGET)}


def test_parts_of_each_cluster_are_distinguished() -> None:
    one, other = shared("main"), shared("other")
    assert not one & other
    assert {candidate.name for candidate in one} == {
        "DaemonSet kube-system/node-local-dns of main",
        "pods in the cloud of main",
        "cloud -> kubelets at fra1 of main",
        "pods at fra1 -> pods at cloud of main",
        "pods at cloud -> pods at fra1 of main",
    }
    assert "DaemonSet kube-system/node-local-dns" in {candidate.name for candidate in shared("")}


def test_one_clusters_daemon_set_is_one_finding_though_anothers_is_well() -> None:
    well = DnsPod("node-local-dns-1", "", "n1", True)
    facts = []
    for cluster, cache in (("main", None), ("other", well)):
        for number in range(13):
            name = f"{cluster}-{number}"
            dns = ClusterDns(has_cache=True, caches={name: cache} if cache else {})
            facts += node_facts(a_host(name), a_view(a_node(name), dns=dns, label=cluster))
    assert [cause.candidate.name for cause in group_by_cause(facts)] == ["DaemonSet kube-system/node-local-dns of main"]


@pytest.mark.parametrize(
    ("has_cache", "answer", "inside", "outside"),
    [
        pytest.param(False, "SERVFAIL", {SERVICE}, {SERVICE, SITE}, id="without a cache"),
        pytest.param(True, "SERVFAIL", {SERVICE}, {SERVICE, SITE}, id="a cache hides whom it asks"),
        pytest.param(True, "", set(), set(), id="a cache may answer from memory"),
        pytest.param(False, "", {SERVICE}, {SERVICE, SITE}, id="without a cache, who answered works"),
    ],
)
def test_the_candidate_causes_of_a_pods_lookup(
    has_cache: bool, answer: str, inside: set[str], outside: set[str]
) -> None:
    probed = Probed(PodAnswers(dns_internal=answer, dns_external=answer), ran=True)
    facts = [fact for fact in pod_facts(HOST, view(has_cache=has_cache), probed) if fact.check == "pods.dns"]
    assert {fact.quality for fact in facts} == {Quality.FAIL if answer else Quality.OK}
    named = [{s.name for s in fact.candidates if s.part is Part.RESOLVER and "/53" not in s.name} for fact in facts]
    assert named == [inside, outside]


def test_what_cannot_be_read_is_unknown() -> None:
    cache = DnsPod("node-local-dns-1", "", "n1", ready=False, unread="x")
    seen = a_view(a_node("n1"), dns=ClusterDns(has_cache=True, caches={"n1": cache}))
    assert {fact.check: (fact.quality, fact.evidence) for fact in node_facts(HOST, seen)} == {
        "node.ready": (Quality.OK, "Ready"),
        "cache.pod": (Quality.UNKNOWN, "pod node-local-dns-1 cannot be read: x"),
    }
    odd = a_node("n1", ready=None, ready_message="its Node object cannot be read: x", unread="x")
    (fact,) = node_facts(HOST, a_view(odd))
    assert (fact.quality, fact.evidence, fact.candidates) == (Quality.UNKNOWN, odd.ready_message, frozenset())
