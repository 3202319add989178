"""Fees as a user meters them: from an example, and from what onboarding has written and the provider tells."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from poolkeeper.deployments.lab.billing import CREATED_AT, OTHER_CLUSTER, bill_rows
from tests.e2e.conftest import Cluster, ask_prefect

EXAMPLE = Path(__file__).parents[2] / "deployments/examples/fee-events.csv"


def test_a_month_from_a_file_and_closed_once(new_lab: Callable[[int], Cluster]) -> None:
    cluster = new_lab(1)
    words = ["run", "meter", "-p", "period=2026-10", "-p", f"events={EXAMPLE}", "-p", "close=true", "--json"]
    first, again = cluster.poolkeeper(*words), cluster.poolkeeper(*words)
    summary = "2026-10 (closed): USD 43.38, 4 lines, 3 of them waived, evidence for 100.0%"
    assert (first.code, first.answer["state"], first.answer["summary"]) == (0, "completed", summary)
    assert again.answer["summary"] == summary
    _, page, lines, focus = map(Path, first.answer["files"])
    assert "Fees of 2026-10" in page.read_text()
    assert len(list(csv.DictReader(lines.read_text().splitlines()))) == 4
    assert sum(float(row["BilledCost"]) for row in csv.DictReader(focus.read_text().splitlines())) == 43.38


def test_what_onboarding_wrote_is_the_evidence(new_lab: Callable[[int], Cluster]) -> None:
    cluster = new_lab(2)
    assert cluster.onboard().code == 0
    ended = cluster.poolkeeper("run", "meter", "--json")
    assert ended.code == 0, ended.err
    _, _, lines, _ = map(Path, ended.answer["files"])
    rows = list(csv.DictReader(lines.read_text().splitlines()))
    nodes = {row["resource_id"].split("/")[1]: row for row in rows if row["rule"] == "hybrid-node-management"}
    assert nodes.keys() == set(cluster.names)
    assert {(row["quantity"], row["amount"], row["waiver"][:6]) for row in nodes.values()} == {("1", "0.00", "waived")}


def test_wrong_input_is_answered_whole(new_lab: Callable[[int], Cluster], tmp_path: Path) -> None:
    cluster = new_lab(1)
    bad = tmp_path / "bad.csv"
    bad.write_text(EXAMPLE.read_text().replace("+08:00", "", 1).replace("joined", "jioned", 1))
    ended = cluster.poolkeeper("run", "meter", "-p", "period=2026-10", "-p", f"events={bad}", "--json")
    assert (ended.code, ended.answer["state"]) == (2, "invalid")
    assert "bad.csv:2:" in ended.answer["summary"]
    assert "bad.csv:3:" in ended.answer["summary"]
    assert not (cluster.state / "reports").exists()


def others_on_the_bill() -> list[str]:
    """Clusters on the lab's bill of this month that are another team's: none in its first hour, which is not billed yet."""
    now = datetime.now(UTC)
    rows = bill_rows(f"{now.astimezone(timezone(timedelta(hours=8))):%Y-%m}", CREATED_AT, now)
    return [OTHER_CLUSTER] if any(row["InstanceID"] == OTHER_CLUSTER for row in rows) else []


def test_against_the_account_s_bill_and_with_what_is_to_come(new_lab: Callable[[int], Cluster]) -> None:
    cluster, others = new_lab(1), others_on_the_bill()
    words = ["-p", "bill=bss", "-p", "hypothetical_price=0.029", "-p", "planned_joins=20x64"]
    ended = cluster.poolkeeper("run", "meter", *words, "--json")
    assert (ended.code, ended.answer["state"]) == (0, "completed"), ended.err
    found = ended.answer["reconciliation"]
    assert [(line["resource_id"], line["rule"]) for line in found["lines"]] == [
        ("c-poolkeeper-lab", "cluster-management")
    ]
    assert found["fees"]["disputable"] == 0
    assert [row["instance_id"] for row in found["other_clusters"]] == others
    text = Path(ended.answer["files"][1]).read_text()
    for told in ("Compared with the vendor", "Hypothetical, this price is not published"):
        assert told in text
    assert ("dedicated line to fra1 (main)" in text) == bool(others), "it is on the bill like theirs"
    wanted = {"artifacts": {"flow_run_id": {"any_": [ended.answer["run_id"]]}}}
    artifacts = {a["key"]: a["data"] for a in ask_prefect(cluster, "POST", "/artifacts/filter", wanted)}
    assert artifacts.keys() == {"fees", "fee-lines", "fee-bill"}
    for told in ("## Forecast", "**Hypothetical, this price is not published:**"):
        assert told in artifacts["fees"]
    assert [
        name for name in (OTHER_CLUSTER,) if f"another cluster of the account: {name}" in artifacts["fees"]
    ] == others
    assert "c-poolkeeper-lab" in artifacts["fee-bill"]


def test_a_bill_that_is_not_one_is_answered_whole(new_lab: Callable[[int], Cluster], tmp_path: Path) -> None:
    cluster = new_lab(1)
    bad = tmp_path / "bill.csv"
    bad.write_text((EXAMPLE.parent / "vendor-bill.csv").read_text().replace("USD", "CNY"))
    ended = cluster.poolkeeper("run", "meter", "-p", "period=2026-10", "-p", f"bill={bad}", "--json")
    assert (ended.code, ended.answer["state"]) == (2, "invalid")
    assert "bill.csv:2:1: Currency" in ended.answer["summary"]
    assert not (cluster.state / "reports").exists()
