"""Connections of a night, counted from place to place, each direction separately."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from poolkeeper.tasks.audit.measurements import Measurement, Quality
from poolkeeper.tasks.audit.places import CLOUD, Place

WORST_FIRST = (Quality.FAIL, Quality.UNKNOWN, Quality.SLOW, Quality.OK)
IN_THE_CLOUD = Place(CLOUD, "")

Spot = tuple[str, str]
"""(site, domain); the domain is empty where places are sites."""


def places_by_name(hosts: Mapping[str, Place]) -> dict[str, Place]:
    """The places of hosts and of pods on their nodes, by the names that measurements use."""
    return {**hosts, **{f"pod on {name}": place for name, place in hosts.items()}}


def places(fact: Measurement, by_name: Mapping[str, Place]) -> tuple[Place, Place]:
    """The places of a measurement's source and target; what is not a host of the fleet is in the cloud. Pure."""
    return by_name.get(fact.source, IN_THE_CLOUD), by_name.get(fact.target, IN_THE_CLOUD)


@dataclass(slots=True)
class Cell:
    """What was measured from one place to another."""

    connects: Counter[Quality] = field(default_factory=Counter)
    big: Counter[Quality] = field(default_factory=Counter)
    """Of packets of full size."""

    @property
    def worst(self) -> Quality | None:
        """The worst quality; None: no connection was measured, and no big packet failed."""
        if self.big[Quality.FAIL]:
            return Quality.FAIL
        return next((quality for quality in WORST_FIRST if self.connects[quality]), None)

    @property
    def not_ok(self) -> int:
        """Connections that were not ok, and big packets that failed."""
        return self.connects.total() - self.connects[Quality.OK] + self.big[Quality.FAIL]


def is_connect(check: str) -> bool:
    """`connect.host`, `connect.api`, `pods.to-cloud`; not `pods.dns`, which is a lookup."""
    return check.startswith("connect.") or check in ("pods.to-cloud", "pods.from-cloud")


def is_size(check: str) -> bool:
    """`mtu.host`."""
    return check.startswith("mtu.")


def by_site(place: Place) -> Spot:
    """A place by its site."""
    return place.site, ""


def by_domain(place: Place) -> Spot:
    """A place by its site and domain."""
    return place.site, place.domain


def count(
    facts: Iterable[Measurement], by_name: Mapping[str, Place], spot: Callable[[Place], Spot]
) -> dict[tuple[Spot, Spot], Cell]:
    """(from, to) -> what was measured of connections and of big packets. Pure."""
    found: defaultdict[tuple[Spot, Spot], Cell] = defaultdict(Cell)
    for fact in facts:
        connect = is_connect(fact.check)
        if not connect and not is_size(fact.check):
            continue
        source, target = places(fact, by_name)
        cell = found[spot(source), spot(target)]
        (cell.connects if connect else cell.big)[fact.quality] += 1
    return dict(found)
