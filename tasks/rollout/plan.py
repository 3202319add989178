"""The plan of a rollout: which hosts, in which waves, under which limits. Pure and deterministic.

The first wave is the canary, one host; each later one is twice as large. Hosts are taken from all domains in turn,
those whose drain is likely to go wrong last.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.rollout.goal import Goal, Limits


@dataclass(frozen=True, slots=True)
class Candidate:
    """A host that has work, and what is known of it before."""

    host: Host
    half_done: bool = False
    """An earlier run of this rollout has begun with it: it is finished first."""
    risk: int = 0
    """What the forecast makes of its drain; greater is worse."""
    reason: str = ""
    """Why it has work."""


@dataclass(frozen=True, slots=True)
class PlannedHost:
    """One host's place in the plan."""

    host: Host
    wave: int
    """From 1; 0 where it was found half done after the plan was made."""
    risk: int
    reason: str
    half_done: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rollout will do, in order."""

    goal: Goal
    limits: Limits
    hosts: tuple[PlannedHost, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over goal, limits, hosts and order: what an approval is bound to."""
        hosts = [[p.host.name, p.host.node_name, p.wave] for p in self.hosts]
        document = [self.goal.flow, self.goal.pool, self.goal.wanted, self.limits.row(), hosts]
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()

    @property
    def waves(self) -> tuple[tuple[PlannedHost, ...], ...]:
        """The hosts of each wave, in order."""
        waves: defaultdict[int, list[PlannedHost]] = defaultdict(list)
        for planned in self.hosts:
            waves[planned.wave].append(planned)
        return tuple(tuple(waves[number]) for number in sorted(waves))

    @property
    def summary(self) -> str:
        """One line for a person."""
        sizes = " + ".join(str(len(wave)) for wave in self.waves) or "0"
        return f"{len(self.hosts)} hosts in waves of {sizes}, plan {self.digest[:12]}"

    def without(self, names: Collection[str]) -> Plan:
        """The same without some hosts."""
        return replace(self, hosts=tuple(planned for planned in self.hosts if planned.host.name not in names))

    def half_done_first(self, names: Collection[str]) -> Plan:
        """The same with these hosts before all others: a run that ended meanwhile has begun with them."""
        late = {p.host.name for p in self.hosts if p.host.name in names and not p.half_done}
        hosts = [replace(p, wave=0, half_done=True) if p.host.name in late else p for p in self.hosts]
        return replace(self, hosts=tuple(sorted(hosts, key=lambda planned: planned.wave)))

    def rows(self) -> list[dict[str, Any]]:
        """One row a host, for a table."""
        return [
            {
                "wave": planned.wave,
                "host": planned.host.name,
                "node": planned.host.node_name,
                "site": planned.host.site.name,
                "domain": planned.host.domain.name if planned.host.domain else "",
                "drain risk": planned.risk,
                "why": planned.reason,
            }
            for planned in self.hosts
        ]


def plan_rollout(goal: Goal, limits: Limits, candidates: Iterable[Candidate]) -> Plan:
    """Order the candidates and cut the order into waves. Half-done hosts come before the canary, as wave 1."""
    work = list(candidates)
    half_done = sorted((c for c in work if c.half_done), key=lambda c: c.host.name)
    fresh = _across_domains([c for c in work if not c.half_done])
    planned = [PlannedHost(c.host, 1, c.risk, c.reason, half_done=True) for c in half_done]
    number, size, first = (2 if half_done else 1), 1, 0
    while first < len(fresh):
        planned += [PlannedHost(c.host, number, c.risk, c.reason) for c in fresh[first : first + size]]
        number, size, first = number + 1, size * 2, first + size
    return Plan(goal, limits, tuple(planned))


def _across_domains(work: Sequence[Candidate]) -> list[Candidate]:
    """Risk by risk, one of each domain in turn."""
    by_risk: defaultdict[int, list[Candidate]] = defaultdict(list)
    for candidate in work:
        by_risk[candidate.risk].append(candidate)
    ordered: list[Candidate] = []
    for risk in sorted(by_risk):
        queues: Mapping[str, list[Candidate]] = defaultdict(list)
        for candidate in sorted(by_risk[risk], key=lambda c: c.host.name):
            queues[_place(candidate.host)].append(candidate)
        longest = max(map(len, queues.values()))
        ordered += [
            queues[place][turn] for turn in range(longest) for place in sorted(queues) if turn < len(queues[place])
        ]
    return ordered


def _place(host: Host) -> str:
    return f"domain {host.domain.name}" if host.domain else f"site {host.site.name}"
