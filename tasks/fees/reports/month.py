"""The fees of a month as a whole: the data of the page, the files and the artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from poolkeeper.tasks.fees.bill.reconciliation import Reconciliation
from poolkeeper.tasks.fees.closing.close import statement_of
from poolkeeper.tasks.fees.closing.closed_months import ClosedMonths
from poolkeeper.tasks.fees.metering.allocation import Allocation, ShareKey, allocate
from poolkeeper.tasks.fees.metering.month_forecast import ForecastRequest, MonthForecast, estimates
from poolkeeper.tasks.fees.metering.statement import Statement
from poolkeeper.tasks.fees.money import money_text
from poolkeeper.tasks.fees.periods import Period
from poolkeeper.tasks.fees.tariff.tariff_model import Tariff
from poolkeeper.tasks.fees.usage.evidence import UsageEvidence
from poolkeeper.tasks.fleet.problems import counted

BY = ("site", "pool", "team")
"""The labels by which the page splits the total."""
TREND_MONTHS = 12
NOTHING_REQUESTED = ForecastRequest()


@dataclass(frozen=True, slots=True)
class Month:
    """The fees of a month: statement, allocations, trend, forecast, comparison with the bill."""

    statement: Statement
    is_closed: bool
    allocations: Mapping[str, Allocation]
    """Label -> allocation, for each label of `BY` that a resource has."""
    trend: Sequence[tuple[str, Decimal]]
    """The last closed months and this one: name and total."""
    forecast: tuple[MonthForecast, ...]
    """The forecast of the month. For a month that is over, only hypothetical prices and planned changes."""
    reconciliation: Reconciliation | None = None
    """The comparison with the vendor's bill; None when no bill was requested."""

    @property
    def summary(self) -> str:
        """One line for a person, with the comparison with the bill, if any."""
        return f"{self.headline}, {self.reconciliation.summary}" if self.reconciliation else self.headline

    @property
    def headline(self) -> str:
        """The total, its range, and the coverage by evidence."""
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
    evidence: UsageEvidence,
    tariff: Tariff,
    period: Period,
    now_us: int,
    closed: ClosedMonths,
    key: ShareKey,
    request: ForecastRequest = NOTHING_REQUESTED,
) -> Month:
    """Meter a month, or read it as it was closed. Raises ClosedMonthDamaged and ForecastInvalid."""
    statement, is_closed = statement_of(evidence, tariff, period, now_us, closed)
    labels = [label for label in BY if any(line.labels.get(label) for line in statement.lines)]
    kept = [closed.read(earlier) for earlier in closed.periods() if earlier < period][-TREND_MONTHS + 1 :]
    trend = [(month.period.name, month.total) for month in kept if month is not None]
    return Month(
        statement,
        is_closed,
        {label: allocate(statement, evidence, label, key) for label in labels},
        [*trend, (period.name, statement.total)],
        _forecast(evidence, statement, now_us, request),
    )


def _forecast(
    evidence: UsageEvidence, statement: Statement, now_us: int, request: ForecastRequest
) -> tuple[MonthForecast, ...]:
    if statement.is_whole and request == NOTHING_REQUESTED:
        return ()
    found = estimates(evidence, statement.tariff, statement.period, now_us, request)
    return tuple(one for one in found if one.price or one.changes or not statement.is_whole)
