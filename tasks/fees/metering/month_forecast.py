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
from decimal import Decimal, InvalidOperation
from typing import Any

from poolkeeper.tasks.fees.metering.meter import Statement, meter
from poolkeeper.tasks.fees.money import EXACT, money_text
from poolkeeper.tasks.fees.periods import Period, billing_day
from poolkeeper.tasks.fees.tariff.model import Price, Rule, Tariff, Tier
from poolkeeper.tasks.fees.tariff.units import UNITS, Counting, Unit
from poolkeeper.tasks.fees.usage.evidence import Evidence
from poolkeeper.tasks.fees.usage.usage_records import History, Lifetime, Phase
from poolkeeper.tasks.outcomes import Invalid

LONG_AGO = date(2000, 1, 1)

GIVEN = "given by who asked"
"""The source of a hypothetical price."""


class OutlookInvalid(Invalid):
    """A planned change or a price that cannot be understood, or made; the message says why."""


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
        """`20x64`: twenty nodes of 64 vCPUs; `4x96x8`: four of 96 vCPUs and 8 GPUs. Raises OutlookInvalid."""
        found = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})(?:x([0-9]{1,3}))?", text)
        if not found:
            raise OutlookInvalid(
                f"{text[:40]!r} is no number of nodes and their size: write 20x64, or 4x96x8 with GPUs."
            )
        return cls(int(found[1]), int(found[2]), int(found[3] or 0))

    @classmethod
    def leaving(cls, text: str) -> Change:
        """`5:pool=general`: five nodes with that label. Raises OutlookInvalid."""
        found = re.fullmatch(r"([1-9][0-9]{0,4}):([^=]+)=(.*)", text)
        if not found:
            raise OutlookInvalid(f"{text[:40]!r} is no number of nodes and their label: write 5:pool=general.")
        return cls(-int(found[1]), label=found[2], value=found[3])


@dataclass(frozen=True, slots=True)
class Asked:
    """What someone wants to know beside the month's end."""

    price: Decimal | None = None
    """Hypothetical, of a fee that is not charged today; None: not asked."""
    unit: Unit = UNITS["per_vcpu_day"]
    """What that price is for."""
    rule: str = ""
    """Which fee; empty where the tariff has only one that is not charged."""
    changes: tuple[Change, ...] = ()
    """Planned."""

    @classmethod
    def of(
        cls, price: str, unit: str, rule: str = "", joining: Iterable[str] = (), leaving: Iterable[str] = ()
    ) -> Asked:
        """From texts, such as `0.029`, `per_vcpu_day`, `20x64` and `5:pool=general`. Raises OutlookInvalid."""
        changes = (*map(Change.joining, joining), *map(Change.leaving, leaving))
        return cls(_price(price) if price else None, unit_named(unit), rule, changes)


def _price(text: str) -> Decimal:
    try:
        price = Decimal(text)
    except InvalidOperation:
        price = Decimal("NaN")
    if not price.is_finite() or not 0 <= price < 1_000_000:
        raise OutlookInvalid(f"{text[:40]!r} is no price: write one like 0.029.")
    return price


@dataclass(frozen=True, slots=True)
class Estimate:
    """One answer: what a month will come to."""

    end: Statement
    price: str
    """Empty, or one that nobody has published, `0.029 per_vcpu_day`: whoever shows it says that it is hypothetical."""
    changes: tuple[Difference, ...]
    """What the planned changes add, in the rest of the month and in the one that follows."""

    def row(self) -> dict[str, Any]:
        """For scripts: money as text."""
        row: dict[str, Any] = {
            "tariff": self.end.tariff.title,
            "low": money_text(self.end.low),
            "likely": money_text(self.end.total),
            "high": money_text(self.end.high),
            "unpriced": len(self.end.unpriced),
            "hypothetical": bool(self.price),
        }
        if self.changes:
            row["planned_change"] = [
                {"period": cost.period.name, "amount": money_text(cost.amount), "total": money_text(cost.after)}
                for cost in self.changes
            ]
        return row


def estimates(evidence: Evidence, tariff: Tariff, month: Period, now_us: int, asked: Asked) -> tuple[Estimate, ...]:
    """The month's end as published, then at the hypothetical price that is asked about. Raises OutlookInvalid."""
    by = [(tariff, "")]
    if asked.price is not None:
        rule = _uncharged(tariff, asked.rule, max(billing_day(now_us), month.first))
        words = f"{money_text(asked.price)} {asked.unit.name}"
        by.append((hypothetical(tariff, rule, asked.unit, asked.price), words))
    return tuple(
        Estimate(
            month_end(evidence, one, month),
            price,
            cost_of(asked.changes, evidence, one, month, max(now_us, month.start_us)) if asked.changes else (),
        )
        for one, price in by
    )


def _uncharged(tariff: Tariff, name: str, day: date) -> Rule:
    """The fee whose beginning is asked about."""
    if name:
        if name not in {rule.name for rule in tariff.rules}:
            names = ", ".join(rule.name for rule in tariff.rules)
            raise OutlookInvalid(f"tariff {tariff.name} has no rule {name}: there are {names}.")
        return tariff.rule(name)
    rules = uncharged_rules(tariff, day)
    if len(rules) != 1:
        names = ", ".join(rule.name for rule in rules or tariff.rules)
        raise OutlookInvalid(
            f"tariff {tariff.name} has {len(rules)} fees that are not charged: choose a rule ({names})."
        )
    return rules[0]


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
        prices=(Price(LONG_AGO, None, GIVEN, LONG_AGO, tiers=(Tier(None, price),)),),
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
    """A unit of a hypothetical price. Raises OutlookInvalid."""
    if name not in UNITS:
        raise OutlookInvalid(f"{name[:40]!r} is a unit that fits no rule: there are {', '.join(UNITS)}.")
    return UNITS[name]


def changed(evidence: Evidence, changes: Iterable[Change], at_us: int) -> Evidence:
    """The evidence as it would be if nodes joined and left at some time. Raises OutlookInvalid."""
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
        raise OutlookInvalid(
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
    return replace(history, lifetimes=(*before, replace(last, ends_us=ends_us, ends_after_us=None, phases=phases)))


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
    """What a change costs in the rest of a month, and in the whole month that follows. Raises OutlookInvalid."""
    planned = changed(evidence, changes, at_us)
    this, following = (
        Difference(month, month_end(evidence, tariff, month).total, month_end(planned, tariff, month).total)
        for month in (period, period.next_month())
    )
    return this, following
