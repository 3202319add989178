"""Facts from 500 SSH hosts: our Sessions against bare asyncssh, and what dead hosts cost. Prints JSON.

Both arms check host keys, log in with the same key, send the same program, and have the same slots for handshakes and
for open connections; ours also parses the facts. The hosts are in another process. Rounds of the two arms alternate, and
medians are compared, so that the load of the machine falls on both. Wanted: a ratio of at most 1.2, and for one dead host
in ten at most ceil(dead / handshakes) connect deadlines more.

    python -m tests.bench.bench_facts [HOSTS [ROUNDS]]
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from zoneinfo import ZoneInfo

from poolkeeper.tasks.fleet.model import AckProvider, Cluster, Host, Pool, SecretRef, Site, SshAccess, SshLimits
from poolkeeper.tasks.hosts import FactsRequest, HostError, Sessions, read_facts
from poolkeeper.tasks.hosts.facts import FACTS_PROGRAM
from poolkeeper.tasks.outcomes import Known
from poolkeeper.tasks.settings import secret_reader
from tests.bench.bare import Bare, make_key

HANDSHAKES, OPEN = 32, 400
CONNECT_TIMEOUT_S = 1.0
LIMITS = SshLimits(HANDSHAKES, OPEN)
SITE = Site("bench", ZoneInfo("UTC"), ssh_limits=LIMITS)
POOL = Pool("general", Cluster("main", AckProvider("c-1", "cn-hangzhou"), SecretRef(env="NONE"), None), "np-1")


def host_at(port: int, folder: Path) -> Host:
    access = SshAccess(
        "ops",
        port,
        SecretRef(file=folder / "ours"),
        known_hosts=folder / "known_hosts",
        connect_timeout_s=CONNECT_TIMEOUT_S,
        sudo=False,
    )
    return Host(f"n{port}", "127.0.0.1", f"n{port}", None, SITE, POOL, None, access)


async def ours(ports: list[int], folder: Path) -> int:
    """How many hosts' facts were read through Sessions."""

    async def one(sessions: Sessions, port: int) -> bool:
        try:
            facts = await read_facts(sessions, host_at(port, folder), FactsRequest())
        except HostError:
            return False
        return isinstance(facts.machine_id, Known)

    async with Sessions(LIMITS, secret_reader()) as sessions:
        return sum(await asyncio.gather(*(one(sessions, port) for port in ports)))


async def bare(ports: list[int], folder: Path) -> int:
    """The same without us: connect, run, close."""
    hosts = Bare(folder, LIMITS)
    said = await asyncio.gather(*(hosts.run(port, FACTS_PROGRAM) for port in ports))
    return sum("poolkeeper-facts end" in text for text in said)


def seconds(arm: Callable[[list[int], Path], Awaitable[int]], ports: list[int], folder: Path, expected: int) -> float:
    """How long one round takes; every host must have answered."""

    async def timed() -> float:
        began = time.perf_counter()
        answered = await arm(ports, folder)
        took = time.perf_counter() - began
        if answered != expected:
            raise SystemExit(f"{answered} of {expected} hosts answered: nothing was measured")
        return took

    return asyncio.run(timed())


def main(hosts: int, rounds: int) -> None:
    """Measure and print."""
    dead = hosts // 10
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_key(folder)
        command = [sys.executable, "-m", "tests.bench.loopback_hosts", str(folder), str(hosts), str(dead)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as servers:
            assert servers.stdin is not None
            assert servers.stdout is not None
            ports = json.loads(servers.stdout.readline())
            live = ports["live"]
            mixed = [port for tenth in range(dead) for port in (ports["dead"][tenth], *live[tenth * 9 : tenth * 9 + 9])]
            seconds(bare, live, folder, hosts)  # the first round warms both sides up
            times: dict[str, list[float]] = {"bare": [], "ours": [], "ours, nine tenths": [], "with dead": []}
            for turn in range(rounds):
                arms = [("bare", bare), ("ours", ours)]
                for name, arm in arms if turn % 2 else reversed(arms):
                    times[name].append(seconds(arm, live, folder, hosts))
            for _ in range(min(rounds, 3)):
                times["ours, nine tenths"].append(seconds(ours, live[: dead * 9], folder, dead * 9))
                times["with dead"].append(seconds(ours, mixed, folder, dead * 9))
            servers.stdin.close()
    median = {name: statistics.median(found) for name, found in times.items()}
    ratios = [one / other for one, other in zip(times["ours"], times["bare"], strict=True)]
    more_s = median["with dead"] - median["ours, nine tenths"]
    figures = {
        "hosts": hosts,
        "rounds": rounds,
        "handshakes": HANDSHAKES,
        "open": OPEN,
        "load": round(os.getloadavg()[0], 1),
        "bare_s": round(median["bare"], 2),
        "ours_s": round(median["ours"], 2),
        "ours_to_bare": round(median["ours"] / median["bare"], 3),
        "ours_to_bare_by_round": [round(ratio, 2) for ratio in ratios],
        "ours_to_bare_wanted": 1.2,
        "dead_hosts": dead,
        "connect_deadline_s": CONNECT_TIMEOUT_S,
        "dead_cost_s": round(more_s, 2),
        "dead_cost_deadlines": round(more_s / CONNECT_TIMEOUT_S, 2),
        "dead_cost_deadlines_wanted": math.ceil(dead / HANDSHAKES),
    }
    print(json.dumps({"bench": "facts", **figures}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500, int(sys.argv[2]) if len(sys.argv) > 2 else 7)
