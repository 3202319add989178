"""Closing a month, and what becomes of evidence that arrives afterwards.

A closed month is never changed. When its evidence has changed by the time a later month is metered, the difference is
charged there, in the first month that is open: one adjustment line for each line that would be another today.
A closed month is counted anew by the tariff that it was closed with, so that a new price never re-prices it; and only
for the resources whose evidence has changed, so that thousands of others cost nothing.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from poolkeeper.tasks.fees.closing.closed_months import ClosedPeriods
from poolkeeper.tasks.fees.metering.fee_lines import FeeLine, line_id
from poolkeeper.tasks.fees.metering.meter import Statement, collective, meter
from poolkeeper.tasks.fees.money import EXACT, ZERO, money_text
from poolkeeper.tasks.fees.periods import Period, moment
from poolkeeper.tasks.fees.tariff.model import Tariff
from poolkeeper.tasks.fees.tariff.units import Measure
from poolkeeper.tasks.fees.usage.evidence import Evidence
from poolkeeper.tasks.fees.usage.usage_records import Lifetime, Phase
from poolkeeper.tasks.outcomes import CannotGoOn


class NotClosable(CannotGoOn):
    """A period that cannot be closed; the message says why, and what to do first."""


class PriceMissing(NotClosable):
    """Usage of the period has no price, so that nobody knows what it costs."""


@dataclass(frozen=True, slots=True)
class Closing:
    """The end of a close."""

    statement: Statement
    was_closed: bool
    """It had been closed before, and nothing was done."""


def statement_of(
    evidence: Evidence, tariff: Tariff, period: Period, now_us: int, closed: ClosedPeriods
) -> tuple[Statement, bool]:
    """A period as it was closed, else metered now with the adjustments that fall into it; and whether it is closed.

    Raises ClosedDamaged.
    """
    kept = closed.read(period)
    if kept is not None:
        return kept, True
    periods = closed.periods()
    if not periods or period != periods[-1].next_month():
        return meter(evidence, tariff, period, now_us), False
    latest = _latest(evidence, closed, periods)
    return _with_adjustments(evidence, tariff, period, now_us, closed, latest), False


def _latest(evidence: Evidence, closed: ClosedPeriods, periods: Sequence[Period]) -> list[dict[str, str]]:
    """The digests of today's evidence for closed periods, each by the tariff that it was closed with."""
    tariffs = [closed.head(period).tariff for period in periods]
    by_tariff = {prices.text: digests_of(evidence, prices, periods) for prices in dict.fromkeys(tariffs)}
    return [by_tariff[prices.text][number] for number, prices in enumerate(tariffs)]


def close(evidence: Evidence, tariff: Tariff, period: Period, now_us: int, closed: ClosedPeriods) -> Closing:
    """Close a month: keep its lines, and the adjustments of earlier months, for good. A second time does nothing.

    Raises NotClosable, PriceMissing and ClosedDamaged, before anything is written.
    """
    if not period.is_month:
        raise NotClosable(f"{period.name} is not a month: months are closed, like {period.first:%Y-%m}.")
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
                f"{period.name} cannot be closed: {len(statement.unpriced)} usages have no price, such as"
                f" {first.rule} of {first.resource_id}: {first.reason}."
                " Add what is missing, to the tariff or the evidence."
            )
        closed.write(statement, digests_of(evidence, tariff, [period])[0], moment(now_us))
    return Closing(statement, was_closed=False)


def _refuse_early(evidence: Evidence, period: Period, now_us: int) -> None:
    if now_us < period.end_us:
        ends = moment(period.end_us).isoformat()
        raise NotClosable(f"{period.name} is not over: it ends at {ends}. Look at it with `poolkeeper bill meter`.")
    if evidence.until_us < period.end_us:
        until = moment(evidence.until_us).isoformat()
        raise NotClosable(f"the evidence ends at {until}, within {period.name}: gather it until the month's end.")


def _refuse_out_of_turn(period: Period, periods: Sequence[Period]) -> None:
    """Months are closed one after the other, so that every adjustment has one month to stand in."""
    if not periods or period == periods[-1].next_month():
        return
    last = periods[-1]
    if period > last:
        raise NotClosable(f"{last.name} is the last closed month: close {last.next_month().name} first.")
    raise NotClosable(
        f"{period.name} lies before {periods[0].name}, the first month that was closed, and stays open for good."
    )


