"""The month as page, CSV and FOCUS rows."""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tasks.fees import ClosedPeriods, Period, ShareKey, close, evidence_of_csv, load_tariff, tariff_path
from tasks.fees.focus import COLUMNS, focus_rows
from tasks.fees.periods import instant
from tasks.fees.report import Month, month_of, page, write

EXAMPLE = Path(__file__).parents[3] / "deployments/examples/fee-events.csv"
PRO = load_tariff(tariff_path("ack-pro"))
OCTOBER = Period.of("2026-10")
NOVEMBER = datetime(2026, 11, 15, tzinfo=UTC)


def a_month(tmp_path: Path, period: Period = OCTOBER, now: datetime = NOVEMBER, events: Path = EXAMPLE) -> Month:
    closed = ClosedPeriods.of(tmp_path, PRO)
    return month_of(evidence_of_csv(events, now), PRO, period, instant(now), closed, ShareKey.of("nodes"))


def test_the_example_in_one_line(tmp_path: Path) -> None:
    """482 clock hours lie inside: 5 October 11:00 to 25 October 13:00 in UTC+8."""
    month = a_month(tmp_path)
    assert month.summary == "2026-10 (open): USD 43.38, 4 lines, 3 of them waived, evidence for 100.0%"
    assert month.outlook is None


def test_splits_add_up_and_only_labels_that_are_there_are_split_by(tmp_path: Path) -> None:
    month = a_month(tmp_path)
    assert list(month.allocations) == ["site", "pool", "team"]
    for allocation in month.allocations.values():
        assert sum(allocation.totals().values()) == Decimal("43.38")


def test_a_running_month_has_an_outlook(tmp_path: Path) -> None:
    so_far = tmp_path / "events.csv"
    so_far.write_text("".join(EXAMPLE.read_text().splitlines(keepends=True)[:4]))
    month = a_month(tmp_path, now=datetime(2026, 10, 10, tzinfo=UTC), events=so_far)
    assert month.outlook is not None
    assert month.outlook.total > month.statement.total
    assert "still running" in month.summary
    assert "When the month is over" in page(month)


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    text = page(a_month(tmp_path))
    assert "<script" not in text
    assert not re.findall(r"(?:src|href)=[\"'](?!#)", text.replace("xlink:href", "href"))
    assert "@import" not in text
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
    close(evidence, PRO, OCTOBER, instant(NOVEMBER), ClosedPeriods.of(tmp_path, PRO))
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
    assert tuple(cluster) == COLUMNS
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
    close(evidence, PRO, OCTOBER, instant(NOVEMBER), ClosedPeriods.of(tmp_path, PRO))
    late = tmp_path / "late.csv"
    text = EXAMPLE.read_text()
    late.write_text(text.replace("2026-10-25T13:40:00", "2026-10-25T15:40:00") if corrects else text)
    month = a_month(tmp_path, Period.of("2026-11"), datetime(2026, 12, 2, tzinfo=UTC), late)
    found = [row for row in focus_rows(month.statement) if row["ChargeClass"] == "Correction"]
    assert [(row["BilledCost"], row["PricingQuantity"]) for row in found] == ([("0.18", "")] if corrects else [])
