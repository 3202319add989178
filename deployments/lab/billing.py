"""What the lab's account is billed: its cluster, what runs around it, and another team's cluster beside it.

Counted here on its own, by the vendor's rule and not by `tasks.fees`, so that reconciling compares two counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from poolkeeper.deployments.lab.layout import CLUSTER_ID, REGION

Json = dict[str, Any]

CREATED_AT = datetime(2025, 1, 6, 2, 20, tzinfo=UTC)
"""When every lab's cluster is said to have been created: one state folder may see many labs, and it is one cluster."""

OTHER_CLUSTER = "c-another-teams"
LINE_ID = "vbr-lab-fra1"
"""The dedicated line: no provider lists it for a cluster."""
PRO_FEE = Decimal("0.09")
"""USD for each clock hour that begins and ends within the cluster's life."""
_BILLING_ZONE = timezone(timedelta(hours=8))
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class CloudResource:
    """Something that ACK made for the lab's cluster."""

    instance_id: str
    resource_type: str
    creator: str
    """`system`, `addon` or `user`."""
    product_code: str
    item: str
    usd_per_hour: Decimal
    serves: Mapping[str, str] = field(default_factory=dict)
    """The Kubernetes object it is for."""


CLOUD_RESOURCES = (
    CloudResource("lb-lab-api", "ALIYUN::SLB::LoadBalancer", "system", "slb", "LCU", Decimal("0.007")),
    CloudResource("i-lab-cloud-1", "ALIYUN::ECS::Instance", "user", "ecs", "Instance", Decimal("0.05")),
    CloudResource(
        "lb-lab-ingress", "ALIYUN::SLB::LoadBalancer", "addon", "slb", "LCU", Decimal("0.007"),
        {"kind": "Service", "namespace": "kube-system", "name": "ingress"},
    ),
)  # fmt: skip


def bill_rows(cycle: str, created_at: datetime, now: datetime) -> list[Json]:
    """The rows of `DescribeInstanceBill` for a month so far, by month.

    cycle: `2026-10`, in UTC+8
    """
    hours = billed_hours(cycle, created_at, now)
    if not hours:
        return []
    rows = [_row(cycle, id_, "csk", "ACK Pro Pricing", hours, PRO_FEE) for id_ in (CLUSTER_ID, OTHER_CLUSTER)]
    rows += [
        _row(cycle, one.instance_id, one.product_code, one.item, hours, one.usd_per_hour) for one in CLOUD_RESOURCES
    ]
    rows.append(_row(cycle, LINE_ID, "expressconnect", "Virtual border router", hours, Decimal("0.02")))
    rows.append(_row(cycle, "d-someone-elses", "ecs", "Disk", hours, Decimal("0.001")))
    return rows


def billed_hours(cycle: str, created_at: datetime, now: datetime) -> int:
    """Clock hours of a month that have ended; the one of creation is free."""
    year, month = map(int, cycle.split("-"))
    begins = datetime(year, month, 1, tzinfo=_BILLING_ZONE)
    ends = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=_BILLING_ZONE)
    first = _hour(created_at) + _HOUR
    return max(0, (min(_hour(now), ends) - max(first, begins)) // _HOUR)


def _hour(at: datetime) -> datetime:
    return at.astimezone(_BILLING_ZONE).replace(minute=0, second=0, microsecond=0)


def _row(cycle: str, instance_id: str, product: str, item: str, hours: int, price: Decimal) -> Json:
    """Amounts are floats and measures text, as the API has them."""
    amount = float(price * hours)
    return {
        "InstanceID": instance_id, "BillingDate": "", "BillingCycle": cycle, "BillingItem": item,
        "BillingItemCode": item.lower().replace(" ", "_"), "ProductCode": product, "ProductName": "",
        "Item": "PayAsYouGoBill", "SubscriptionType": "PayAsYouGo", "Region": REGION, "Currency": "USD",
        "PretaxGrossAmount": amount, "InvoiceDiscount": 0.0, "DeductedByCoupons": 0.0, "PretaxAmount": amount,
        "Usage": str(hours), "UsageUnit": "Hour", "ListPrice": str(price), "ListPriceUnit": "USD/Hour",
        "DeductedByResourcePackage": "0",
    }  # fmt: skip
