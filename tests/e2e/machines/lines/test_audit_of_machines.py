"""Faults of network, DNS and certificates on real machines: the audit names each by one finding, and nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.faults import Fault
from tests.e2e.conftest import Json, MachinesCluster

pytestmark = pytest.mark.tier("machines")

HERE = "fra1-n02"
READY_S = 90

FAULTS = [
    ("fra1", Fault.LINE_CUT, "audit.site.cut", "site fra1"),
    ("fra1", Fault.ONE_WAY, "audit.line-one-way.cut", "line fra1 -> cloud"),
    ("fra1", Fault.UDP_53_BLOCKED, "audit.site-target.cut", "path fra1 -> udp/53"),
    ("fra1", Fault.MTU_LOWERED, "audit.site.big-packets", "site fra1"),
    ("fra1", Fault.RESOLVER_LIES, "audit.name.wrong", "name intranet.fra1.lab at {resolver}"),
    ("fra1", Fault.API_UNREACHABLE, "audit.site-target.cut", "path fra1 -> {api}:6443"),
    (HERE, Fault.LINE_CUT, "audit.host.cut", f"host {HERE}"),
    (HERE, Fault.KUBELET_PORT_BLOCKED, "audit.kubelet.cut", f"host {HERE}"),
    (HERE, Fault.CACHE_DOWN, "audit.node-cache.cut", f"host {HERE}"),
    (HERE, Fault.WRONG_SEARCH_LIST, "audit.stub.wrong", f"host {HERE}"),
    ("cloud", Fault.CERTIFICATE_EXPIRED, "audit.target.wrong", "target intranet"),
    ("cloud", Fault.CERTIFICATE_FOREIGN, "audit.target.wrong", "target intranet"),
]


@pytest.fixture(scope="module")
def cluster(networked: MachinesCluster) -> MachinesCluster:
    """Nodes at two sites, and a night in which nothing was wrong."""
    first = audit(networked)
    assert told(first) == set(), first
    assert first["counts"]["unknown"] == 0, "everything was measured"
    return networked


def audit(cluster: MachinesCluster) -> Json:
    """One night of the nodes."""
    ended = cluster.poolkeeper("run", "audit", "-p", f"hosts={'|'.join(cluster.names[:4])}", "--json")
    found: Json = ended.answer["audit"]
    away = found["unread"] or found["unread_clusters"]
    assert ended.answer["state"] == ("completed with unfinished hosts" if away else "completed"), ended.err
    return found


def told(night: Json) -> set[tuple[str, str]]:
    """What is broken. What is slow besides is so for who else the machine works for, and no matter of the lab."""
    return {(finding["id"], finding["subject"]) for finding in night["findings"] if not finding["id"].endswith(".slow")}


@pytest.fixture
def whole(cluster: MachinesCluster) -> Iterator[MachinesCluster]:
    """The lab with nothing broken; what a test breaks is mended, and its nodes are Ready again."""
    yield cluster
    status = lifecycle.status(cluster.folder)
    for subject in ("cloud", "fra1", HERE):
        lifecycle.mend_host(cluster.folder, subject, None)
    command = [status["kubectl"], "--kubeconfig", str(cluster.folder.admin_kubeconfig), "wait", "--for=condition=Ready"]
    for what in (["nodes", "--all"], ["pods", "--namespace=kube-system", "--all"]):
        subprocess.run(
            [*command, *what, f"--timeout={READY_S}s"], check=True, capture_output=True, timeout=READY_S + 10
        )


@pytest.mark.parametrize(("subject", "fault", "id", "about"), FAULTS, ids=[f"{row[0]} {row[1]}" for row in FAULTS])
def test_a_fault_is_one_finding(whole: MachinesCluster, subject: str, fault: Fault, id: str, about: str) -> None:
    lifecycle.break_host(whole.folder, subject, fault)
    night = audit(whole)
    places = {"resolver": whole.network.address(1, 53), "api": whole.network.api}
    assert told(night) == {(id, about.format(**places))}, night["findings"]
    finding = next(finding for finding in night["findings"] if finding["id"] == id)
    assert finding["explains"] > 0
    assert finding["severity"] == "blocker"


def test_two_faults_are_two_findings(whole: MachinesCluster) -> None:
    lifecycle.break_host(whole.folder, HERE, Fault.KUBELET_PORT_BLOCKED)
    lifecycle.break_host(whole.folder, "cloud", Fault.CERTIFICATE_EXPIRED)
    expected = {("audit.kubelet.cut", f"host {HERE}"), ("audit.target.wrong", "target intranet")}
    assert told(audit(whole)) == expected
    assert whole.test_pods == []
