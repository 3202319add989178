"""Closing a month, and the adjustments for evidence that arrives after the close.

Invariants:
- A closed month never changes. When its evidence has changed, the difference is charged in the first open month: one
  adjustment line for each line of the closed month that would be different today.
- A closed month is metered again by the tariff that it was closed with: a new price does not change the past.

Only resources whose evidence has changed are metered again, so that a late event is cheap in a fleet of thousands.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from poolkeeper.tasks.fees.closing.closed_months import ClosedMonths
from poolkeeper.tasks.fees.metering.fee_lines import FeeLine, line_id
from poolkeeper.tasks.fees.metering.statement import Statement, collective, meter
from poolkeeper.tasks.fees.money import EXACT, ZERO, money_text
from poolkeeper.tasks.fees.periods import Period, moment
from poolkeeper.tasks.fees.tariff.tariff_model import Tariff
from poolkeeper.tasks.fees.tariff.units import Measure
from poolkeeper.tasks.fees.usage.evidence import UsageEvidence
from poolkeeper.tasks.fees.usage.usage_records import Lifetime, UsagePhase
from poolkeeper.tasks.fleet.problems import counted
from poolkeeper.tasks.outcomes import CannotGoOn


class NotClosable(CannotGoOn):
    """A period that cannot be closed now."""

    id = "fees.month.not-closable"
    expected = "a month that is over, with evidence until its end, right after the last closed month"


class PriceMissing(NotClosable):
    """Usage of the month has no price, so that its cost is not known."""

    id = "fees.month.price-missing"
    expected = "a price in the tariff for all usage, and a size for all nodes"
    next_step = "Add the price to the tariff, or the size to the events."


@dataclass(frozen=True, slots=True)
class Closing:
    """The result of a close."""

    statement: Statement
    was_closed: bool
    """The month was closed before this call, which did nothing."""


def statement_of(
    evidence: UsageEvidence, tariff: Tariff, period: Period, now_us: int, closed: ClosedMonths
) -> tuple[Statement, bool]:
    """The statement of a period, and whether the period is closed.

    A closed period is read as it was closed. An open one is metered now, with the adjustments that are due in it.

    Raises ClosedMonthDamaged.
    """
    kept = closed.read(period)
    if kept is not None:
        return kept, True
    periods = closed.periods()
    if not periods or period != periods[-1].next_month():
        return meter(evidence, tariff, period, now_us), False
    latest = _latest(evidence, closed, periods)
    return _with_adjustments(evidence, tariff, period, now_us, closed, latest), False


def _latest(evidence: UsageEvidence, closed: ClosedMonths, periods: Sequence[Period]) -> list[dict[str, str]]:
    """The digests of today's evidence for the closed periods, each by the tariff that the period was closed with."""
    tariffs = [closed.head(period).tariff for period in periods]
    by_tariff = {prices.text: digests_of(evidence, prices, periods) for prices in dict.fromkeys(tariffs)}
    return [by_tariff[prices.text][number] for number, prices in enumerate(tariffs)]


def close(evidence: UsageEvidence, tariff: Tariff, period: Period, now_us: int, closed: ClosedMonths) -> Closing:
    """Close a month: keep its lines, and the adjustments of earlier months, for good. A second call does nothing.

    Raises NotClosable, PriceMissing and ClosedMonthDamaged, before anything is written.
    """
    if not period.is_month:
        raise NotClosable(f"{period.name} is not a month", next_step=f"Close a month, such as {period.first:%Y-%m}.")
    kept = closed.read(period)
    if kept is not None:
        return Closing(kept, was_closed=True)
    _refuse_early(evidence, period, now_us)
    with closed.locked():
        kept = closed.read(period)
        if kept is not None:
            return Closing(kept, was_closed=True)
        periods = closed.periods()
        _refuse_out_of_turn(period, periods)
        statement = _with_adjustments(evidence, tariff, period, now_us, closed, _latest(evidence, closed, periods))
        if statement.unpriced:
            first = statement.unpriced[0]
            raise PriceMissing(
                f"{period.name} cannot be closed: {counted(len(statement.unpriced), 'usage')} without a price, such as"
                f" {first.rule} of {first.resource_id}: {first.reason}"
            )
        closed.write(statement, digests_of(evidence, tariff, [period])[0], moment(now_us))
    return Closing(statement, was_closed=False)


