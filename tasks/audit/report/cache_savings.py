"""What node-local DNS caches save on the line to the cloud: a number with its range. Pure.

A cache counts the questions that it answered from memory, and those that it forwarded to the address of the DNS
Service. It does not count by server: kube-proxy chooses each with the same probability, unless the Service prefers near
ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from poolkeeper.tasks.audit.places import CLOUD


@dataclass(frozen=True, slots=True)
class CacheSavings:
    """The counters of the caches of some nodes together, since each cache started."""

    nodes: int
    hits: int
    misses: int
    servers: int
    in_cloud: int
    """How many of the servers are in the cloud."""

    @property
    def crossing(self) -> tuple[int, int, int]:
        """How many of the misses crossed the line: the least, the expected, the most."""
        if self.in_cloud in (0, self.servers):
            all_or_none = self.misses if self.in_cloud else 0
            return all_or_none, all_or_none, all_or_none
        return 0, round(self.misses * self.in_cloud / self.servers), self.misses

    def __str__(self) -> str:
        asked = self.hits + self.misses
        least, likely, most = self.crossing
        crossed = f"{likely:,}" if least == most else f"about {likely:,} (between {least:,} and {most:,})"
        return (
            f"The caches of {self.nodes:,} nodes answered {self.hits / asked:.0%} of {asked:,} questions from memory"
            f" since they started. Of the other {self.misses:,}, {crossed} crossed the line to the cloud, where"
            f" {self.in_cloud} of {self.servers} DNS servers are."
        )


def cache_savings(counters: Iterable[Mapping[str, str]], places: Iterable[str]) -> CacheSavings | None:
    """The savings of the caches that report hits and misses; None: no cache does, or none was used yet.

    counters: of each cache; places: each DNS server's site, or the cloud
    """
    pairs = [(cache.get("hits", ""), cache.get("misses", "")) for cache in counters]
    counted = [(int(hits), int(misses)) for hits, misses in pairs if _is_count(hits) and _is_count(misses)]
    hits, misses = (sum(column) for column in zip(*counted, strict=True)) if counted else (0, 0)
    servers = list(places)
    if not servers or not hits + misses:
        return None
    return CacheSavings(len(counted), hits, misses, len(servers), servers.count(CLOUD))


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16
