"""The plan of joins: which hosts, in which order, how many at once. Pure: a dry run shows the plan of the real run."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.fleet.problems import counted
from poolkeeper.tasks.onboard.next_action import NextAction, Step

_WORK = (Step.JOIN, Step.UNDO_THEN_JOIN, Step.FOLLOW_JOIN, Step.ACCEPT, Step.ADOPT)


@dataclass(frozen=True, slots=True)
class PlannedJoin:
    """One host's place in the plan."""

    host: Host
    step: Step
    wave: int
    """From 1, per pool; a wave is as wide as the pool's `join.parallel`."""
    reason: str


@dataclass(frozen=True, slots=True)
class JoinPlan:
    """What a run will do, in order."""

    hosts: tuple[PlannedJoin, ...]
    digest: str
    """SHA-256 over flow, hosts and order: equal plans have equal digests."""

    @property
    def summary(self) -> str:
        """The plan in one line."""
        waves = max((planned.wave for planned in self.hosts), default=0)
        return f"{counted(len(self.hosts), 'host')} in {counted(waves, 'wave')}, plan {self.digest[:12]}"


def plan_joins(actions: Iterable[tuple[Host, NextAction]]) -> JoinPlan:
    """Order the hosts that have work: half-done hosts first, then one of each domain in turn."""
    work = [(host, action) for host, action in actions if action.step in _WORK]
    ordered = _half_done_first(work)
    places: defaultdict[str, int] = defaultdict(int)
    planned = []
    for host, action in ordered:
        wave = places[host.pool.name] // host.pool.join.parallel + 1
        places[host.pool.name] += 1
        planned.append(PlannedJoin(host, action.step, wave, action.reason))
    rows = [[p.host.name, p.host.node_name, p.host.pool.nodepool_id, p.step, p.wave] for p in planned]
    digest = hashlib.sha256(json.dumps(["onboard", rows]).encode()).hexdigest()
    return JoinPlan(tuple(planned), digest)


def _half_done_first(work: list[tuple[Host, NextAction]]) -> list[tuple[Host, NextAction]]:
    fresh = (Step.JOIN, Step.ADOPT)
    half_done = [pair for pair in work if pair[1].step not in fresh]
    return half_done + _across_domains([pair for pair in work if pair[1].step in fresh])


def _across_domains(work: list[tuple[Host, NextAction]]) -> list[tuple[Host, NextAction]]:
    """One of each domain in turn, domains and hosts in the fleet file's order."""
    queues: Mapping[str, list[tuple[Host, NextAction]]] = defaultdict(list)
    for pair in work:
        host = pair[0]
        queues[host.domain.name if host.domain else f"site {host.site.name}"].append(pair)
    ordered = []
    for turn in range(max(map(len, queues.values()), default=0)):
        ordered += [queue[turn] for queue in queues.values() if turn < len(queue)]
    return ordered
