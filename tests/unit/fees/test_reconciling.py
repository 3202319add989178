"""What a month should cost against the bill: verdict, difference and reason of each line, and what is announced."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from poolkeeper.tasks.fees.bill.bill_findings import CHARGED_WHILE_WAIVED, NEW_ITEM, WHOLLY_DISCOUNTED
from poolkeeper.tasks.fees.bill.messages import reconciliation_text
from poolkeeper.tasks.fees.bill.reconciliation import ComparedFee, FeeVerdict, NotComparable, Reconciliation, reconcile
from poolkeeper.tasks.fees.bill.vendor_bill import Bill
from poolkeeper.tasks.fees.metering.statement import Statement
from poolkeeper.tasks.fees.periods import Period
from poolkeeper.tasks.outcomes import Severity
from tests.unit.fees.billed import CLUSTER_FEE, billed, item
from tests.unit.fees.builders import ACK_PRO, EDGE, OCTOBER, Row, metered, priced, tariff

LATER = datetime(2026, 12, 1, tzinfo=UTC)
WHOLE = [("c1", "cluster", "created", "2026-09-05T10:20:00+08:00")]
"""All of October: 744 hours, 66.96."""
WITHIN = [("c1", "cluster", "created", "2026-10-05T10:20:00+08:00")]
"""From the 5th, 11 o'clock: 637 hours, 57.33."""
NODE = [("n1", "node", "joined", "2026-09-05T10:20:00+08:00", 64)]
HYBRID = "ACK Hybrid Node Management"


def fee(hours: int, **changes: Any) -> dict[str, Any]:
    """The cluster fee as the bill has it for so many hours."""
    amount = float(Decimal("0.09") * hours)
    return item("c1", **({"gross": amount, "charged": amount, "usage": str(hours), "price": "0.09"} | changes))


def compared(rows: list[Row], bill: Bill, **options: Any) -> Reconciliation:
    return reconcile(metered(rows, ACK_PRO), bill, **({"read_at": LATER} | options))


def one(found: Reconciliation) -> ComparedFee:
    (line,) = found.compared
    return line


@pytest.mark.parametrize(
    ("rows", "items", "verdict", "difference", "reason", "is_explained"),
    [
        pytest.param(WHOLE, [fee(744)], "agrees", "0", "", True, id="the same"),
        pytest.param(
            WHOLE,
            [fee(24, day=f"2026-10-{day:02d}") for day in range(1, 32)],
            "agrees",
            "0",
            "",
            True,
            id="the same, by day",
        ),
        pytest.param(
            WHOLE,
            [fee(744, charged=60.264, discount=6.696)],
            "differs",
            "-6.696",
            "deducts a discount of USD 6.696",
            True,
            id="a discount",
        ),
        pytest.param(
            WHOLE,
            [fee(744, charged=0.0, coupons=6.0, discount=60.96)],
            "differs",
            "-66.96",
            "a discount of USD 60.96 and coupons of USD 6.00",
            True,
            id="a discount and coupons",
        ),
        pytest.param(
            WHOLE,
            [fee(744, charged=2.16, package="720")],
            "differs",
            "-64.80",
            "a resource package for 720 of the usage",
            True,
            id="a resource package",
        ),
        pytest.param(
            WHOLE, [fee(744, charged=50.0)], "differs", "-16.96", "has no reason for it", False, id="less for no reason"
        ),
        pytest.param(
            WHOLE,
            [fee(744, charged=60.0, discount=1.0)],
            "differs",
            "-6.96",
            "a discount of USD 1.00",
            False,
            id="a discount of less than that",
        ),
        pytest.param(
            WITHIN,
            [fee(638)],
            "differs",
            "0.09",
            "the hours of the creation and the release are free",
            False,
            id="free hour",
        ),
        pytest.param(WITHIN, [fee(645)], "differs", "0.72", "a month that is cut in UTC", False, id="cut in UTC"),
        pytest.param(
            WHOLE, [fee(745)], "differs", "0.09", "Look for missing or late events", False, id="an hour too many"
        ),
        pytest.param(
            WHOLE,
            [fee(744, gross=74.4, charged=74.4, price="0.1")],
            "differs",
            "7.44",
            "list price is USD 0.1, that of the tariff 0.09",
            False,
            id="another price",
        ),
        pytest.param(
            WITHIN,
            [fee(637, gross=57.33, charged=57.335)],
            "differs",
            "0.005",
            "the rounding of each row",
            True,
            id="rounded",
        ),
        pytest.param(
            WHOLE,
            [fee(100, day="2026-10-05")],
            "differs",
            "-57.96",
            "has no day after 2026-10-05",
            False,
            id="cut short between lines",
        ),
        pytest.param(WHOLE, [], "not billed", "-66.96", "has no row with this id", False, id="not on the bill"),
        pytest.param(
            WHOLE,
            [item("c1", "ACK Pro Price", gross=66.96, charged=66.96)],
            "not billed",
            "-66.96",
            "the name of the item may have changed",
            False,
            id="item renamed",
        ),
        pytest.param(
            [],
            [fee(744)],
            "not metered",
            "66.96",
            "There is no evidence of this resource",
            False,
            id="a cluster without evidence",
        ),
        pytest.param(NODE, [], "not billed", "0", "Waived during the preview of hybrid node pools", True, id="waived"),
    ],
)
def test_one_line(
    rows: list[Row], items: list[dict[str, Any]], verdict: str, difference: str, reason: str, is_explained: bool
) -> None:
    line = compared(rows, billed(*items)).compared[0]
    assert line.verdict == verdict
    assert line.difference == Decimal(difference)
    assert reason in line.reason
    assert bool(reason) == bool(line.reason)
    assert line.is_explained is is_explained


