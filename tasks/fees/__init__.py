"""The fees for managing clusters and nodes: tariffs, usage, fee lines, closed months, the vendor's bill.

By subject, each importing only those before it:
- `tariff`: prices as data, units, ways of counting, the check of a tariff file
- `usage`: events from a CSV file or the spool, and the usage records made of them
- `metering`: a `Statement` of fee lines from both; explanation, allocation, forecast
- `closing`: closed months and their adjustments
- `bill`: the vendor's bill and its comparison with a statement
- `reports`: a month as page, CSV and FOCUS export

Pure, except for reading and writing files; without knowledge of clusters and providers.
"""

from poolkeeper.tasks.fees.closing.close import Closing, NotClosable, PriceMissing, close, statement_of
from poolkeeper.tasks.fees.closing.closed_months import ClosedMonthDamaged, ClosedMonths
from poolkeeper.tasks.fees.metering.allocation import Allocation, ShareKey, ShareKeyInvalid, allocate
from poolkeeper.tasks.fees.metering.explanation import explain
from poolkeeper.tasks.fees.metering.fee_lines import FeeLine
from poolkeeper.tasks.fees.metering.statement import Statement, Unpriced, meter
from poolkeeper.tasks.fees.periods import Period, PeriodInvalid
from poolkeeper.tasks.fees.tariff.tariff_file import (
    TariffInvalid,
    check_tariff,
    load_tariff,
    shipped_tariffs,
    tariff_path,
)
from poolkeeper.tasks.fees.tariff.tariff_model import Tariff
from poolkeeper.tasks.fees.usage.events import EvidenceInvalid
from poolkeeper.tasks.fees.usage.evidence import UsageEvidence, evidence_of_csv, evidence_of_spool

__all__ = [
    "Allocation",
    "ClosedMonthDamaged",
    "ClosedMonths",
    "Closing",
    "UsageEvidence",
    "EvidenceInvalid",
    "FeeLine",
    "ShareKeyInvalid",
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
