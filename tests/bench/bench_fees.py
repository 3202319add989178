"""How long a year's bill takes: 5,000 nodes, 200,000 events. Prints JSON; nothing passes or fails by it.

The year is metered from the CSV file to lines, by a tariff that prices each node's vCPU-days and, in another run, by
tiers on the daily maximum of all. A month is closed twice over: as the first one, and as the twelfth, with eleven
closed months whose evidence has to be looked at again, and some of which has changed.

    python -m tests.bench.bench_fees [NODES] [EVENTS]
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from poolkeeper.tasks.fees.closing.close import close
from poolkeeper.tasks.fees.closing.closed_months import ClosedMonths
from poolkeeper.tasks.fees.metering.statement import meter
from poolkeeper.tasks.fees.periods import Period, instant
from poolkeeper.tasks.fees.tariff.tariff_model import Tariff
from poolkeeper.tasks.fees.usage.evidence import UsageEvidence, evidence_of_csv
from tests.bench.memory import peak_mb
from tests.unit.fees.builders import ACK_PRO, EDGE, LINGJUN, Row, csv_file

T = TypeVar("T")

START = datetime(2025, 1, 1, tzinfo=UTC)
YEAR = Period.of("2025")
NOW = datetime(2026, 2, 1, tzinfo=UTC)


def rows(nodes: int, events: int) -> list[Row]:
    """A cluster, and nodes that join, change state, are resized, leave and join again, all year long."""
    chance = random.Random(6)  # the same year every time
    found: list[Row] = [("c1", "cluster", "created", START.isoformat(), "", "", "")]
    each, rest = divmod(events - 1, nodes)
    for number in range(nodes):
        labels = f"pool=p{number % 20};site=s{number % 7};team=t{number % 11}"
        minutes = sorted(chance.sample(range(365 * 24 * 60), each + (number < rest)))
        there, vcpus = False, chance.choice([16, 32, 64, 96])
        for minute in minutes:
            at = (START + timedelta(minutes=minute)).isoformat()
            if not there:
                event, there = "joined", True
            else:
                event = chance.choices(["state:NotReady", "state:Ready", "resized", "left"], [45, 45, 5, 5])[0]
                there = event != "left"
            if event == "resized":
                vcpus = chance.choice([16, 32, 64, 96])
            sized = event in ("joined", "resized")
            found.append(
                (
                    f"n{number:05}",
                    "node",
                    event,
                    at,
                    vcpus if sized else "",
                    8 if sized else "",
                    labels if sized else "",
                )
            )
    chance.shuffle(found)
    return found


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds, and what came of it."""
    began = time.perf_counter()
    result = work()
    return round(time.perf_counter() - began, 2), result


def changed_in(evidence: UsageEvidence, nodes: int) -> UsageEvidence:
    """The same, but for some nodes of which it is learnt late that they had a vCPU more all year."""
    changed = 0
    records = []
    for record in evidence.records:
        if record.kind == "node" and changed < nodes:
            changed += 1
            lives = tuple(
                replace(life, phases=tuple(replace(phase, vcpus=(phase.vcpus or 0) + 1) for phase in life.phases))
                for life in record.lifetimes
            )
            records.append(replace(record, lifetimes=lives))
        else:
            records.append(record)
    return replace(evidence, records=tuple(records))


def a_year_closed(evidence: UsageEvidence, prices: Tariff, folder: Path) -> tuple[list[float], float, float]:
    """Seconds of closing each month of the year; and of closing the last one when the evidence of fifty nodes, or of
    all, has changed since in all eleven others."""
    seconds = []
    lasts = {"in time": evidence, "few": changed_in(evidence, 50), "all": changed_in(evidence, len(evidence.records))}
    for name, last in lasts.items():
        closed = ClosedMonths(folder / name)
        for month in range(1, 13):
            by = last if month == 12 else evidence
            took, _ = timed(lambda: close(by, prices, Period.month(2025, month), instant(NOW), closed))  # noqa: B023
            seconds.append(took)
    return seconds[:12], seconds[23], seconds[35]


def main(nodes: int, events: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        path = csv_file(Path(folder), rows(nodes, events))
        read_s, evidence = timed(lambda: evidence_of_csv(path, NOW))
        meter_s, statement = timed(lambda: meter(evidence, EDGE, YEAR, instant(NOW)))
        year_peak_mb = round(peak_mb())
        pro_s, _ = timed(lambda: meter(evidence, ACK_PRO, YEAR, instant(NOW)))
        tiers_s, _ = timed(lambda: meter(evidence, LINGJUN, YEAR, instant(NOW)))
        month_s, month = timed(lambda: meter(evidence, EDGE, Period.month(2025, 6), instant(NOW)))
        closed_s, few_s, all_s = a_year_closed(evidence, EDGE, Path(folder))
        figures = {
            "nodes": nodes,
            "events": sum(len(record.events) for record in evidence.records),
            "file_bytes": path.stat().st_size,
            "read_s": read_s,
            "meter_year_s": meter_s,
            "read_and_meter_year_s": round(read_s + meter_s, 2),
            "year_peak_mb": year_peak_mb,
            "year_lines": len(statement.lines),
            "meter_year_ack_pro_s": pro_s,
            "meter_year_tiers_s": tiers_s,
            "meter_month_s": month_s,
            "month_lines": len(month.lines),
            "close_first_month_s": closed_s[0],
            "close_twelfth_month_s": closed_s[-1],
            "close_twelfth_month_fifty_nodes_late_in_eleven_s": few_s,
            "close_twelfth_month_all_nodes_late_in_eleven_s": all_s,
            "peak_mb": round(peak_mb()),
        }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000, int(sys.argv[2]) if len(sys.argv) > 2 else 200_000)
