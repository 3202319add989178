"""A tariff: prices, what they are for, how time is counted, and from when to when each figure holds.

Prices are lists by date and not one number, so that a change of price is a new row and never re-prices the past.
Dates are calendar days in UTC+8; an end is the first day on which a figure no longer holds. Each field is declared
once, here, and read by pydantic straight from the file, as those of a fleet are (`tasks.fleet.model`).
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

from poolkeeper.tasks.fees.tariff.units import Counting
from poolkeeper.tasks.fees.tariff.values import Currency, Day, KnownMoney, Money, Places, PricedUnit, States, Units
from poolkeeper.tasks.fleet.values import Name, Part, ReadAs, Text, Truth, by_name

MODES = {"half_up": ROUND_HALF_UP, "half_even": ROUND_HALF_EVEN, "up": ROUND_CEILING, "down": ROUND_FLOOR}
"""How amounts are rounded -> Python's word for it. `up` and `down` are those of the number line."""


@dataclass(frozen=True, slots=True)
class Tier(Part):
    """One step of a cumulative table: the part of a quantity up to a border has this price."""

    up_to: Annotated[Units | None, Field(default=None)]
    """The last unit of this step; None for the last step, which has no end."""
    price: KnownMoney


@dataclass(frozen=True, slots=True)
class Dated(Part):
    """What holds from one day to another, and who says so."""

    start: Annotated[Day, Field(validation_alias="from")]
    end: Annotated[Day | None, Field(default=None, validation_alias="to")]
    """The first day on which it no longer holds; absent: a price holds until the next, a waiver as long as the provider
    has announced no end."""
    source: Text
    """Where the figure is from."""
    dated: Day
    """The day that the source gives for itself, or on which it was read."""


@dataclass(frozen=True, slots=True)
class Price(Dated):
    """What one unit costs from one day on."""

    price: Money | None = None
    """A plain one; None for a table, and when the provider has published no price."""
    tiers: tuple[Tier, ...] = ()
    """One without a border for a plain price; none at all when the provider has published no price."""

    @property
    def is_known(self) -> bool:
        """Whether the provider has published it."""
        return bool(self.tiers)


def _as_table(price: Price) -> Price:
    """A plain price is a table of one step."""
    if price.price is None or price.tiers:
        return price
    return replace(price, tiers=(Tier(None, price.price),))


@dataclass(frozen=True, slots=True)
class Waiver(Dated):
    """A time in which a fee is counted and not charged."""

    reason: Text


P = TypeVar("P", bound=Dated)


@dataclass(frozen=True, slots=True)
class Rounding(Part):
    """What becomes of fractions of the smallest coin."""

    of: Literal["none", "line", "total"]
    """`none`: amounts are exact; `line`: each line is rounded; `total`: only their sum is."""
    places: Places = 2
    mode: Literal["half_up", "half_even", "up", "down"] = "half_up"

    def line(self, amount: Decimal) -> Decimal:
        """A line's amount."""
        return self._rounded(amount) if self.of == "line" else amount

    def total(self, amount: Decimal) -> Decimal:
        """The sum of the lines."""
        return self._rounded(amount) if self.of == "total" else amount

    def _rounded(self, amount: Decimal) -> Decimal:
        return amount.quantize(Decimal(1).scaleb(-self.places), MODES[self.mode])


@dataclass(frozen=True, slots=True)
class BilledStates(Part):
    """States, in lower case, in which a resource is billed, and in which it is not."""

    billed: States = frozenset()
    """Empty: all that are not free. One that told no state is billed."""
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
    """By the day that each begins on."""
    waivers: tuple[Waiver, ...] = ()
    """The same; empty: the fee is charged."""
    bill_item: Text = ""
    """What the provider's bill calls it, for reconciling."""
    note: Text = ""

    def bills(self, state: str) -> bool | None:
        """Whether a state, in lower case, is billed; None when the tariff does not say."""
        if state in self.states.free:
            return False
        return True if not state or not self.states.billed or state in self.states.billed else None

    def in_order(self) -> Rule:
        """The same by date, each price with its end: one without holds until the next begins."""
        prices = sorted(self.prices, key=lambda price: price.start)
        ended = [replace(price, end=price.end or later.start) for price, later in pairwise(prices)]
        waivers = sorted(self.waivers, key=lambda waiver: waiver.start)
        return replace(self, prices=(*ended, *prices[-1:]), waivers=tuple(waivers))

    def pieces(self, first: date, after: date) -> Iterator[Piece]:
        """The days from `first` to before `after`, cut where a price or a waiver begins or ends."""
        cuts = {first, after}
        dated: tuple[Dated, ...] = (*self.prices, *self.waivers)
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


_Rules = Annotated[dict[str, Rule], BeforeValidator(by_name)]


@dataclass(frozen=True, slots=True)
class Tariff(Part):
    """A file of prices."""

    text: SkipJsonSchema[str]
    """The file as it was read: a closed period keeps it, so that late evidence is priced as the period was."""
    _: KW_ONLY
    name: Annotated[Text, Field(validation_alias="tariff")]
    title: Text
    comparator: Truth = False
    """Whether these are another product's prices, shown to compare with; nobody is ever billed by them."""
    currency: Currency
    region: Text
    rounding: Rounding
    rules: Annotated[tuple[Rule, ...], ReadAs(_Rules, lambda rules, _: tuple(rules.values()))]

    def rule(self, name: str) -> Rule:
        """A rule by its name. Raises KeyError."""
        return {rule.name: rule for rule in self.rules}[name]

    def in_order(self) -> Tariff:
        """The same with each rule's prices and waivers by date."""
        return replace(self, rules=tuple(rule.in_order() for rule in self.rules))

    def with_rule(self, changed: Rule) -> Tariff:
        """The same tariff with one rule replaced by one of the same name."""
        return replace(self, rules=tuple(changed if rule.name == changed.name else rule for rule in self.rules))


def _at(parts: tuple[P, ...], day: date) -> P | None:
    return next((part for part in parts if part.start <= day and (part.end is None or day < part.end)), None)
