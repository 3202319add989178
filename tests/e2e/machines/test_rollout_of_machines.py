"""Five real nodes go from one minor to the next under a workload with a disruption budget, killed on the way and resumed.

What is promised is watched by kubectl, which knows nothing of poolkeeper's records. Then one of them gets another build
of its container runtime.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.layout import LabFolder
from poolkeeper.deployments.lab.real.machines.rebuilt_packages import CONTAINER_RUNTIME, REBUILT
from poolkeeper.tasks.upgrade.ways import UPGRADE_UNIT
from tests.e2e.conftest import Json, MachinesCluster
from tests.e2e.history import CLAIM

pytestmark = pytest.mark.tier("machines")

OLDER, NEWER = "1.35.4", "1.36.3"
NODES = 5
LEASE_S = "15"
RUNTIME_BEGAN = f"systemctl show -p ExecMainStartTimestampMonotonic {CONTAINER_RUNTIME}"
KILLED = ("before record phase changing on node *", "after program 5 of change 2 of upgrade host *")
"""The first host is drained and nothing on it is changed; then it is done, and the unit of the next one has just started,
which goes on and runs `kubeadm upgrade node` with nobody there."""
UPGRADE = ["run", "upgrade", "-p", f"kubernetes={NEWER}", "-p", "pool=general", "-p", "dry_run=false"]
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      nodeSelector: {alibabacloud.com/nodepool-type: hybridcloud}
      containers:
        - name: web
          image: registry.lab/busybox:1
          command: [sh, -c, "cd /tmp; echo hello > index.html; exec httpd -f -p 8000 -h ."]
          readinessProbe: {tcpSocket: {port: 8000}, periodSeconds: 1}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: default}
spec: {minAvailable: 2, selector: {matchLabels: {app: web}}}
"""


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory, prefect_api_url: str) -> Iterator[MachinesCluster]:
    """Five machines of one pool, onboarded with the older kubelet, and a workload on them."""
    place = tmp_path_factory.mktemp("rollout")
    cluster = MachinesCluster(LabFolder(place / "lab"), prefect_api_url, place / "state")
    try:
        lifecycle.up_machines(cluster.folder, NODES)
        cluster.edit_fleet(one_pool)
        ended = cluster.onboard()
        assert ended.answer["summary"] == f"completed: {NODES} accepted of {NODES} hosts", ended.out
        manifest = place / "web.yaml"
        manifest.write_text(WEB)
        cluster.kubectl("apply", "--filename", str(manifest))
        cluster.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
        yield cluster
    finally:
        lifecycle.down(cluster.folder)


def one_pool(fleet: Json) -> None:
    fleet["pools"]["general"]["kubernetes_version"] = OLDER
    for host in fleet["hosts"].values():
        host["pool"] = "general"