def _with_adjustments(
    evidence: Evidence,
    tariff: Tariff,
    period: Period,
    now_us: int,
    closed: ClosedPeriods,
    latest: Sequence[Mapping[str, str]],
) -> Statement:
    """The first open month, metered now, with what has to be corrected of the closed ones.

    latest: the digests of today's evidence for each closed month
    """
    statement = meter(evidence, tariff, period, now_us)
    lines, unpriced = list(statement.lines), list(statement.unpriced)
    for charged, anew, corrections in _counted_anew(evidence, closed, now_us, latest):
        lines += _differences(charged, {line.id: line for line in anew.lines}, corrections, period)
        unpriced += anew.unpriced  # of what was closed nothing was
    return replace(statement, lines=tuple(lines), unpriced=tuple(unpriced))


def _counted_anew(
    evidence: Evidence, closed: ClosedPeriods, now_us: int, latest: Sequence[Mapping[str, str]]
) -> Iterator[tuple[Mapping[str, FeeLine], Statement, Mapping[str, Sequence[FeeLine]]]]:
    """Each closed month that may have to be corrected: its own lines, today's, and the corrections made already.

    All three are of those resources only whose evidence has changed since, and of what is counted over all.
    """
    heads = [closed.head(earlier) for earlier in closed.periods()]
    corrections: dict[str, list[FeeLine]] = {}
    for head in heads:
        for line in closed.corrections(head.period) if head.corrects else ():
            corrections.setdefault(line.corrects, []).append(line)
    for head, digests in zip(heads, latest, strict=True):
        # the period's name stands at the beginning of each of its lines' ids
        own = {id_: lines for id_, lines in corrections.items() if id_.startswith(f"{head.period.name}-")}
        changed = {id_ for id_, _ in head.digests.items() ^ digests.items()}
        changed |= {line.resource_id for lines in own.values() for line in lines}
        if not changed:
            continue
        prices = head.tariff
        # a size that nobody told is taken from what others have, and those may have changed
        changed |= _of_open_size(evidence, prices) | {collective(rule) for rule in prices.rules}
        charged = {line.id: line for line in closed.lines_of(head.period, changed)}
        yield charged, meter(evidence, prices, head.period, now_us, only=changed), own


def _of_open_size(evidence: Evidence, tariff: Tariff) -> set[str]:
    measures = _measures(tariff)
    return {
        history.resource_id
        for history in evidence.histories
        for life in history.lifetimes
        # a size that any event tells holds for the whole lifetime
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
    """Lines in `period` that bring what was charged for a closed month to what today's evidence says."""
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
                f" by evidence that came later it is {pattern.unit.amount_of(right_quantity)} for {money_text(right)}"
            ),
        )


def digests_of(evidence: Evidence, tariff: Tariff, periods: Sequence[Period]) -> list[dict[str, str]]:
    """For each of some periods, and each resource that was or may have been there, a digest of all that it costs by.

    That is its lifetimes and phases as far as they lie in the period. Sizes that no rule of the tariff counts are in
    none.
    """
    measures = _measures(tariff)
    sizes: Callable[[Phase], object] = attrgetter(*measures) if measures else lambda phase: None
    found: list[dict[str, str]] = [{} for _ in periods]
    bounds = [(period.start_us, period.end_us, digests) for period, digests in zip(periods, found, strict=True)]
    for history in evidence.histories:
        for start_us, end_us, digests in bounds:
            lives = [told for life in history.lifetimes if (told := _within(life, start_us, end_us, sizes)) is not None]
            if lives:
                text = repr((history.kind, lives))
                digests[history.resource_id] = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return found


def _within(life: Lifetime, start_us: int, end_us: int, sizes: Callable[[Phase], object]) -> object | None:
    """What of a lifetime matters to a period; None: it is no part of it. A lifetime whose beginning nobody told may
    have begun at any time, and with the size that it had when it was first seen."""
    if life.ends_us is not None and life.ends_us < start_us:
        return None
    if life.begin_is_told and life.begins_us >= end_us:
        return None
    first = max(0, bisect_right(life.phases, start_us, key=_phase_start) - 1)
    after = max(first if life.begin_is_told else 1, bisect_left(life.phases, end_us, key=_phase_start))
    # before the period all times are one, and after it too; so is what goes on
    times = [
        end_us if at_us is None else min(max(at_us, start_us), end_us)
        for at_us in (life.begins_us, life.ends_after_us, life.ends_us)
    ]
    phases = [
        (min(max(phase.start_us, start_us), end_us), phase.state, sizes(phase)) for phase in life.phases[first:after]
    ]
    return life.begin_is_told, times, phases


_phase_start = attrgetter("start_us")
