"""A tariff: prices, what they are for, how time is counted, and the days on which each figure is valid.

A rule has a list of prices by date. Invariant: a new price is a new row and does not change the cost of past days.
Dates are calendar days in UTC+8; an end is the first day on which a figure is no longer valid. Each field is declared
once, here, and pydantic reads it from the file, as in `tasks.fleet.model`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, replace
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.json_schema import SkipJsonSchema

from poolkeeper.tasks.fees.tariff.tariff_values import (
    Currency,
    Day,
    KnownMoney,
    Money,
    Places,
    PricedUnit,
    States,
    Units,
)
from poolkeeper.tasks.fees.tariff.units import Counting
from poolkeeper.tasks.fleet.values import Name, Part, ReadAs, Text, Truth, by_name

MODES = {"half_up": ROUND_HALF_UP, "half_even": ROUND_HALF_EVEN, "up": ROUND_CEILING, "down": ROUND_FLOOR}
"""Rounding mode of a tariff -> the constant of `decimal`. `up` is towards plus infinity, `down` towards minus."""


@dataclass(frozen=True, slots=True)
class Tier(Part):
    """One step of a cumulative table: the price of the units up to a limit."""

    up_to: Annotated[Units | None, Field(default=None)]
    """The last unit of this step; None for the last step, which has no limit."""
    price: KnownMoney


@dataclass(frozen=True, slots=True)
class Dated(Part):
    """A figure that is valid from one day to another, with its source."""

    start: Annotated[Day, Field(validation_alias="from")]
    end: Annotated[Day | None, Field(default=None, validation_alias="to")]
    """The first day on which it is no longer valid. Without it, a price is valid until the next price begins, and a
    waiver until the provider announces an end."""
    source: Text
    """Where the figure comes from."""
    dated: Day
    """The date of the source, or the day on which it was read."""


@dataclass(frozen=True, slots=True)
class Price(Dated):
    """The price of one unit from one day on."""

    price: Money | None = None
    """The single price; None for a table, and when the provider has published no price."""
    tiers: tuple[Tier, ...] = ()
    """One step without a limit for a single price; empty when the provider has published no price."""

    @property
    def is_known(self) -> bool:
        """Whether the provider has published the price."""
        return bool(self.tiers)


def _as_table(price: Price) -> Price:
    """The price as a table: a single price is a table of one step."""
    if price.price is None or price.tiers:
        return price
    return replace(price, tiers=(Tier(None, price.price),))


@dataclass(frozen=True, slots=True)
class Waiver(Dated):
    """The days on which a fee is counted, but not charged."""

    reason: Text


P = TypeVar("P", bound=Dated)


@dataclass(frozen=True, slots=True)
class Rounding(Part):
    """How amounts are rounded."""

    of: Literal["none", "line", "total"]
    """`none`: amounts are exact; `line`: each line is rounded; `total`: only the sum of the lines is rounded."""
    places: Places = 2
    mode: Literal["half_up", "half_even", "up", "down"] = "half_up"

    def line(self, amount: Decimal) -> Decimal:
        """The amount of a line, rounded if the tariff rounds lines."""
        return self._rounded(amount) if self.of == "line" else amount

    def total(self, amount: Decimal) -> Decimal:
        """The sum of the lines, rounded if the tariff rounds totals."""
        return self._rounded(amount) if self.of == "total" else amount

    def _rounded(self, amount: Decimal) -> Decimal:
        return amount.quantize(Decimal(1).scaleb(-self.places), MODES[self.mode])


@dataclass(frozen=True, slots=True)
class BilledStates(Part):
    """The states, in lower case, in which a resource is billed or free."""

    billed: States = frozenset()
    """Empty: all states that are not free. A resource without a known state is billed."""
    free: States = frozenset()


@dataclass(frozen=True, slots=True)
class Rule(Part):
    """One fee of a tariff."""

    name: Name
    title: Text
    unit: PricedUnit
    counting: Annotated[Counting, Field(validation_alias="counts")]
    states: BilledStates = BilledStates()
    _: KW_ONLY
    prices: tuple[Annotated[Price, AfterValidator(_as_table)], ...]
    """Sorted by their first day."""
    waivers: tuple[Waiver, ...] = ()
    """Sorted by their first day; empty: the fee is charged."""
    bill_item: Text = ""
    """The name of the fee on the provider's bill; empty: not known."""
    note: Text = ""

    def bills(self, state: str) -> bool | None:
        """Whether a state, in lower case, is billed; None when the tariff does not say."""
        if state in self.states.free:
            return False
        return True if not state or not self.states.billed or state in self.states.billed else None

    def in_order(self) -> Rule:
        """The rule with prices and waivers sorted by date. A price without an end ends as the next begins."""
        prices = sorted(self.prices, key=lambda price: price.start)
        ended = [replace(price, end=price.end or later.start) for price, later in pairwise(prices)]
        waivers = sorted(self.waivers, key=lambda waiver: waiver.start)
        return replace(self, prices=(*ended, *prices[-1:]), waivers=tuple(waivers))

    def pieces(self, first: date, after: date) -> Iterator[Piece]:
        """The days from `first` to the day before `after`, cut where a price or a waiver begins or ends."""
        cuts = {first, after}
        dated: tuple[Dated, ...] = (*self.prices, *self.waivers)
        for part in dated:
            cuts |= {day for day in (part.start, part.end) if day and first < day < after}
        days = sorted(cuts)
        for start, end in pairwise(days):
            yield Piece(start, end, _at(self.prices, start), _at(self.waivers, start))


@dataclass(frozen=True, slots=True)
class Piece:
    """Days with one price and one waiver."""

    first: date
    after: date
    price: Price | None
    """None where the tariff has no price for these days."""
    waiver: Waiver | None


_Rules = Annotated[dict[str, Rule], BeforeValidator(by_name)]


@dataclass(frozen=True, slots=True)
class Tariff(Part):
    """A tariff file."""

    text: SkipJsonSchema[str]
    """The text of the file. A closed month keeps it, so that late evidence gets the prices of that month."""
    _: KW_ONLY
    name: Annotated[Text, Field(validation_alias="tariff")]
    title: Text
    comparator: Truth = False
    """Whether these are the prices of another product, for comparison only; no bill uses them."""
    currency: Currency
    region: Text
    rounding: Rounding
    rules: Annotated[tuple[Rule, ...], ReadAs(_Rules, lambda rules, _: tuple(rules.values()))]

    def rule(self, name: str) -> Rule:
        """The rule with this name. Raises KeyError."""
        return {rule.name: rule for rule in self.rules}[name]

    def in_order(self) -> Tariff:
        """The tariff with the prices and waivers of each rule sorted by date."""
        return replace(self, rules=tuple(rule.in_order() for rule in self.rules))

    def with_rule(self, changed: Rule) -> Tariff:
        """The tariff with the rule of the same name replaced."""
        return replace(self, rules=tuple(changed if rule.name == changed.name else rule for rule in self.rules))


def _at(parts: tuple[P, ...], day: date) -> P | None:
    return next((part for part in parts if part.start <= day and (part.end is None or day < part.end)), None)
