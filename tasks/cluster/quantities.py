"""Kubernetes' resource quantities and counts-or-percentages as whole numbers."""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation
from functools import lru_cache

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
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?\d+)?)([A-Za-z]*)")

Count = int | str
"""A number of pods, or a percentage such as `30%`: what Kubernetes calls IntOrString."""


@lru_cache(maxsize=16_384)
def thousandths(quantity: str) -> int:
    """`250m` is 250, `2Gi` is 2147483648000: a quantity in thousandths of its unit, rounded up.

    Raises ValueError for what is no quantity.
    """
    found = _QUANTITY.fullmatch(quantity)
    if found is None or found[2] not in _SUFFIXES:
        raise ValueError(f"{quantity!r} is no quantity")
    try:
        return math.ceil(Decimal(found[1]) * _SUFFIXES[found[2]] * 1000)
    except InvalidOperation:
        raise ValueError(f"{quantity!r} is no quantity") from None


def scaled_up(count: Count, total: int) -> int:
    """A number as it is, a percentage of `total` rounded up, as disruption budgets count.

    Raises ValueError for what is neither.
    """
    if isinstance(count, int):
        return count
    if not re.fullmatch(r"\d+%", count):
        raise ValueError(f"{count!r} is neither a number nor a percentage")
    return -(-int(count[:-1]) * total // 100)
