"""A night's facts folded into causes: 100,000 of them, 10,000 failing. Prints JSON; nothing passes or fails by it.

The facts are those of a sampled mesh of sites, domains and hosts. Once parts of all kinds are broken, and once failures
are scattered at random, where each is a cause of its own: the worst case. Also once with candidates that are not one object
for all facts, as they come from a file. Wanted: less than 2 s.

    python -m tests.bench.bench_grouping [FACTS [FAILING]]
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from dataclasses import replace
from zoneinfo import ZoneInfo

from poolkeeper.tasks.audit.causes.candidates import candidates_of_connect
from poolkeeper.tasks.audit.causes.grouping import Cause, group_by_cause
from poolkeeper.tasks.audit.measurements import CandidateCause, Measurement, Part, Quality
from poolkeeper.tasks.fleet.model import Domain, Site
from tests.bench.memory import peak_mb
from tests.unit.onboard.builders import a_host

SITES, RACKS, HOSTS = 10, 10, 20


def night(count: int, chance: random.Random) -> list[Measurement]:
    """Pairs of hosts, sampled, all of them well."""
    hosts = []
    for site in (Site(f"s{n}", ZoneInfo("UTC")) for n in range(SITES)):
        for rack in (Domain(f"{site.name}-r{n}", site) for n in range(RACKS)):
            for n in range(HOSTS):
                host = a_host(f"{rack.name}-n{n:02}", site={"name": site.name})
                hosts.append(replace(host, site=site, domain=rack))
    facts = []
    while len(facts) < count:
        source, target = chance.sample(hosts, 2)
        candidates = candidates_of_connect(source, target)
        facts.append(Measurement("connect.host", source.name, target.name, Quality.OK, "connected", candidates))
    return facts


def failed(fact: Measurement) -> Measurement:
    """The same, timed out."""
    return replace(fact, quality=Quality.FAIL, evidence="timed out", symptom="timeout")


def broken(facts: list[Measurement], failing: int, chance: random.Random) -> tuple[list[Measurement], int]:
    """Parts broken one after the other until so many fail, with one lucky fact in a hundred; and how many parts."""
    kinds = (Part.LINE_ONE_WAY, Part.LINE, Part.DOMAIN, Part.HOST, Part.HOST, Part.WAY_IN, Part.PATH, Part.PATH)
    found, parts = set[CandidateCause](), 0
    count = 0
    while count < failing:
        kind = kinds[parts % len(kinds)]
        candidates = sorted(chance.choice(facts).candidates, key=lambda candidate: candidate.order)
        found.add(next(candidate for candidate in candidates if candidate.part is kind or candidate.part is Part.HOST))
        parts += 1
        count = sum(1 for fact in facts if fact.candidates & found)
    return [failed(f) if f.candidates & found and chance.random() > 0.01 else f for f in facts], len(found)


def scattered(facts: list[Measurement], failing: int, chance: random.Random) -> list[Measurement]:
    """Failures that have nothing in common."""
    these = set(chance.sample(range(len(facts)), failing))
    return [failed(fact) if number in these else fact for number, fact in enumerate(facts)]


def copied(facts: list[Measurement]) -> list[Measurement]:
    """Each fact with candidates of its own."""
    return [
        replace(f, candidates=frozenset(CandidateCause(s.part, s.name, s.mode) for s in f.candidates)) for f in facts
    ]


def timed(facts: list[Measurement]) -> tuple[float, float, tuple[Cause, ...]]:
    """The best of three, by the clock and of this process alone; and what came of it."""
    wall_s, busy_s, causes = float("inf"), float("inf"), tuple[Cause, ...]()
    for _ in range(3):
        began, busy = time.perf_counter(), time.process_time()
        causes = group_by_cause(facts)
        wall_s, busy_s = min(wall_s, time.perf_counter() - began), min(busy_s, time.process_time() - busy)
    return round(wall_s, 2), round(busy_s, 2), causes


def main(count: int, failing: int) -> None:
    """Measure and print."""
    chance = random.Random(6)  # the same night every time
    began = time.perf_counter()
    facts = night(count, chance)
    planned_s = round(time.perf_counter() - began, 2)
    faulty, parts = broken(facts, failing, chance)
    scatter = scattered(facts, failing, chance)
    broken_s, broken_cpu_s, causes = timed(faulty)
    copied_s, copied_cpu_s, same = timed(copied(faulty))
    scattered_s, scattered_cpu_s, many = timed(scatter)
    figures = {
        "facts": count,
        "candidates_each": round(sum(len(fact.candidates) for fact in facts) / count, 1),
        "candidates_built_s": planned_s,
        "broken_parts": parts,
        "failing": sum(fact.quality is Quality.FAIL for fact in faulty),
        "causes": len(causes),
        "group_s": broken_s,
        "group_cpu_s": broken_cpu_s,
        "group_s_wanted": 2,
        "candidates_not_shared_s": copied_s,
        "candidates_not_shared_cpu_s": copied_cpu_s,
        "candidates_not_shared_alike": same == causes,
        "scattered_failing": failing,
        "scattered_causes": len(many),
        "scattered_s": scattered_s,
        "scattered_cpu_s": scattered_cpu_s,
        "peak_rss_mb": round(peak_mb()),
    }
    print(json.dumps({"bench": "grouping", "load": round(os.getloadavg()[0], 1), **figures}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, int(sys.argv[2]) if len(sys.argv) > 2 else 10_000)
