from dataclasses import replace

import pytest

from poolkeeper.tasks.acceptance.checks import BY_TEST_POD, NodeEvidence, check_acceptance
from poolkeeper.tasks.acceptance.testpod import PodAnswers
from poolkeeper.tasks.cluster.pods import PodRow
from poolkeeper.tasks.outcomes import Severity, Verdict
from tests.unit.onboard.builders import NOW, a_node

WELL = PodAnswers("", "", "", "", complete=True)


def a_pod(owner: str, **more) -> PodRow:
    fields = {
        "namespace": "kube-system",
        "name": f"{owner}-x",
        "uid": "u",
        "node": "fra1-n01",
        "phase": "Running",
        "ready": True,
        "ip": "10.100.0.2",
        "owner_kind": "DaemonSet",
        "owner_name": owner,
        "deleting": False,
        "waiting": "",
    }
    return PodRow(**{**fields, **more})


def evidence(**more) -> NodeEvidence:
    healthy = NodeEvidence(
        node=a_node(),
        pods=(a_pod("terway-hybrid"), a_pod("node-local-dns")),
        expected_version=None,
        expected_pods=("terway", "node-local-dns"),
        api_from_host="",
        answers=WELL,
        log_error="",
        cloud_node="cloud-1",
        cloud_error="",
        seen_at=NOW,
    )
    return replace(healthy, **more)


def test_a_healthy_node_passes_every_check():
    assert {c.verdict for c in check_acceptance(evidence())} == {Verdict.OK}


@pytest.mark.parametrize(
    ("seen", "check", "verdict"),
    [
        pytest.param({"node": a_node(ready=False)}, "node.ready", Verdict.FAIL, id="not Ready"),
        pytest.param({"node": a_node(ready=None)}, "node.ready", Verdict.UNKNOWN, id="Ready is Unknown"),
        pytest.param({"expected_version": "v1.36.4"}, "node.kubelet.version", Verdict.FAIL, id="other kubelet"),
        pytest.param({"pods": (a_pod("terway-hybrid"),)}, "node.pods.node-local-dns", Verdict.FAIL, id="no DNS pod"),
        pytest.param(
            {"pods": (a_pod("terway-hybrid", ready=False), a_pod("node-local-dns"))},
            "node.pods.terway",
            Verdict.FAIL,
            id="CNI pod not Ready",
        ),
        pytest.param(
            {"pods": (a_pod("terway-x", owner_kind="ReplicaSet"), a_pod("node-local-dns"))},
            "node.pods.terway",
            Verdict.FAIL,
            id="a pod of that name that is no DaemonSet's",
        ),
        pytest.param({"api_from_host": "timed out"}, "node.api.from-host", Verdict.FAIL, id="API unreachable"),
        pytest.param({"api_from_host": None}, "node.api.from-host", Verdict.UNKNOWN, id="API not measured"),
        pytest.param({"log_error": "HTTP 502"}, "node.kubelet.reachable", Verdict.FAIL, id="no log"),
        pytest.param(
            {"answers": replace(WELL, complete=False)}, "node.kubelet.reachable", Verdict.FAIL, id="log cut short"
        ),
        pytest.param(
            {"answers": replace(WELL, dns_internal="NXDOMAIN")}, "node.dns.in-cluster", Verdict.FAIL, id="DNS"
        ),
        pytest.param(
            {"answers": replace(WELL, dns_external=None)}, "node.dns.external", Verdict.UNKNOWN, id="not asked"
        ),
        pytest.param(
            {"answers": replace(WELL, to_cloud="timed out")}, "node.pods.to-cloud", Verdict.FAIL, id="way out"
        ),
        pytest.param(
            {"answers": replace(WELL, from_cloud=None)}, "node.pods.from-cloud", Verdict.UNKNOWN, id="way back"
        ),
    ],
)
def test_one_thing_wrong_is_one_blocker(seen, check, verdict):
    bad = [c for c in check_acceptance(evidence(**seen)) if c.verdict not in (Verdict.OK, Verdict.SKIPPED)]
    assert [(c.check, c.verdict) for c in bad] == [(check, verdict)]
    assert bad[0].finding is not None
    assert bad[0].finding.severity is Severity.BLOCKER
    assert bad[0].finding.next_step


def test_what_only_a_test_pod_shows_is_skipped_while_the_node_is_not_ready():
    checked = check_acceptance(evidence(node=a_node(ready=False), answers=PodAnswers()))
    assert tuple(c.check for c in checked if c.verdict is Verdict.SKIPPED) == BY_TEST_POD


def test_a_test_pod_that_the_api_server_refuses_is_one_blocker_with_its_own_next_step():
    refused = {"refused": 'admission webhook "x" denied the request: no', "next_step": "See whose webhook x is."}
    checked = check_acceptance(evidence(answers=PodAnswers(), log_error="HTTP 403", **refused))
    assert tuple(c.check for c in checked if c.verdict is Verdict.SKIPPED) == BY_TEST_POD
    (bad,) = (c for c in checked if c.verdict is Verdict.UNKNOWN)
    assert (bad.check, bad.reason) == ("node.test-pod", refused["refused"])
    assert (bad.finding.severity, bad.finding.next_step) == (Severity.BLOCKER, refused["next_step"])


def test_a_cloud_pod_that_could_not_be_had_is_named():
    answers = PodAnswers("", "", None, None, complete=True)
    checked = check_acceptance(evidence(answers=answers, cloud_error="node cloud-1 is held"))
    ways = {c.check: c.reason for c in checked if c.verdict is Verdict.UNKNOWN}
    assert ways == dict.fromkeys(("node.pods.to-cloud", "node.pods.from-cloud"), "not measured: node cloud-1 is held")


def test_without_a_cloud_node_both_ways_are_skipped_and_say_so():
    answers = PodAnswers("", "", None, None, complete=True)
    skipped = [c for c in check_acceptance(evidence(cloud_node=None, answers=answers)) if c.verdict is not Verdict.OK]
    assert [(c.check, c.verdict, c.reason) for c in skipped] == [
        ("node.pods.to-cloud", Verdict.SKIPPED, "the cluster has no Ready cloud node"),
        ("node.pods.from-cloud", Verdict.SKIPPED, "the cluster has no Ready cloud node"),
    ]


@pytest.mark.parametrize(
    ("kubelet", "wanted", "verdict"),
    [
        ("v1.36.3", None, Verdict.OK),
        ("v1.36.3", "1.36.3", Verdict.OK),
        ("v1.36.3-aliyun.1", "1.36.3", Verdict.OK),
        ("v1.36.3+lab", "v1.36.3", Verdict.OK),
        ("v1.36.3-aliyun.1", "1.36.3-aliyun.1", Verdict.OK),
        ("v1.36.3-aliyun.1", "1.36.3-aliyun.2", Verdict.FAIL),
        ("v1.36.30", "1.36.3", Verdict.FAIL),
        ("v1.36.3", "1.36", Verdict.OK),
        ("v1.360.0", "1.36", Verdict.FAIL),
        ("", "1.36.3", Verdict.FAIL),
    ],
)
def test_the_kubelets_version_as_people_write_it(kubelet, wanted, verdict):
    seen = evidence(node=a_node(kubelet_version=kubelet), expected_version=wanted)
    (checked,) = (c for c in check_acceptance(seen) if c.check == "node.kubelet.version")
    assert checked.verdict is verdict
