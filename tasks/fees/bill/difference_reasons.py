"""The likely reason why a line of the bill is not what it should be.

Each reason is a function of both sides that gives a sentence, and whether it accounts for the whole difference; the
first that applies is told. Whoever disputes a line needs the one thing to check first, not a list of possibilities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from poolkeeper.tasks.fees.bill.vendor_bill import Bill, BillRow
from poolkeeper.tasks.fees.metering.fee_lines import FeeLine
from poolkeeper.tasks.fees.metering.meter import Statement
from poolkeeper.tasks.fees.money import money_text, times, total
from poolkeeper.tasks.fees.periods import HOUR_US, moment
from poolkeeper.tasks.fees.tariff.model import Rule
from poolkeeper.tasks.fees.tariff.units import Counting

FINAL_AFTER = timedelta(days=2, hours=12)
"""A month's bill is final at noon of the third day after it
(https://www.alibabacloud.com/help/en/user-center/user-guide/billing-details-1)."""

HALF_A_CENT = Decimal("0.005")

Reason = tuple[str, bool]


@dataclass(frozen=True, slots=True)
class Around:
    """What is known of the month and its bill as a whole."""

    statement: Statement
    bill: Bill
    read_at: datetime
    last_day: date | None
    """The last day that a bill by day tells of."""
    on_the_bill: frozenset[str]
    """The resources that the bill has any row of."""

    @classmethod
    def of(cls, statement: Statement, bill: Bill, read_at: datetime, resources: Iterable[str]) -> Around:
        """What is asked for every line is looked up once."""
        return cls(statement, bill, read_at, bill.last_day, frozenset(resources))


@dataclass(frozen=True, slots=True)
class Sides:
    """Both sides of one line."""

    around: Around
    rule: Rule | None
    resource_id: str
    is_adjustment: bool
    lines: tuple[FeeLine, ...]
    rows: tuple[BillRow, ...]

    @property
    def here(self) -> Decimal:
        """What it should cost."""
        return total(line.amount for line in self.lines)

    @property
    def there(self) -> Decimal:
        """What the bill charges."""
        return total(row.charged for row in self.rows)

    @property
    def listed_here(self) -> Decimal | None:
        """The same at list price; None where none is published."""
        found = [None if line.list_price is None else times(line.quantity, line.list_price) for line in self.lines]
        return None if None in found else total(amount for amount in found if amount is not None)

    @property
    def listed_there(self) -> Decimal:
        """What the bill has before deductions."""
        return total(row.gross for row in self.rows)

    @property
    def quantity(self) -> int:
        """What is counted here."""
        return sum(line.quantity for line in self.lines)

    @property
    def usage(self) -> Decimal | None:
        """What the bill counts; None where any row does not tell."""
        found = [row.usage for row in self.rows]
        return None if None in found else total(usage for usage in found if usage is not None)

    def money(self, amount: Decimal) -> str:
        """An amount in the bill's currency."""
        return f"{self.around.bill.currency} {money_text(amount)}"


def likely_reason(sides: Sides) -> Reason:
    """A sentence with what to check first, and whether it accounts for the whole difference."""
    reasons = _ONE_SIDED if not (sides.lines and sides.rows) else _BOTH
    for reason in reasons:
        found = reason(sides)
        if found is not None:
            return found
    if sides.lines:
        return f"No reason was found: dispute it with `poolkeeper bill explain {sides.lines[0].id}`.", False
    return "No reason was found: ask the provider what this line is for.", False


# on one side only


def _waived_and_not_printed(sides: Sides) -> Reason | None:
    if sides.rows or sides.here or not sides.lines[0].waiver:
        return None
    return f"{sides.lines[0].waiver.capitalize()}; the bill prints no line for it, and nothing is due.", True


def _nothing_due(sides: Sides) -> Reason | None:
    if sides.rows or sides.here:
        return None
    return "Nothing is due, and the bill prints no line for it.", True


def _not_final(sides: Sides) -> Reason | None:
    final = moment(sides.around.statement.period.end_us) + FINAL_AFTER
    if sides.around.read_at >= final or sides.there > sides.here:
        return None
    return f"The bill is not final before {final:%Y-%m-%d %H:%M} UTC: compare again then.", True


def _ends_early(sides: Sides) -> Reason | None:
    last = sides.around.last_day
    if last is None or sides.there > sides.here or last >= sides.around.statement.period.after - timedelta(days=1):
        return None
    return f"The bill has no day after {last}: it is cut short there, or not finished. Read it again.", False


def _correction_not_made(sides: Sides) -> Reason | None:
    if not sides.is_adjustment:
        return None
    if sides.rows:
        return "The bill corrects another month, and no late evidence asks for it here: ask what it corrects.", False
    corrected = ", ".join(sorted({line.corrects for line in sides.lines})[:3])
    return f"The provider has not corrected {corrected}: claim it, with the evidence that came late.", False


def _not_on_the_bill(sides: Sides) -> Reason | None:
    if sides.rows:
        return None
    if sides.resource_id in sides.around.on_the_bill:
        return "The bill has other items of this resource: the item's name may have changed. Correct bill_item.", False
    return (
        "The bill has nothing with this id: another account may pay, or the bill calls it by another name (--name).",
        False,
    )


def _strange_item(sides: Sides) -> Reason | None:
    if sides.rule is not None:
        return None
    charged = "charges nothing yet" if not sides.there else f"charges {sides.money(sides.there)}"
    return f"No rule of tariff {sides.around.statement.tariff.name} has this billing item, which {charged}.", False


def _not_metered(sides: Sides) -> Reason | None:
    if sides.lines:
        return None
    return (
        "There is no evidence of this resource in the month: it is another cluster of the account, or its events are"
        " missing, or the bill calls it by another name (--name).",
        False,
    )


# on both sides


def _charged_while_waived(sides: Sides) -> Reason | None:
    if sides.here or not sides.there or not any(line.waiver for line in sides.lines):
        return None
    return (
        f"It is waived by the tariff ({sides.lines[0].waiver}) and charged by the bill: the waiver has ended, or was"
        " not applied. Ask the provider, then write its end into the tariff.",
        False,
    )


def _another_count(sides: Sides) -> Reason | None:
    usage = sides.usage
    if usage is None or usage == sides.quantity or sides.listed_here == sides.listed_there:
        return None
    more = total((usage, Decimal(-sides.quantity)))
    words = f"The bill counts {_plain(usage)} and here it is {sides.lines[0].unit.amount_of(sides.quantity)}"
    counting = Counting(sides.lines[0].counting)
    if counting is Counting.CLOCK_HOURS_INSIDE and more in (1, 2) and _begins_or_ends_within(sides):
        return (
            f"{words}: the hours of creation and release are free and seem to be charged"
            " (https://www.alibabacloud.com/help/en/ack/ack-managed-and-ack-dedicated/product-overview/"
            "cluster-management-fee). Dispute them.",
            False,
        )
    if sides.lines[0].unit.slot_us == HOUR_US and abs(more) == 8:
        return f"{words}: 8 hours are what a month cut in UTC and not in UTC+8 gains or loses. Ask for its days.", False
    if open_ := _within_the_range(sides):
        return f"{words}. {open_[0]}", open_[1]
    if more < 0 and (early := _not_final(sides) or _ends_early(sides)):
        return f"{words}. {early[0]}", early[1]
    return f"{words}: look for events that are missing or late, else dispute it.", False


def _another_price(sides: Sides) -> Reason | None:
    listed = sides.listed_here
    if listed is None or listed == sides.listed_there or not sides.usage or sides.usage != sides.quantity:
        return None
    each = sides.listed_there / sides.usage
    prices = " and ".join(sorted({money_text(line.list_price) for line in sides.lines if line.list_price is not None}))
    return (
        f"The bill's list price is {sides.around.bill.currency} {each.normalize():.12g} and the tariff's {prices}: it"
        " may vary by region, or has changed. Write the new price with its date into the tariff.",
        False,
    )


def _deductions(sides: Sides) -> Reason | None:
    """The bill has the same at list price, and its own columns tell what was taken off."""
    listed = sides.listed_here
    if listed is None or listed != sides.listed_there or sides.there >= sides.here:
        return None
    parts = []
    if discount := total(row.discount for row in sides.rows):
        parts.append(f"a discount of {sides.money(discount)}")
    if coupons := total(row.coupons for row in sides.rows):
        parts.append(f"coupons of {sides.money(coupons)}")
    if package := total(row.by_package for row in sides.rows if row.by_package):
        parts.append(f"a resource package that paid for {_plain(package)} of the usage")
    if not parts:
        return "The bill has the same at list price and charges less, and tells no reason for it.", False
    taken = total((discount, coupons))
    is_all = bool(package) or total((sides.here, sides.there.copy_negate())) == taken
    return f"At list price both agree; taken off were {' and '.join(parts)}.", is_all


def _rounding(sides: Sides) -> Reason | None:
    difference = abs(total((sides.there, sides.here.copy_negate())))
    if sides.usage is not None and sides.usage != sides.quantity:
        return None
    if difference > HALF_A_CENT * max(1, len(sides.rows)):
        return None
    return "It is what rounding each row of the bill to the cent can make.", True


def _within_the_range(sides: Sides) -> Reason | None:
    low, high = total(line.low for line in sides.lines), total(line.high for line in sides.lines)
    if low == high or not low <= sides.there <= high:
        return None
    gaps = "; ".join(dict.fromkeys(gap for line in sides.lines for gap in line.gaps))
    return f"The evidence leaves it open ({gaps}), and the bill lies within its range.", True


def _begins_or_ends_within(sides: Sides) -> bool:
    """Whether an hour that is free lies in the month: then the lines cover less than all of it."""
    period = sides.around.statement.period
    return (
        min(line.start_us for line in sides.lines) > period.start_us
        or max(line.end_us for line in sides.lines) < period.end_us
    )


def _plain(quantity: Decimal) -> str:
    """A quantity without the noughts that say nothing."""
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
