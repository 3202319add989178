"""Whether a joined node may take workloads: pure checks over what was read of it.

Every check answers ok, fail or unknown. Unknown is a blocker like a failure: a node that cannot be proven stays in
quarantine.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from poolkeeper.tasks.acceptance.testpod import PodAnswers
from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.cluster.pods import PodRow
from poolkeeper.tasks.fleet.versions import same_version
from poolkeeper.tasks.outcomes import Checked, Evidence, Finding, Severity, Subject, Verdict


@dataclass(frozen=True, slots=True)
class NodeEvidence:
    """All that acceptance looks at, read once."""

    node: NodeRow
    pods: tuple[PodRow, ...]
    """Everything bound to the node."""
    expected_version: str | None
    """Kubelet version wanted; None: any that the skew rule allows."""
    expected_pods: tuple[str, ...]
    """Name prefixes of the DaemonSets that must have a Ready pod here."""
    api_from_host: str | None
    """Empty: the host reached the API server and verified its CA; else why not; None: not read."""
    answers: PodAnswers
    log_error: str
    """Why the test pod's log could not be read; empty: it was read."""
    cloud_node: str | None
    """The cloud node whose pods tested both directions; None: the cluster has no Ready cloud node."""
    cloud_error: str
    """Why the directions could not be tested; empty: they were."""
    seen_at: datetime
    refused: str = ""
    """Why the API server refused a test pod on the node; empty: it did not."""
    next_step: str = ""
    """What to do about that."""
    may_pass: bool = False
    """The API server may accept it a little later."""


BY_TEST_POD = (
    "node.kubelet.reachable",
    "node.dns.in-cluster",
    "node.dns.external",
    "node.pods.to-cloud",
    "node.pods.from-cloud",
)
NO_POD = "no test pod was run, because the node is not Ready"
REFUSED_POD = "no test pod was run, because the API server refused it"


def check_acceptance(seen: NodeEvidence) -> tuple[Checked, ...]:
    """Every acceptance check, the most basic first."""
    here = Subject("node", seen.node.name)
    of_the_node = (
        _node_ready(seen, here),
        _kubelet_version(seen, here),
        *(_system_pod(seen, here, prefix) for prefix in seen.expected_pods),
        _api_from_host(seen, here),
    )
    if not seen.node.ready:
        return (*of_the_node, *(Checked(check, Verdict.SKIPPED, here, reason=NO_POD) for check in BY_TEST_POD))
    if seen.refused:
        not_tried = [Checked(check, Verdict.SKIPPED, here, reason=REFUSED_POD) for check in BY_TEST_POD]
        return (*of_the_node, _no_pod(seen, here), *not_tried)
    return (
        *of_the_node,
        _api_to_kubelet(seen, here),
        _resolves(seen, here, "in-cluster", seen.answers.dns_internal),
        _resolves(seen, here, "external", seen.answers.dns_external),
        _reaches_cloud(seen, here, "to-cloud", seen.answers.to_cloud),
        _reaches_cloud(seen, here, "from-cloud", seen.answers.from_cloud),
    )


def _node_ready(seen: NodeEvidence, here: Subject) -> Checked:
    check = "node.ready"
    if seen.node.ready:
        return Checked(check, Verdict.OK, here)
    state = "Unknown" if seen.node.ready is None else "False"
    return _failed(
        check,
        here,
        Evidence(f"Ready is {state}: {seen.node.ready_message}", "Ready is True", "Node status", seen.seen_at),
        f"Read the kubelet's log on the host: `journalctl -u kubelet -n 100`; then `kubectl describe node"
        f" {here.name}`.",
        unknown=seen.node.ready is None,
    )


def _kubelet_version(seen: NodeEvidence, here: Subject) -> Checked:
    check = "node.kubelet.version"
    observed, expected = seen.node.kubelet_version, seen.expected_version
    if expected is None or same_version(observed, expected):
        return Checked(check, Verdict.OK, here)
    return _failed(
        check,
        here,
        Evidence(observed or "unknown", expected, "Node status.nodeInfo", seen.seen_at),
        "Set kubernetes_version of the pool to the version that the provider installs, or upgrade the pool:"
        " `poolkeeper run upgrade`.",
    )