def test_a_bill_that_is_not_final_yet() -> None:
    """Noon of the third day after the month, in UTC+8."""
    early = datetime(2026, 11, 3, 3, 59, tzinfo=UTC)
    final = datetime(2026, 11, 3, 4, tzinfo=UTC)
    assert "not final before 2026-11-03 04:00 UTC" in one(compared(WHOLE, billed(fee(700)), read_at=early)).reason
    assert compared(WHOLE, billed(fee(700)), read_at=early).disputable == ()
    assert "not final" not in one(compared(WHOLE, billed(fee(700)), read_at=final)).reason
    assert "not final" not in one(compared(WHOLE, billed(fee(800)), read_at=early)).reason  # more only grows


def test_a_gap_in_the_evidence_is_no_dispute() -> None:
    rule = priced("per_node_day", "calendar_days_started") + "\nbill_item: ACK Pro Pricing\nstates: {billed: [ready]}"
    rows = [
        ("n1", "node", "joined", "2026-09-05T10:00:00+08:00"),
        ("n1", "node", "state:strange", "2026-10-11T00:00:00+08:00"),
        ("n1", "node", "state:ready", "2026-10-21T00:00:00+08:00"),
    ]
    statement = metered(rows, tariff(rule))
    assert statement.low < statement.high
    charged = statement.low if statement.low != statement.total else statement.high
    bill = billed(item("n1", gross=float(charged), charged=float(charged), usage=str(charged)))
    line = one(reconcile(statement, bill, read_at=LATER))
    assert (line.verdict, line.is_explained) == (FeeVerdict.DIFFERS, True)
    assert "is within the range that they leave" in line.reason


def test_corrections_stand_apart() -> None:
    found = compared(WHOLE, billed(fee(744), fee(744, kind="Refund", gross=-0.09, charged=-0.09, usage="-1")))
    assert [(line.is_adjustment, line.verdict, line.difference) for line in found.compared] == [
        (False, FeeVerdict.AGREES, 0),
        (True, FeeVerdict.NOT_METERED, Decimal("-0.09")),
    ]
    assert "corrects another month" in found.compared[1].reason


