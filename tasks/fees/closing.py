"""Closing a month, and what becomes of evidence that arrives afterwards.

A closed month is never changed. When its evidence has changed by the time a later month is metered, the difference is
charged there, in the first month that is open: one adjustment line for each line that would be another today.
A closed month is counted anew by the tariff that it was closed with, so that a new price never re-prices it.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tasks.fees.closed import ClosedPeriods
from tasks.fees.evidence import Evidence
from tasks.fees.lines import FeeLine, line_id
from tasks.fees.metering import Statement, meter
from tasks.fees.money import EXACT, ZERO, money_text
from tasks.fees.periods import Period, moment
from tasks.fees.tariff import Tariff


class NotClosable(Exception):
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
    return _with_adjustments(evidence, tariff, period, now_us, closed, fingerprints(evidence, periods)), False


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
        *earlier, fingerprint = fingerprints(evidence, [*periods, period])
        statement = _with_adjustments(evidence, tariff, period, now_us, closed, earlier)
        if statement.unpriced:
            first = statement.unpriced[0]
            raise PriceMissing(
                f"{period.name} cannot be closed: {len(statement.unpriced)} usages have no price, such as"
                f" {first.rule} of {first.resource_id}: {first.reason}."
                " Add what is missing, to the tariff or the evidence."
            )
        closed.write(statement, fingerprint, moment(now_us))
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
    evidence: Evidence, tariff: Tariff, period: Period, now_us: int, closed: ClosedPeriods, latest: Sequence[str]
) -> Statement:
    """The first open month, metered now, with what has to be corrected of the closed ones.

    latest: the fingerprint of today's evidence for each closed month
    """
    statement = meter(evidence, tariff, period, now_us)
    lines, unpriced = list(statement.lines), list(statement.unpriced)
    for charged, anew, corrections in _counted_anew(evidence, closed, now_us, latest):
        lines += _differences(charged, {line.id: line for line in anew.lines}, corrections, period)
        unpriced += anew.unpriced  # of what was closed nothing was
    return replace(statement, lines=tuple(lines), unpriced=tuple(unpriced))


def _counted_anew(
    evidence: Evidence, closed: ClosedPeriods, now_us: int, latest: Sequence[str]
) -> Iterator[tuple[Mapping[str, FeeLine], Statement, Mapping[str, Sequence[FeeLine]]]]:
    """Each closed month that may have to be corrected: its own lines, today's, and the corrections made already."""
    heads = [closed.head(earlier) for earlier in closed.periods()]
    for head, fingerprint in zip(heads, latest, strict=True):
        # the period's name stands at the beginning of each of its lines' ids
        own = f"{head.period.name}-"
        corrected_in = [later.period for later in heads if any(i.startswith(own) for i in later.corrects)]
        if fingerprint == head.fingerprint and not corrected_in:
            continue
        statement = _kept(closed, head.period)
        corrections: dict[str, list[FeeLine]] = {}
        for later in corrected_in:
            for line in _kept(closed, later).lines:
                if line.corrects.startswith(own):
                    corrections.setdefault(line.corrects, []).append(line)
        charged = {line.id: line for line in statement.lines if not line.corrects}
        yield charged, meter(evidence, statement.tariff, statement.period, now_us), corrections


def _kept(closed: ClosedPeriods, period: Period) -> Statement:
    kept = closed.read(period)
    assert kept is not None
    return kept


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


def fingerprints(evidence: Evidence, periods: Sequence[Period]) -> list[str]:
    """For each of some periods that follow on each other, a digest of all evidence that can change what it costs.

    That is what began before its end, and whatever was there before it was first seen. Each digest builds on the one
    before it, so that one walk over the evidence makes all of them; later periods do not change it.
    """
    ends = [period.end_us for period in periods]
    parts = [hashlib.sha256() for _ in [*periods, None]]
    for history in evidence.histories:
        for life in history.lifetimes:
            parts[bisect_right(ends, life.begins_us) if life.begin_is_told else 0].update(
                f"{history.resource_id}\0{history.kind}\0{life.begins_us}\0{life.begin_is_told}\n".encode()
            )
            for phase in life.phases:
                parts[bisect_right(ends, phase.start_us)].update(
                    f"{history.resource_id}\0{phase.start_us}\0{phase.state}\0{phase.vcpus}\0{phase.gpus}\n".encode()
                )
            if life.ends_after_us is not None:
                unseen = f"{history.resource_id}\0unseen\0{life.ends_after_us}\n"
                parts[bisect_right(ends, life.ends_after_us - 1)].update(unseen.encode())
            if life.ends_us is not None:
                parts[bisect_right(ends, life.ends_us - 1)].update(f"{history.resource_id}\0{life.ends_us}\n".encode())
    found = []
    so_far = hashlib.sha256()
    for end_us, part in zip(ends, parts, strict=False):
        so_far.update(part.digest())
        found.append(f"{so_far.hexdigest()}-{min(evidence.until_us, end_us)}")
    return found
