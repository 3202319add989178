"""Single values of a tariff file, read in the same way as those of a fleet file (`tasks.fleet.values`)."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, PlainValidator

from poolkeeper.tasks.fees.tariff.units import UNITS, PriceUnit
from poolkeeper.tasks.fleet.problems import nearest
from poolkeeper.tasks.fleet.values import ReadAs, Text

UNKNOWN = "unknown"
"""The text for a price that the provider has not published."""

_NUMBER = re.compile(r"[-+]?[0-9]{1,12}(\.[0-9]+)?([eE]-?[0-9])?")
MAX_PLACES = 12


def _money(value: Any) -> Decimal | None:
    if value == UNKNOWN:
        return None
    if isinstance(value, bool) or not _NUMBER.fullmatch(str(value)):
        raise ValueError("is not a price|Write a number like 0.09, or unknown when no price is published.")
    price = Decimal(str(value))
    if price < 0:
        raise ValueError("is negative|Write a price of 0 or more; use a waiver for a fee that is not charged.")
    exponent = price.as_tuple().exponent
    if isinstance(exponent, int) and -exponent > MAX_PLACES:
        raise ValueError(f"has more than {MAX_PLACES} decimal places|Write the price as the provider publishes it.")
    return price


def _known_money(value: Any) -> Decimal:
    price = _money(value)
    if price is None:
        raise ValueError("is not a price|Write a number like 0.09; a step of a table cannot be unknown.")
    return price


def _day(value: Any) -> date:
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        raise ValueError("is not a date|Write it like 2026-10-01.")
    try:
        day = date.fromisoformat(value)
    except ValueError:
        raise ValueError("is not in the calendar|Correct the day or the month.") from None
    if not 2000 <= day.year <= 2999:
        raise ValueError("is not in the years 2000 to 2999|Correct the year.")
    return day


def _unit(value: Any) -> PriceUnit:
    if not isinstance(value, str) or value not in UNITS:
        known = nearest(value, UNITS) if isinstance(value, str) else nearest("", UNITS)
        raise ValueError(f"is not a unit|{known}")
    return UNITS[value]


def _currency(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Z]{3}", value):
        raise ValueError("is not a currency|Write its code of three capital letters, like USD or CNY.")
    return value


Money = Annotated[Decimal | None, PlainValidator(_money)]
KnownMoney = Annotated[Decimal, PlainValidator(_known_money)]
Day = Annotated[date, PlainValidator(_day)]
PricedUnit = Annotated[PriceUnit, PlainValidator(_unit)]
Currency = Annotated[str, PlainValidator(_currency)]
States = Annotated[frozenset[str], ReadAs(tuple[Text, ...], lambda names, _: frozenset(map(str.lower, names)))]
Units = Annotated[int, Field(ge=1, le=1_000_000_000, strict=True)]
Places = Annotated[int, Field(ge=0, le=MAX_PLACES, strict=True)]
