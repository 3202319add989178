"""Onboarding as a user runs it, and each way of being told to keep the hands off."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.deployments.lab.layout import LabFolder
from poolkeeper.tasks.ledger import CHANGES, HOST_FACTS, LIFECYCLE, RUNS, STEPS, Spool
from tests.e2e.conftest import Cluster, Json
from tests.warm import Ended


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, prefect_api_url: str) -> Iterator[Cluster]:
    """One lab for this file; each test has hosts of its own."""
    place = tmp_path_factory.mktemp("onboarding")
    folder = LabFolder(place / "lab")
    lifecycle.up(folder, 20)
    yield Cluster(folder, prefect_api_url, place / "state")
    lifecycle.down(folder)


@pytest.fixture(scope="module")
def free_hosts(cluster: Cluster) -> Iterator[str]:
    return iter(cluster.names)


@pytest.fixture
def hosts(free_hosts: Iterator[str]) -> list[str]:
    """Two hosts that no other test uses."""
    return list(islice(free_hosts, 2))


def row(ended: Ended, name: str) -> Json:
    return next(row for row in ended.answer["hosts"] if row["name"] == name)


def test_a_dry_run_changes_nothing_and_tells_the_plan(cluster: Cluster, hosts: list[str]) -> None:
    before = cluster.nodes
    ended = cluster.onboard("|".join(hosts), dry_run=True)
    assert (ended.code, ended.answer["state"]) == (0, "completed")
    assert [host["state"] for host in ended.answer["hosts"]] == ["planned", "planned"]
    assert cluster.nodes == before
    assert not any((cluster.root(host) / "var/lib/poolkeeper").exists() for host in hosts)
    told = Path(ended.answer["files"][0]).read_text()
    assert "## What would be changed" in told
    assert f"join host {hosts[0]} to pool" in told


def test_accepted_hosts_are_nodes_and_are_skipped_the_next_time(cluster: Cluster, hosts: list[str]) -> None:
    first = cluster.onboard("|".join(hosts))
    assert (first.code, first.answer["summary"]) == (0, "completed: 2 accepted of 2 hosts")
    node = cluster.nodes[hosts[0]]
    assert "poolkeeper.io/accepted" in node["metadata"]["annotations"]
    assert not node["spec"].get("unschedulable")
    assert node["metadata"]["labels"]["alibabacloud.com/nodepool-type"] == "hybridcloud"

    again = cluster.onboard("|".join(hosts))
    assert [host["summary"] for host in again.answer["hosts"]] == ["accepted already", "accepted already"]
    after = cluster.nodes[hosts[0]]  # its kubelet's heartbeats go on
    assert (after["metadata"]["annotations"], after["spec"]) == (node["metadata"]["annotations"], node["spec"])

    spool, run_id = Spool(cluster.state / "spool"), first.answer["run_id"]
    assert {r["host"] for r in spool.rows(HOST_FACTS, run_id)} == set(hosts)
    assert {r["phase"] for r in spool.rows(STEPS, run_id)} == {"look", "join", "acceptance", "release"}
    events = [(r["labels"]["pool"], r["event"], r["vcpus"]) for r in spool.rows(LIFECYCLE, run_id)]
    assert sorted(events) == sorted(
        (r, e, 8) for r in (_pool(cluster, host) for host in hosts) for e in ("joined", "state:Ready")
    )
    assert [r["state"] for r in spool.rows(RUNS, run_id)] == ["completed"]
    assert len(list(spool.rows(CHANGES, run_id))) >= 6
    assert list(spool.rows(CHANGES, again.answer["run_id"])) == []


def _pool(cluster: Cluster, host: str) -> str:
    return next(pool for pool in ("general", "batch") if host in cluster.names_in(pool))


def test_a_persons_cordon_stays(cluster: Cluster, hosts: list[str]) -> None:
    host = hosts[0]
    assert cluster.onboard(host).code == 0
    cluster.ask("PATCH", f"/api/v1/nodes/{host}", {"spec": {"unschedulable": True}})
    gone = dict.fromkeys(("poolkeeper.io/accepted", "poolkeeper.io/machine-id"))
    cluster.ask("PATCH", f"/api/v1/nodes/{host}", {"metadata": {"annotations": gone}})
    ended = cluster.onboard(host)
    assert row(ended, host)["state"] == "accepted"
    assert [f["id"] for f in row(ended, host)["findings"]] == ["node.cordoned.by-others"]
    assert cluster.nodes[host]["spec"]["unschedulable"] is True


def test_a_node_that_did_not_join_by_us_is_never_undone(cluster: Cluster, hosts: list[str]) -> None:
    """Its host was in service: a failing acceptance is told, and nothing else happens to it."""
    host = hosts[0]
    assert cluster.onboard(host).code == 0
    gone = dict.fromkeys(("poolkeeper.io/accepted", "poolkeeper.io/machine-id"))
    cluster.ask("PATCH", f"/api/v1/nodes/{host}", {"metadata": {"annotations": gone}})
    cluster.edit_fleet(lambda document: [p["join"].update(timeout="8s") for p in document["pools"].values()])
    cluster.break_host(host, Fault.NEVER_READY)
    _until(lambda: _ready(cluster.nodes[host]) != "True")
    before = cluster.nodes[host]
    ended = cluster.onboard(host, skip_checks='{"hosts.leftovers.none": "it is a node already"}')
    after = cluster.nodes[host]
    cluster.mend_host(host)
    cluster.edit_fleet(lambda document: [p["join"].update(timeout="60s") for p in document["pools"].values()])
    assert row(ended, host)["state"] == "failed"
    assert row(ended, host)["summary"].endswith("left in service")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["annotations"] == before["metadata"]["annotations"]
    assert after["spec"] == before["spec"]
    assert (cluster.root(host) / "etc/kubernetes").exists()


def _ready(node: Json) -> str:
    return next((c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"), "")


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)  # the API server is asked from outside


@pytest.mark.parametrize(
    ("stop", "go", "guard"),
    [
        pytest.param(["freeze", "--reason", "year end"], ["thaw"], "gate.freeze", id="freeze"),
        pytest.param(["hold", "HOST", "--reason", "disk swap"], ["unhold", "HOST"], "gate.hold", id="hold"),
    ],
)
def test_a_persons_stop_is_obeyed_until_it_is_taken_back(
    cluster: Cluster, hosts: list[str], stop: list[str], go: list[str], guard: str
) -> None:
    host = hosts[0]
    assert cluster.poolkeeper(*(host if word == "HOST" else word for word in stop)).code == 0
    refused = cluster.onboard(host)
    assert (refused.code, row(refused, host)["state"]) == (1, "refused")
    assert [f["id"] for f in row(refused, host)["findings"]] == [guard]
    assert host not in cluster.nodes
    assert not (cluster.root(host) / "var/lib/poolkeeper").exists()
    planned = cluster.onboard(host, dry_run=True)
    assert row(planned, host)["state"] == "planned", "a plan may be drawn; it says what stands in its way"
    assert [(f["id"], f["severity"]) for f in row(planned, host)["findings"]] == [(guard, "warning")]
    assert cluster.poolkeeper(*(host if word == "HOST" else word for word in go)).code == 0
    assert row(cluster.onboard(host), host)["state"] == "accepted"


def test_observe_mode_refuses_everything(cluster: Cluster, hosts: list[str]) -> None:
    cluster.edit_fleet(lambda document: document.update(mode="observe"))
    ended = cluster.onboard(hosts[0])
    cluster.edit_fleet(lambda document: document.update(mode="act"))
    assert (ended.code, row(ended, hosts[0])["state"]) == (1, "refused")
    assert [f["id"] for f in row(ended, hosts[0])["findings"]] == ["gate.observe"]
    assert hosts[0] not in cluster.nodes


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        pytest.param(["-p", "hosts=pool=genral"], 2, "Did you mean general?", id="a pool that is not there"),
        pytest.param(["-p", "host=x"], 2, "it has: pool, hosts", id="a parameter that is not there"),
        pytest.param(["-p", "dry_run=perhaps"], 2, "dry_run", id="a value of another type"),
        pytest.param(["-p", "pool"], 2, "name=value", id="no value"),
        pytest.param(["--fleet", "/nowhere/fleet.yaml"], 2, "there is no file", id="no fleet file"),
    ],
)
def test_bad_input_is_answered_with_what_to_write(cluster: Cluster, words: list[str], code: int, says: str) -> None:
    ended = cluster.poolkeeper("run", "onboard", *words, "--json")
    assert ended.code == code, ended.err
    assert says in ended.err + ended.out


def test_status_compares_declared_with_observed(cluster: Cluster, hosts: list[str]) -> None:
    assert cluster.onboard(hosts[0]).code == 0
    ended = cluster.poolkeeper("status", "--hosts", "|".join(hosts), "--json")
    states = {host["host"]: host["state"] for host in ended.answer["hosts"] if host["host"]}
    assert states[hosts[0]] == "accepted"
    assert states[hosts[1]] == "not joined"
    assert ended.code == 1


def test_probe_looks_without_prefect_and_leaves_nothing(cluster: Cluster, hosts: list[str]) -> None:
    ended = cluster.poolkeeper("probe", *hosts, "--json")
    assert ended.code == 0, ended.err
    for host in ended.answer["hosts"]:
        assert {check["verdict"] for check in host["checks"]} == {"ok"}, host["findings"]
    assert not (cluster.root(hosts[0]) / "var/lib/poolkeeper").exists()


def test_secrets_are_in_nothing_that_is_kept(cluster: Cluster, hosts: list[str]) -> None:
    ended = cluster.onboard(hosts[0])
    keys = cluster.folder.keys
    secrets = [(keys / name).read_text().strip() for name in ("ops", "ack-secret")]
    secrets.append(json.loads(cluster.folder.kubeconfig.read_text())["users"][0]["user"]["token"])
    kept = [path for path in cluster.state.rglob("*") if path.is_file()]
    assert len(kept) > 10
    for text in [ended.out, ended.err, *(path.read_text(errors="replace") for path in kept)]:
        assert not any(secret in text for secret in secrets)
        assert "openapi-token=" not in text.replace("openapi-token=[redacted]", "")
