"""What is to come: the month's end, what the hybrid fee would cost if it began, what a change of a pool would cost.

Time to come is a gap in the evidence like any other: the meter reads it as `likely` (what is there stays as it is),
`low` (all of it goes right now) and `high` (as likely, with every other gap read the dearest way). Nothing here is
charged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from tasks.fees.evidence import Evidence
from tasks.fees.histories import History, Lifetime, Phase
from tasks.fees.metering import Statement, meter
from tasks.fees.money import EXACT
from tasks.fees.periods import Period
from tasks.fees.tariff import Price, Rule, Source, Tariff, Tier
from tasks.fees.units import UNITS, Counting, Unit

LONG_AGO = date(2000, 1, 1)

GIVEN = "given on the command line"
"""The source of a hypothetical price."""


class ChangeInvalid(Exception):
    """A planned change that cannot be understood or made; the message says why."""


@dataclass(frozen=True, slots=True)
class Change:
    """Nodes that are planned to join, or to leave."""

    count: int
    vcpus: int | None = None
    gpus: int | None = None
    label: str = ""
    """Of those that leave: a label and its value."""
    value: str = ""

    @classmethod
    def joining(cls, text: str) -> Change:
        """`20x64`: twenty nodes of 64 vCPUs; `4x96x8`: four of 96 vCPUs and 8 GPUs. Raises ChangeInvalid."""
        found = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})(?:x([0-9]{1,3}))?", text)
        if not found:
            raise ChangeInvalid(
                f"{text[:40]!r} is no number of nodes and their size: write 20x64, or 4x96x8 with GPUs."
            )
        return cls(int(found[1]), int(found[2]), int(found[3] or 0))

    @classmethod
    def leaving(cls, text: str) -> Change:
        """`5:pool=general`: five nodes with that label. Raises ChangeInvalid."""
        found = re.fullmatch(r"([1-9][0-9]{0,4}):([^=]+)=(.*)", text)
        if not found:
            raise ChangeInvalid(f"{text[:40]!r} is no number of nodes and their label: write 5:pool=general.")
        return cls(-int(found[1]), label=found[2], value=found[3])


def month_end(evidence: Evidence, tariff: Tariff, period: Period) -> Statement:
    """The period as it will be when it is over."""
    return meter(evidence, tariff, period, period.end_us)


def hypothetical(tariff: Tariff, rule: Rule, unit: Unit, price: Decimal) -> Tariff:
    """A tariff of one fee, charged at a price that nobody has published. What follows from it must be labelled so."""
    counting = {Counting.CLOCK_HOURS_INSIDE: Counting.CLOCK_HOURS_STARTED}.get(unit.counted_by[0], unit.counted_by[0])
    charged = replace(
        rule,
        title=f"{rule.title}, at a hypothetical price",
        unit=unit,
        counting=counting,
        prices=(Price(LONG_AGO, None, (Tier(None, price),), Source(GIVEN, LONG_AGO)),),
        waivers=(),
    )
    return replace(tariff, title=f"{tariff.title}, hypothetical", rules=(charged,))


def uncharged_rules(tariff: Tariff, day: date) -> tuple[Rule, ...]:
    """The fees that are waived, or have no published price, on a day: what could begin to be charged."""
    return tuple(rule for rule in tariff.rules if _is_uncharged(rule, day))


def _is_uncharged(rule: Rule, day: date) -> bool:
    for piece in rule.pieces(day, date.fromordinal(day.toordinal() + 1)):
        return piece.waiver is not None or piece.price is None or not piece.price.is_known
    return False


def unit_named(name: str) -> Unit:
    """A unit of a hypothetical price. Raises ChangeInvalid."""
    if name not in UNITS:
        raise ChangeInvalid(f"{name[:40]!r} is a unit that fits no rule: there are {', '.join(UNITS)}.")
    return UNITS[name]


def changed(evidence: Evidence, changes: Iterable[Change], at_us: int) -> Evidence:
    """The evidence as it would be if nodes joined and left at some time. Raises ChangeInvalid."""
    histories = list(evidence.histories)
    for number, change in enumerate(changes, start=1):
        if change.count > 0:
            histories += [_joining(change, f"planned-{number}-{node:05}", at_us) for node in range(change.count)]
        else:
            histories = _without(histories, change, at_us)
    return replace(evidence, histories=tuple(histories))


def _joining(change: Change, resource_id: str, at_us: int) -> History:
    life = Lifetime(at_us, True, None, (Phase(at_us, None, "", change.vcpus, change.gpus),))
    return History(resource_id, "node", (life,), {}, ())


def _without(histories: Sequence[History], change: Change, at_us: int) -> list[History]:
    leaving = [
        history.resource_id
        for history in histories
        if history.kind == "node"
        and history.labels.get(change.label) == change.value
        and history.lifetimes[-1:]
        and history.lifetimes[-1].ends_us is None
    ]
    if len(leaving) < -change.count:
        raise ChangeInvalid(
            f"{-change.count} nodes with {change.label}={change.value} are to leave, but {len(leaving)} are there."
        )
    chosen = set(leaving[: -change.count])
    return [_leaving(history, at_us) if history.resource_id in chosen else history for history in histories]


def _leaving(history: History, at_us: int) -> History:
    *before, last = history.lifetimes
    ends_us = max(at_us, last.begins_us)
    phases = tuple(
        replace(phase, end_us=ends_us if phase.end_us is None else min(phase.end_us, ends_us))
        for phase in last.phases
        if phase.start_us < ends_us
    )
    return replace(history, lifetimes=(*before, replace(last, ends_us=ends_us, phases=phases)))


@dataclass(frozen=True, slots=True)
class Difference:
    """What a planned change adds to a period; negative when it saves."""

    period: Period
    before: Decimal
    after: Decimal

    @property
    def amount(self) -> Decimal:
        """After minus before."""
        return EXACT.subtract(self.after, self.before)


def cost_of(
    changes: Sequence[Change], evidence: Evidence, tariff: Tariff, period: Period, at_us: int
) -> tuple[Difference, Difference]:
    """What a change costs in the rest of a month, and in the whole month that follows. Raises ChangeInvalid."""
    planned = changed(evidence, changes, at_us)
    this, following = (
        Difference(month, month_end(evidence, tariff, month).total, month_end(planned, tariff, month).total)
        for month in (period, period.next_month())
    )
    return this, following
