"""What the cluster and its nodes cost for being managed: tariffs as data, evidence, fee lines, closed months.

In this order: `tariff_loading` and `evidence` read files, `histories` makes lifetimes of events, `metering` makes a
`Statement` of fee lines, `allocation` splits it, `closing` keeps it, `explaining` tells one line, `outlook` looks on.
Pure but for the files that are named; knows no cluster and no provider.
"""

from poolkeeper.tasks.fees.closing.close import Closing, NotClosable, PriceMissing, close, statement_of
from poolkeeper.tasks.fees.closing.closed_months import ClosedDamaged, ClosedPeriods
from poolkeeper.tasks.fees.metering.allocation import Allocation, KeyInvalid, ShareKey, allocate
from poolkeeper.tasks.fees.metering.explanation import explain
from poolkeeper.tasks.fees.metering.fee_lines import FeeLine
from poolkeeper.tasks.fees.metering.meter import Statement, Unpriced, meter
from poolkeeper.tasks.fees.periods import Period, PeriodInvalid
from poolkeeper.tasks.fees.tariff.loading import TariffInvalid, check_tariff, load_tariff, shipped_tariffs, tariff_path
from poolkeeper.tasks.fees.tariff.model import Tariff
from poolkeeper.tasks.fees.usage.events import EvidenceInvalid
from poolkeeper.tasks.fees.usage.evidence import Evidence, evidence_of_csv, evidence_of_spool

__all__ = [
    "Allocation",
    "ClosedDamaged",
    "ClosedPeriods",
    "Closing",
    "Evidence",
    "EvidenceInvalid",
    "FeeLine",
    "KeyInvalid",
    "NotClosable",
    "Period",
    "PeriodInvalid",
    "PriceMissing",
    "ShareKey",
    "Statement",
    "Tariff",
    "TariffInvalid",
    "Unpriced",
    "allocate",
    "check_tariff",
    "close",
    "evidence_of_csv",
    "evidence_of_spool",
    "explain",
    "load_tariff",
    "meter",
    "shipped_tariffs",
    "statement_of",
    "tariff_path",
]
