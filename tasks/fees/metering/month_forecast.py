"""The forecast of a month: its total at the end, the cost of a fee that is not charged today, of a planned change.

For the meter, the future is a gap in the evidence like any other. `likely` assumes that all resources stay as they are.
`low` assumes that all of them end now. `high` is `likely` with each other gap filled in the most expensive way. Nothing
of a forecast is charged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from poolkeeper.tasks.fees.metering.statement import Statement, meter
from poolkeeper.tasks.fees.money import EXACT, money_text
from poolkeeper.tasks.fees.periods import Period, billing_day
from poolkeeper.tasks.fees.tariff.tariff_model import Price, Rule, Tariff, Tier
from poolkeeper.tasks.fees.tariff.tariff_values import MAX_PLACES
from poolkeeper.tasks.fees.tariff.units import UNITS, Counting, PriceUnit
from poolkeeper.tasks.fees.usage.evidence import UsageEvidence
from poolkeeper.tasks.fees.usage.usage_records import Lifetime, UsagePhase, UsageRecord
from poolkeeper.tasks.fleet.problems import counted
from poolkeeper.tasks.outcomes import Invalid

LONG_AGO = date(2000, 1, 1)

GIVEN = "given in the request"
"""The source of a hypothetical price, as its line shows it."""


class ForecastInvalid(Invalid):
    """A hypothetical price or a planned change that cannot be read, or that the tariff or the nodes do not allow."""

    id = "fees.forecast.invalid"
    expected = "a price, a unit, a rule and planned changes that fit the tariff and the nodes"


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """Nodes that are planned to join, or to leave."""

    count: int
    vcpus: int | None = None
    gpus: int | None = None
    label: str = ""
    """The label of the nodes that leave, with `value`; empty for nodes that join."""
    value: str = ""

    @classmethod
    def joining(cls, text: str) -> PlannedChange:
        """`20x64`: twenty nodes of 64 vCPUs; `4x96x8`: four of 96 vCPUs and 8 GPUs. Raises ForecastInvalid."""
        found = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})(?:x([0-9]{1,3}))?", text)
        if not found:
            raise ForecastInvalid(
                f"{text[:40]!r} is not a number of nodes and their size",
                next_step="Write it like 20x64 (nodes x vCPUs), or 4x96x8 (nodes x vCPUs x GPUs).",
            )
        return cls(int(found[1]), int(found[2]), int(found[3] or 0))

    @classmethod
    def leaving(cls, text: str) -> PlannedChange:
        """`5:pool=general`: five nodes with the label pool=general. Raises ForecastInvalid."""
        found = re.fullmatch(r"([1-9][0-9]{0,4}):([^=]+)=(.*)", text)
        if not found:
            raise ForecastInvalid(
                f"{text[:40]!r} is not a number of nodes and their label",
                next_step="Write it like 5:pool=general.",
            )
        return cls(-int(found[1]), label=found[2], value=found[3])


@dataclass(frozen=True, slots=True)
class ForecastRequest:
    """What a forecast is asked for, besides the total at the end of the month."""

    price: Decimal | None = None
    """Hypothetical price of a fee that is not charged today; None: no such question."""
    unit: PriceUnit = UNITS["per_vcpu_day"]
    """What that price is for."""
    rule: str = ""
    """The name of that fee's rule; empty where the tariff has only one fee that is not charged."""
    changes: tuple[PlannedChange, ...] = ()

    @classmethod
    def of(
        cls, price: str, unit: str, rule: str = "", joining: Iterable[str] = (), leaving: Iterable[str] = ()
    ) -> ForecastRequest:
        """From texts, such as `0.029`, `per_vcpu_day`, `20x64` and `5:pool=general`. Raises ForecastInvalid."""
        changes = (*map(PlannedChange.joining, joining), *map(PlannedChange.leaving, leaving))
        return cls(_price(price) if price else None, unit_named(unit), rule, changes)


_PRICE = re.compile(r"[0-9]{1,12}(?:\.[0-9]{0,12})?(?:[eE][-+]?[0-9]{1,2})?")


def _price(text: str) -> Decimal:
    """Below a million, with as many decimal places as a tariff allows. Raises ForecastInvalid."""
    price = Decimal(text) if _PRICE.fullmatch(text) else Decimal("NaN")
    exponent = price.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -MAX_PLACES or price >= 1_000_000:
        raise ForecastInvalid(f"{text[:40]!r} is not a price", next_step="Write a price like 0.029.")
    return price


@dataclass(frozen=True, slots=True)
class MonthForecast:
    """One answer: the total of a month at its end."""

    end: Statement
    price: str
    """The hypothetical price, such as `0.029 per_vcpu_day`; every output marks it as hypothetical. Empty: none."""
    changes: tuple[ChangeCost, ...]
    """What the planned changes add, in the rest of the month and in the month after it."""

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


