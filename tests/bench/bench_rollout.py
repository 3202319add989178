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
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from tasks.cluster import connect
from tasks.cluster.kubeconfig import kubectls_cluster
from tasks.cluster.nodes import NodeRow, list_nodes
from tasks.cluster.stops import stops_guard
from tasks.fleet.model import Host, Limit
from tasks.hosts import Sessions
from tasks.ledger import Spool
from tasks.outcomes import Checked, Finding, Gate, HostOutcome
from tasks.provider import Provider
from tasks.rollout.goal import Goal, Limits
from tasks.rollout.plan import PlannedHost
from tasks.rollout.run import RolloutRun
from tasks.runs.recording import Recorder
from tests.bench.bench_forecast import peak_mb
from tests.unit.onboard.builders import a_fleet, a_host

RACKS = 20


class Instant:
    """A change that is made as soon as it is asked for."""

    hands_over = False
    works_on_not_ready = False
    works_without_node = False

    def __init__(self) -> None:
        self.changed: set[str] = set()

    async def at_goal(self, host: Host, node: NodeRow | None) -> bool:
        return host.name in self.changed

    async def prepare(self, host: Host) -> tuple[Finding, ...]:
        return ()

    def remembered(self) -> Mapping[str, Any]:
        return {}

    def remember(self, what: Mapping[str, Any]) -> None:
        pass

    async def change(self, host: Host, node: NodeRow | None, fence: int) -> tuple[Finding, ...]:
        self.changed.add(host.name)
        return ()

    async def prove(self, host: Host, before: NodeRow | None) -> tuple[Finding, ...]:
        return ()

    def sentences(self, host: Host) -> tuple[str, ...]:
        return ()


class Idle:
    """A provider that is not busy with any pool."""

    async def check_pool(self, pool: object) -> tuple[Checked, ...]:
        return ()


async def measure(kubeconfig: Path, hosts: int, folder: Path) -> dict[str, Any]:
    """One rollout over so many hosts."""
    limit = {"max_unavailable": Limit(percent=10)}
    declared = [a_host(f"node-{n:04}", pool=limit, domain=f"rack{n % RACKS}") for n in range(hosts)]
    fleet, work = a_fleet(*declared), Instant()
    goal, limits = Goal("bench", "general", {"hosts": hosts}), Limits()
    cluster, secret = kubectls_cluster(kubeconfig, None)
    async with connect(cluster, secret, timeout_s=10) as api:
        await api.request("POST", "/api/v1/namespaces", body={"metadata": {"name": "poolkeeper"}})
        recorder = Recorder(Spool(folder / "spool"), f"run-{hosts}", lambda text: None)
        gate = Gate([stops_guard(api, {h.name: h.node_name for h in declared})], dry_run=False, told=recorder.change)
        run = RolloutRun(
            fleet,
            declared,
            "bench",
            api=api,
            sessions=cast(Sessions, None),
            provider=cast(Provider, Idle()),
            gate=gate,
            recorder=recorder,
            nodes=await list_nodes(api),
            api_version="v1.36.3",
        )
        began, busy_s = time.perf_counter(), time.process_time()
        looked = await run.look(list(run.hosts), goal, limits, work)
        plan = run.plan(goal, limits, looked.values(), await run.outlook(looked.values(), limits))
        planned_s = time.perf_counter() - began
        async with run.holding(plan) as lease:
            carrier = run.carrier(goal, limits, work, lease)

            async def carry(one: PlannedHost) -> HostOutcome:
                return await carrier.carry(one.host)

            outcomes, halted = await run.carry_out(plan, lease, carry)
        whole_s = time.perf_counter() - began
    states = {str(outcome.state) for outcome in outcomes}
    assert (states, halted, len(outcomes)) == ({"done"}, "", hosts), (states, halted)
    return {
        "hosts": hosts,
        "plan_and_forecast_s": round(planned_s, 2),
        "whole_s": round(whole_s, 2),
        "s_per_host": round(whole_s / hosts, 3),
        "s_per_host_wanted": 1,
        "cpu_s": round(time.process_time() - busy_s, 2),
        "changes": len(gate.changes),
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
