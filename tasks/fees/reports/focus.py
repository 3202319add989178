"""A statement in the columns of FOCUS, for cost tools.

Source: FinOps Open Cost and Usage Specification 1.0, the columns that fit what is metered here. The amounts are an
estimate of the provider's bill, not an invoice. Columns with `x_`, which the specification leaves to the exporter, have
the line id, the waiver and the range.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal

from poolkeeper.tasks.fees.metering.fee_lines import FeeLine
from poolkeeper.tasks.fees.metering.statement import Statement
from poolkeeper.tasks.fees.money import money_text, times
from poolkeeper.tasks.fees.periods import moment

PROVIDER = "Alibaba Cloud"
SERVICE = "Container Service for Kubernetes"
TYPES = {"cluster": "Cluster", "node": "Node"}

FOCUS_COLUMNS = (
    "BilledCost",
    "BillingAccountId",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "SkuId",
    "Tags",
    "x_LineId",
    "x_CorrectsLineId",
    "x_Waiver",
    "x_LowCost",
    "x_HighCost",
)


def focus_rows(statement: Statement, billing_account_id: str = "") -> Iterator[dict[str, str]]:
    """One row for each line. All columns are text, empty without a value; times are ISO 8601 in UTC."""
    for line in statement.lines:
        yield _row(line, statement, billing_account_id)


def _row(line: FeeLine, statement: Statement, account: str) -> dict[str, str]:
    period, amount = statement.period, money_text(line.amount)
    corrects = bool(line.corrects)
    priced = {} if corrects else _prices(line)
    values = {
        "BilledCost": amount,
        "BillingAccountId": account,
        "BillingCurrency": statement.tariff.currency,
        "BillingPeriodStart": _time(period.start_us),
        "BillingPeriodEnd": _time(period.end_us),
        "ChargeCategory": "Usage",
        "ChargeClass": "Correction" if corrects else "",
        "ChargeDescription": f"{statement.tariff.rule(line.rule).title}" + (f": {line.because}" if corrects else ""),
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _time(line.start_us),
        "ChargePeriodEnd": _time(line.end_us),
        "ContractedCost": amount,
        "EffectiveCost": amount,
        "InvoiceIssuerName": PROVIDER,
        "ListCost": amount,
        "ProviderName": PROVIDER,
        "PublisherName": PROVIDER,
        "ResourceId": line.resource_id,
        "ResourceName": line.resource_id.split("/")[1] if line.resource_id.count("/") == 2 else line.resource_id,
        "ResourceType": TYPES.get(line.kind, ""),
        "ServiceCategory": "Compute",
        "ServiceName": SERVICE,
        "SkuId": line.rule,
        "Tags": json.dumps(dict(sorted(line.labels.items()))),
        "x_LineId": line.id,
        "x_CorrectsLineId": line.corrects,
        "x_Waiver": line.waiver,
        "x_LowCost": money_text(line.low),
        "x_HighCost": money_text(line.high),
    } | priced
    return {column: values.get(column, "") for column in FOCUS_COLUMNS}


def _prices(line: FeeLine) -> dict[str, str]:
    """Quantity and unit prices, which FOCUS does not allow on a correction.

    A waived fee without a published price has no list price; its list cost is then the charged amount.
    """
    quantity = str(line.quantity)
    priced = {
        "PricingCategory": "Standard",
        "PricingQuantity": quantity,
        "PricingUnit": line.unit_name.removeprefix("per_").replace("_", "-"),
        "ConsumedQuantity": quantity,
        "ConsumedUnit": line.unit_name.removeprefix("per_").replace("_", "-"),
        "ContractedUnitPrice": money_text(line.unit_price),
    }
    if line.list_price is not None:
        list_cost: Decimal = (
            line.amount if line.list_price == line.unit_price else times(line.quantity, line.list_price)
        )
        priced |= {"ListUnitPrice": money_text(line.list_price), "ListCost": money_text(list_cost)}
    return priced


def _time(instant_us: int) -> str:
    return moment(instant_us).isoformat().replace("+00:00", "Z")
