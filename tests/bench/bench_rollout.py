"""What the rollout engine itself costs: hosts whose change takes no time, carried from look to give-back. Prints JSON.

The API server is the embedded one, in another process on the same cores. Each host costs its share of leases, of counting
all nodes, of marks and of the gate; nothing is waited for. Wanted: less than 1 s a host at 500 hosts.

    python -m tests.bench.bench_rollout [HOSTS...]
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from poolkeeper.tasks.cluster import connect
from poolkeeper.tasks.cluster.kubeconfig import kubectls_cluster
from poolkeeper.tasks.fleet.model import Limit
from poolkeeper.tasks.rollout.goal import Goal, Limits
from tests.bench.memory import peak_mb
from tests.contract.rollout.instant import Instant, carried, open_run
from tests.unit.onboard.builders import a_host

RACKS = 20


async def measure(kubeconfig: Path, hosts: int, folder: Path) -> dict[str, Any]:
    """One rollout over so many hosts."""
    limit = {"max_unavailable": Limit(percent=10)}
    declared = [a_host(f"node-{n:04}", pool=limit, domain=f"rack{n % RACKS}") for n in range(hosts)]
    work = Instant()
    goal, limits = Goal("bench", "general", {"hosts": hosts}), Limits()
    cluster, secret = kubectls_cluster(kubeconfig, None)
    async with connect(cluster, secret, timeout_s=10) as api:
        await api.request("POST", "/api/v1/namespaces", body={"metadata": {"name": "poolkeeper"}})
        run = await open_run(api, declared, folder)
        began, busy_s = time.perf_counter(), time.process_time()
        looked = await run.assess(list(run.hosts), goal, limits, work)
        run.plan(goal, limits, looked.values(), await run.forecast_drains(looked.values(), limits))
        planned_s = time.perf_counter() - began
        began = time.perf_counter()
        outcomes, halted = await carried(run, goal, limits, work)
        whole_s = time.perf_counter() - began
    states = {str(outcome.state) for outcome in outcomes.values()}
    assert (states, halted, len(outcomes)) == ({"done"}, "", hosts), (states, halted)
    return {
        "hosts": hosts,
        "plan_and_forecast_s": round(planned_s, 2),
        "whole_s": round(whole_s, 2),
        "s_per_host": round(whole_s / hosts, 3),
        "s_per_host_wanted": 1,
        "cpu_s": round(time.process_time() - busy_s, 2),
        "changes": len(run.gate.records),
        "peak_rss_mb": round(peak_mb()),
    }


def main(sizes: list[int]) -> None:
    """Measure each size against a cluster of its own, and print."""
    for hosts in sizes:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            command = [sys.executable, "-m", "tests.bench.loopback_cluster", temporary, str(hosts), str(hosts)]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
                assert server.stdin is not None
                assert server.stdout is not None
                server.stdout.readline()
                figures = asyncio.run(measure(folder / "kubeconfig", hosts, folder))
                server.stdin.close()
        print(json.dumps({"bench": "rollout", "load": round(os.getloadavg()[0], 1), **figures}))


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [50, 500])
