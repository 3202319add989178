"""What node-local DNS caches keep off the line to the cloud: a number with its range. Pure.

A cache's own counters tell what it answered from memory and what it passed on, to the address of the DNS Service. Which
server that went to is not told: kube-proxy takes any with the same chance, unless the Service prefers near ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from poolkeeper.tasks.audit.places import CLOUD


@dataclass(frozen=True, slots=True)
class CacheSavings:
    """The caches of some nodes together, since each of them started."""

    nodes: int
    hits: int
    misses: int
    servers: int
    in_cloud: int
    """Of the servers, how many are over the line."""

    @property
    def crossing(self) -> tuple[int, int, int]:
        """Of the misses, how many crossed the line: at least, as a rule, at most."""
        if self.in_cloud in (0, self.servers):
            all_or_none = self.misses if self.in_cloud else 0
            return all_or_none, all_or_none, all_or_none
        return 0, round(self.misses * self.in_cloud / self.servers), self.misses

    def __str__(self) -> str:
        asked = self.hits + self.misses
        least, likely, most = self.crossing
        crossed = f"{likely:,}" if least == most else f"some {likely:,} (between {least:,} and {most:,})"
        return (
            f"The caches of {self.nodes:,} nodes answered {self.hits / asked:.0%} of {asked:,} questions themselves"
            f" since they started; of the {self.misses:,} others {crossed} crossed the line to the cloud, where"
            f" {self.in_cloud} of {self.servers} DNS servers are."
        )


def cache_savings(told: Iterable[Mapping[str, str]], places: Iterable[str]) -> CacheSavings | None:
    """Of caches that tell their hits and misses; None: none does, or nobody has asked them yet.

    told: each cache's counters; places: each DNS server's site, or the cloud
    """
    pairs = [(cache.get("hits", ""), cache.get("misses", "")) for cache in told]
    counted = [(int(hits), int(misses)) for hits, misses in pairs if _is_count(hits) and _is_count(misses)]
    hits, misses = (sum(column) for column in zip(*counted, strict=True)) if counted else (0, 0)
    servers = list(places)
    if not servers or not hits + misses:
        return None
    return CacheSavings(len(counted), hits, misses, len(servers), servers.count(CLOUD))


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16
