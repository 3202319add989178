"""Kubernetes' resource quantities and counts-or-percentages as numbers."""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

_SUFFIXES = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("0.001"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
}
_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?\d+)?)([A-Za-z]*)")


def quantity(value: Any) -> Decimal:
    """`250m`, `2Gi`, `1e3`, `4` as a number. Raises ValueError for what is none."""
    found = _QUANTITY.fullmatch(str(value))
    if found is None or found[2] not in _SUFFIXES:
        raise ValueError(f"{value!r} is no quantity")
    try:
        return Decimal(found[1]) * _SUFFIXES[found[2]]
    except InvalidOperation:
        raise ValueError(f"{value!r} is no quantity") from None


def is_count_or_percent(value: Any) -> bool:
    """Whether it is a whole number not below 0, or such a number with `%`."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return value >= 0
    return isinstance(value, str) and re.fullmatch(r"\d+%", value) is not None


def scaled(value: Any, total: int, *, up: bool = True) -> int:
    """A count as it is, a percentage of `total` rounded up (or down)."""
    if isinstance(value, int):
        return value
    exact = Decimal(str(value).rstrip("%")) * total / 100
    return math.ceil(exact) if up else math.floor(exact)
