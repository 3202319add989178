"""A fee line in words: what it is for, how it was counted, by which price, on what evidence."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from poolkeeper.tasks.fees.metering.fee_lines import FeeLine, Span, Told
from poolkeeper.tasks.fees.metering.meter import ALL
from poolkeeper.tasks.fees.money import money_text
from poolkeeper.tasks.fees.periods import BILLING_ZONE, moment
from poolkeeper.tasks.fees.tariff.model import Tariff
from poolkeeper.tasks.fees.tariff.units import Counting

SPANS = 12
"""At most so many stretches of time are told; the line itself has them all."""

_COUNTED = {
    Counting.CLOCK_HOURS_INSIDE: (
        "Clock hours in UTC+8 are counted; the hour in which it was created and the one in which it was released are"
        " free."
    ),
    Counting.CLOCK_HOURS_STARTED: "Clock hours in UTC+8 are counted; part of an hour counts as an hour.",
    Counting.CALENDAR_DAYS_STARTED: (
        "Calendar days in UTC+8 are counted; part of a day counts as a day, and of a size that changes the day's"
        " largest counts."
    ),
    Counting.DAILY_MAXIMUM: (
        "Calendar days in UTC+8 are counted; for each of them, the most that all had together at one time."
    ),
    Counting.FLAT: "One sum is due on the first day of each calendar month in which anything billable was there.",
}


def explain(line: FeeLine, tariff: Tariff) -> str:
    """Everything that a line follows from, for a person who wants to check or dispute it."""
    return "\n".join(_sentences(line, tariff))


def _sentences(line: FeeLine, tariff: Tariff) -> Iterator[str]:
    of = line.resource_id if line.kind == ALL else f"{line.kind} {line.resource_id}"
    yield f"{_money(line.amount, tariff)} for {of}: line {line.id}"
    if tariff.comparator:
        yield f"This is a comparator, not a bill: {tariff.title}."
    if line.corrects:
        yield f"It corrects line {line.corrects} of a closed period: {line.because}."
    title = next((rule.title for rule in tariff.rules if rule.name == line.rule), "a fee that this tariff has no more")
    yield f"Fee: {title} (rule {line.rule} of tariff {tariff.name})."
    yield (
        f"Quantity: {line.unit.amount_of(line.quantity)} at {_money(line.unit_price, tariff)} each"
        f" make {_money(line.amount, tariff)}{_rounded(tariff)}."
    )
    yield f"Counting: {_COUNTED[Counting(line.counting)]}"
    yield from _spans(line.spans, line)
    yield from _price(line, tariff)
    if line.gaps:
        yield (
            f"Open: {'; '.join(line.gaps)}. So it may be from {_money(line.low, tariff)} to"
            f" {_money(line.high, tariff)}; told is what is likely."
        )
    else:
        yield "Open: nothing; the evidence covers all of it."
    if line.evidence:
        yield "Evidence:"
        yield from (f"  {_told(told)}" for told in line.evidence)
    elif line.kind == ALL:
        yield "Evidence: every event of the resources that it is counted over."


def _spans(spans: tuple[Span, ...], line: FeeLine) -> Iterator[str]:
    if not spans:
        yield "  no hour or day of it is billed"
    for start_us, end_us, size in spans[:SPANS] if line.counting != Counting.FLAT else ():
        measured = "" if line.unit.measure == "itself" and size == 1 else f", {size} at a time"
        yield f"  from {_local(start_us)} to {_local(end_us)}{measured}"
    if len(spans) > SPANS:
        yield f"  and {len(spans) - SPANS} more stretches until {_local(spans[-1].end_us)}"


def _price(line: FeeLine, tariff: Tariff) -> Iterator[str]:
    if line.list_price is None:
        yield f"Price: none is published; see {line.price_source or 'the tariff'}."
    else:
        yield f"Price: {_money(line.list_price, tariff)} {line.unit_name}, by {line.price_source}."
    if line.waiver:
        yield f"Waiver: {line.waiver}; that is why it is counted and not charged."


def _rounded(tariff: Tariff) -> str:
    rounding = tariff.rounding
    return f", rounded {rounding.mode} to {rounding.places} places" if rounding.of == "line" else ""


def _told(told: Told) -> str:
    sizes = [f"{size} {name}" for size, name in ((told.vcpus, "vCPUs"), (told.gpus, "GPUs")) if size is not None]
    size = f" with {' and '.join(sizes)}" if sizes else ""
    return f"{told.event} at {_local(told.at_us)}{size}: {told.source} line {told.line}"


def _money(amount: Decimal, tariff: Tariff) -> str:
    return f"{tariff.currency} {money_text(amount)}"


def _local(instant_us: int) -> str:
    """In the provider's calendar, which is what the rule goes by."""
    local = moment(instant_us).astimezone(BILLING_ZONE)
    seconds = "minutes" if local.second == local.microsecond == 0 else "seconds"
    return f"{local.replace(tzinfo=None).isoformat(' ', seconds)} UTC+8"
