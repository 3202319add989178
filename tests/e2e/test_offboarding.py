"""Hosts leave their pool for good, as a user has them leave: whole, refused, dead, cut off at each step, and back again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.deployments.lab.layout import LabFolder
from poolkeeper.tasks.ledger import CHANGES, LIFECYCLE, Spool
from tests.e2e.conftest import Cluster, Json
from tests.e2e.rollouts import until
from tests.warm import Ended

HOSTS = 24
POOL = "general"
SELECTOR = {"alibabacloud.com/nodepool-type": "hybridcloud"}
ROOMY = {"max_unavailable": "100%"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, prefect_api_url: str) -> Iterator[Cluster]:
    """One lab for this file, all of whose first pool are nodes; each test has hosts of its own."""
    place = tmp_path_factory.mktemp("offboarding")
    folder = LabFolder(place / "lab")
    lifecycle.up(folder, HOSTS)
    made = Cluster(folder, prefect_api_url, place / "state")
    made.edit_fleet(roomy)
    onboarded = made.onboard(f"pool={POOL}")
    assert onboarded.code == 0, onboarded.answer["summary"]
    yield made
    lifecycle.down(folder)


def roomy(document: Json) -> None:
    for part in (*document["pools"].values(), *document["domains"].values()):
        part.update(ROOMY)
    document["ssh"] |= {"connect_timeout": "3s"}  # a machine without power is waited for


@pytest.fixture(scope="module")
def free_hosts(cluster: Cluster) -> Iterator[str]:
    return iter(cluster.names_in(POOL))


@pytest.fixture
def host(free_hosts: Iterator[str]) -> str:
    """A host that is a node and that no other test uses."""
    return next(free_hosts)


def offboard(cluster: Cluster, hosts: str, *, dry_run: bool = False, **parameters: str) -> Ended:
    chosen = {"hosts": hosts, "dry_run": str(dry_run).lower(), **parameters}
    words = [word for name, value in chosen.items() for word in ("-p", f"{name}={value}")]
    return cluster.poolkeeper("run", "offboard", *words, "--json")


def row(ended: Ended, name: str) -> Json:
    return next(row for row in ended.answer["hosts"] if row["name"] == name)


def ids(row: Json) -> list[str]:
    return [finding["id"] for finding in row["findings"]]


def left(cluster: Cluster, run_id: str | None = None) -> list[str]:
    """Node names in the rows that a bill depends on, of nodes that left."""
    rows = (
        Spool(cluster.state / "spool").rows(LIFECYCLE, run_id)
        if run_id
        else Spool(cluster.state / "spool").rows(LIFECYCLE)
    )
    return [r["resource_id"].split("/")[1] for r in rows if r["event"] == "left"]


def is_clean(cluster: Cluster, host: str) -> bool:
    """Whether nothing of the cluster is on a host, read from its files."""
    root = cluster.root(host)
    gone = ("etc/kubernetes", "var/lib/kubelet", "usr/bin/kubelet", "etc/cni/net.d", "var/lib/poolkeeper/before")
    units = root.parent / "state/units"
    kept = list((root / "run/poolkeeper").glob("*"))
    return not any((root / path).exists() for path in gone) and not (units / "kubelet.service").exists() and not kept


@pytest.fixture
def web(cluster: Cluster, host: str, free_hosts: Iterator[str]) -> Iterator[str]:
    """A Deployment of two pods with a budget of one, one of them on the host; its name."""
    other = next(free_hosts)
    for name in (host, other):
        cluster.ask("PATCH", f"/api/v1/nodes/{name}", {"metadata": {"labels": {"app": host}}})
    pod = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "nodeSelector": {"app": host},
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "web", "image": "busybox", "command": ["sleep", "3600"]}],
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": {"app": "web"}},
                }
            ],
        },
    }
    selector = {"matchLabels": {"app": "web"}}
    apps, policy = (
        "/apis/apps/v1/namespaces/default/deployments",
        "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
    )
    deployment = {"replicas": 2, "selector": selector, "template": pod}
    cluster.ask(
        "POST", apps, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": deployment}
    )
    budget = {"minAvailable": 1, "selector": selector}
    cluster.ask(
        "POST",
        policy,
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}, "spec": budget},
    )
    until(lambda: ready(cluster) == 2)
    yield "web"
    cluster.ask("DELETE", f"{apps}/web")
    cluster.ask("DELETE", f"{policy}/web")


def ready(cluster: Cluster) -> int:
    found = cluster.ask("GET", "/apis/apps/v1/namespaces/default/deployments/web")
    return int((found.get("status") or {}).get("readyReplicas", 0))


def pods_on(cluster: Cluster, node: str) -> list[str]:
    pods = cluster.ask("GET", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{node}")["items"]
    return [pod["metadata"]["name"] for pod in pods if not pod["metadata"]["name"].startswith(("terway", "node-local"))]


def test_a_host_leaves_for_good_and_may_come_back(cluster: Cluster, host: str, web: str) -> None:
    until(lambda: bool(pods_on(cluster, host)))
    planned = offboard(cluster, host, dry_run=True)
    assert (planned.code, row(planned, host)["state"]) == (0, "planned")
    told = Path(planned.answer["files"][0]).read_text()
    assert f"clean host {host}" in told
    assert "give it back" not in told
    assert host in cluster.nodes

    ended = offboard(cluster, host)
    assert (ended.code, row(ended, host)["state"]) == (0, "done"), row(ended, host)
    assert ids(row(ended, host)) == ["offboard.fleet-file"]
    assert host not in cluster.nodes
    assert is_clean(cluster, host)
    assert left(cluster, ended.answer["run_id"]) == [host]
    assert ready(cluster) == 2, "its pods run elsewhere"
    sentences = [r["sentence"] for r in Spool(cluster.state / "spool").rows(CHANGES, ended.answer["run_id"])]
    assert sentences[-3:] == [
        f"clean host {host}: run the provider's reset, revert what the record on it says that the join changed,"
        " and switch its kubelet off",
        f"remove node {host} from the provider's list of pool {POOL}",
        f"delete Node {host}",
    ]

    again = offboard(cluster, host)
    assert row(again, host)["summary"] == "at the goal already"
    back = cluster.onboard(host)
    assert row(back, host)["state"] == "accepted", row(back, host)
    assert host in cluster.nodes


def mount(cluster: Cluster, host: str, *lines: str) -> None:
    """What is mounted on a host besides its root."""
    text = "".join(f"{line}\n" for line in ("/dev/vda1 / ext4 rw 0 0", *lines))
    (cluster.root(host) / "proc/mounts").write_text(text)


def test_what_is_mounted_is_not_deleted(cluster: Cluster, host: str) -> None:
    data = cluster.root(host) / "var/lib/kubelet/pods/p1/volume-subpaths/etc/c/0/passwd"
    data.parent.mkdir(parents=True)
    data.write_text("root\n")
    mount(cluster, host, "/dev/vda1 /var/lib/kubelet/pods/p1/volume-subpaths/etc/c/0 ext4 rw 0 0")
    kept = offboard(cluster, host)
    assert (kept.code, row(kept, host)["state"]) == (1, "failed")
    assert ids(row(kept, host)) == ["offboard.host.reset"]
    assert "/var/lib/kubelet/pods/p1/volume-subpaths/etc/c/0" in row(kept, host)["findings"][0]["evidence"]["observed"]
    assert data.exists()
    assert cluster.nodes[host]["spec"]["unschedulable"], "kept for a look"
    mount(cluster, host, "tmpfs /var/lib/kubelet/pods/p1/volumes/kubernetes.io~projected/token tmpfs rw 0 0")
    ended = offboard(cluster, host)
    assert row(ended, host)["state"] == "done"
    assert host not in cluster.nodes


def test_what_the_record_keeps_is_told_and_removed_the_next_time(cluster: Cluster, host: str) -> None:
    """A mount below what only our own record removes."""
    data = cluster.root(host) / "var/lib/yurthub/cache/a"
    data.parent.mkdir(parents=True)
    data.touch()
    with (cluster.root(host) / "var/lib/poolkeeper/changes").open("a") as record:
        record.write("added path yurthub-data\n")
    mount(cluster, host, "tmpfs /var/lib/yurthub/cache tmpfs rw 0 0")
    kept = offboard(cluster, host)
    assert row(kept, host)["state"] == "done"
    assert "offboard.leftovers" in ids(row(kept, host))
    assert data.exists()
    assert host not in cluster.nodes
    mount(cluster, host)
    ended = offboard(cluster, host)
    assert (row(ended, host)["state"], ids(row(ended, host))) == ("done", ["offboard.fleet-file"])
    assert not data.exists()
    assert left(cluster).count(host) == 1


def test_a_dead_machine_leaves_by_the_operators_word_alone(cluster: Cluster, host: str, web: str) -> None:
    until(lambda: bool(pods_on(cluster, host)))
    alive = offboard(cluster, host, host_is_gone="true")
    assert ids(row(alive, host)) == ["offboard.host.alive"]
    cluster.break_host(host, Fault.AUTH_REFUSED)
    cluster.break_host(host, Fault.NEVER_READY)
    until(lambda: _ready(cluster.nodes[host]) != "True")
    refused = offboard(cluster, host, host_is_gone="true")
    assert ids(row(refused, host)) == ["offboard.host.not-silent"], "whatever refuses a login is there"

    asked = offboard(cluster, host)
    assert row(asked, host)["state"] == "stopped"
    assert "--host-is-gone" in row(asked, host)["findings"][0]["next_step"]
    assert not cluster.nodes[host]["spec"].get("unschedulable")
    cluster.break_host(host, Fault.POWER_LOST)
    ended = offboard(cluster, host, host_is_gone="true")
    assert row(ended, host)["state"] == "done", row(ended, host)
    told = ["offboard.pods.lost", "offboard.host.not-cleaned", "offboard.fleet-file"]
    assert sorted(ids(row(ended, host))) == sorted(told)
    assert host not in cluster.nodes
    until(lambda: not pods_on(cluster, host) and ready(cluster) == 2)
    assert left(cluster, ended.answer["run_id"]) == [host]


def _ready(node: Json) -> str:
    return next((c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"), "")


def test_another_machine_at_its_address_is_not_touched(cluster: Cluster, host: str) -> None:
    before = cluster.nodes[host]["metadata"]["uid"]
    (cluster.root(host) / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    ended = offboard(cluster, host)
    assert row(ended, host)["state"] == "stopped"
    assert ids(row(ended, host)) == ["offboard.identity.other-machine"]
    assert cluster.nodes[host]["metadata"]["uid"] == before
    assert not cluster.nodes[host]["spec"].get("unschedulable")
    assert (cluster.root(host) / "etc/kubernetes/kubelet.conf").exists()


def test_a_node_that_was_deleted_by_hand_is_finished_on_its_host(cluster: Cluster, host: str) -> None:
    cluster.ask("DELETE", f"/api/v1/nodes/{host}")
    serving = offboard(cluster, host)
    assert ids(row(serving, host)) == ["offboard.host.kubelet-runs"], "it may serve another cluster by now"
    assert not is_clean(cluster, host)
    (cluster.root(host).parent / "state/units/kubelet.service/active").write_text("inactive")
    ended = offboard(cluster, host)
    assert row(ended, host)["state"] == "done", row(ended, host)
    assert is_clean(cluster, host)
    assert host not in cluster.nodes


def test_a_host_that_never_was_a_node_is_no_work(cluster: Cluster) -> None:
    host = cluster.names_in("batch")[0]
    ended = offboard(cluster, host)
    assert (ended.code, row(ended, host)["summary"]) == (0, "at the goal already")


def test_a_held_node_stays(cluster: Cluster, host: str) -> None:
    assert cluster.poolkeeper("hold", host, "--reason", "audit").code == 0
    ended = offboard(cluster, host)
    assert row(ended, host)["state"] == "refused"
    assert host in cluster.nodes
    assert cluster.poolkeeper("unhold", host).code == 0


def test_the_last_node_of_a_pool(cluster: Cluster) -> None:
    host = cluster.names_in("batch")[-1]
    assert cluster.onboard(host).code == 0
    ended = offboard(cluster, host)
    assert (ended.code, row(ended, host)["state"]) == (0, "done"), row(ended, host)
    nodes = cluster.nodes.values()
    assert "np-batch" not in {n["metadata"]["labels"].get("alibabacloud.com/nodepool-id") for n in nodes}
