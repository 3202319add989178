"""The explanation of a fee line: what it is for, how it was counted, at which price, from which events."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from poolkeeper.tasks.fees.metering.fee_lines import FeeLine, SourceEvent, Span
from poolkeeper.tasks.fees.metering.statement import ALL
from poolkeeper.tasks.fees.money import money_text
from poolkeeper.tasks.fees.periods import BILLING_ZONE, moment
from poolkeeper.tasks.fees.tariff.tariff_model import Tariff
from poolkeeper.tasks.fees.tariff.units import Counting

SPANS = 12
"""At most so many time spans are listed; the line itself has all of them."""

_COUNTED = {
    Counting.CLOCK_HOURS_INSIDE: (
        "Clock hours in UTC+8 are counted. The hour of the creation and the hour of the release are free."
    ),
    Counting.CLOCK_HOURS_STARTED: "Clock hours in UTC+8 are counted. Part of an hour counts as a whole hour.",
    Counting.CALENDAR_DAYS_STARTED: (
        "Calendar days in UTC+8 are counted. Part of a day counts as a whole day. When the size changes during a day,"
        " the largest size of that day counts."
    ),
    Counting.DAILY_MAXIMUM: (
        "Calendar days in UTC+8 are counted. For each day, the largest sum of all nodes at one time counts."
    ),
    Counting.FLAT: "One sum is due on the first day of each calendar month in which a billed resource exists.",
}


def explain(line: FeeLine, tariff: Tariff) -> str:
    """Everything that a line is computed from, for a person who checks or disputes it."""
    return "\n".join(_sentences(line, tariff))


def _sentences(line: FeeLine, tariff: Tariff) -> Iterator[str]:
    of = line.resource_id if line.kind == ALL else f"{line.kind} {line.resource_id}"
    yield f"{_money(line.amount, tariff)} for {of}: line {line.id}"
    if tariff.comparator:
        yield f"This is a comparison with another product, not a bill: {tariff.title}."
    if line.corrects:
        yield f"It corrects line {line.corrects} of a closed month: {line.because}."
    title = next(
        (rule.title for rule in tariff.rules if rule.name == line.rule), "a fee that is no longer in this tariff"
    )
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
            f"Gaps: {'; '.join(line.gaps)}. So the amount may be from {_money(line.low, tariff)} to"
            f" {_money(line.high, tariff)}; this line has the likely amount."
        )
    else:
        yield "Gaps: none; there is evidence for all of it."
    if line.evidence:
        yield "Evidence:"
        yield from (f"  {_event(event)}" for event in line.evidence)
    elif line.kind == ALL:
        yield "Evidence: every event of the resources that it counts."


def _spans(spans: tuple[Span, ...], line: FeeLine) -> Iterator[str]:
    if not spans:
        yield "  no hour or day is billed"
    for start_us, end_us, size in spans[:SPANS] if line.counting != Counting.FLAT else ():
        measured = "" if line.unit.measure == "itself" and size == 1 else f", {size} at a time"
        yield f"  from {_local(start_us)} to {_local(end_us)}{measured}"
    if len(spans) > SPANS:
        yield f"  and {len(spans) - SPANS} more time spans until {_local(spans[-1].end_us)}"


def _price(line: FeeLine, tariff: Tariff) -> Iterator[str]:
    if line.list_price is None:
        yield f"Price: not published; see {line.price_source or 'the tariff'}."
    else:
        yield f"Price: {_money(line.list_price, tariff)} {line.unit_name}. Source: {line.price_source}."
    if line.waiver:
        yield f"Waiver: {line.waiver}. The fee is counted, but not charged."


def _rounded(tariff: Tariff) -> str:
    rounding = tariff.rounding
    return f", rounded {rounding.mode} to {rounding.places} places" if rounding.of == "line" else ""


def _event(event: SourceEvent) -> str:
    sizes = [f"{size} {name}" for size, name in ((event.vcpus, "vCPUs"), (event.gpus, "GPUs")) if size is not None]
    size = f" with {' and '.join(sizes)}" if sizes else ""
    return f"{event.event} at {_local(event.at_us)}{size}: {event.source} line {event.line}"


def _money(amount: Decimal, tariff: Tariff) -> str:
    return f"{tariff.currency} {money_text(amount)}"


def _local(instant_us: int) -> str:
    """The time in the provider's calendar, by which the rule counts."""
    local = moment(instant_us).astimezone(BILLING_ZONE)
    seconds = "minutes" if local.second == local.microsecond == 0 else "seconds"
    return f"{local.replace(tzinfo=None).isoformat(' ', seconds)} UTC+8"
