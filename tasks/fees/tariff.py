"""A tariff: prices, what they are for, how time is counted, and from when to when each figure holds.

Prices are lists by date and not one number, so that a change of price is a new row and never re-prices the past.
Dates are calendar days in UTC+8; an end is the first day on which a figure no longer holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import TypeVar

from poolkeeper.tasks.fees.units import Counting, Unit

MODES = {"half_up": ROUND_HALF_UP, "half_even": ROUND_HALF_EVEN, "up": ROUND_CEILING, "down": ROUND_FLOOR}
"""How amounts are rounded -> Python's word for it. `up` and `down` are those of the number line."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a figure is from."""

    address: str
    dated: date
    """The day that the source gives for itself, or on which it was read."""


@dataclass(frozen=True, slots=True)
class Tier:
    """One step of a cumulative table: the part of a quantity up to a border has this price."""

    up_to: int | None
    """The last unit of this step; None for the last step, which has no end."""
    price: Decimal


@dataclass(frozen=True, slots=True)
class Price:
    """What one unit costs from one day on."""

    start: date
    end: date | None
    tiers: tuple[Tier, ...]
    """One without a border for a plain price; none at all when the provider has published no price."""
    source: Source

    @property
    def is_known(self) -> bool:
        """Whether the provider has published it."""
        return bool(self.tiers)


@dataclass(frozen=True, slots=True)
class Waiver:
    """A time in which a fee is counted and not charged."""

    start: date
    end: date | None
    """None as long as the provider has announced none."""
    reason: str
    source: Source


P = TypeVar("P", Price, Waiver)


@dataclass(frozen=True, slots=True)
class Rounding:
    """What becomes of fractions of the smallest coin."""

    of: str
    """`none`: amounts are exact; `line`: each line is rounded; `total`: only their sum is."""
    places: int = 2
    mode: str = "half_up"

    def line(self, amount: Decimal) -> Decimal:
        """A line's amount."""
        return self._rounded(amount) if self.of == "line" else amount

    def total(self, amount: Decimal) -> Decimal:
        """The sum of the lines."""
        return self._rounded(amount) if self.of == "total" else amount

    def _rounded(self, amount: Decimal) -> Decimal:
        return amount.quantize(Decimal(1).scaleb(-self.places), MODES[self.mode])


@dataclass(frozen=True, slots=True)
class Rule:
    """One fee of a tariff."""

    name: str
    title: str
    unit: Unit
    counting: Counting
    billed_states: frozenset[str]
    """States, in lower case, in which a resource is billed; empty: in all that are not free. One that told no state
    is billed."""
    free_states: frozenset[str]
    prices: tuple[Price, ...]
    waivers: tuple[Waiver, ...]
    bill_item: str = ""
    """What the provider's bill calls it, for reconciling."""
    note: str = ""

    def bills(self, state: str) -> bool | None:
        """Whether a state, in lower case, is billed; None when the tariff does not say."""
        if state in self.free_states:
            return False
        return True if not state or not self.billed_states or state in self.billed_states else None

    def pieces(self, first: date, after: date) -> Iterator[Piece]:
        """The days from `first` to before `after`, cut where a price or a waiver begins or ends."""
        cuts = {first, after}
        dated: tuple[Price | Waiver, ...] = (*self.prices, *self.waivers)
        for part in dated:
            cuts |= {day for day in (part.start, part.end) if day and first < day < after}
        days = sorted(cuts)
        for start, end in pairwise(days):
            yield Piece(start, end, _at(self.prices, start), _at(self.waivers, start))


@dataclass(frozen=True, slots=True)
class Piece:
    """Days over which one price and one waiver hold."""

    first: date
    after: date
    price: Price | None
    """None where the tariff has no price for these days."""
    waiver: Waiver | None


@dataclass(frozen=True, slots=True)
class Tariff:
    """A file of prices."""

    name: str
    title: str
    currency: str
    region: str
    comparator: bool
    """Whether these are another product's prices, shown to compare with; nobody is ever billed by them."""
    rounding: Rounding
    rules: tuple[Rule, ...]
    text: str
    """The file as it was read: a closed period keeps it, so that late evidence is priced as the period was."""

    def rule(self, name: str) -> Rule:
        """A rule by its name. Raises KeyError."""
        return {rule.name: rule for rule in self.rules}[name]

    def with_rule(self, changed: Rule) -> Tariff:
        """The same tariff with one rule replaced by one of the same name."""
        return replace(self, rules=tuple(changed if rule.name == changed.name else rule for rule in self.rules))


def _at(parts: tuple[P, ...], day: date) -> P | None:
    return next((part for part in parts if part.start <= day and (part.end is None or day < part.end)), None)
