"""The dry run is the real run: it tells each change that the run then makes, in that order, and makes none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.layout import LabFolder
from poolkeeper.tasks.ledger import CHANGES, RUNS, Spool
from tests.e2e.conftest import Cluster, Json
from tests.e2e.history import POOLKEEPER
from tests.e2e.observer import Observer
from tests.e2e.rollouts import OLD, WANTED
from tests.warm import Ended


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, prefect_api_url: str) -> Iterator[Cluster]:
    place = tmp_path_factory.mktemp("dry-runs")
    folder = LabFolder(place / "lab")
    lifecycle.up(folder, 3, kubelet=OLD)
    fleet = yaml.safe_load(folder.fleet.read_text())
    fleet["hosts"] = {name: {**host, "pool": min(fleet["pools"])} for name, host in fleet["hosts"].items()}
    folder.fleet.write_text(yaml.safe_dump(fleet))
    yield Cluster(folder, prefect_api_url, place / "state")
    lifecycle.down(folder)


FLOWS = [
    ("onboard", {}, "accepted"),
    ("upgrade", {"kubernetes": WANTED.removeprefix("v")}, "done"),
    ("maintain", {}, "handed over"),
    ("maintain", {"back": "true"}, "done"),
    ("offboard", {}, "done"),
]


def test_each_flow_makes_the_changes_that_its_dry_run_told(cluster: Cluster) -> None:
    """One host's whole life, each flow as a dry run first."""
    host = cluster.names[0]
    run(cluster, "onboard", host, dry_run="true")  # a host of the lab has its files once somebody has logged in
    for flow, parameters, state in FLOWS:
        before = files(cluster, host)
        with Observer(cluster.folder) as observer:
            began = observer.history().version
            planned = run(cluster, flow, host, dry_run="true", **parameters)
            assert observer.history().writes_by(POOLKEEPER, since=began) == [], flow
        assert files(cluster, host) == before, flow
        made = run(cluster, flow, host, dry_run="false", **parameters)
        assert (states(planned), states(made)) == (["planned"], [state]), (flow, planned.answer, made.answer)
        assert sentences(cluster, planned, "dry run") == sentences(cluster, made, "done"), flow
        assert sentences(cluster, planned, "dry run"), flow
        assert not (cluster.state / "runs" / planned.answer["run_id"] / "live.md").exists(), flow
        assert [dry_run(cluster, one) for one in (planned, made)] == [True, False]


def test_a_rollout_over_several_hosts_makes_the_changes_of_its_dry_run_wave_by_wave(cluster: Cluster) -> None:
    """The lab's pool lets one of three hosts be down at a time, so that the order of all sentences is the same."""
    run(cluster, "onboard", "all", dry_run="false")
    wanted = {"kubernetes": WANTED.removeprefix("v"), "outside_windows": "true"}
    planned = run(cluster, "upgrade", "all", dry_run="true", soak_s="3600", **wanted)
    made = run(cluster, "upgrade", "all", dry_run="false", **wanted)
    assert (states(planned), states(made)) == (["planned"] * 3, ["done"] * 3)
    assert sentences(cluster, planned, "dry run") == sentences(cluster, made, "done")
    assert sum("cordon node" in told for told in sentences(cluster, made, "done")) == 3


def run(cluster: Cluster, flow: str, host: str, **parameters: str) -> Ended:
    words = [word for name, value in parameters.items() for word in ("-p", f"{name}={value}")]
    ended = cluster.poolkeeper("run", flow, "-p", f"hosts={host}", *words, "--json")
    assert ended.code == 0, ended
    return ended


def states(ended: Ended) -> list[str]:
    return [row["state"] for row in ended.answer["hosts"]]


def rows(cluster: Cluster, ended: Ended) -> list[Json]:
    return list(Spool(cluster.state / "spool").rows(CHANGES, ended.answer["run_id"]))


def sentences(cluster: Cluster, ended: Ended, outcome: str) -> list[str]:
    """What was told of, each once: a proof may try more than once."""
    told = rows(cluster, ended)
    assert {row["outcome"] for row in told} <= {outcome}, told
    return list(dict.fromkeys(row["sentence"] for row in told))


def dry_run(cluster: Cluster, ended: Ended) -> bool:
    (row,) = Spool(cluster.state / "spool").rows(RUNS, ended.answer["run_id"])
    return bool(row["dry_run"])


def files(cluster: Cluster, host: str) -> dict[str, int]:
    """What is on the host, and when it was last changed."""
    root = cluster.root(host)
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