def test_what_the_bill_calls_a_resource() -> None:
    bill = billed(fee(744) | {"InstanceID": "c-7f3a"})
    assert [line.verdict for line in compared(WHOLE, bill).compared] == [
        FeeVerdict.NOT_METERED,
        FeeVerdict.NOT_BILLED,
    ]
    line = one(compared(WHOLE, bill, names={"c-7f3a": "c1"}))
    assert (line.verdict, line.resource_id, line.instance_id) == (FeeVerdict.AGREES, "c1", "c-7f3a")


def test_the_item_is_known_by_its_code_too() -> None:
    rule = priced("per_cluster_hour", "clock_hours_inside", "0.09") + "\nbill_item: ack_pro_pricing"
    found = reconcile(metered(WHOLE, tariff(rule)), billed(fee(744)), read_at=LATER)
    assert one(found).verdict is FeeVerdict.AGREES


# what announces a change


def test_a_line_without_charge_is_kept_and_announced() -> None:
    """The fee that is waived today comes with no charge, under the nodes' ids or any other."""
    found = compared([*WHOLE, *NODE], billed(fee(744), item("np-7", HYBRID, usage="31", price="0")))
    (strange,) = (line for line in found.compared if line.item == HYBRID)
    assert (strange.verdict, strange.difference, strange.rule) == (FeeVerdict.NOT_METERED, 0, "")
    assert "which has no charge yet" in strange.reason
    (finding,) = found.findings
    assert (finding.id, finding.severity, str(finding.subject)) == (
        NEW_ITEM,
        Severity.WARNING,
        f"billing item {HYBRID}",
    )
    assert finding.evidence.source == "DescribeInstanceBill line 2"
    assert found.disputable == ()
    assert found.needs_a_person


def test_a_list_price_with_a_full_discount() -> None:
    rows = [item(f"n{number}", HYBRID, gross=31.0, discount=31.0, usage="31", price="1") for number in range(5000)]
    found = compared(WHOLE, billed(fee(744), *rows))
    assert [finding.id for finding in found.findings] == [WHOLLY_DISCOUNTED, NEW_ITEM]
    assert found.findings[0].evidence.observed == (
        "USD 155000.00 at list price for n0 and 4999 more, discounted to 0, list price 1.00 USD/Hour"
    )


def test_a_fee_that_was_on_the_bill_before_is_not_new() -> None:
    bill = billed(fee(744), item("n1", HYBRID))
    before = billed(item("n2", HYBRID), period=Period.month(2026, 9))
    assert compared(WHOLE, bill, before=before).findings == ()


def test_a_waiver_that_has_ended() -> None:
    rule = (
        priced("per_node_day", "calendar_days_started")
        + f"\nbill_item: {HYBRID}\nwaivers: [{{from: 2020-01-01, reason: preview, source: test, dated: 2026-01-01}}]"
    )
    bill = billed(item("n1", HYBRID, gross=31.0, charged=31.0, usage="31", price="1"))
    found = reconcile(metered(NODE, tariff(rule)), bill, read_at=LATER)
    assert "The tariff waives it (preview), but the bill charges it" in one(found).reason
    assert [finding.id for finding in found.findings] == [CHARGED_WHILE_WAIVED]
    assert found.disputable == found.compared


def test_a_new_item_of_a_cloud_resource_is_reported_only_with_an_earlier_bill() -> None:
    now = billed(fee(744), item("i-1", "Disk", gross=1.0, charged=1.0, product="ecs"))
    assert compared(WHOLE, now).findings == ()
    before = billed(fee(720), period=Period.month(2026, 9))
    (finding,) = compared(WHOLE, now, before=before).findings
    assert (finding.id, finding.severity) == (NEW_ITEM, Severity.INFO)
    (finding,) = compared(WHOLE, now, before=before, cluster_resources={"i-1": "node cloud-1"}).findings
    assert finding.severity is Severity.WARNING


# cloud resources


