"""Evidence from short rows, and small tariffs."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from poolkeeper.tasks.fees.metering.statement import Statement, meter
from poolkeeper.tasks.fees.periods import Period, instant
from poolkeeper.tasks.fees.tariff.tariff_file import load_tariff, tariff_of, tariff_path
from poolkeeper.tasks.fees.tariff.tariff_model import Tariff
from poolkeeper.tasks.fees.usage.events import EVENT_COLUMNS, EventReader, EvidenceInvalid, UsageEvent
from poolkeeper.tasks.fees.usage.evidence import UsageEvidence
from poolkeeper.tasks.fees.usage.usage_records import usage_records_of

NOW = datetime(2027, 6, 1, tzinfo=UTC)
"""Long after every event of these tests."""

OCTOBER = Period.month(2026, 10)

ACK_PRO = load_tariff(tariff_path("ack-pro"))
EDGE = load_tariff(tariff_path("ack-edge-comparator"))

Row = tuple[Any, ...]
"""resource_id, kind, event, at, and where they matter vcpus, gpus, labels."""


def evidence_of(rows: Iterable[Row], until: datetime = NOW) -> UsageEvidence:
    """Evidence from rows, read as those of a file are. Raises EvidenceInvalid for contradictions."""
    reader = EventReader(instant(until))
    events = [reader.read(row_of(row), "rows", line) for line, row in enumerate(rows, start=2)]
    assert all(isinstance(event, UsageEvent) for event in events), events
    records, problems = usage_records_of(event for event in events if isinstance(event, UsageEvent))
    if problems:
        raise EvidenceInvalid("rows", problems)
    return UsageEvidence(records, reader.until_us, "rows")


def row_of(row: Row) -> dict[str, Any]:
    return dict(zip(EVENT_COLUMNS, (*row, *[""] * (7 - len(row))), strict=True))


def csv_file(folder: Path, rows: Iterable[Row], name: str = "events.csv") -> Path:
    path = folder / name
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(EVENT_COLUMNS)
        writer.writerows(row_of(row).values() for row in rows)
    return path


def metered(rows: Iterable[Row], tariff: Tariff, period: Period = OCTOBER, now: datetime = NOW) -> Statement:
    return meter(evidence_of(rows, min(now, NOW)), tariff, period, instant(now))


def tariff(rule: str, *, rounding: str = "{of: none}") -> Tariff:
    """A tariff of one rule, whose lines are given."""
    text = tariff_text(rule, rounding=rounding)
    found, problems = tariff_of(text)
    assert found is not None, problems
    return found


def tariff_text(rule: str, *, rounding: str = "{of: none}") -> str:
    body = "".join(f"    {line}\n" for line in rule.strip().splitlines())
    return (
        f"tariff: test\ntitle: a test\ncurrency: USD\nregion: anywhere\nrounding: {rounding}\n"
        f"rules:\n  fee:\n    title: a fee\n{body}"
    )


def priced(unit: str, counts: str, price: str = "1") -> str:
    """A rule's lines with one price, from before every test."""
    return f"unit: {unit}\ncounts: {counts}\nprices: [{{from: 2020-01-01, price: {price}, source: test, dated: 2026-01-01}}]"


LINGJUN = tariff("""
unit: per_gpu_day
counts: daily_maximum
prices:
  - from: 2020-01-01
    tiers: [{up_to: 100, price: 1.5625}, {up_to: 500, price: 1.25}, {up_to: 1000, price: 0.9375}, {price: 0.625}]
    source: https://www.alibabacloud.com/help/en/ack/ack-lingjun-managed-clusters/product-overview/billingofacklingjun
    dated: 2026-01-01
""")
"""ACK Lingjun's GPU fee: cumulative tiers on the daily maximum."""
