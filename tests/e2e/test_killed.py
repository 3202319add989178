"""Onboarding killed on its way, and run again: the end is the same as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from poolkeeper.deployments.lab.faults import Fault
from tests.e2e.conftest import Cluster, Json

WHILE_ADMITTING = (
    "after program 2 of join host *",
    "before write 1 of join host *",
    "after run a test pod on node *",
    "after program 2 of write the record *",
    "before the answer",
)
"""The join is started on the host; its Node has come and is not cordoned; a test pod runs; the record is half written."""
WHILE_UNDOING = ("after program 4 of undo *", "after write 1 of undo *")
"""The provider's reset has begun on the host; its Node tells that it is about to go."""


def kill(cluster: Cluster, host: str, place: str) -> None:
    """Run onboarding of one host and see it die at a place."""
    cluster.kill(place, "run", "onboard", "-p", f"hosts={host}", "-p", "dry_run=false")


def without_the_run(node: Json) -> Json:
    """What must be the same on every accepted node, whatever its run was: names, times and ids left out."""
    metadata, spec = node["metadata"], node["spec"]
    name = metadata["name"]
    return {
        "labels": {key: value.replace(name, "NODE") for key, value in sorted(metadata["labels"].items())},
        "annotations": sorted(key for key in metadata["annotations"]),
        "taints": spec.get("taints"),
        "unschedulable": spec.get("unschedulable"),
        "ready": [c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"],
    }


def record(cluster: Cluster, host: str) -> tuple[str, list[str]]:
    """What is on a host of ours: the record of changes, and what is left of transient units."""
    ours = cluster.root(host) / "run" / "poolkeeper"
    changes = cluster.root(host) / "var/lib/poolkeeper/changes"
    return changes.read_text(), sorted(entry.name for entry in ours.iterdir()) if ours.exists() else []


def test_admission_is_finished_by_the_next_run(new_lab: Callable[[int], Cluster]) -> None:
    cluster = new_lab(2 * len(WHILE_ADMITTING) + 4)
    undisturbed, *hosts = cluster.names_in("general")[: len(WHILE_ADMITTING) + 1]
    assert cluster.onboard(undisturbed).answer["state"] == "completed"

    with ThreadPoolExecutor(2) as two:
        list(two.map(lambda pair: kill(cluster, *pair), zip(hosts, WHILE_ADMITTING, strict=True)))
    # taken up in one run, several at once, as an SRE would do it on the morning after
    names = "|".join([undisturbed, *hosts])
    again = cluster.onboard(names)
    states = {row["name"]: (row["state"], row["findings"]) for row in again.answer["hosts"]}
    assert states == dict.fromkeys([undisturbed, *hosts], ("accepted", []))
    assert again.code == 0

    nodes, expected = cluster.nodes, without_the_run(cluster.nodes[undisturbed])
    assert nodes.keys() == {undisturbed, *hosts}
    for host, place in zip(hosts, WHILE_ADMITTING, strict=True):
        assert without_the_run(nodes[host]) == expected, place
        assert record(cluster, host) == record(cluster, undisturbed), place
    assert cluster.test_pods == []


def test_undoing_is_finished_by_the_next_run(new_lab: Callable[[int], Cluster]) -> None:
    cluster = new_lab(len(WHILE_UNDOING) + 1)
    cluster.edit_fleet(quick_to_give_up)
    undisturbed, *hosts = cluster.names
    for host in cluster.names:
        cluster.break_host(host, Fault.NEVER_READY)
    first = cluster.onboard(undisturbed).answer["hosts"][0]
    assert first["state"] == "failed"
    assert first["summary"].endswith("undone")

    with ThreadPoolExecutor(2) as two:
        list(two.map(lambda pair: kill(cluster, *pair), zip(hosts, WHILE_UNDOING, strict=True)))
    again = cluster.onboard("|".join(hosts)).answer["hosts"]
    seen = {row["name"]: (row["state"], row["summary"]) for row in again}
    assert seen == dict.fromkeys(hosts, (first["state"], first["summary"]))
    assert all("node.ready" in ids(row) for row in [first, *again])
    assert cluster.nodes == {}
    assert cluster.test_pods == []
    for host, place in zip(hosts, WHILE_UNDOING, strict=True):
        assert files_of_ours(cluster, host) == files_of_ours(cluster, undisturbed) == [], place

    for host in cluster.names:
        cluster.mend_host(host)
    healed = cluster.onboard()
    assert (healed.code, healed.answer["state"]) == (0, "completed"), healed.answer["summary"]


def test_a_node_that_is_kept_out_by_now_is_quarantined_all_the_same(new_lab: Callable[[int], Cluster]) -> None:
    """Killed before the cordon, and what has come since would have kept the host from joining at all."""
    cluster = new_lab(1)
    (host,) = cluster.names
    kill(cluster, host, "before write 1 of join host *")
    assert not cluster.nodes[host]["spec"].get("unschedulable")
    cluster.break_host(host, Fault.CLOCK)
    planned = cluster.onboard(host, dry_run=True).answer["hosts"][0]
    assert (planned["state"], cluster.nodes[host]["spec"].get("unschedulable")) == ("stopped", None)
    kept = cluster.onboard(host).answer["hosts"][0]
    assert (kept["state"], cluster.nodes[host]["spec"].get("unschedulable")) == ("quarantined", True)
    assert kept["summary"].startswith("hosts.clock.")
    cluster.mend_host(host)
    assert cluster.onboard(host).answer["hosts"][0]["state"] == "accepted"


def quick_to_give_up(document: Any) -> None:
    for pool in document["pools"].values():
        pool["join"]["timeout"] = "6s"


def ids(row: Json) -> list[str]:
    return [finding["id"] for finding in row["findings"]]


def files_of_ours(cluster: Cluster, host: str) -> list[str]:
    root = cluster.root(host)
    places = [root / "run/poolkeeper", root / "var/lib/poolkeeper", root / "etc/kubernetes", root / "var/lib/kubelet"]
    return [str(path.relative_to(root)) for place in places for path in place.rglob("*") if path.is_file()]