def _refuse_early(evidence: UsageEvidence, period: Period, now_us: int) -> None:
    if now_us < period.end_us:
        ends = moment(period.end_us).isoformat()
        raise NotClosable(
            f"{period.name} is not over: it ends at {ends}",
            next_step=f"See it with `poolkeeper bill meter --period {period.name}`, and close it later.",
        )
    if evidence.until_us < period.end_us:
        until = moment(evidence.until_us).isoformat()
        raise NotClosable(
            f"the evidence ends at {until}, before the end of {period.name}",
            next_step="Give evidence until the end of the month.",
        )


def _refuse_out_of_turn(period: Period, periods: Sequence[Period]) -> None:
    """Refuse a month that does not follow the last closed one. Invariant: each adjustment has exactly one month."""
    if not periods or period == periods[-1].next_month():
        return
    last = periods[-1]
    if period > last:
        raise NotClosable(
            f"{period.name} cannot be closed: the last closed month is {last.name}",
            next_step=f"Close {last.next_month().name} first.",
        )
    raise NotClosable(
        f"{period.name} is before {periods[0].name}, the first closed month, and stays open",
        next_step=f"See it with `poolkeeper bill meter --period {period.name}`.",
    )


def _with_adjustments(
    evidence: UsageEvidence,
    tariff: Tariff,
    period: Period,
    now_us: int,
    closed: ClosedMonths,
    latest: Sequence[Mapping[str, str]],
) -> Statement:
    """The first open month, metered now, with the corrections of the closed months.

    latest: the digests of today's evidence for each closed month
    """
    statement = meter(evidence, tariff, period, now_us)
    lines, unpriced = list(statement.lines), list(statement.unpriced)
    for charged, anew, corrections in _metered_again(evidence, closed, now_us, latest):
        lines += _differences(charged, {line.id: line for line in anew.lines}, corrections, period)
        unpriced += anew.unpriced  # a closed month has no unpriced usage
    return replace(statement, lines=tuple(lines), unpriced=tuple(unpriced))


def _metered_again(
    evidence: UsageEvidence, closed: ClosedMonths, now_us: int, latest: Sequence[Mapping[str, str]]
) -> Iterator[tuple[Mapping[str, FeeLine], Statement, Mapping[str, Sequence[FeeLine]]]]:
    """For each closed month that may need corrections: its lines, the lines of today, and the corrections made so far.

    All three are for the resources whose evidence has changed since the close, and for what is counted together.
    """
    heads = [closed.head(earlier) for earlier in closed.periods()]
    corrections: dict[str, list[FeeLine]] = {}
    for head in heads:
        for line in closed.corrections(head.period) if head.corrects else ():
            corrections.setdefault(line.corrects, []).append(line)
    for head, digests in zip(heads, latest, strict=True):
        # the id of a line begins with the name of its period
        own = {id_: lines for id_, lines in corrections.items() if id_.startswith(f"{head.period.name}-")}
        changed = {id_ for id_, _ in head.digests.items() ^ digests.items()}
        changed |= {line.resource_id for lines in own.values() for line in lines}
        if not changed:
            continue
        prices = head.tariff
        # a size that is not known is estimated from other nodes, whose sizes may have changed
        changed |= _of_open_size(evidence, prices) | {collective(rule) for rule in prices.rules}
        charged = {line.id: line for line in closed.lines_of(head.period, changed)}
        yield charged, meter(evidence, prices, head.period, now_us, only=changed), own


def _of_open_size(evidence: UsageEvidence, tariff: Tariff) -> set[str]:
    measures = _measures(tariff)
    return {
        record.resource_id
        for record in evidence.records
        for life in record.lifetimes
        # a size in any event counts for the whole lifetime
        if life.phases and any(getattr(life.phases[0], measure) is None for measure in measures)
    }