def test_cloud_resources_by_declared_ids() -> None:
    bill = billed(
        fee(744),
        item("lb-1", "LCU", gross=10.0, charged=9.0, product="slb"),
        item("i-9", "Instance", gross=3.0, charged=3.0, product="ecs"),
        item("lb-1", "Traffic", gross=1.0, charged=1.0, product="slb"),
        item("", "Support", gross=5.0, charged=5.0, product="support"),
        item("i-8", "Instance", product="ecs"),
    )
    found = compared(
        WHOLE, bill, cluster_resources={"lb-1": "load balancer of the API server", "vbr-1": "line to fra1"}
    )
    assert [(one.instance_id, one.item, one.belongs_as, one.charged) for one in found.resources] == [
        ("lb-1", "LCU", "load balancer of the API server", 9),
        ("lb-1", "Traffic", "load balancer of the API server", 1),
        ("", "Support", None, 5),
        ("i-9", "Instance", None, 3),
        ("i-8", "Instance", None, 0),
    ]
    assert found.not_on_bill == ("vbr-1",)
    assert len(found.compared) == 1


@pytest.mark.parametrize(
    ("rows", "clusters", "verdicts", "others"),
    [
        pytest.param(WHOLE, {"c1"}, {"c1": "agrees"}, ["c9"], id="the fleet has one of the two"),
        pytest.param(WHOLE, {"c1", "c9"}, {"c1": "agrees", "c9": "not metered"}, [], id="the fleet has both"),
        pytest.param([], {"c1"}, {"c1": "not metered"}, ["c9"], id="ours has no evidence, the other is still not ours"),
        pytest.param(WHOLE, None, {"c1": "agrees"}, ["c9"], id="nobody said, and ours is on the bill"),
        pytest.param(
            [("main", "cluster", "created", "2026-09-05T10:20:00+08:00")],
            None,
            {"c1": "not metered", "c9": "not metered", "main": "not billed"},
            [],
            id="nobody said, and ours may be there by another name",
        ),
    ],
)
def test_other_clusters_of_the_account_stand_apart(
    rows: list[Row], clusters: set[str] | None, verdicts: dict[str, str], others: list[str]
) -> None:
    bill = billed(fee(744), fee(10) | {"InstanceID": "c9"}, item("c9", HYBRID))
    found = compared(rows, bill, clusters=None if clusters is None else frozenset(clusters))
    assert {one.resource_id: one.verdict for one in found.compared if one.item != HYBRID} == verdicts
    assert [(one.instance_id, one.charged) for one in found.other_clusters] == [(id_, Decimal("0.9")) for id_ in others]
    assert [finding.id for finding in found.findings] == [NEW_ITEM], "what begins for another cluster is told"
    if others:
        assert "another cluster of the account: c9: USD 0.90" in reconciliation_text(found)
        assert found.row()["other_clusters"][0]["items"] == [HYBRID, CLUSTER_FEE]


def test_a_cluster_of_ours_by_the_bills_name() -> None:
    bill = billed(fee(744) | {"InstanceID": "c-7f3a"})
    found = compared(WHOLE, bill, names={"c-7f3a": "c1"}, clusters=frozenset({"c-7f3a"}))
    assert (one(found).verdict, found.other_clusters) == (FeeVerdict.AGREES, ())


def test_what_could_not_be_asked_is_a_note() -> None:
    assert compared(WHOLE, billed(fee(744)), provider_notes=["ACK did not answer."]).notes[0] == "ACK did not answer."


@pytest.mark.parametrize("seed", range(5))
def test_every_row_of_the_bill_is_somewhere_once(seed: int) -> None:
    ids, names = ("c1", "n1", "lb-1", ""), (CLUSTER_FEE, HYBRID, "LCU")
    items = [
        item(
            ids[(number * 7 + seed) % 4],
            names[(number + seed) % 3],
            gross=1.1,
            charged=0.1 * number,
            product="x" * (number % 2),
        )
        for number in range(40)
    ]
    bill = billed(*items)
    found = compared([*WHOLE, *NODE], bill, cluster_resources={"lb-1": "load balancer"})
    shown = [row.line for one in found.compared for row in one.rows] + [
        row.line for one in (*found.resources, *found.other_clusters) for row in one.rows
    ]
    assert sorted(shown) == [row.line for row in bill.rows]
    there = sum(one.billed for one in found.compared) + sum(
        one.charged for one in (*found.resources, *found.other_clusters)
    )
    assert there == bill.charged


