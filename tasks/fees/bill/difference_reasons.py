"""The likely reason for a difference between the statement and the bill.

Each reason is a function of both sides. It returns a sentence, and whether the reason explains the whole difference.
The first reason that applies is shown: a person who disputes a line needs the one thing to check first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from poolkeeper.tasks.fees.bill.vendor_bill import Bill, BillRow
from poolkeeper.tasks.fees.metering.fee_lines import FeeLine
from poolkeeper.tasks.fees.metering.statement import Statement
from poolkeeper.tasks.fees.money import money_text, times, total
from poolkeeper.tasks.fees.periods import HOUR_US, moment
from poolkeeper.tasks.fees.tariff.tariff_model import Rule
from poolkeeper.tasks.fees.tariff.units import Counting

FINAL_AFTER = timedelta(days=2, hours=12)
"""The bill of a month is final at noon of the third day after the month
(https://www.alibabacloud.com/help/en/user-center/user-guide/billing-details-1)."""

HALF_A_CENT = Decimal("0.005")

Reason = tuple[str, bool]


@dataclass(frozen=True, slots=True)
class BillContext:
    """The month and its bill as a whole."""

    statement: Statement
    bill: Bill
    read_at: datetime
    last_day: date | None
    """The last day with a row in a daily bill; None in a monthly bill."""
    on_the_bill: frozenset[str]
    """The resources that have a row on the bill."""

    @classmethod
    def of(cls, statement: Statement, bill: Bill, read_at: datetime, resources: Iterable[str]) -> BillContext:
        """The context, in which values that all lines need are computed once."""
        return cls(statement, bill, read_at, bill.last_day, frozenset(resources))


@dataclass(frozen=True, slots=True)
class Sides:
    """One fee of one resource: the lines of the statement and the rows of the bill."""

    context: BillContext
    rule: Rule | None
    resource_id: str
    is_adjustment: bool
    lines: tuple[FeeLine, ...]
    rows: tuple[BillRow, ...]

    @property
    def metered(self) -> Decimal:
        """The amount of the statement."""
        return total(line.amount for line in self.lines)

    @property
    def billed(self) -> Decimal:
        """The amount of the bill."""
        return total(row.charged for row in self.rows)

    @property
    def metered_at_list(self) -> Decimal | None:
        """The amount of the statement at list price; None when no list price is published."""
        found = [None if line.list_price is None else times(line.quantity, line.list_price) for line in self.lines]
        return None if None in found else total(amount for amount in found if amount is not None)

    @property
    def billed_at_list(self) -> Decimal:
        """The amount of the bill before deductions."""
        return total(row.gross for row in self.rows)

    @property
    def quantity(self) -> int:
        """The quantity of the statement."""
        return sum(line.quantity for line in self.lines)

    @property
    def usage(self) -> Decimal | None:
        """The quantity of the bill; None when any row has none."""
        found = [row.usage for row in self.rows]
        return None if None in found else total(usage for usage in found if usage is not None)

    def money(self, amount: Decimal) -> str:
        """An amount in the currency of the bill."""
        return f"{self.context.bill.currency} {money_text(amount)}"


def likely_reason(sides: Sides) -> Reason:
    """A sentence with the first thing to check, and whether it explains the whole difference."""
    reasons = _ONE_SIDED if not (sides.lines and sides.rows) else _BOTH
    for reason in reasons:
        found = reason(sides)
        if found is not None:
            return found
    if sides.lines:
        return (
            f"No reason was found. Dispute it with the output of `poolkeeper bill explain {sides.lines[0].id}`.",
            False,
        )
    return "No reason was found. Ask the provider what this line is for.", False


# on one side only


def _waived_and_not_printed(sides: Sides) -> Reason | None:
    if sides.rows or sides.metered or not sides.lines[0].waiver:
        return None
    return f"{sides.lines[0].waiver.capitalize()}. The bill has no line for it, and nothing is due.", True


def _nothing_due(sides: Sides) -> Reason | None:
    if sides.rows or sides.metered:
        return None
    return "Nothing is due, and the bill has no line for it.", True


def _not_final(sides: Sides) -> Reason | None:
    final = moment(sides.context.statement.period.end_us) + FINAL_AFTER
    if sides.context.read_at >= final or sides.billed > sides.metered:
        return None
    return f"The bill is not final before {final:%Y-%m-%d %H:%M} UTC. Compare again after that time.", True


def _ends_early(sides: Sides) -> Reason | None:
    last = sides.context.last_day
    if last is None or sides.billed > sides.metered or last >= sides.context.statement.period.after - timedelta(days=1):
        return None
    return f"The bill has no day after {last}: it is incomplete, or not finished. Read it again.", False


def _correction_not_made(sides: Sides) -> Reason | None:
    if not sides.is_adjustment:
        return None
    if sides.rows:
        return (
            "The bill corrects another month, but there is no late evidence for it. Ask the provider what it corrects.",
            False,
        )
    corrected = ", ".join(sorted({line.corrects for line in sides.lines})[:3])
    return f"The provider has not corrected {corrected}. Claim the correction with the late evidence.", False


def _not_on_the_bill(sides: Sides) -> Reason | None:
    if sides.rows:
        return None
    if sides.resource_id in sides.context.on_the_bill:
        return (
            "The bill has other items of this resource: the name of the item may have changed. Then correct bill_item.",
            False,
        )
    return (
        "The bill has no row with this id: another account may pay, or the bill has another id for it (--name).",
        False,
    )


def _strange_item(sides: Sides) -> Reason | None:
    if sides.rule is not None:
        return None
    charged = "has no charge yet" if not sides.billed else f"charges {sides.money(sides.billed)}"
    return f"No rule of tariff {sides.context.statement.tariff.name} has this billing item, which {charged}.", False


def _not_metered(sides: Sides) -> Reason | None:
    if sides.lines:
        return None
    return (
        "There is no evidence of this resource in the month: it is another cluster of the account, or its events are"
        " missing, or the bill has another id for it (--name).",
        False,
    )


# on both sides


def _charged_while_waived(sides: Sides) -> Reason | None:
    if sides.metered or not sides.billed or not any(line.waiver for line in sides.lines):
        return None
    return (
        f"The tariff waives it ({sides.lines[0].waiver}), but the bill charges it: the waiver has ended, or was not"
        " applied. Ask the provider, then write the end of the waiver into the tariff.",
        False,
    )


def _another_count(sides: Sides) -> Reason | None:
    usage = sides.usage
    if usage is None or usage == sides.quantity or sides.metered_at_list == sides.billed_at_list:
        return None
    more = total((usage, Decimal(-sides.quantity)))
    count = f"The bill counts {_plain(usage)}, the statement {sides.lines[0].unit.amount_of(sides.quantity)}"
    counting = Counting(sides.lines[0].counting)
    if counting is Counting.CLOCK_HOURS_INSIDE and more in (1, 2) and _begins_or_ends_within(sides):
        return (
            f"{count}: the hours of the creation and the release are free, but seem to be charged"
            " (https://www.alibabacloud.com/help/en/ack/ack-managed-and-ack-dedicated/product-overview/"
            "cluster-management-fee). Dispute them.",
            False,
        )
    if sides.lines[0].unit.slot_us == HOUR_US and abs(more) == 8:
        return f"{count}: a month that is cut in UTC instead of UTC+8 differs by 8 hours. Ask for a daily bill.", False
    if open_ := _within_the_range(sides):
        return f"{count}. {open_[0]}", open_[1]
    if more < 0 and (early := _not_final(sides) or _ends_early(sides)):
        return f"{count}. {early[0]}", early[1]
    return f"{count}. Look for missing or late events; if there are none, dispute it.", False


def _another_price(sides: Sides) -> Reason | None:
    listed = sides.metered_at_list
    if listed is None or listed == sides.billed_at_list or not sides.usage or sides.usage != sides.quantity:
        return None
    each = sides.billed_at_list / sides.usage
    prices = " and ".join(sorted({money_text(line.list_price) for line in sides.lines if line.list_price is not None}))
    return (
        f"The bill's list price is {sides.context.bill.currency} {each.normalize():.12g}, that of the tariff {prices}:"
        " the price differs in this region, or has changed. Write the new price with its date into the tariff.",
        False,
    )


def _deductions(sides: Sides) -> Reason | None:
    """Both are equal at list price, and the bill has columns for the deductions."""
    listed = sides.metered_at_list
    if listed is None or listed != sides.billed_at_list or sides.billed >= sides.metered:
        return None
    parts = []
    if discount := total(row.discount for row in sides.rows):
        parts.append(f"a discount of {sides.money(discount)}")
    if coupons := total(row.coupons for row in sides.rows):
        parts.append(f"coupons of {sides.money(coupons)}")
    if package := total(row.by_package for row in sides.rows if row.by_package):
        parts.append(f"a resource package for {_plain(package)} of the usage")
    if not parts:
        return "At list price both are equal, but the bill charges less and has no reason for it.", False
    taken = total((discount, coupons))
    is_all = bool(package) or total((sides.metered, sides.billed.copy_negate())) == taken
    return f"At list price both are equal. The bill deducts {' and '.join(parts)}.", is_all


def _rounding(sides: Sides) -> Reason | None:
    difference = abs(total((sides.billed, sides.metered.copy_negate())))
    if sides.usage is not None and sides.usage != sides.quantity:
        return None
    if difference > HALF_A_CENT * max(1, len(sides.rows)):
        return None
    return "The difference is as small as the rounding of each row of the bill to the cent.", True


def _within_the_range(sides: Sides) -> Reason | None:
    low, high = total(line.low for line in sides.lines), total(line.high for line in sides.lines)
    if low == high or not low <= sides.billed <= high:
        return None
    gaps = "; ".join(dict.fromkeys(gap for line in sides.lines for gap in line.gaps))
    return f"The evidence has gaps ({gaps}), and the bill is within the range that they leave.", True


def _begins_or_ends_within(sides: Sides) -> bool:
    """Whether the month has a free hour: then the lines do not cover the whole month."""
    period = sides.context.statement.period
    return (
        min(line.start_us for line in sides.lines) > period.start_us
        or max(line.end_us for line in sides.lines) < period.end_us
    )


def _plain(quantity: Decimal) -> str:
    """A quantity without trailing zeros."""
    return f"{quantity.normalize():f}"


_ONE_SIDED: tuple[Callable[[Sides], Reason | None], ...] = (
    _waived_and_not_printed,
    _nothing_due,
    _strange_item,
    _correction_not_made,
    lambda sides: None if sides.rows else _not_final(sides) or _ends_early(sides),
    _not_on_the_bill,
    _not_metered,
)
_BOTH: tuple[Callable[[Sides], Reason | None], ...] = (
    _charged_while_waived,
    _deductions,
    _rounding,
    _another_count,
    _another_price,
    _within_the_range,
    _not_final,
    _ends_early,
)
