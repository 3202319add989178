"""Who a bill is for: each line to the site, pool or team that its resource is labelled with.

What is shared (the cluster fee, a flat sum, a price by the sum of all) is split by a key that is declared. Each line is
split so that its parts add up to it exactly: fractions go to whoever is owed the largest remainder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from poolkeeper.tasks.fees.metering.intervals import Horizon, Peers, Reading, stretches
from poolkeeper.tasks.fees.metering.meter import Statement
from poolkeeper.tasks.fees.metering.slots import Run, merged
from poolkeeper.tasks.fees.money import EXACT, money_text, total
from poolkeeper.tasks.fees.periods import DAY_US, Period, slot_of
from poolkeeper.tasks.fees.tariff.model import Rule
from poolkeeper.tasks.fees.tariff.units import UNITS, Counting, Measure
from poolkeeper.tasks.fees.usage.evidence import Evidence
from poolkeeper.tasks.fees.usage.usage_records import History
from poolkeeper.tasks.outcomes import Invalid

NOBODY = ""
"""The group of what has no such label, and of what is shared when there is nobody to share it."""

KEYS = {"nodes": "per_node_day", "vcpus": "per_vcpu_day", "gpus": "per_gpu_day"}
"""Key -> what is counted for it over all nodes, in calendar days started."""


class KeyInvalid(Invalid):
    """A text that declares no key; the message says how to write one."""


@dataclass(frozen=True, slots=True)
class ShareKey:
    """How what is shared is split: by days of nodes, vCPUs or GPUs, evenly, or by weights of one's own."""

    name: str
    weights: Mapping[str, Fraction]
    """Group -> weight, for `weights`."""

    @classmethod
    def of(cls, text: str) -> ShareKey:
        """`nodes`, `vcpus`, `gpus`, `evenly`, or weights like `web=3,batch=1`. Raises KeyInvalid."""
        if text in KEYS or text == "evenly":
            return cls(text, {})
        weights: dict[str, Fraction] = {}
        for part in text.split(","):
            group, equals, weight = part.partition("=")
            try:
                weights[group.strip()] = Fraction(weight.strip())
            except (ValueError, ZeroDivisionError):
                equals = ""
            if not equals or not group.strip() or weights[group.strip()] < 0:
                raise KeyInvalid(f"{text[:60]!r} is no key: write {', '.join(KEYS)}, evenly, or web=3,batch=1.")
        return cls("weights", weights)


@dataclass(frozen=True, slots=True)
class Share:
    """What one group pays of one line."""

    group: str
    line_id: str
    amount: Decimal
    is_shared: bool
    """Whether the line belongs to all, and this is a part of it."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """A statement's lines, split among groups."""

    by: str
    key: ShareKey
    shares: tuple[Share, ...]

    def totals(self) -> Mapping[str, Decimal]:
        """Group -> what it pays, in the order of the names. They sum to the lines' total exactly."""
        amounts: dict[str, list[Decimal]] = {}
        for share in self.shares:
            amounts.setdefault(share.group, []).append(share.amount)
        return {group: total(found) for group, found in sorted(amounts.items())}

    def row(self) -> dict[str, Any]:
        """The allocation for scripts; a group without a name is null."""
        return {
            "by": self.by,
            "key": self.key.name,
            "groups": [{"group": group or None, "amount": money_text(sum_)} for group, sum_ in self.totals().items()],
        }


def allocate(statement: Statement, evidence: Evidence, by: str, key: ShareKey) -> Allocation:
    """Split a statement's lines by a label.

    by: the label, such as `site`, `pool` or `team`
    evidence: who there was to share with, and how much of it
    """
    horizon_end = min(statement.metered_until_us, statement.period.end_us)
    weights = _weights(evidence, statement.period, horizon_end, by, key)
    shares: list[Share] = []
    for line in statement.lines:
        if line.kind == "node":
            shares.append(Share(line.labels.get(by, NOBODY), line.id, line.amount, is_shared=False))
            continue
        parts = shared_out(line.amount, weights)
        shares += [Share(group, line.id, part, is_shared=True) for group, part in parts.items()]
    return Allocation(by, key, tuple(shares))


def shared_out(amount: Decimal, weights: Mapping[str, Fraction]) -> Mapping[str, Decimal]:
    """An amount in parts by weight that sum to it exactly, each in whole cents, or in steps as fine as the amount's.

    Each gets its part rounded down; what is left goes, one step each, to the largest remainders (of equal ones to the
    first name).
    """
    whole = sum(weights.values(), Fraction(0))
    if not whole:
        return {NOBODY: amount}
    exponent = amount.normalize(EXACT).as_tuple().exponent
    assert isinstance(exponent, int)
    step = Decimal(1).scaleb(min(exponent, -2))
    steps = int(abs(amount).quantize(step, context=EXACT).scaleb(-min(exponent, -2), EXACT))
    exact = {group: steps * weight / whole for group, weight in weights.items()}
    parts = {group: int(part) for group, part in exact.items()}
    owed = sorted(exact, key=lambda group: (parts[group] - exact[group], group))
    for group in owed[: steps - sum(parts.values())]:
        parts[group] += 1
    sign = -1 if amount < 0 else 1
    return {group: EXACT.multiply(Decimal(sign * part), step) for group, part in parts.items()}


def _weights(evidence: Evidence, period: Period, cut_us: int, by: str, key: ShareKey) -> Mapping[str, Fraction]:
    if key.weights:
        return key.weights
    horizon = Horizon(period.start_us, period.end_us, evidence.until_us, cut_us)
    rule = _usage_rule(KEYS.get(key.name, KEYS["nodes"]))
    peers = Peers(evidence.histories, period.end_us)
    found: dict[str, Fraction] = {}
    for history in evidence.histories:
        if history.kind != "node":
            continue
        days = sum(run.quantity for run in _days(history, rule, horizon, peers))
        if days:
            group = history.labels.get(by, NOBODY)
            found[group] = Fraction(1) if key.name == "evenly" else found.get(group, Fraction(0)) + days
    return dict(sorted(found.items()))


def _usage_rule(unit_name: str) -> Rule:
    """Counts every day on which a node was there, in whatever state."""
    return Rule("usage", "", UNITS[unit_name], Counting.CALENDAR_DAYS_STARTED, prices=())


def _days(history: History, rule: Rule, horizon: Horizon, peers: Peers) -> Sequence[Run]:
    measure = rule.unit.measure
    sizes = None if measure is Measure.ITSELF else peers.sizes(history, measure)
    return merged(
        Run(slot_of(part.start_us, DAY_US), slot_of(part.end_us - 1, DAY_US), part.size)
        for part in stretches(history, rule, Reading.LIKELY, horizon, sizes)
    )
