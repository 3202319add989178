"""The lab's account: its bill is counted by the vendor's rule, apart from `tasks.fees`, and reconciles out of the box."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from poolkeeper.deployments.cli import main
from poolkeeper.deployments.lab.billing import CLOUD_RESOURCES, LINE_ID, OTHER_CLUSTER, bill_rows, billed_hours
from poolkeeper.deployments.lab.layout import CLUSTER_ID
from poolkeeper.tasks.fees.periods import Period, billing_day, instant
from tests.contract.lab.conftest import RunningLab


@pytest.mark.parametrize(
    ("cycle", "created", "now", "hours"),
    [
        pytest.param("2026-10", "2026-10-05T10:20:00+08:00", "2026-10-05T13:40:00+08:00", 2, id="the vendor's example"),
        pytest.param("2026-10", "2026-10-05T10:20:00+08:00", "2026-10-05T10:50:00+08:00", 0, id="within one hour"),
        pytest.param(
            "2026-10", "2026-10-31T22:10:00+08:00", "2026-11-01T02:30:00+08:00", 1, id="until midnight in UTC+8"
        ),
        pytest.param("2026-11", "2026-10-31T22:10:00+08:00", "2026-11-01T02:30:00+08:00", 2, id="from midnight on"),
        pytest.param("2026-12", "2026-10-31T22:10:00+08:00", "2027-02-01T00:00:00+08:00", 744, id="a whole month"),
        pytest.param("2026-09", "2026-10-31T22:10:00+08:00", "2027-02-01T00:00:00+08:00", 0, id="before it was there"),
    ],
)
def test_hours(cycle: str, created: str, now: str, hours: int) -> None:
    times = datetime.fromisoformat(created), datetime.fromisoformat(now)
    assert billed_hours(cycle, *times) == hours
    assert {row["Usage"] for row in bill_rows(cycle, *times)} == ({str(hours)} if hours else set())


def test_it_reconciles_out_of_the_box(lab: RunningLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No flow has run, and no evidence is there: the provider is asked since when the cluster exists."""
    monkeypatch.setenv("POOLKEEPER_STATE", str(tmp_path))
    monkeypatch.setenv("POOLKEEPER_FLEET", str(lab.folder.fleet))
    month = last_month()
    result = CliRunner().invoke(main, ["bill", "reconcile", "--period", month.name, "--json"])
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    assert [(line["resource_id"], line["verdict"]) for line in answer["lines"]] == [(CLUSTER_ID, "agrees")]
    assert answer["lines"][0]["metered"] != "0.00"
    assert answer["findings"] == answer["notes"] == [], "the month before is asked for, to know what is new"
    cluster_resources = {row["instance_id"] for row in answer["cloud_resources"] if row["belongs_as"]}
    assert cluster_resources == {LINE_ID, *(one.instance_id for one in CLOUD_RESOURCES)}
    assert [row["instance_id"] for row in answer["cloud_resources"] if not row["belongs_as"]] == ["d-someone-elses"]
    assert [row["instance_id"] for row in answer["other_clusters"]] == [OTHER_CLUSTER]


def last_month() -> Period:
    """It is whole: no hour passes between the bill and the evidence."""
    day = billing_day(instant(datetime.now(UTC))).replace(day=1) - timedelta(days=1)
    return Period.month(day.year, day.month)
