"""DNS of a night by stage, from the host's own resolver to the site's resolvers; each stage is measured separately."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from poolkeeper.tasks.audit.measurements import Measurement, Quality
from poolkeeper.tasks.audit.places import Place
from poolkeeper.tasks.audit.report.matrix import places

STAGES = {
    "dns.stub": "host's own lookup",
    "dns.cache": "node-local cache",
    "dns.service": "cluster DNS service",
    "dns.server": "CoreDNS endpoints",
    "dns.resolver": "site's resolvers",
}
"""Check -> what is asked, in the order of the page."""
_TRANSPORT = re.compile(r"(?:^|\s)(udp|tcp)(?:/\d+)?(?=\s|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of one site, over one transport."""

    check: str
    transport: str
    """`udp`, `tcp`; empty: unknown."""
    qualities: Counter[Quality]
    median_ms: float | None
    """Of the answers; None: there was none."""
    p95_ms: float | None
    troubled: Counter[str]
    """Target -> how often it was not ok."""

    @property
    def title(self) -> str:
        """Its name for the reader."""
        return " ".join((STAGES.get(self.check, self.check), self.transport.upper())).strip()

    @property
    def not_ok(self) -> int:
        return self.qualities.total() - self.qualities[Quality.OK]


def transport(target: str) -> str:
    """`udp` or `tcp`, if a target's text has it as a separate word. Pure."""
    found = _TRANSPORT.findall(target)
    return found[-1].lower() if found else ""


def stages(facts: Iterable[Measurement], by_name: Mapping[str, Place]) -> dict[str, tuple[Stage, ...]]:
    """Site -> its stages in order; by name of the site. Pure."""
    order = {check: place for place, check in enumerate(STAGES)}
    groups: defaultdict[tuple[str, str, str], list[Measurement]] = defaultdict(list)
    for fact in facts:
        if fact.check.startswith("dns."):
            groups[places(fact, by_name)[0].site, fact.check, transport(fact.target)].append(fact)
    found: defaultdict[str, list[Stage]] = defaultdict(list)
    for site, check, way in sorted(
        groups, key=lambda key: (key[0], order.get(key[1], len(order)), key[1], key[2] == "tcp", key[2])
    ):
        found[site].append(_stage(check, way, groups[site, check, way]))
    return {site: tuple(of_it) for site, of_it in found.items()}


def _stage(check: str, way: str, facts: list[Measurement]) -> Stage:
    took = sorted(
        fact.duration_ms
        for fact in facts
        if fact.duration_ms is not None and fact.quality in (Quality.OK, Quality.SLOW)
    )
    return Stage(
        check,
        way,
        Counter(fact.quality for fact in facts),
        statistics.median(took) if took else None,
        took[math.ceil(0.95 * len(took)) - 1] if took else None,
        Counter(fact.target for fact in facts if fact.quality is not Quality.OK),
    )
