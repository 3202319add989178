"""How long a fleet file of 5,000 hosts takes: good, and with a mistake on every host. Prints JSON.

`bare_yaml_s` is the C parser alone on the same text in the same run; the ratio says what the load of the machine hides.

    python -m tests.bench.bench_fleet [HOSTS]
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from poolkeeper.tasks.fleet import check_fleet, load_fleet, select

ROUNDS = 5
SITES = 20


def fleet_text(hosts: int, *, pool: str = "general") -> str:
    """A fleet of that many hosts over twenty sites; `pool` is what each host names as its pool."""
    head = [
        "fleet: bench",
        "ssh: {user: ops, key: {env: SSH_KEY}}",
        "clusters:",
        "  main:",
        "    provider: {ack: {cluster_id: c-1, region: eu-central-1}}",
        "    kubeconfig: {env: MAIN_KUBECONFIG}",
        "    pod_cidrs: [172.20.0.0/16]",
        "    service_cidrs: [172.21.0.0/20]",
        "    container_cidr: 11.0.0.0/8",
        "    node_mask: 24",
        "sites:",
    ]
    head += [f"  s{n}: {{time_zone: Europe/Berlin, cidrs: [10.{n}.0.0/16]}}" for n in range(SITES)]
    head += ["domains:", *(f"  s{n}-rack{rack}: {{site: s{n}}}" for n in range(SITES) for rack in range(20))]
    head += ["pools:", "  general: {cluster: main, nodepool_id: np-1, max_unavailable: 10%}", "hosts:"]
    rows = [
        f"  s{n % SITES}-n{n:05}: {{address: 10.{n % SITES}.{n // SITES // 250}.{n // SITES % 250 + 1}, site: s{n % SITES},"
        f" pool: {pool}, domain: s{n % SITES}-rack{n // SITES % 20}, labels: {{row: r{n % 7}}}}}"
        for n in range(hosts)
    ]
    return "\n".join([*head, *rows]) + "\n"


def fastest_s(work: Callable[[], object]) -> float:
    """Seconds of the fastest of some rounds."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def main(hosts: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        good, bad = Path(folder) / "good.yaml", Path(folder) / "bad.yaml"
        good.write_text(fleet_text(hosts))
        bad.write_text(fleet_text(hosts, pool="genral"))
        fleet = load_fleet(good)
        text = good.read_text()
        bare_s = fastest_s(lambda: yaml.load(text, Loader=yaml.CSafeLoader))
        load_s = fastest_s(lambda: load_fleet(good))
        mistakes_s = fastest_s(lambda: check_fleet(bad))
        select_s = fastest_s(lambda: select(fleet, "site=s1|s2,label.row=r3,name!=s1-n00001"))
        figures = {
            "hosts": len(fleet.hosts),
            "file_bytes": len(text),
            "bare_yaml_s": round(bare_s, 3),
            "load_s": round(load_s, 3),
            "load_to_bare_yaml": round(load_s / bare_s, 2),
            "every_host_wrong_s": round(mistakes_s, 3),
            "problems": len(check_fleet(bad)[1]),
            "select_s": round(select_s, 4),
        }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000)
