"""The forecast of a large cluster: reading it, one wave, and each node alone. Prints JSON.

The API server is the embedded one, in another process, which also has to serialise what is read. Wanted: 1,000 nodes with
30,000 pods read and every node forecast in less than 10 s and 1 GB on 2 cores.

    python -m tests.bench.bench_forecast [NODES [PODS]]
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from poolkeeper.tasks.cluster import connect
from poolkeeper.tasks.cluster.kubeconfig import kubectls_cluster
from poolkeeper.tasks.cluster.snapshot import Snapshot, read_snapshot
from poolkeeper.tasks.rollout import forecast, forecast_each
from tests.bench.memory import peak_mb

WAVE = 50
DEADLINE_S = 300.0


async def read(kubeconfig: Path) -> Snapshot:
    cluster, secret = kubectls_cluster(kubeconfig, None)
    async with connect(cluster, secret) as api:
        return await read_snapshot(api)


def measure(kubeconfig: Path) -> dict[str, Any]:
    """One run in this process."""
    before_mb, now, busy_s = peak_mb(), datetime.now(UTC), time.process_time()
    began = time.perf_counter()
    snapshot = asyncio.run(read(kubeconfig))
    read_s = time.perf_counter() - began
    names = list(snapshot.nodes)
    began = time.perf_counter()
    wave = forecast(snapshot, names[:WAVE], deadline_s=DEADLINE_S, now=now)
    wave_s = time.perf_counter() - began
    began = time.perf_counter()
    each = forecast_each(snapshot, names, deadline_s=DEADLINE_S, now=now)
    each_s = time.perf_counter() - began
    verdicts = Counter(str(pod.verdict) for node in each.values() for pod in node.pods)
    return {
        "nodes": len(names),
        "pods": len(snapshot.pods),
        "read_s": round(read_s, 2),
        "wave_of": len(wave.nodes),
        "wave_s": round(wave_s, 2),
        "each_node_s": round(each_s, 2),
        "whole_s": round(read_s + wave_s + each_s, 2),
        "whole_s_wanted": 10,
        "cpu_s": round(time.process_time() - busy_s, 2),
        "start_rss_mb": round(before_mb),
        "peak_rss_mb": round(peak_mb()),
        "peak_rss_mb_wanted": 1000,
        "wave_effects": dict(Counter(str(node.effect) for node in wave.nodes)),
        "effects": dict(Counter(str(node.effect) for node in each.values())),
        "verdicts": dict(verdicts.most_common()),
    }


def main(nodes: int, pods: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        command = [sys.executable, "-m", "tests.bench.loopback_cluster", str(folder), str(nodes), str(pods)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            told = json.loads(server.stdout.readline())
            figures = measure(folder / "kubeconfig")
            server.stdin.close()
    load = round(os.getloadavg()[0], 1)
    print(json.dumps({"bench": "forecast", "load": load, "pods_mb": told["pods_bytes"] // 10**6, **figures}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, int(sys.argv[2]) if len(sys.argv) > 2 else 30_000)
