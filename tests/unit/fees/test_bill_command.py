"""`poolkeeper bill`, as a person or a script calls it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from poolkeeper.deployments.cli import main
from poolkeeper.tasks.fees.tariff.tariff_file import SHIPPED
from poolkeeper.tasks.ledger import LIFECYCLE, Spool
from tests.unit.fees.builders import csv_file, priced, tariff_text

ROWS: list[tuple[Any, ...]] = [
    ("c1", "cluster", "created", "2026-10-05T10:20:00+08:00"),
    ("c1", "cluster", "released", "2026-10-05T13:40:00+08:00"),
    ("n1", "node", "joined", "2026-10-05T10:20:00+08:00", 64, 0, "team=web"),
    ("n1", "node", "left", "2026-10-05T10:50:00+08:00", 64),
]
UNTIL = "2026-11-20T00:00:00Z"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POOLKEEPER_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def events(tmp_path: Path) -> Path:
    return csv_file(tmp_path, ROWS)


def bill(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["bill", *map(str, arguments)])


def answered(*arguments: object) -> dict[str, Any]:
    result = bill(*arguments, "--json")
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_what_scripts_rely_on(events: Path, state: Path) -> None:
    answer = answered("meter", "--events", events, "--tariff", SHIPPED / "ack-pro.yaml", "--period", "2026-10")
    assert (answer["currency"], answer["total"], answer["coverage"]) == ("USD", "0.18", 1.0)
    line = answer["lines"][0]
    keys = ("resource_id", "rule", "quantity", "unit", "unit_price", "amount", "from", "to")
    assert [line[key] for key in keys] == [
        "c1",
        "cluster-management",
        2,
        "per_cluster_hour",
        "0.09",
        "0.18",
        "2026-10-05T03:00:00+00:00",
        "2026-10-05T05:00:00+00:00",
    ]
    assert not state.exists()  # neither ledger nor cluster


def test_the_spool_is_read_without_events(state: Path) -> None:
    spool = Spool(state / "spool")
    at = datetime(2026, 10, 30, tzinfo=UTC)
    spool.append(
        LIFECYCLE, "run-1", "n1", [{"resource_id": "n1", "kind": "node", "event": "joined", "at": at, "vcpus": 64}]
    )
    answer = answered("meter", "--tariff", "ack-edge-comparator", "--period", "2026-10")
    assert (answer["total"], answer["comparator"]) == ("3.712", True)


def test_a_bill_in_words(events: Path) -> None:
    result = bill("meter", "--events", events, "--period", "2026-10", "--by", "team")
    assert result.exit_code == 0
    assert "2 cluster-hours" in result.stdout
    assert "2026-10 (open): USD 0.18, evidence for 100.0%" in result.stdout
    assert "  team web: USD 0.18" in result.stdout


@pytest.mark.parametrize("resource", ["[c1] of [/eu/one]", "arn:key:c1"])
def test_a_resource_is_shown_as_it_is_called(tmp_path: Path, resource: str) -> None:
    result = bill(
        "meter", "--events", csv_file(tmp_path, [(resource, *row[1:]) for row in ROWS[:2]]), "--period", "2026-10"
    )
    assert result.exit_code == 0, result.output
    assert resource in result.stdout


def test_an_allocation(events: Path) -> None:
    answer = answered("meter", "--events", events, "--period", "2026-10", "--by", "team", "--share-by", "web=1,ops=2")
    assert answer["allocation"] == {
        "by": "team",
        "key": "weights",
        "groups": [{"group": "ops", "amount": "0.12"}, {"group": "web", "amount": "0.06"}],
    }


def test_any_line_is_explained(events: Path) -> None:
    for tariff in ("ack-pro", "ack-edge-comparator"):
        for line in answered("meter", "--events", events, "--tariff", tariff, "--period", "2026-10")["lines"]:
            result = bill("explain", line["id"], "--events", events, "--tariff", tariff)
            assert result.exit_code == 0
            assert line["id"] in result.stdout


def test_the_text_of_an_explanation(events: Path) -> None:
    line = answered("meter", "--events", events, "--period", "2026-10")["lines"][0]
    assert bill("explain", line["id"], "--events", events).stdout == (
        f"USD 0.18 for cluster c1: line {line['id']}\n"
        "Fee: Cluster management fee of ACK managed Pro (rule cluster-management of tariff ack-pro).\n"
        "Quantity: 2 cluster-hours at USD 0.09 each make USD 0.18.\n"
        "Counting: Clock hours in UTC+8 are counted. The hour of the creation and the hour of the release are free.\n"
        "  from 2026-10-05 11:00 UTC+8 to 2026-10-05 13:00 UTC+8\n"
        "Price: USD 0.09 per_cluster_hour. Source: https://www.alibabacloud.com/help/en/ack/ack-managed-and-ack-dedicated/"
        "product-overview/ack-pro-cluster-billing (2026-03-26).\n"
        "Gaps: none; there is evidence for all of it.\n"
        "Evidence:\n"
        "  created at 2026-10-05 10:20 UTC+8: events.csv line 2\n"
        "  released at 2026-10-05 13:40 UTC+8: events.csv line 3\n"
    )


def test_a_line_that_is_not_there(events: Path) -> None:
    result = bill("explain", "2026-10-000000000000", "--events", events)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "2026-10 has no line 2026-10-000000000000." in result.stderr


def test_closing_twice_and_evidence_that_comes_late(tmp_path: Path, events: Path) -> None:
    first = answered("close", "--events", events, "--tariff", "ack-edge-comparator", "--period", "2026-09")
    assert (first["total"], first["was_closed"]) == ("0.00", False)
    october = answered("close", "--events", events, "--tariff", "ack-edge-comparator", "--period", "2026-10")
    late = csv_file(tmp_path, [*ROWS[:3], ("n1", "node", "left", "2026-10-06T10:50:00+08:00", 64)], "late.csv")
    again = answered("close", "--events", late, "--tariff", "ack-edge-comparator", "--period", "2026-10")
    assert again == october | {"was_closed": True}
    fresh = answered("meter", "--events", late, "--tariff", "ack-edge-comparator", "--period", "2026-10")
    assert (fresh["total"], fresh["closed"]) == ("3.712", False)
    arguments = ("--events", late, "--tariff", "ack-edge-comparator", "--against-closed")
    kept = answered("meter", *arguments, "--period", "2026-10")
    assert (kept["total"], kept["closed"]) == ("1.856", True)
    november = answered("meter", *arguments, "--period", "2026-11")
    (line,) = november["lines"]
    assert (line["amount"], line["corrects"]) == ("1.856", october["lines"][0]["id"])
    text = bill("explain", line["id"], *arguments).stdout
    assert f"It corrects line {line['corrects']} of a closed month: 64 vCPU-days for 1.856 were charged;" in text


def test_forecast(events: Path, tmp_path: Path) -> None:
    there = csv_file(tmp_path, [("n1", "node", "joined", "2026-10-05T10:20:00+08:00", 64)], "there.csv")
    answer = answered("forecast", "--events", there, "--until", UNTIL, "--period", "2026-11", "--price", "0.029", "--add", "1x64")  # fmt: skip
    published, hypothetical = answer["forecast"]
    assert (published["likely"], published["hypothetical"]) == ("0.00", False)
    assert (hypothetical["low"], hypothetical["likely"], hypothetical["hypothetical"]) == ("37.12", "55.68", True)
    assert hypothetical["planned_change"][1] == {"period": "2026-12", "amount": "57.536", "total": "115.072"}
    words = bill("forecast", "--events", there, "--until", UNTIL, "--period", "2026-11", "--price", "0.029").stdout
    assert "HYPOTHETICAL, this price is not published" in words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("meter", "--period", "2026-13"), "2026-13 is not in the calendar"),
        (("meter", "--period", "October"), "is not a period. Write a month like 2026-10"),
        (("meter", "--period", "2026-10", "--tariff", "absent"), "there is no file"),
        (("meter", "--period", "2026-10", "--until", "2026-11-01T00:00"), "has no time zone"),
        (("meter", "--period", "2026-10", "--until", "2999-01-01T00:00Z"), "is in the future"),
        (("meter", "--period", "2026-10", "--until", "soon"), "write a time in ISO 8601"),
        (
            ("meter", "--period", "2026-10", "--by", "team", "--share-by", "cores"),
            "is not a key for shared lines. Write nodes",
        ),
        (("close", "--period", "2026"), "is not a month"),
        (("reconcile", "--period", "2026"), "is not a month, and bills are monthly. Name a month"),
        (
            ("reconcile", "--period", "2026-10", "--tariff", "ack-edge-comparator"),
            "which no bill uses. Name the tariff of your cluster",
        ),
        (("reconcile", "--period", "2026-10", "--name", "c-1"), "write it like ID=TEXT"),
        (("close", "--period", "2026-10", "--until", "2026-10-20T00:00Z"), "Give evidence until the end of the month"),
        (("explain", "nonsense"), "is not a period"),
        (("forecast", "--price", "cheap"), "is not a price. Write a price like 0.029"),
        (("forecast", "--price", "1", "--unit", "per_core"), "is not a unit. Write one of per_cluster_hour"),
        (("forecast", "--price", "1", "--rule", "none"), "has no rule none"),
        (("forecast", "--price", "1", "--tariff", "ack-edge-comparator"), "Choose one rule"),
        (("forecast", "--remove", "1:pool=a"), "but there are 0"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], words: str) -> None:
    result = bill(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_every_problem_of_a_wrong_file_is_reported_and_nothing_is_written(tmp_path: Path, state: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("resource_id,kind,event,at\nn1,node,joined,2026-10-05T10:20\nn2,node,arrived,2026-10-05T10:20Z\n")
    for command in ("meter", "close"):
        result = bill(command, "--events", path, "--period", "2026-10", "--json")
        assert result.exit_code == 2
        answer = json.loads(result.stdout)
        assert [(p["line"], p["path"]) for p in answer["problems"]] == [(2, "at"), (3, "event")]
        assert all(p["fix"] for p in answer["problems"])
    assert not state.exists()


def test_a_missing_price_could_not_be_found_out(tmp_path: Path, events: Path) -> None:
    path = tmp_path / "tariff.yaml"
    path.write_text(tariff_text(priced("per_node_day", "calendar_days_started", "unknown")))
    result = bill("meter", "--events", events, "--tariff", path, "--period", "2026-10", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["unpriced"][0]["resource_id"] == "n1"
    assert bill("close", "--events", events, "--tariff", path, "--period", "2026-10").exit_code == 3


def test_a_closed_month_that_was_tampered_with_is_something_wrong(events: Path, state: Path) -> None:
    answered("close", "--events", events, "--period", "2026-10")
    path = state / "fees" / "ack-pro" / "2026-10.jsonl"
    path.chmod(0o644)
    path.write_text(path.read_text().replace("0.18", "0.81"))
    result = bill("meter", "--period", "2026-10")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "was changed after the month was closed" in result.stderr


EXAMPLES = Path(__file__).parents[3] / "deployments/examples"


@pytest.mark.parametrize(
    ("change", "code", "verdict", "difference"),
    [
        pytest.param(("", ""), 0, "agrees", "0.00", id="as metered"),
        pytest.param(("43.38,43.38,USD,482", "43.56,43.56,USD,484"), 1, "differs", "0.18", id="two hours too many"),
    ],
)
def test_reconcile_with_an_export(
    tmp_path: Path, change: tuple[str, str], code: int, verdict: str, difference: str
) -> None:
    export = tmp_path / "bill.csv"
    export.write_text((EXAMPLES / "vendor-bill.csv").read_text().replace(*change))
    events = EXAMPLES / "fee-events.csv"
    words = ["--events", events, "--period", "2026-10", "--bill", export, "--resource", "lb-example=load balancer"]
    result = bill("reconcile", *words, "--json")
    assert result.exit_code == code, result.output
    found = json.loads(result.stdout)
    cluster = next(line for line in found["lines"] if line["rule"] == "cluster-management")
    assert (cluster["verdict"], cluster["difference"]) == (verdict, difference)
    assert [row["instance_id"] for row in found["cloud_resources"]] == ["lb-example"], "shown, and not priced by us"


def test_reconcile_with_a_bill_in_another_currency_says_so(tmp_path: Path) -> None:
    export = tmp_path / "bill.csv"
    export.write_text((EXAMPLES / "vendor-bill.csv").read_text().replace("USD", "CNY"))
    events = EXAMPLES / "fee-events.csv"
    result = bill("reconcile", "--events", events, "--period", "2026-10", "--bill", export, "--json")
    assert result.exit_code == 2
    assert "CNY" in json.loads(result.stdout)["problems"][0]["message"]


FLEET = """\
fleet: acme
ssh: {user: ops, agent: true}
clusters:
  main:
    provider: {kubeadm: {}}
    kubeconfig: {env: KUBECONFIG}
    billed_resources: {lb-example: load balancer of the API server}
