"""A site that only a worker inside it reaches: its hosts are asked there, and the audit is one all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.conftest import Cluster, Ended, Json, ask_prefect
from tests.e2e.test_prefect import eventually

CHECKOUT = Path(__file__).parents[2]
HOSTS = 4
POOL = "inside-fra1"
AWAY = ("audit.target.cut", f"target worker of {POOL}")
IMPATIENT = (
    "import poolkeeper.tasks.audit.steps as s; s.WORKER_S = 3.0; from poolkeeper.deployments.cli import main; main()"
)


def prefect(cluster: Cluster, *words: str) -> None:
    """Prefect's own command, from the checkout, as a user types it."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *words],
        env=cluster.environment, cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def worker(cluster: Cluster) -> Iterator[None]:
    """A worker in the site's work pool, while it is wanted."""
    log = cluster.state / "worker.log"
    environment = {**cluster.environment, "PREFECT_WORKER_QUERY_SECONDS": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--type", "process", "--pool", POOL],
            env=environment, cwd=cluster.state, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)


def told(ended: Ended) -> list[tuple[str, str]]:
    found = ended.answer["audit"]["findings"]
    return [(f["id"], f["subject"]) for f in found if not f["id"].endswith(".slow")]


def runs_there(cluster: Cluster) -> list[Json]:
    chosen = {"flows": {"name": {"any_": ["ask-site"]}}, "sort": "START_TIME_ASC"}
    found: list[Json] = ask_prefect(cluster, "POST", "/flow_runs/filter", chosen)
    return found


def test_a_site_is_asked_by_its_own_worker(new_lab: Callable[[int], Cluster]) -> None:
    cluster = new_lab(HOSTS)
    cluster.edit_fleet(lambda fleet: fleet["sites"]["fra1"].update(work_pool=POOL))
    inside = {name for name in cluster.names if name.startswith("fra1-")}
    assert 0 < len(inside) < HOSTS
    audit = ("run", "audit", "-p", "pod_nodes=0", "--json")

    nobody = cluster.poolkeeper(*audit)
    assert told(nobody) == [AWAY], nobody.answer["audit"]
    assert nobody.answer["audit"]["unread"].keys() == inside
    assert "has no deployment ask-site/" in nobody.answer["audit"]["findings"][0]["evidence"]["observed"]

    prefect(cluster, "work-pool", "create", "--type", "process", POOL)
    prefect(cluster, "deploy", "poolkeeper.flows.ask_site.ask_site", "--name", POOL, "--pool", POOL)
    late = cluster.program(sys.executable, "-c", IMPATIENT, *audit)
    assert told(late) == [AWAY], late.answer["audit"]
    assert "no worker started run" in late.answer["audit"]["findings"][0]["evidence"]["observed"]
    assert [run["state_type"] for run in runs_there(cluster)] == ["CANCELLED"], "nobody runs it later"

    with worker(cluster):
        ended = cluster.poolkeeper(*audit)
        (run,) = eventually(lambda: [run for run in runs_there(cluster) if run["state_type"] != "CANCELLED"])
    assert (ended.code, told(ended)) == (0, []), ended.answer["audit"]["findings"]
    assert [gone["subject"] for gone in ended.answer["audit"]["fixed"]] == [AWAY[1]]
    assert ended.answer["audit"]["unread"] == {}
    assert (run["state_type"], run["state"]["message"]) == ("COMPLETED", f"{len(inside)} of {len(inside)} hosts probed")
    assert run["parameters"]["batches"].keys() == inside
    left = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
    assert ask_prefect(cluster, "POST", "/artifacts/filter", left) == [], "what was fetched is not kept"
