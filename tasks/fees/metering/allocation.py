"""The allocation of a statement: each line goes to the site, pool or team in the label of its resource.

Lines without a node (the cluster fee, a flat sum, a price for all nodes together) are shared: they are split by a
declared key. Invariant: the parts of a line sum up to the line exactly; the largest remainders get the fractions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from poolkeeper.tasks.fees.metering.intervals import Estimate, MeteringWindow, PeerSizes, billed_intervals
from poolkeeper.tasks.fees.metering.slots import SlotRange, merged
from poolkeeper.tasks.fees.metering.statement import Statement
from poolkeeper.tasks.fees.money import EXACT, money_text, total
from poolkeeper.tasks.fees.periods import DAY_US, Period, slot_of
from poolkeeper.tasks.fees.tariff.tariff_model import Rule
from poolkeeper.tasks.fees.tariff.units import UNITS, Counting, Measure
from poolkeeper.tasks.fees.usage.evidence import UsageEvidence
from poolkeeper.tasks.fees.usage.usage_records import UsageRecord
from poolkeeper.tasks.outcomes import Invalid

NOBODY = ""
"""The group for lines without the label, and for shared lines when no node has a share."""

_WEIGHT = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}|/[1-9][0-9]{0,8})?")
"""Such as `3`, `0.5` or `1/3`. Exponents are refused: `Fraction` would compute `1e999999999`."""

KEYS = {"nodes": "per_node_day", "vcpus": "per_vcpu_day", "gpus": "per_gpu_day"}
"""Key -> the unit in which the nodes' shares are counted, in started calendar days."""


class ShareKeyInvalid(Invalid):
    """A text that is not a key for shared lines."""

    id = "fees.share-key.invalid"
    expected = "`nodes`, `vcpus`, `gpus`, `evenly`, or weights like `web=3,batch=1`"


@dataclass(frozen=True, slots=True)
class ShareKey:
    """How shared lines are split: by node-days, vCPU-days or GPU-days, evenly, or by declared weights."""

    name: str
    weights: Mapping[str, Fraction]
    """Group -> weight, for `weights`."""

    @classmethod
    def of(cls, text: str) -> ShareKey:
        """`nodes`, `vcpus`, `gpus`, `evenly`, or weights like `web=3,batch=1`. Raises ShareKeyInvalid."""
        if text in KEYS or text == "evenly":
            return cls(text, {})
        weights: dict[str, Fraction] = {}
        for part in text.split(","):
            group, _, weight = map(str.strip, part.partition("="))
            if group and _WEIGHT.fullmatch(weight):
                weights[group] = Fraction(weight)
            else:
                raise ShareKeyInvalid(
                    f"{text[:60]!r} is not a key for shared lines",
                    next_step=f"Write {', '.join(KEYS)}, evenly, or weights like web=3,batch=1.",
                )
        return cls("weights", weights)


@dataclass(frozen=True, slots=True)
class Share:
    """The part of one line that one group pays."""

    group: str
    line_id: str
    amount: Decimal
    is_shared: bool
    """Whether the line is shared by all groups."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """The lines of a statement, split among groups."""

    by: str
    key: ShareKey
    shares: tuple[Share, ...]

    def totals(self) -> Mapping[str, Decimal]:
        """Group -> amount, sorted by group. Invariant: the amounts sum up to the total of the lines exactly."""
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


def allocate(statement: Statement, evidence: UsageEvidence, by: str, key: ShareKey) -> Allocation:
    """Split a statement's lines by a label.

    by: the label, such as `site`, `pool` or `team`
    evidence: the nodes by whose days shared lines are split
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
    """The parts of an amount by weight, in whole cents, or in smaller steps where the amount has more decimal places.

    Invariant: the parts sum up to the amount exactly. Each part is rounded down; the steps that are left go, one each,
    to the groups with the largest remainders, and of equal remainders to the group whose name comes first.
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


def _weights(evidence: UsageEvidence, period: Period, cut_us: int, by: str, key: ShareKey) -> Mapping[str, Fraction]:
    if key.weights:
        return key.weights
    window = MeteringWindow(period.start_us, period.end_us, evidence.until_us, cut_us)
    rule = _usage_rule(KEYS.get(key.name, KEYS["nodes"]))
    peers = PeerSizes(evidence.records, period.end_us)
    found: dict[str, Fraction] = {}
    for record in evidence.records:
        if record.kind != "node":
            continue
        days = sum(slots.quantity for slots in _days(record, rule, window, peers))
        if days:
            group = record.labels.get(by, NOBODY)
            found[group] = Fraction(1) if key.name == "evenly" else found.get(group, Fraction(0)) + days
    return dict(sorted(found.items()))


def _usage_rule(unit_name: str) -> Rule:
    """Counts every day on which a node exists, in any state."""
    return Rule("usage", "", UNITS[unit_name], Counting.CALENDAR_DAYS_STARTED, prices=())


def _days(record: UsageRecord, rule: Rule, window: MeteringWindow, peers: PeerSizes) -> Sequence[SlotRange]:
    measure = rule.unit.measure
    sizes = None if measure is Measure.ITSELF else peers.sizes(record, measure)
    return merged(
        SlotRange(slot_of(part.start_us, DAY_US), slot_of(part.end_us - 1, DAY_US), part.size)
        for part in billed_intervals(record, rule, Estimate.LIKELY, window, sizes)
    )