sites: {fra1: {time_zone: Europe/Berlin}}
pools: {general: {cluster: main, nodepool_id: np-1}}
hosts: {n1: {address: 10.1.0.11, site: fra1, pool: general}}
"""


@pytest.mark.parametrize(
    ("options", "belongs_as"),
    [
        pytest.param([], None, id="no fleet file"),
        pytest.param(["--fleet", "fleet.yaml"], "load balancer of the API server (main)", id="declared there"),
        pytest.param(["--fleet", "fleet.yaml", "--resource", "lb-example=ingress"], "ingress", id="said otherwise"),
        pytest.param(["--resource", "lb-example=ingress"], "ingress", id="said without a fleet file"),
    ],
)
def test_whose_a_cloud_resource_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], belongs_as: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fleet.yaml").write_text(FLEET)
    words = ["--events", EXAMPLES / "fee-events.csv", "--period", "2026-10", "--bill", EXAMPLES / "vendor-bill.csv"]
    found = answered("reconcile", *words, *options)
    (resource,) = found["cloud_resources"]
    assert (resource["instance_id"], resource["belongs_as"], resource["amount"]) == ("lb-example", belongs_as, "3.10")


def test_a_fleet_that_no_provider_bills_has_no_account_to_ask(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    result = bill("reconcile", "--fleet", path, "--period", "2026-10")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "no cluster of the fleet file has provider ack" in result.stderr
