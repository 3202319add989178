"""Amounts of money: exact, and as text."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal, Inexact, InvalidOperation

EXACT = Context(prec=80, traps=[Inexact, InvalidOperation])
"""Exact products and sums. Invariant: nothing is rounded; a result that would need it raises Inexact."""

ZERO = Decimal(0)


def times(quantity: int, price: Decimal) -> Decimal:
    """Quantity times price, exactly."""
    return EXACT.multiply(Decimal(quantity), price)


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The sum, exactly."""
    result = ZERO
    for amount in amounts:
        result = EXACT.add(result, amount)
    return result


def money_text(amount: Decimal) -> str:
    """`0.18`, `1.856`, `37.10`: all digits without trailing zeros, but at least two decimal places."""
    text = f"{amount.normalize(EXACT) if amount else ZERO:f}"
    whole, _, cents = text.partition(".")
    return f"{whole}.{cents.ljust(2, '0')}"