def _measures(tariff: Tariff) -> tuple[Measure, ...]:
    """The sizes that a tariff's rules count."""
    return tuple(sorted({rule.unit.measure for rule in tariff.rules} - {Measure.ITSELF}))


def _differences(
    charged: Mapping[str, FeeLine],
    anew: Mapping[str, FeeLine],
    corrections: Mapping[str, Sequence[FeeLine]],
    period: Period,
) -> Iterator[FeeLine]:
    """The adjustment lines in `period`. Invariant: with them, a closed month sums up to what today's evidence gives."""
    for closed_id in sorted({*charged, *anew, *corrections}):
        old, new = charged.get(closed_id), anew.get(closed_id)
        earlier = [line for line in (old, *corrections.get(closed_id, ())) if line is not None]
        quantity, amount = sum(line.quantity for line in earlier), ZERO
        for line in earlier:
            amount = EXACT.add(amount, line.amount)
        right = new.amount if new else ZERO
        right_quantity = new.quantity if new else 0
        if (right, right_quantity) == (amount, quantity):
            continue
        pattern = new or old or earlier[0]
        by_evidence = (new.low, new.high) if new else (ZERO, ZERO)
        yield replace(
            pattern,
            id=line_id(period.name, "corrects", closed_id),
            quantity=right_quantity - quantity,
            amount=EXACT.subtract(right, amount),
            low=EXACT.subtract(by_evidence[0], amount),
            high=EXACT.subtract(by_evidence[1], amount),
            corrects=closed_id,
            because=(
                f"{pattern.unit.amount_of(quantity)} for {money_text(amount)} were charged;"
                f" the evidence that came later gives {pattern.unit.amount_of(right_quantity)} for {money_text(right)}"
            ),
        )


def digests_of(evidence: UsageEvidence, tariff: Tariff, periods: Sequence[Period]) -> list[dict[str, str]]:
    """For each period: resource -> digest of the evidence that its cost depends on.

    Invariant: evidence with equal digests gives equal lines. A digest covers the lifetimes and phases within the
    period, of each resource that existed or may have existed in it, without sizes that no rule of the tariff counts.
    """
    measures = _measures(tariff)
    sizes: Callable[[UsagePhase], object] = attrgetter(*measures) if measures else lambda phase: None
    found: list[dict[str, str]] = [{} for _ in periods]
    bounds = [(period.start_us, period.end_us, digests) for period, digests in zip(periods, found, strict=True)]
    for record in evidence.records:
        for start_us, end_us, digests in bounds:
            lives = [part for life in record.lifetimes if (part := _within(life, start_us, end_us, sizes)) is not None]
            if lives:
                text = repr((record.kind, lives))
                digests[record.resource_id] = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return found


def _within(life: Lifetime, start_us: int, end_us: int, sizes: Callable[[UsagePhase], object]) -> object | None:
    """What of a lifetime the cost of a period depends on; None where the lifetime is outside of the period.

    A lifetime without a known beginning may have begun at any time, with the size of its first event.
    """
    if life.ends_us is not None and life.ends_us < start_us:
        return None
    if life.begin_is_known and life.begins_us >= end_us:
        return None
    first = max(0, bisect_right(life.phases, start_us, key=_phase_start) - 1)
    after = max(first if life.begin_is_known else 1, bisect_left(life.phases, end_us, key=_phase_start))
    # all times before the period are equal for it, and so are all times after it, and no end
    times = [
        end_us if at_us is None else min(max(at_us, start_us), end_us)
        for at_us in (life.begins_us, life.ends_after_us, life.ends_us)
    ]
    phases = [
        (min(max(phase.start_us, start_us), end_us), phase.state, sizes(phase)) for phase in life.phases[first:after]
    ]
    return life.begin_is_known, times, phases


_phase_start = attrgetter("start_us")
