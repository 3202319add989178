"""Which host connects to which tonight: in a small fleet all to all, in a larger one each to a few neighbours.

Hosts are on a ring, in the order of a hash of their names, so a host that joins or leaves affects its next hosts only.
Some neighbours of a host are the same every night, so their paths have a history; one is in another site, and one in
another domain of the same site; the others move around the ring from night to night, until every pair was measured.
The date determines the position, so no state is kept. The cost grows with the neighbours, not with the pairs.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from poolkeeper.tasks.fleet.model import Host

T = TypeVar("T")

CORE_SHARE = 3
"""One of so many neighbours is the same every night."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """Tonight's connections between hosts."""

    targets: Mapping[str, tuple[str, ...]]
    """Host -> the hosts that it connects to, by name."""
    nights_to_cover: int
    """In how many nights every host has connected to every other one."""

    @property
    def pairs(self) -> int:
        """The number of connections."""
        return sum(map(len, self.targets.values()))


def plan_mesh(hosts: Sequence[Host], night: int, *, every_pair_up_to: int, neighbours: int) -> Mesh:
    """Which host connects to which on a night, given as the number of the day. Pure."""
    names = [host.name for host in hosts]
    if len(hosts) <= max(every_pair_up_to, neighbours + 1):
        return Mesh({name: tuple(other for other in names if other != name) for name in names}, 1)
    ring = sorted(hosts, key=lambda host: hashlib.sha256(host.name.encode()).digest())
    core = neighbours // CORE_SHARE
    across = min(2, neighbours - core - 1)  # at least one neighbour moves
    walking = neighbours - core - across
    left_to_walk = len(ring) - 1 - core
    nights = math.ceil(left_to_walk / walking)
    first = core + 1 + (night % nights) * walking
    steps = [*range(1, core + 1), *(1 + (step - 1) % (len(ring) - 1) for step in range(first, first + walking))]
    others = _Others(ring)
    targets = {}
    for place, host in enumerate(ring):
        chosen = dict.fromkeys(ring[(place + step) % len(ring)].name for step in steps)
        chosen |= dict.fromkeys(others.across(host, place, night)[:across])
        chosen.pop(host.name, None)
        targets[host.name] = tuple(chosen)
    return Mesh({name: targets[name] for name in names}, nights)


def in_turn(rows: Sequence[T], night: int, count: int) -> Sequence[T]:
    """`count` of the rows on a night, the next ones on the next night, until each had its turn."""
    start = night * count % len(rows) if rows else 0
    return (*rows[start:], *rows[:start])[:count]


class _Others:
    """Hosts by site and by domain, in the order of the ring."""

    def __init__(self, ring: Sequence[Host]) -> None:
        self._sites: defaultdict[str, list[str]] = defaultdict(list)
        self._domains: defaultdict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for host in ring:
            self._sites[host.site.name].append(host.name)
            self._domains[host.site.name][host.domain.name if host.domain else ""].append(host.name)

    def across(self, host: Host, place: int, night: int) -> list[str]:
        """A host of another site and one of another domain of the site, if these exist; every night the next ones."""
        domain = host.domain.name if host.domain else ""
        sites = [hosts for site, hosts in self._sites.items() if site != host.site.name]
        domains = [hosts for name, hosts in self._domains[host.site.name].items() if name != domain]
        turn = place + night
        groups = [of[turn % len(of)] for of in (sites, domains) if of]
        return [hosts[turn % len(hosts)] for hosts in groups]