class Watched:
    """What kubectl saw, line by line."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self._file.read_text().splitlines() if line.strip()]


@contextmanager
def watching(cluster: MachinesCluster, file: Path, what: str, columns: str) -> Iterator[Watched]:
    """A watch by kubectl for as long as the block lasts."""
    command = [lifecycle.status(cluster.folder)["kubectl"], "--kubeconfig", str(cluster.folder.admin_kubeconfig)]
    command += ["get", what, "--all-namespaces", "--watch", "--no-headers", "--output", f"custom-columns={columns}"]
    if what == "nodes":
        command.remove("--all-namespaces")
    with file.open("w") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 30
            while not file.read_text():
                assert time.monotonic() < deadline, "kubectl does not watch"
                time.sleep(0.1)
            yield Watched(file)
        finally:
            process.terminate()


def most_unavailable(lines: list[list[str]], names: list[str]) -> int:
    """Of these nodes, how many were cordoned or not Ready at the same time."""
    down: set[str] = set()
    most = 0
    for name, unschedulable, ready in lines:
        if name not in names:
            continue
        if unschedulable == "true" or ready != "True":
            down.add(name)
        else:
            down.discard(name)
        most = max(most, len(down))
    return most


def test_five_nodes_are_upgraded_through_a_kill(
    older: MachinesCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POOLKEEPER_LEASE_S", LEASE_S)
    names = older.names
    budget = "HEALTHY:.status.currentHealthy,WANTED:.status.desiredHealthy,NAME:.metadata.name"
    ready = '.status.conditions[?(@.type=="Ready")].status'
    node = f"NAME:.metadata.name,CORDONED:.spec.unschedulable,READY:{ready}"
    with (
        watching(older, tmp_path / "budgets", "pdb", budget) as budgets,
        watching(older, tmp_path / "nodes", "nodes", node) as nodes,
    ):
        older.kill(KILLED[0], *UPGRADE)
        assert versions(older) == dict.fromkeys(names, f"v{OLDER}")
        (drained,) = phases(older)
        assert phases(older) == {drained: "draining"}
        older.kill(KILLED[1], *UPGRADE)
        (half_changed,) = phases(older)
        assert (phases(older), half_changed != drained) == ({half_changed: "changing"}, True)
        assert versions(older)[drained] == f"v{NEWER}"
        ended = older.poolkeeper(*UPGRADE, "--json")
        assert ended.code == 0, ended.out + ended.err[-3000:]

    assert {row["name"]: row["state"] for row in ended.answer["hosts"]} == dict.fromkeys(names, "done")
    assert versions(older) == dict.fromkeys(names, f"v{NEWER}")
    ran = older.shells(dict.fromkeys(names, f"journalctl -o cat -u {UPGRADE_UNIT} | grep -c ^Started"))
    assert ran == dict.fromkeys(names, "1"), "what ran on was followed, not done twice"
    assert not any(node["spec"].get("unschedulable") for node in older.nodes.values())
    assert not any("poolkeeper.io/rollout" in node["metadata"]["annotations"] for node in older.nodes.values())

    seen = [line for line in budgets.lines() if line[2] == "web"]
    assert len(seen) > NODES, "the budget's counts changed with each drain"
    assert all(int(healthy) >= int(wanted) for healthy, wanted, _ in seen), seen
    assert most_unavailable(nodes.lines(), names) == 1
    leases = older.ask("GET", "/apis/coordination.k8s.io/v1/namespaces/poolkeeper/leases")["items"]
    assert [lease["spec"].get("holderIdentity") or "" for lease in leases] == [""] * len(leases)
    assert older.test_pods == []


def phases(cluster: MachinesCluster) -> dict[str, str]:
    """Node -> how far the rollout that has it has come."""
    told = {name: node["metadata"]["annotations"].get(CLAIM) for name, node in cluster.nodes.items()}
    return {name: json.loads(text)["phase"] for name, text in told.items() if text}


def test_a_container_runtime_is_upgraded_by_itself(older: MachinesCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """One package in its other build, by the machine's own apt: nothing else is another one, and its pods run on."""
    monkeypatch.setenv("POOLKEEPER_LEASE_S", LEASE_S)
    host, other = older.names[:2]
    before, kubelets = {name: packages(older, name) for name in (host, other)}, versions(older)
    wanted = before[host][CONTAINER_RUNTIME] + REBUILT
    goal = json.dumps({CONTAINER_RUNTIME: wanted})
    words = ["run", "upgrade", "-p", f"packages={goal}", "-p", f"hosts=name={host}", "-p", "dry_run=false", "--json"]
    began = older.shell(host, RUNTIME_BEGAN)
    ended = older.poolkeeper(*words)
    assert {row["name"]: row["state"] for row in ended.answer["hosts"]} == {host: "done"}, ended.out
    assert packages(older, host) == before[host] | {CONTAINER_RUNTIME: wanted}
    assert packages(older, other) == before[other]
    assert older.shell(host, RUNTIME_BEGAN) != began, "what runs is what was installed"
    assert versions(older) == kubelets
    assert phases(older) == {}
    assert not older.nodes[host]["spec"].get("unschedulable")
    again = older.poolkeeper(*words)
    assert [row["summary"] for row in again.answer["hosts"]] == ["at the goal already"]


def packages(cluster: MachinesCluster, host: str) -> dict[str, str]:
    """Package -> its version, with a word where apt is to leave it as it is."""
    listed = cluster.shell(host, "dpkg-query -W -f '${Package} ${Version} ${db:Status-Want}\\n'")
    rows = [line.split() for line in listed.splitlines()]
    return {name: version if want == "install" else f"{version} ({want})" for name, version, want in rows}


def versions(cluster: MachinesCluster) -> dict[str, str]:
    return {name: node["status"]["nodeInfo"]["kubeletVersion"] for name, node in cluster.nodes.items()}
