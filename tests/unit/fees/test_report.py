"""The month as page, CSV and FOCUS rows."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from poolkeeper.tasks.fees import ClosedMonths, Period, ShareKey, close, evidence_of_csv, load_tariff, tariff_path
from poolkeeper.tasks.fees.bill.reconciliation import reconcile
from poolkeeper.tasks.fees.metering.month_forecast import ForecastRequest
from poolkeeper.tasks.fees.periods import instant
from poolkeeper.tasks.fees.reports.fees_page import page
from poolkeeper.tasks.fees.reports.focus import FOCUS_COLUMNS, focus_rows
from poolkeeper.tasks.fees.reports.month import NOTHING_REQUESTED, Month, month_of
from poolkeeper.tasks.fees.reports.report_files import write
from tests.unit.fees.billed import billed, item
from tests.unit.pages.reading import Read

EXAMPLE = Path(__file__).parents[3] / "deployments/examples/fee-events.csv"
PRO = load_tariff(tariff_path("ack-pro"))
OCTOBER = Period.of("2026-10")
NOVEMBER = datetime(2026, 11, 15, tzinfo=UTC)


def a_month(
    tmp_path: Path,
    period: Period = OCTOBER,
    now: datetime = NOVEMBER,
    events: Path = EXAMPLE,
    asked: ForecastRequest = NOTHING_REQUESTED,
) -> Month:
    closed = ClosedMonths.of(tmp_path, PRO)
    return month_of(evidence_of_csv(events, now), PRO, period, instant(now), closed, ShareKey.of("nodes"), asked)


def test_the_example_in_one_line(tmp_path: Path) -> None:
    """482 clock hours lie inside: 5 October 11:00 to 25 October 13:00 in UTC+8."""
    month = a_month(tmp_path)
    assert month.summary == "2026-10 (open): USD 43.38, 4 lines, 3 of them waived, evidence for 100.0%"
    assert month.forecast == ()


def test_splits_add_up_and_only_labels_that_are_there_are_split_by(tmp_path: Path) -> None:
    month = a_month(tmp_path)
    assert list(month.allocations) == ["site", "pool", "team"]
    for allocation in month.allocations.values():
        assert sum(allocation.totals().values()) == Decimal("43.38")


def test_a_running_month_has_a_forecast(tmp_path: Path) -> None:
    so_far = tmp_path / "events.csv"
    so_far.write_text("".join(EXAMPLE.read_text().splitlines(keepends=True)[:4]))
    month = a_month(tmp_path, now=datetime(2026, 10, 10, tzinfo=UTC), events=so_far)
    (forecast,) = month.forecast
    assert forecast.end.total > month.statement.total
    assert "still running" in month.summary
    assert "Likely total at the end of the month" in page(month)


def test_the_page_says_what_the_month_costs_and_why(tmp_path: Path) -> None:
    text = page(a_month(tmp_path))
    for words in ("43.38", "waived", "c-example", "By site", "Hybrid node management fee"):
        assert words in text


def test_what_people_and_hosts_write_is_text_on_the_page_and_no_formula_in_the_csv(tmp_path: Path) -> None:
    evil = tmp_path / "events.csv"
    evil.write_text(EXAMPLE.read_text().replace("fra1-n01", "=1+<script>alert(1)</script>"))
    month = a_month(tmp_path, events=evil)
    assert "<script>alert" not in page(month)
    files = write(month, tmp_path / "out")
    ids = [row["resource_id"] for row in csv.DictReader(Path(files[1]).read_text().splitlines())]
    assert "'=1+<script>alert(1)</script>" in ids


def test_closed_months_make_the_trend_and_stay(tmp_path: Path) -> None:
    evidence = evidence_of_csv(EXAMPLE, NOVEMBER)
    close(evidence, PRO, OCTOBER, instant(NOVEMBER), ClosedMonths.of(tmp_path, PRO))
    assert a_month(tmp_path).is_closed
    month = a_month(tmp_path, Period.of("2026-11"), datetime(2026, 12, 2, tzinfo=UTC))
    assert [name for name, _ in month.trend] == ["2026-10", "2026-11"]
    assert month.trend[0][1] == Decimal("43.38")


def test_files_are_written_whole_and_have_every_line(tmp_path: Path) -> None:
    files = [Path(file) for file in write(a_month(tmp_path), tmp_path / "out")]
    assert [file.name for file in files] == ["fees-2026-10.html", "fees-2026-10.csv", "fees-2026-10-focus.csv"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(file.name for file in files)
    assert len(list(csv.DictReader(files[1].read_text().splitlines()))) == 4


def test_focus_rows(tmp_path: Path) -> None:
    rows = {row["ResourceId"]: row for row in focus_rows(a_month(tmp_path).statement, "1234")}
    cluster, node = rows["c-example"], rows["fra1-n01"]
    assert tuple(cluster) == FOCUS_COLUMNS
    assert {key: cluster[key] for key in ("BilledCost", "ListCost", "PricingQuantity", "PricingUnit", "SkuId")} == {
        "BilledCost": "43.38",
        "ListCost": "43.38",
        "PricingQuantity": "482",
        "PricingUnit": "cluster-hour",
        "SkuId": "cluster-management",
    }
    assert (cluster["ChargePeriodStart"], cluster["BillingPeriodStart"]) == (
        "2026-10-05T03:00:00Z",
        "2026-09-30T16:00:00Z",
    )
    assert (node["BilledCost"], node["ListUnitPrice"]) == ("0.00", ""), "nobody has published its list price"
    assert node["x_Waiver"].startswith("waived")
    assert node["Tags"] == '{"pool": "general", "site": "fra1", "team": "web"}'
    assert sum(Decimal(row["BilledCost"]) for row in rows.values()) == Decimal("43.38")


@pytest.mark.parametrize("corrects", [True, False])
def test_a_correction_is_a_charge_class_without_prices(tmp_path: Path, corrects: bool) -> None:
    evidence = evidence_of_csv(EXAMPLE, NOVEMBER)
    close(evidence, PRO, OCTOBER, instant(NOVEMBER), ClosedMonths.of(tmp_path, PRO))
    late = tmp_path / "late.csv"
    text = EXAMPLE.read_text()
    late.write_text(text.replace("2026-10-25T13:40:00", "2026-10-25T15:40:00") if corrects else text)
    month = a_month(tmp_path, Period.of("2026-11"), datetime(2026, 12, 2, tzinfo=UTC), late)
    found = [row for row in focus_rows(month.statement) if row["ChargeClass"] == "Correction"]
    assert [(row["BilledCost"], row["PricingQuantity"]) for row in found] == ([("0.18", "")] if corrects else [])


def reconciled(tmp_path: Path, *items: dict[str, Any], **asked: Any) -> Month:
    """The example's month against a bill."""
    month = a_month(tmp_path, **asked)
    found = reconcile(
        month.statement,
        billed(*items),
        read_at=datetime(2026, 12, 1, tzinfo=UTC),
        cluster_resources={"lb-1": "load balancer of the API server", "vbr-1": "dedicated line"},
    )
    return replace(month, reconciliation=found)


