"""How much of an upgrade of five real machines is the engine's own time, and no waiting for machines. Prints JSON.

Five nodes go from one minor to the next under a workload with a disruption budget, one at a time, as a user starts it.
The whole is the run's own time, by its row in the spool: from the flow's first line to its last, without Python's and
Prefect's start. By its rows of phases it is one of two:

- machines: while at least one host is in *prepare* (apt's lists, the download), *drain* (evictions, pods that end),
  *change* (apt, `kubeadm upgrade node`) or *prove* (Ready, its pods, names, both ways). Our own requests in these phases
  count there too: each of them waits for a machine's answer.
- engine: everything else. Looking at hosts and Nodes, skew, forecast, plan, leases, counting and cordoning, marks,
  giving back, looks before waves and gates after them (also what gates wait for workloads), what is written down.

Wanted: less than 10 % engine. Needs what the lab of machines needs (Linux, root, Go); without it nothing is measured.

    python -m tests.bench.bench_machines_rollout            # a lab of its own, some three minutes
    python -m tests.bench.bench_machines_rollout STATE      # an upgrade that has run: the latest one of a state folder
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.layout import LabFolder
from poolkeeper.deployments.lab.real.machines.need import lacking_for_machines
from poolkeeper.tasks.ledger import RUNS, STEPS, Spool
from tests.e2e.conftest import MachinesCluster
from tests.e2e.machines.test_rollout_of_machines import NODES, UPGRADE, WEB, one_pool

AT_MACHINES = ("prepare", "drain", "change", "prove")
"""Phases that are spent waiting for machines."""

Row = Mapping[str, Any]


def shares(run: Row, steps: Sequence[Row]) -> dict[str, Any]:
    """Where a run's time went: its row, and those of its hosts' phases. Pure."""
    whole_s = (run["ended_at"] - run["started_at"]).total_seconds()
    at_machines = [row for row in steps if row["phase"] in AT_MACHINES]
    machines_s = _covered_s(at_machines)
    by_phase: defaultdict[str, float] = defaultdict(float)
    for row in steps:
        by_phase[row["phase"]] += row["duration_s"]
    first = min(row["started_at"] for row in at_machines)
    return {
        "hosts": len({row["host"] for row in steps}),
        "whole_s": round(whole_s, 1),
        "engine_s": round(whole_s - machines_s, 1),
        "engine_percent": round(100 * (1 - machines_s / whole_s), 1),
        "engine_percent_wanted": 10,
        "before_the_first_phase_s": round((first - run["started_at"]).total_seconds(), 1),
        "phases_s": {phase: round(seconds, 1) for phase, seconds in by_phase.items()},
    }


def _covered_s(rows: Iterable[Row]) -> float:
    """Seconds in which at least one of the phases went on."""
    covered, until = timedelta(), datetime.min.replace(tzinfo=UTC)
    for row in sorted(rows, key=lambda row: row["started_at"]):
        began = row["started_at"]
        ended = began + timedelta(seconds=row["duration_s"])
        covered += max(ended, until) - max(began, until)
        until = max(until, ended)
    return covered.total_seconds()


def of_latest_upgrade(state: Path) -> dict[str, Any]:
    """The figures of the upgrade that ended last."""
    spool = Spool(state / "spool")
    run = max((row for row in spool.rows(RUNS) if row["flow"] == "upgrade"), key=lambda row: row["ended_at"])
    return shares(run, list(spool.rows(STEPS, run["run_id"])))


def measured(place: Path) -> dict[str, Any]:
    """One upgrade in a lab of its own."""
    folder = LabFolder(place / "lab")
    cluster = MachinesCluster(folder, os.environ.get("PREFECT_API_URL", ""), place / "state")
    try:
        lifecycle.up_machines(folder, NODES)
        cluster.edit_fleet(one_pool)
        onboarded = cluster.onboard()
        assert onboarded.code == 0, onboarded.out + onboarded.err
        manifest = place / "web.yaml"
        manifest.write_text(WEB)
        cluster.kubectl("apply", "--filename", str(manifest))
        cluster.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
        began, busy_s = time.monotonic(), _children_s()
        ended = cluster.poolkeeper(*UPGRADE, "--json")
        assert ended.code == 0, ended.out + ended.err
        command = {"command_s": round(time.monotonic() - began, 1), "command_cpu_s": round(_children_s() - busy_s, 1)}
        return of_latest_upgrade(cluster.state) | command
    finally:
        lifecycle.down(folder)


def _children_s() -> float:
    """CPU seconds of programs that were started and have ended, Prefect's own server included where it had to be."""
    times = os.times()
    return times.children_user + times.children_system


def main(words: Sequence[str]) -> None:
    """Measure, or read what was measured, and print."""
    figures: dict[str, Any]
    if words:
        figures = of_latest_upgrade(Path(words[0]))
    elif why := lacking_for_machines():
        figures = {"not_measured": why}
    else:
        with tempfile.TemporaryDirectory() as temporary:
            figures = measured(Path(temporary))
    print(json.dumps({"bench": "machines_rollout", "load": round(os.getloadavg()[0], 1), **figures}))


if __name__ == "__main__":
    main(sys.argv[1:])