# the answer


def test_what_scripts_rely_on() -> None:
    found = compared(WHOLE, billed(fee(745), item("i-9", "Instance", gross=3.0, charged=3.0, product="ecs")))
    answer = json.loads(json.dumps(found.row()))
    assert answer["fees"] == {
        "metered": "66.96",
        "billed": "67.05",
        "difference": "0.09",
        "disputable": 1,
        "agrees": 0,
        "differs": 1,
        "not metered": 0,
        "not billed": 0,
    }
    assert (answer["period"], answer["currency"], answer["bill_total"]) == ("2026-10", "USD", "70.05")
    assert answer["resources"] == {"of_the_cluster": "0.00", "unknown": "3.00", "declared_and_not_on_the_bill": []}
    assert answer["lines"][0] == {
        "resource_id": "c1",
        "instance_id": "c1",
        "rule": "cluster-management",
        "item": "ACK Pro Pricing",
        "adjustment": False,
        "verdict": "differs",
        "metered": "66.96",
        "billed": "67.05",
        "difference": "0.09",
        "explained": False,
        "reason": "The bill counts 745, the statement 744 cluster-hours. Look for missing or late events; if there are none, dispute it.",
        "lines": [found.statement.lines[0].id],
        "bill_lines": [1],
    }
    assert answer["cloud_resources"][0] == {
        "instance_id": "i-9",
        "product": "ecs",
        "item": "Instance",
        "belongs_as": None,
        "gross": "3.00",
        "amount": "3.00",
        "bill_lines": [2],
    }


def test_the_text_of_a_reconciliation() -> None:
    nodes = [(f"n{number}", "node", "joined", "2026-09-05T10:20:00+08:00") for number in range(50)]
    words = reconciliation_text(
        compared([*WHOLE, *nodes], billed(fee(745), item("i-9", "Instance", charged=3.0, product="ecs")))
    ).splitlines()
    assert words[0] == "2026-10 compared with DescribeInstanceBill: 1 differs, 50 not billed"
    assert words[1].startswith(
        "DISPUTE ACK Pro Pricing of c1: metered USD 66.96, billed USD 67.05, difference 0.09. The bill counts 745"
    )
    assert words[2].startswith("hybrid-node-management of n0 and 49 more: not billed (USD 0.00). Waived")
    assert words[3:5] == [
        "1 resource on the bill without a declared owner: USD 3.00",
        "  i-9, ecs Instance: USD 3.00",
    ]


@pytest.mark.parametrize(
    ("statement", "bill", "message"),
    [
        pytest.param(metered(NODE, EDGE), billed(), "has prices of another product", id="prices of another product"),
        pytest.param(metered(WHOLE, ACK_PRO, Period.of("2026-10-05")), billed(), "is not a month", id="a day"),
        pytest.param(
            metered(WHOLE, ACK_PRO), billed(period=Period.month(2026, 9)), "the bill is of 2026-09", id="another month"
        ),
    ],
)
def test_what_cannot_be_compared(statement: Statement, bill: Bill, message: str) -> None:
    with pytest.raises(NotComparable, match=message):
        reconcile(statement, bill, read_at=LATER)


def test_what_could_not_be_judged() -> None:
    found = reconcile(metered(WHOLE, ACK_PRO, OCTOBER), billed(), read_at=LATER)
    assert found.notes[-1] == "The bill has no rows: it is of another account, or does not exist yet."
    assert "there is no bill of an earlier month" in found.notes[0]
