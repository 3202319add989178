"""Kubernetes' resource quantities and counts-or-percentages as whole numbers.

Rules: k8s.io/apimachinery `resource.ParseQuantity` (v0.36), with its oddities: `1.`, `.5`, `Ki` and `+` are quantities.
More than a 64-bit number holds counts as that much, as in Kubernetes' own sums.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Context, Decimal
from functools import lru_cache

_SUFFIXES = {
    **{suffix: Decimal(1).scaleb(power) for suffix, power in zip("num", (-9, -6, -3), strict=True)},
    **{suffix: Decimal(10) ** (3 * step) for step, suffix in enumerate(("", "k", "M", "G", "T", "P", "E"))},
    **{f"{suffix}i": Decimal(2) ** (10 * step) for step, suffix in enumerate("KMGTPE", start=1)},
}
_QUANTITY = re.compile(
    r"(?P<sign>[+-]?)(?P<number>[0-9]*\.?[0-9]*)(?:(?P<suffix>[A-Za-z]*)|[eE](?P<exponent>[+-]?[0-9]{1,40}))"
)
_MOST = 2**63 - 1
_DIGITS = 20
"""Of more digits before the point, or zeros after it, a number is beyond what is told apart."""
_KEPT_CHARS = 40
"""Longer texts are not kept in memory: nobody writes the same one twice."""

Count = int | str
"""A number of pods, or a percentage such as `30%`: what Kubernetes calls IntOrString."""


def thousandths(quantity: object) -> int:
    """`250m` is 250, `2Gi` is 2147483648000: a quantity in thousandths of its unit, rounded up. Null is none: 0.

    Takes no more time and memory than the text is long. Raises ValueError for what is no quantity.
    """
    if quantity is None:
        return 0
    if isinstance(quantity, bool) or not isinstance(quantity, str | int | float):
        raise ValueError("what is neither text nor number is no quantity")
    text = str(quantity).strip()
    return _kept(text) if len(text) <= _KEPT_CHARS else _thousandths(text)


def _thousandths(text: str) -> int:
    found = _QUANTITY.fullmatch(text)
    suffix = found["suffix"] or "" if found else ""
    if found is None or not text or suffix not in _SUFFIXES:
        raise ValueError(f"{text[:_KEPT_CHARS]!r} is no quantity")
    number = Decimal(found["number"].rstrip(".") or "0")
    exponent = int(found["exponent"] or 0)
    if not -(2**63) <= exponent < 2**63:
        raise ValueError(f"{text[:_KEPT_CHARS]!r} is no quantity")
    sign = -1 if found["sign"] == "-" else 1
    if not number:
        return 0
    size = number.adjusted() + exponent + _SUFFIXES[suffix].adjusted()
    if size > _DIGITS:
        return sign * _MOST * 1000
    if size < -_DIGITS:
        return 1 if sign > 0 else 0
    exact = Context(prec=len(text) + 2 * _DIGITS)
    value = exact.multiply(exact.scaleb(number, exponent), _SUFFIXES[suffix] * 1000 * sign)
    rounded = int(value.to_integral_value(ROUND_CEILING))
    return max(-_MOST * 1000, min(rounded, _MOST * 1000))


_kept = lru_cache(maxsize=16_384)(_thousandths)


def scaled_up(count: Count, total: int) -> int:
    """A number as it is, a percentage of `total` rounded up, as disruption budgets count.

    Raises ValueError for what is neither.
    """
    if isinstance(count, int):
        return count
    if not re.fullmatch(r"[0-9]{1,9}%", count):
        raise ValueError(f"{count[:_KEPT_CHARS]!r} is neither a number nor a percentage")
    return -(-int(count[:-1]) * total // 100)
