"""The shape of a tariff file. Rules that need more than one value are in `tasks.fees.tariff_rules`."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from poolkeeper.tasks.fees.units import UNITS, Counting
from poolkeeper.tasks.fleet.document import Part, Text, Truth
from poolkeeper.tasks.fleet.problems import nearest
from poolkeeper.tasks.fleet.shape import FileKind, Shape

UNKNOWN = "unknown"
"""What stands for a price that the provider has not published."""

_NUMBER = re.compile(r"[-+]?[0-9]{1,12}(\.[0-9]+)?([eE]-?[0-9])?")
MAX_PLACES = 12

# Validators raise ValueError("what is wrong|How to mend it."); the value itself is put before it, and is not in it.


def _money(value: Any) -> Decimal | str:
    if value == UNKNOWN:
        return UNKNOWN
    if isinstance(value, bool) or not _NUMBER.fullmatch(str(value)):
        raise ValueError("is not a price|Write a number like 0.09, or unknown where none is published.")
    price = Decimal(str(value))
    if price < 0:
        raise ValueError("is negative|Write a price of 0 or more; what takes a fee away is a waiver.")
    exponent = price.as_tuple().exponent
    if isinstance(exponent, int) and -exponent > MAX_PLACES:
        raise ValueError(f"has more than {MAX_PLACES} decimal places|Write the price as the provider publishes it.")
    return price


def _known_money(value: Any) -> Decimal:
    price = _money(value)
    if isinstance(price, str):
        raise ValueError("is not a price|Write a number like 0.09; a table with an unknown step cannot be used.")
    return price


def _day(value: Any) -> date:
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        raise ValueError("is not a date|Write it like 2026-10-01.")
    try:
        day = date.fromisoformat(value)
    except ValueError:
        raise ValueError("is not in the calendar|Correct the day or the month.") from None
    if not 2000 <= day.year <= 2999:
        raise ValueError("lies outside of the years 2000 to 2999|Correct the year.")
    return day


def _unit(value: Any) -> str:
    if not isinstance(value, str) or value not in UNITS:
        known = nearest(value, UNITS) if isinstance(value, str) else nearest("", UNITS)
        raise ValueError(f"is a unit that fits no rule|{known}")
    return value


def _currency(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Z]{3}", value):
        raise ValueError("is not a currency|Write its code of three capital letters, like USD or CNY.")
    return value


Money = Annotated[Decimal | Literal["unknown"], BeforeValidator(_money)]
KnownMoney = Annotated[Decimal, BeforeValidator(_known_money)]
Day = Annotated[date, BeforeValidator(_day)]
UnitName = Annotated[str, BeforeValidator(_unit)]
Currency = Annotated[str, BeforeValidator(_currency)]
Units = Annotated[int, Field(ge=1, le=1_000_000_000, strict=True)]
Places = Annotated[int, Field(ge=0, le=MAX_PLACES, strict=True)]


class TierEntry(Part):
    """One step of a cumulative table."""

    up_to: Units | None = None
    price: KnownMoney


class DatedEntry(Part):
    """What holds from one day to another, and who says so."""

    start: Day = Field(alias="from")
    end: Day | None = Field(None, alias="to", description="The first day on which it no longer holds.")
    source: Text
    dated: Day = Field(description="The day that the source gives for itself, or on which it was read.")


class PriceEntry(DatedEntry):
    """A price from one day on."""

    price: Money | None = None
    tiers: list[TierEntry] | None = None


class WaiverEntry(DatedEntry):
    """A time in which the fee is counted and not charged."""

    reason: Text


class StatesEntry(Part):
    """States of a resource in which it is billed, and in which it is not."""

    billed: list[Text] = Field(
        [], description="Empty: all but the free ones; else what is in none of the two is priced as a range."
    )
    free: list[Text] = Field([], description="The fee rests.")


class RuleEntry(Part):
    """One fee."""

    title: Text
    unit: UnitName
    counts: Counting
    states: StatesEntry = StatesEntry()
    prices: list[PriceEntry]
    waivers: list[WaiverEntry] = Field([], description="Empty: the fee is charged.")
    bill_item: Text | None = None
    note: Text | None = None


class RoundingEntry(Part):
    """What becomes of fractions of the smallest coin."""

    of: Literal["none", "line", "total"]
    places: Places = 2
    mode: Literal["half_up", "half_even", "up", "down"] = "half_up"


class TariffDocument(Part):
    """A tariff file."""

    tariff: Text
    title: Text
    comparator: Truth = False
    currency: Currency
    region: Text
    rounding: RoundingEntry
    rules: dict[str, RuleEntry]


TARIFF_FILE = FileKind(
    name="tariff",
    begin="Begin with `tariff: NAME`, then title, currency, region, rounding, rules.",
    name_one="Name one with --tariff: a file, or the name of a tariff that comes with poolkeeper.",
    large="Declare one tariff a file.",
    fraction=Decimal,
)

TARIFF = Shape(
    document=TariffDocument,
    sections=("rules",),
    stand_ins={
        **dict.fromkeys(("tariff", "title", "region", "source", "reason"), "unread"),
        "currency": "XXX",
        "rounding": {"of": "none"},
        "of": "none",
        "rules": {},
        "unit": "per_node_day",
        "counts": "calendar_days_started",
        "prices": [],
        "from": "2000-01-01",
        "dated": "2000-01-01",
        "price": "0",
    },
    compare_with="Compare with a tariff that comes with poolkeeper, such as tasks/fees/tariffs/ack-pro.yaml.",
)
