"""Nights of the audit as a user has them: one fault between two of them, a cluster that does not answer, a kill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.deployments.lab.layout import LabFolder
from tests.e2e.conftest import Cluster, Json
from tests.warm import Ended

HOSTS = 8
POOL = "general"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, prefect_api_url: str) -> Iterator[Cluster]:
    """A lab, half of whose hosts are nodes."""
    place = tmp_path_factory.mktemp("audit")
    made = Cluster(LabFolder(place / "lab"), prefect_api_url, place / "state")
    lifecycle.up(made.folder, HOSTS)
    onboarded = made.onboard(f"pool={POOL}")
    assert onboarded.code == 0, onboarded.answer["summary"]
    yield made
    lifecycle.down(made.folder)


@pytest.fixture
def node(cluster: Cluster) -> Iterator[str]:
    """A host that is a node; whatever a test breaks on it is mended."""
    name = cluster.names_in(POOL)[-1]
    yield name
    cluster.mend_host(name)


def audit(cluster: Cluster, **parameters: str) -> Ended:
    words = [word for name, value in parameters.items() for word in ("-p", f"{name}={value}")]
    return cluster.poolkeeper("run", "audit", *words, "--json")


def told(ended: Ended) -> list[tuple[str, str, str]]:
    """What is broken. What is slow besides is so for who else the machine works for, and no matter of the lab."""
    found = ended.answer["audit"]["findings"]
    return [(f["id"], f["subject"], f["status"]) for f in found if not f["id"].endswith(".slow")]


def test_nights_with_a_fault_between_them(cluster: Cluster, node: str) -> None:
    quiet = audit(cluster)
    assert (quiet.code, told(quiet)) == (0, []), quiet.answer["audit"]["findings"]
    nodes = len(cluster.names_in(POOL))
    assert quiet.answer["audit"]["counts"]["unknown"] == nodes, "no cache tells its metrics on loopback"
    assert {host["state"] for host in quiet.answer["hosts"]} == {"done"}
    assert cluster.test_pods == []

    cluster.break_host(node, Fault.POWER_LOST)
    broken = audit(cluster, fail_on="new-blockers")
    assert (broken.answer["state"], told(broken)) == ("failed", [("audit.host.cut", f"host {node}", "new")])
    assert broken.answer["audit"]["unread"].keys() == {node}
    again = audit(cluster, fail_on="new-blockers")
    assert told(again) == [("audit.host.cut", f"host {node}", "still failing")]
    assert (again.code, again.answer["state"]) == (1, "completed with unfinished hosts"), "one could not be measured"
    assert audit(cluster, fail_on="blockers", pod_nodes="0").answer["state"] == "failed"

    cluster.mend_host(node)
    mended = audit(cluster, pod_nodes="0")
    assert ("audit.host.cut", f"host {node}") in {(g["id"], g["subject"]) for g in mended.answer["audit"]["fixed"]}
    page = next(Path(file) for file in mended.answer["files"] if file.endswith(".html"))
    assert f"host {node}" in page.read_text()


def test_what_is_not_measured_is_neither_fixed_nor_forgotten(cluster: Cluster, node: str) -> None:
    cluster.break_host(node, Fault.RESOLVER_DEAD)
    first = audit(cluster, pod_nodes="0")
    dead = [(id, about) for id, about, _ in told(first) if id.startswith("audit.")]
    assert dead, first.answer["audit"]
    others = ",".join(f"name!={name}" for name in [node])
    assert told(audit(cluster, hosts=others, pod_nodes="0")) == []
    later = audit(cluster, hosts=others, pod_nodes="0").answer["audit"]
    kept = {(g["id"], g["subject"]) for g in later["elsewhere"]}
    assert {(id, about) for id, about in dead if node in about} <= kept
    assert not [g for g in later["not_measured"] + later["fixed"] if node in g["subject"]], "nobody asked it"
    back = audit(cluster, pod_nodes="0")
    assert {stands for _, _, stands in told(back)} == {"still failing"}


def test_a_cluster_that_does_not_answer_does_not_stop_the_hosts(cluster: Cluster) -> None:
    lifecycle.let_api_server_be(cluster.folder, away=True)
    try:
        ended = audit(cluster)
    finally:
        lifecycle.let_api_server_be(cluster.folder, away=False)
    assert [id for id, _, _ in told(ended)] == ["audit.endpoint.wrong"], ended.answer["audit"]
    assert {host["state"] for host in ended.answer["hosts"]} == {"done"}


def test_a_killed_night_leaves_nothing_that_the_next_one_does_not_remove(cluster: Cluster) -> None:
    cluster.kill("after run a test pod on node *", "run", "audit", "--json")
    assert cluster.test_pods, "it was killed while test pods ran"
    ended = audit(cluster)
    assert (ended.code, told(ended)) == (0, [])
    assert cluster.test_pods == []


def test_a_site_that_is_only_observed_is_looked_at_without_pods(cluster: Cluster) -> None:
    before = cluster.folder.fleet.read_text()
    cluster.edit_fleet(lambda fleet: fleet.update(mode="observe"))
    try:
        ended = audit(cluster)
    finally:
        cluster.folder.fleet.write_text(before)
    assert (ended.code, told(ended)) == (0, [])
    counts = ended.answer["audit"]["counts"]
    unknown = 3  # the ways to a kubelet from the API server and from the cloud's node, and its cache's metrics
    assert counts["unknown"] == unknown * len(cluster.names_in(POOL))


def test_a_wrong_question_is_answered_whole(cluster: Cluster) -> None:
    ended = audit(cluster, hosts="name=nobody")
    assert (ended.code, ended.answer["state"]) == (2, "invalid")
    assert "name=nobody" in ended.answer["summary"]


def test_probe_tells_of_one_host_in_seconds(cluster: Cluster, node: str) -> None:
    well: Json = cluster.poolkeeper("probe", node, "--json").answer["hosts"][0]
    checks = {(check["check"], check["target"]): check["verdict"] for check in well["checks"]}
    assert checks["connect.api", api_of(cluster)] == "ok"
    cluster.break_host(node, Fault.API_UNREACHABLE)
    ill: Json = cluster.poolkeeper("probe", node, "--json").answer["hosts"][0]
    checks = {(check["check"], check["target"]): check["verdict"] for check in ill["checks"]}
    assert checks["connect.api", api_of(cluster)] == "fail"
    assert checks["tls.api", api_of(cluster)] == "unknown"


def api_of(cluster: Cluster) -> str:
    return str(lifecycle.status(cluster.folder)["api_url"]).removeprefix("https://")