FEE = item("c-example", gross=43.56, charged=43.56, usage="484", price="0.09")
BALANCER = item("lb-1", "LCU", gross=3.1, charged=3.1, product="slb")


@pytest.mark.parametrize(
    ("items", "words"),
    [
        pytest.param(
            [FEE, BALANCER],
            ["DISPUTE: differs", "0.18", "the hours of the creation and the release are free", "1 to dispute"],
            id="a line to dispute",
        ),
        pytest.param([FEE], ["not billed", "Waived during the preview"], id="lines that the bill does not print"),
        pytest.param([FEE, BALANCER], ["load balancer of the API server", "3.10"], id="a cloud resource"),
        pytest.param([FEE], ["not on this bill: lb-1, vbr-1"], id="resources that the bill does not have"),
        pytest.param([FEE, item("i-9", "<b>Disk", charged=1.0)], ["&lt;b&gt;Disk"], id="text of a bill is text"),
        pytest.param(
            [FEE, item("d-9", "Disk", charged=1.0, product="ecs")],
            ["Resources without a declared owner: USD 1.00"],
            id="of nobody",
        ),
        pytest.param(
            [FEE, FEE | {"InstanceID": "c-9"}], ["Other clusters of the account: USD 43.56"], id="another cluster"
        ),
        pytest.param(
            [FEE, item("n9", "ACK Hybrid Node", gross=5.0, discount=5.0)],
            ["fees.bill.item.discounted", "poolkeeper bill forecast --price PRICE"],
            id="what announces a change",
        ),
    ],
)
def test_the_page_against_the_bill(tmp_path: Path, items: list[dict[str, Any]], words: list[str]) -> None:
    text = page(reconciled(tmp_path, *items))
    assert [word for word in words if word not in text] == []
    assert "<b>Disk" not in text


def test_what_many_lines_have_in_common_is_one_row_and_the_csv_has_all(tmp_path: Path) -> None:
    many = tmp_path / "events.csv"
    nodes = "".join(f"n{n:02},node,joined,2026-10-05T15:00:00+08:00,64,0,\n" for n in range(30))
    many.write_text(EXAMPLE.read_text() + nodes)
    month = reconciled(tmp_path, FEE, events=many)
    assert "ams1-n01 and 32 more" in page(month)
    files = write(month, tmp_path / "out")
    assert files[3].endswith("fees-2026-10-bill.csv")
    rows = list(csv.DictReader(Path(files[3]).read_text().splitlines()))
    assert (len(rows), rows[0]["verdict"], rows[0]["difference"]) == (34, "differs", "0.18")
    assert rows[0]["lines"] in {line.id for line in month.statement.lines}


def test_without_a_bill_nothing_is_said_of_one(tmp_path: Path) -> None:
    month = a_month(tmp_path)
    assert "vendor" not in page(month)
    assert len(write(month, tmp_path / "out")) == 3


@pytest.mark.parametrize(
    ("now", "words"),
    [
        pytest.param(datetime(2026, 10, 10, tzinfo=UTC), "would add", id="running"),
        pytest.param(NOVEMBER, "would have added", id="over"),
    ],
)
def test_a_hypothetical_price_is_labelled_and_in_no_total(tmp_path: Path, now: datetime, words: str) -> None:
    so_far = tmp_path / "so-far.csv"
    so_far.write_text("".join(EXAMPLE.read_text().splitlines(keepends=True)[:4]))
    asked = ForecastRequest.of("0.029", "per_vcpu_day", joining=["20x64"])
    month = a_month(tmp_path, now=now, events=so_far, asked=asked)
    text = page(month)
    (paragraph,) = (words for words in Read(text).paragraphs if words.startswith("Hypothetical"))
    assert paragraph.startswith("Hypothetical, this price is not published: ")
    assert f"USD 0.029 per_vcpu_day {words} USD 100.224" in paragraph, "2 nodes of 64 vCPUs, 27 days"
    assert "Planned change, at the hypothetical price" in text
    assert month.statement.total < 100