def _system_pod(seen: NodeEvidence, here: Subject, prefix: str) -> Checked:
    check = f"node.pods.{prefix}"
    pods = [p for p in seen.pods if p.owner_kind == "DaemonSet" and p.owner_name.startswith(prefix)]
    if any(pod.ready for pod in pods):
        return Checked(check, Verdict.OK, here)
    observed = (
        ", ".join(f"{pod.name} is {pod.phase}, not Ready {pod.waiting}".strip() for pod in pods)
        or "no such pod on the node"
    )
    return _failed(
        check,
        here,
        Evidence(observed, f"a Ready pod of DaemonSet {prefix}*", "pods on the node", seen.seen_at),
        f"Look at `kubectl get pods -A -o wide --field-selector spec.nodeName={here.name}` and describe the"
        f" DaemonSet {prefix}*: does it tolerate the node's taints, can it pull its image?",
    )


def _api_from_host(seen: NodeEvidence, here: Subject) -> Checked:
    check = "node.api.from-host"
    if seen.api_from_host == "":
        return Checked(check, Verdict.OK, here)
    return _failed(
        check,
        here,
        Evidence(
            seen.api_from_host or "not measured",
            "the API server answers with its CA verified",
            "a request from the host",
            seen.seen_at,
        ),
        "Check the route and the firewall from the site to the API server's address and port.",
        unknown=seen.api_from_host is None,
    )


def _no_pod(seen: NodeEvidence, here: Subject) -> Checked:
    evidence = Evidence(seen.refused, "a test pod on the node", "the API server's answer", seen.seen_at)
    return _failed("node.test-pod", here, evidence, seen.next_step, unknown=True)


def _api_to_kubelet(seen: NodeEvidence, here: Subject) -> Checked:
    check = "node.kubelet.reachable"
    if not seen.log_error and seen.answers.complete:
        return Checked(check, Verdict.OK, here)
    return _failed(
        check,
        here,
        Evidence(
            seen.log_error or "the test pod's log ended early",
            "the API server reads the test pod's log from the kubelet",
            "pods/log",
            seen.seen_at,
        ),
        "Open TCP 10250 on the host for the control plane, and check that the node's InternalIP is routed there.",
    )


def _resolves(seen: NodeEvidence, here: Subject, which: str, answer: str | None) -> Checked:
    check = f"node.dns.{which}"
    if answer == "":
        return Checked(check, Verdict.OK, here)
    return _failed(
        check,
        here,
        Evidence(
            answer or "not measured: the test pod ended before this test",
            f"a pod on the node resolves an {which} name",
            "test pod",
            seen.seen_at,
        ),
        "Check the node-local DNS pod on this node and CoreDNS; for external names also the resolvers that CoreDNS"
        " forwards to.",
        unknown=answer is None,
    )


def _reaches_cloud(seen: NodeEvidence, here: Subject, way: str, answer: str | None) -> Checked:
    check = f"node.pods.{way}"
    if answer == "":
        return Checked(check, Verdict.OK, here)
    if seen.cloud_node is None:
        reason = "the cluster has no Ready cloud node"
        return Checked(check, Verdict.SKIPPED, here, reason=reason)
    direction = {"to-cloud": "a pod on the node reaches a pod on", "from-cloud": "a pod on the node is reached from"}
    return _failed(
        check,
        here,
        Evidence(
            answer or f"not measured: {seen.cloud_error or 'the test pod ended before this test'}",
            f"{direction[way]} cloud node {seen.cloud_node}",
            "test pod",
            seen.seen_at,
        ),
        "Check the route of the container range between site and VPC in this direction, and for overlay"
        " mode UDP 8472 between the nodes.",
        unknown=answer is None,
    )


def _failed(check: str, here: Subject, evidence: Evidence, next_step: str, *, unknown: bool = False) -> Checked:
    finding = Finding(check, Severity.BLOCKER, here, evidence, next_step)
    verdict = Verdict.UNKNOWN if unknown else Verdict.FAIL
    return Checked(check, verdict, here, finding, reason=evidence.observed if unknown else "")