def estimates(
    evidence: UsageEvidence, tariff: Tariff, month: Period, now_us: int, request: ForecastRequest
) -> tuple[MonthForecast, ...]:
    """The forecast at the published prices, then the one at the hypothetical price, if any. Raises ForecastInvalid."""
    by = [(tariff, "")]
    if request.price is not None:
        rule = _uncharged(tariff, request.rule, max(billing_day(now_us), month.first))
        label = f"{money_text(request.price)} {request.unit.name}"
        by.append((hypothetical(tariff, rule, request.unit, request.price), label))
    return tuple(
        MonthForecast(
            month_end(evidence, one, month),
            price,
            cost_of(request.changes, evidence, one, month, max(now_us, month.start_us)) if request.changes else (),
        )
        for one, price in by
    )


def _uncharged(tariff: Tariff, name: str, day: date) -> Rule:
    """The fee that gets the hypothetical price. Raises ForecastInvalid."""
    if name:
        if name not in {rule.name for rule in tariff.rules}:
            names = ", ".join(rule.name for rule in tariff.rules)
            raise ForecastInvalid(
                f"tariff {tariff.name} has no rule {name}", next_step=f"Name one of its rules: {names}."
            )
        return tariff.rule(name)
    rules = uncharged_rules(tariff, day)
    if len(rules) != 1:
        names = ", ".join(rule.name for rule in rules or tariff.rules)
        raise ForecastInvalid(
            f"tariff {tariff.name} has {len(rules)} fees that are not charged",
            next_step=f"Choose one rule: {names}.",
        )
    return rules[0]


def month_end(evidence: UsageEvidence, tariff: Tariff, period: Period) -> Statement:
    """The statement of the period at its end."""
    return meter(evidence, tariff, period, period.end_us)


def hypothetical(tariff: Tariff, rule: Rule, unit: PriceUnit, price: Decimal) -> Tariff:
    """A tariff of one fee at a hypothetical price. Titles say so: the price must never look published."""
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
    """The fees that are waived on a day, or have no published price: the provider may begin to charge them."""
    return tuple(rule for rule in tariff.rules if _is_uncharged(rule, day))


def _is_uncharged(rule: Rule, day: date) -> bool:
    for piece in rule.pieces(day, date.fromordinal(day.toordinal() + 1)):
        return piece.waiver is not None or piece.price is None or not piece.price.is_known
    return False


def unit_named(name: str) -> PriceUnit:
    """The unit of a hypothetical price. Raises ForecastInvalid."""
    if name not in UNITS:
        raise ForecastInvalid(f"{name[:40]!r} is not a unit", next_step=f"Write one of {', '.join(UNITS)}.")
    return UNITS[name]


def changed(evidence: UsageEvidence, changes: Iterable[PlannedChange], at_us: int) -> UsageEvidence:
    """The evidence with the planned changes added at a time. Raises ForecastInvalid."""
    records = list(evidence.records)
    for number, change in enumerate(changes, start=1):
        if change.count > 0:
            records += [_joining(change, f"planned-{number}-{node:05}", at_us) for node in range(change.count)]
        else:
            records = _without(records, change, at_us)
    return replace(evidence, records=tuple(records))


def _joining(change: PlannedChange, resource_id: str, at_us: int) -> UsageRecord:
    life = Lifetime(at_us, True, None, (UsagePhase(at_us, None, "", change.vcpus, change.gpus),))
    return UsageRecord(resource_id, "node", (life,), {}, ())


def _without(records: Sequence[UsageRecord], change: PlannedChange, at_us: int) -> list[UsageRecord]:
    leaving = [
        record.resource_id
        for record in records
        if record.kind == "node"
        and record.labels.get(change.label) == change.value
        and record.lifetimes[-1:]
        and record.lifetimes[-1].ends_us is None
    ]
    if len(leaving) < -change.count:
        raise ForecastInvalid(
            f"the plan removes {counted(-change.count, 'node')} with {change.label}={change.value},"
            f" but there are {len(leaving)}",
            next_step="Plan for fewer nodes to leave, or name another label.",
        )
    chosen = set(leaving[: -change.count])
    return [_leaving(record, at_us) if record.resource_id in chosen else record for record in records]


def _leaving(record: UsageRecord, at_us: int) -> UsageRecord:
    *before, last = record.lifetimes
    ends_us = max(at_us, last.begins_us)
    phases = tuple(
        replace(phase, end_us=ends_us if phase.end_us is None else min(phase.end_us, ends_us))
        for phase in last.phases
        if phase.start_us < ends_us
    )
    return replace(record, lifetimes=(*before, replace(last, ends_us=ends_us, ends_after_us=None, phases=phases)))


@dataclass(frozen=True, slots=True)
class ChangeCost:
    """What a planned change adds to the total of a period; negative when it saves money."""

    period: Period
    before: Decimal
    """The total without the change."""
    after: Decimal
    """The total with it."""

    @property
    def amount(self) -> Decimal:
        """After minus before."""
        return EXACT.subtract(self.after, self.before)


def cost_of(
    changes: Sequence[PlannedChange], evidence: UsageEvidence, tariff: Tariff, period: Period, at_us: int
) -> tuple[ChangeCost, ChangeCost]:
    """What the changes cost in the rest of a month, and in the whole month after it. Raises ForecastInvalid."""
    planned = changed(evidence, changes, at_us)
    this, following = (
        ChangeCost(month, month_end(evidence, tariff, month).total, month_end(planned, tariff, month).total)
        for month in (period, period.next_month())
    )
    return this, following
