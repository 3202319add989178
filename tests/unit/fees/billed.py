"""Rows of a vendor's bill, as `DescribeInstanceBill` answers them."""

from __future__ import annotations

from typing import Any

from poolkeeper.tasks.fees.bill.vendor_bill import Bill, bill_of_items
from poolkeeper.tasks.fees.periods import Period
from tests.unit.fees.builders import OCTOBER

CLUSTER_FEE = "ACK Pro Pricing"


def item(
    instance_id: str,
    name: str = CLUSTER_FEE,
    *,
    gross: float = 0.0,
    charged: float = 0.0,
    discount: float = 0.0,
    coupons: float = 0.0,
    usage: str | None = None,
    price: str | None = None,
    package: str | None = None,
    day: str | None = None,
    kind: str = "PayAsYouGoBill",
    product: str = "csk",
    currency: str = "USD",
) -> dict[str, Any]:
    """One row; amounts are floats and measures text, as the API has them."""
    return {
        "InstanceID": instance_id,
        "BillingItem": name,
        "BillingItemCode": name.lower().replace(" ", "_"),
        "ProductCode": product,
        "ProductName": "",
        "Item": kind,
        "BillingDate": day,
        "Currency": currency,
        "PretaxGrossAmount": gross,
        "InvoiceDiscount": discount,
        "DeductedByCoupons": coupons,
        "PretaxAmount": charged,
        "Usage": usage,
        "UsageUnit": "Hours" if usage else None,
        "ListPrice": price,
        "ListPriceUnit": "USD/Hour" if price else None,
        "DeductedByResourcePackage": package,
    }


def billed(*items: dict[str, Any], period: Period = OCTOBER) -> Bill:
    """A bill of such rows."""
    return bill_of_items(items, period, "USD", "DescribeInstanceBill")
