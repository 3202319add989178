"""A month's fees as a whole: what the page, the files and the artifacts are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from poolkeeper.tasks.fees.bill.reconciliation import Reconciliation
from poolkeeper.tasks.fees.closing.close import statement_of
from poolkeeper.tasks.fees.closing.closed_months import ClosedPeriods
from poolkeeper.tasks.fees.metering.allocation import Allocation, ShareKey, allocate
from poolkeeper.tasks.fees.metering.meter import Statement
from poolkeeper.tasks.fees.metering.month_forecast import Asked, Estimate, estimates
from poolkeeper.tasks.fees.money import money_text
from poolkeeper.tasks.fees.periods import Period
from poolkeeper.tasks.fees.tariff.model import Tariff
from poolkeeper.tasks.fees.usage.evidence import Evidence
from poolkeeper.tasks.fleet.problems import counted

BY = ("site", "pool", "team")
"""Labels that the page splits by."""
TREND_MONTHS = 12
NOTHING_ASKED = Asked()


@dataclass(frozen=True, slots=True)
class Month:
    """A month's fees, whole: what is charged and why, for whom, since when, and how it will end."""

    statement: Statement
    is_closed: bool
    allocations: Mapping[str, Allocation]
    """Per label of `BY` that any resource carries."""
    trend: Sequence[tuple[str, Decimal]]
    """Closed months and this one: name and total."""
    outlook: tuple[Estimate, ...]
    """What the month will come to; of one that is over only what was asked, which is hypothetical or planned."""
    reconciliation: Reconciliation | None = None
    """Against the vendor's bill, if that was asked for."""

    @property
    def summary(self) -> str:
        """One line for a person, with how it stands to the bill if that was asked for."""
        return f"{self.headline}, {self.reconciliation.summary}" if self.reconciliation else self.headline

    @property
    def headline(self) -> str:
        """What it costs, and how sure that is."""
        s = self.statement
        kind = "closed" if self.is_closed else "open" if s.is_whole else "still running"
        waived = sum(1 for line in s.lines if line.waiver)
        parts = [f"{s.period.name} ({kind}): {s.tariff.currency} {money_text(s.total)}"]
        if s.low != s.high:
            parts.append(f"between {money_text(s.low)} and {money_text(s.high)}")
        parts.append(f"{counted(len(s.lines), 'line')}, {waived} of them waived")
        parts.append(f"evidence for {float(s.coverage):.1%}")
        return ", ".join(parts)


def month_of(
    evidence: Evidence,
    tariff: Tariff,
    period: Period,
    now_us: int,
    closed: ClosedPeriods,
    key: ShareKey,
    asked: Asked = NOTHING_ASKED,
) -> Month:
    """Meter a month, or read it as it was closed. Raises ClosedDamaged and OutlookInvalid."""
    statement, is_closed = statement_of(evidence, tariff, period, now_us, closed)
    labels = [label for label in BY if any(line.labels.get(label) for line in statement.lines)]
    kept = [closed.read(earlier) for earlier in closed.periods() if earlier < period][-TREND_MONTHS + 1 :]
    trend = [(month.period.name, month.total) for month in kept if month is not None]
    return Month(
        statement,
        is_closed,
        {label: allocate(statement, evidence, label, key) for label in labels},
        [*trend, (period.name, statement.total)],
        _outlook(evidence, statement, now_us, asked),
    )


def _outlook(evidence: Evidence, statement: Statement, now_us: int, asked: Asked) -> tuple[Estimate, ...]:
    if statement.is_whole and asked == NOTHING_ASKED:
        return ()
    found = estimates(evidence, statement.tariff, statement.period, now_us, asked)
    return tuple(one for one in found if one.price or one.changes or not statement.is_whole)
