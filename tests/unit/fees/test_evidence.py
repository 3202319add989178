"""Rows of evidence: good ones, and every way to be wrong, each with line and fix."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from poolkeeper.tasks.fees.metering.statement import meter
from poolkeeper.tasks.fees.periods import instant
from poolkeeper.tasks.fees.usage.events import EvidenceInvalid
from poolkeeper.tasks.fees.usage.evidence import UsageEvidence, evidence_of_csv, evidence_of_spool
from poolkeeper.tasks.fleet import Problem
from poolkeeper.tasks.ledger import LIFECYCLE, Spool
from tests.unit.fees.builders import ACK_PRO, EDGE, NOW, OCTOBER, csv_file, evidence_of, metered

HEADER = "resource_id,kind,event,at,vcpus,gpus,labels\n"
JOINED = "n1,node,joined,2026-10-05T10:20:00+08:00,64,0,pool=a\n"


def read(folder: Path, text: str | bytes, until: datetime = NOW) -> UsageEvidence:
    path = folder / "events.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return evidence_of_csv(path, until)


def problems(folder: Path, text: str | bytes) -> tuple[Problem, ...]:
    with pytest.raises(EvidenceInvalid) as raised:
        read(folder, text)
    return raised.value.problems


def row(phrase: str, text: str, line: int, column: int, path: str, message: str, fix: str) -> Any:
    return pytest.param(text, (line, column, path, message, fix), id=phrase)


SIZE_FIX = "Write a whole number from 0 to 100,000, or leave it empty when it is not known."
LABELS_FIX = 'Write labels like pool=general;team=web, or as JSON: {"pool": "general"}.'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        row("no zone", "n1,node,joined,2026-10-05T10:20:00,64,,", 2, 16, "at", "'2026-10-05T10:20:00' has no time zone.", "Write its offset from UTC, like 2026-10-05T10:20:00+08:00, or Z for UTC."),
        row("no zone, in an hour that comes twice", "n1,node,joined,2026-10-25T02:30,64,,", 2, 16, "at", "'2026-10-25T02:30' has no time zone.", "Write its offset from UTC, like 2026-10-25T02:30:00+08:00, or Z for UTC."),
        row("a zone's name is no offset", "n1,node,joined,2026-10-25T02:30[Europe/Berlin],64,,", 2, 16, "at", "'2026-10-25T02:30[Europe/Berlin]' is not a time in ISO 8601.", "Write it like 2026-10-05T10:20:00+08:00."),
        row("no time at all", "n1,node,joined,yesterday,64,,", 2, 16, "at", "'yesterday' is not a time in ISO 8601.", "Write it like 2026-10-05T10:20:00+08:00."),
        row("empty time", "n1,node,joined,,64,,", 2, 16, "at", "'' is not a time in ISO 8601.", "Write it like 2026-10-05T10:20:00+08:00."),
        row("the future", "n1,node,joined,2027-06-01T08:00:01+08:00,64,,", 2, 16, "at", "'2027-06-01T08:00:01+08:00' is in the future.", "Correct the time or its offset, or the clock of the machine that wrote it."),
        row("unknown event", "n1,node,join,2026-10-05T10:20Z,64,,", 2, 9, "event", "'join' is not an event.", "Did you mean joined?"),
        row("a state without a name", "n1,node,state:,2026-10-05T10:20Z,64,,", 2, 9, "event", "'state:' has no state.", "Write the state after the colon, like state:Ready."),
        row("a cluster joins", "c1,cluster,joined,2026-10-05T10:20Z,,,", 2, 12, "event", "a cluster is not joined.", "The lifetime of a cluster begins with created and ends with released."),
        row("a node is released", "n1,node,released,2026-10-05T10:20Z,,,", 2, 9, "event", "a node is not released.", "The lifetime of a node begins with joined and ends with left."),
        row("unknown kind", "n1,host,joined,2026-10-05T10:20Z,64,,", 2, 4, "kind", "'host' is not a kind of resource.", "Write cluster or node."),
        row("no resource", ",node,joined,2026-10-05T10:20Z,64,,", 2, 1, "resource_id", "resource_id is empty.", "Write the id of the cluster or node."),
        row("a fraction", "n1,node,joined,2026-10-05T10:20Z,2.5,,", 2, 34, "vcpus", "'2.5' is not a number of vCPUs.", SIZE_FIX),
        row("a negative number", "n1,node,joined,2026-10-05T10:20Z,,-1,", 2, 35, "gpus", "'-1' is not a number of GPUs.", SIZE_FIX),
        row("no vCPU", "n1,node,joined,2026-10-05T10:20Z,0,,", 2, 34, "vcpus", "a node has at least one vCPU.", "Leave it empty when it is not known."),
        row("resized to nothing", "n1,node,resized,2026-10-05T10:20Z,,,", 2, 35, "vcpus", "a resized event without a size.", "Write the new vcpus, gpus, or both."),
        row("labels", "n1,node,joined,2026-10-05T10:20Z,64,,general", 2, 38, "labels", "'general' is not a label.", LABELS_FIX),
        row("labels that are no JSON", "n1,node,joined,2026-10-05T10:20Z,64,,{pool}", 2, 38, "labels", "these labels are not JSON.", LABELS_FIX),
        row("too few values", "n1,node,joined", 2, 1, "", "this row has 3 values for 7 columns.", "Put one comma between two values, and quote a value that contains a comma."),
        row("a quote that stays open", 'n1,node,joined,2026-10-05T10:20Z,64,,"pool=a\n', 2, 1, "", "this is not CSV: a quote begins here and does not end.", "Write a quote within quotes twice."),
        row("left before joined", JOINED + "n1,node,left,2026-10-04T10:20:00+08:00,,,\n", 3, 1, "at", "n1 left before it joined on line 2 (2026-10-05T02:20:00+00:00).", "Correct the time of one of the two, or add the joined event that came first."),
        row("a state before joining", JOINED + "n1,node,state:Ready,2026-10-04T10:20:00+08:00,,,\n", 3, 1, "at", "n1 was Ready before it joined on line 2 (2026-10-05T02:20:00+00:00).", "Correct the time of one of the two, or add the joined event that came first."),
        row("joined twice", JOINED + "n1,node,joined,2026-10-06T10:20:00+08:00,64,,\n", 3, 1, "event", "n1 joined again; it joined on line 2 (2026-10-05T02:20:00+00:00) and has not ended since.", "Delete the row, or add the event by which it ended in between."),
        row("left twice", JOINED + "n1,node,left,2026-10-06T10:20Z,,,\nn1,node,left,2026-10-07T10:20Z,,,\n", 4, 1, "event", "n1 left again; it left on line 3 (2026-10-06T10:20:00+00:00) already.", "Correct a time, or add the joined event between the two."),
        row("a state after leaving", JOINED + "n1,node,left,2026-10-06T10:20Z,,,\nn1,node,state:Ready,2026-10-07T10:20Z,,,\n", 4, 1, "event", "n1 was Ready after it left on line 3 (2026-10-06T10:20:00+00:00).", "Correct a time, or add the joined event between the two."),
        row("two sizes of one event", JOINED + "n1,node,joined,2026-10-05T02:20Z,32,0,pool=a\n", 3, 1, "vcpus", "joined of n1 is given twice, with 32 vcpus here and 64 on line 2 (2026-10-05T02:20:00+00:00).", "Delete the wrong row, or correct the time of one."),
        row("two labels of one event", JOINED + "n1,node,joined,2026-10-05T02:20Z,64,0,pool=b\n", 3, 1, "labels", "joined of n1 is given twice, with another label pool on line 2 (2026-10-05T02:20:00+00:00).", "Delete the wrong row, or give both the same label."),
        row("two states at one time", JOINED + "n1,node,state:Ready,2026-10-06T02:20Z,,,\nn1,node,state:NotReady,2026-10-06T02:20Z,,,\n", 3, 1, "event", "n1 is Ready here and NotReady at the same time on line 4 (2026-10-06T02:20:00+00:00).", "Keep one of the two, or correct a time."),
        row("two kinds", JOINED + "n1,cluster,created,2026-10-06T02:20Z,,,\n", 3, 1, "kind", "n1 is a cluster here and a node on line 2 (2026-10-05T02:20:00+00:00).", "Correct the kind or the id of one of the two."),
    ],
)  # fmt: skip
def test_one_wrong_row(tmp_path: Path, text: str, expected: tuple[Any, ...]) -> None:
    (problem,) = problems(tmp_path, HEADER + text)
    assert (problem.line, problem.column, problem.path, problem.message, problem.fix) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("resource,kind,event,at\n", ["the column resource_id is missing.", "there is no column resource."]),
        ("resource_id,kind,event,at,cores\n", ["there is no column cores."]),
        ("resource_id,kind,event,at,at\n", ["the column at is given twice."]),
        ("resource_id;kind;event;at\n", ["the columns are not separated by commas."]),
        ("", ["the file is empty."]),
    ],
)
def test_columns(tmp_path: Path, header: str, expected: list[str]) -> None:
    row = "n1,node,joined,2026-10-05T10:20Z\n" if header else ""
    assert sorted(problem.message for problem in problems(tmp_path, header + row)) == expected


def test_every_problem_at_once_and_no_consequence_of_another(tmp_path: Path) -> None:
    text = HEADER + "n1,node,joined,2026-10-05T10:20,64,x,\nn1,node,left,2026-10-06T10:20Z,,,\nn2,node,jioned,2026-10-06T10:20Z,,,\nn3,node,left,2026-10-01T00:00Z,,,\nn3,node,joined,2026-10-02T00:00Z,,,\n"  # fmt: skip
    found = problems(tmp_path, text)
    assert [(p.line, p.path) for p in found] == [(2, "at"), (2, "gpus"), (4, "event"), (5, "at")]


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(EvidenceInvalid, match=r"there is no file .*absent.csv"):
        evidence_of_csv(tmp_path / "absent.csv", NOW)
    (problem,) = problems(tmp_path, HEADER.encode() + b"n\xff,node")
    assert (problem.line, problem.column, problem.message) == (2, 2, "this character is not UTF-8.")


def test_what_spreadsheets_do_to_a_file_is_no_problem(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf" + (HEADER + JOINED + "\n" + JOINED).replace("\n", "\r\n").encode()
    (record,) = read(tmp_path, text).records
    assert (len(record.events), record.labels) == (1, {"pool": "a"})


def test_columns_may_stand_in_any_order_and_those_of_sizes_be_absent(tmp_path: Path) -> None:
    (record,) = read(tmp_path, "at,event,kind,resource_id\n2026-10-05T10:20Z,joined,node,n1\n").records
    assert record.lifetimes[0].phases[0].vcpus is None


def test_labels_as_json(tmp_path: Path) -> None:
    (record,) = read(tmp_path, HEADER + 'n1,node,joined,2026-10-05T10:20Z,64,,"{""team"": ""web"", ""rack"": 7}"\n').records  # fmt: skip
    assert record.labels == {"team": "web", "rack": "7"}


def test_a_node_that_leaves_and_joins_at_one_time_existed_before() -> None:
    t = "2026-10-05T10:00Z"
    events = [("n1", "node", "joined", "2026-10-01T00:00Z", 4), ("n1", "node", "joined", t, 4), ("n1", "node", "left", t), ("n2", "node", "left", t), ("n2", "node", "joined", t, 4)]  # fmt: skip
    one, two = evidence_of(events).records
    assert [life.ends_us is None for life in one.lifetimes] == [False, True]
    assert [life.ends_us for life in two.lifetimes] == [two.lifetimes[0].begins_us]


# what the evidence leaves open


def test_a_node_that_left_without_having_joined_existed_for_some_time() -> None:
    statement = metered([("n1", "node", "left", "2026-10-03T10:50+08:00", 32)], EDGE)
    (line,) = statement.lines
    assert (line.quantity, line.low, line.amount, line.high) == (96, 32 * EDGE_PRICE, 96 * EDGE_PRICE, 96 * EDGE_PRICE)
    assert line.gaps == ("no event reports when it started; its first event is of 2026-10-03T02:50:00+00:00",)
    assert statement.coverage < 1


EDGE_PRICE = EDGE.rules[0].prices[0].tiers[0].price


def test_a_size_that_is_not_known_is_between_those_of_its_pool() -> None:
    events = [(f"n{n}", "node", "joined", "2026-10-31T00:00+08:00", size, "", f"pool={pool}") for n, (size, pool) in enumerate([(8, "a"), (16, "a"), (64, "a"), (128, "b"), ("", "a"), ("", "c")])]  # fmt: skip
    statement = metered(events, EDGE)
    in_pool, elsewhere = statement.lines[4:]
    assert (in_pool.low, in_pool.amount, in_pool.high) == (8 * EDGE_PRICE, 16 * EDGE_PRICE, 64 * EDGE_PRICE)
    assert (elsewhere.low, elsewhere.amount, elsewhere.high) == (8 * EDGE_PRICE, 16 * EDGE_PRICE, 128 * EDGE_PRICE)
    assert float(statement.coverage) == pytest.approx(4 / 6, abs=1e-6)


def test_a_size_that_no_node_has_is_not_invented() -> None:
    statement = metered([("n1", "node", "joined", "2026-10-31T00:00+08:00")], EDGE)
    assert (statement.lines, statement.coverage) == ((), 0)
    assert [usage.reason for usage in statement.unpriced] == [
        "no event reports its size, nor the size of any other node"
    ]


def test_a_state_that_the_tariff_does_not_know_is_a_range() -> None:
    statement = metered([("n1", "node", "joined", "2026-10-30T00:00+08:00", 10), ("n1", "node", "state:Draining", "2026-10-31T00:00+08:00")], EDGE)  # fmt: skip
    (line,) = statement.lines
    assert (line.low, line.amount, line.high) == (10 * EDGE_PRICE, 20 * EDGE_PRICE, 20 * EDGE_PRICE)
    assert (line.gaps, float(statement.coverage)) == (
        ("the tariff does not define whether state Draining is billed",),
        0.5,
    )


def test_after_the_evidence_ends_who_was_there_may_have_gone() -> None:
    until = datetime(2026, 10, 15, 16, tzinfo=UTC)
    evidence = evidence_of([("n1", "node", "joined", "2026-09-01T00:00Z", 10)], until)
    statement = meter(evidence, EDGE, OCTOBER, instant(NOW))
    (line,) = statement.lines
    assert (line.low, line.amount, line.high) == (150 * EDGE_PRICE, 310 * EDGE_PRICE, 310 * EDGE_PRICE)
    assert float(statement.coverage) == pytest.approx(15 / 31, abs=1e-6)


def test_without_evidence_nothing_is_covered() -> None:
    assert (metered([], EDGE).total, metered([], EDGE).coverage) == (0, 0)


def test_evidence_that_nothing_was_there_covers_the_period() -> None:
    events = [("n1", "node", "joined", "2026-08-01T00:00Z", 10), ("n1", "node", "left", "2026-08-02T00:00Z")]
    assert (metered(events, EDGE).lines, metered(events, EDGE).coverage) == ((), 1)


# the spool


def spooled(folder: Path) -> Spool:
    spool = Spool(folder)
    base = {"resource_id": "main/n1/u-1", "kind": "node", "labels": {"pool": "a", "site": "fra1"}}
    joined = {**base, "event": "joined", "at": datetime(2026, 10, 5, 2, 20, tzinfo=UTC)}
    spool.append(LIFECYCLE, "run-1", "n1.joined", [{**joined, "vcpus": None}])
    spool.append(LIFECYCLE, "run-2", "n1.joined", [{**joined, "vcpus": 64, "labels": {"pool": "b", "site": "fra1"}}])
    spool.append(LIFECYCLE, "run-2", "n1.state-Ready", [{**base, "event": "state:Ready", "at": datetime(2026, 10, 5, 2, 30, tzinfo=UTC), "vcpus": 64}])  # fmt: skip
    return spool


def test_the_spool_is_evidence_and_of_two_rows_the_later_is_believed(tmp_path: Path) -> None:
    evidence = evidence_of_spool(spooled(tmp_path), NOW)
    (record,) = evidence.records
    assert [(e.name, e.vcpus, e.source) for e in record.events] == [("joined", 64, "lifecycle/run-2/n1.joined"), ("state:Ready", 64, "lifecycle/run-2/n1.state-Ready")]  # fmt: skip
    assert meter(evidence, ACK_PRO, OCTOBER, instant(NOW)).lines[0].quantity == 27


def test_a_wrong_row_of_the_spool_names_its_batch(tmp_path: Path) -> None:
    spool = spooled(tmp_path)
    spool.append(LIFECYCLE, "run-3", "n1.gone", [{"resource_id": "n9", "kind": "node", "event": "gone", "at": NOW}])
    with pytest.raises(EvidenceInvalid) as raised:
        evidence_of_spool(spool, NOW)
    assert [(p.path, p.message) for p in raised.value.problems] == [
        ("lifecycle/run-3/n1.gone: event", "'gone' is not an event.")
    ]


def test_a_spool_that_was_broken_is_one_problem(tmp_path: Path) -> None:
    spool = spooled(tmp_path)
    (tmp_path / "lifecycle" / "run-1" / "n1.joined.jsonl").write_text("{")
    with pytest.raises(EvidenceInvalid, match="the spool cannot be read"):
        evidence_of_spool(spool, NOW)


def test_a_file_of_rows_is_read_as_rows_are(tmp_path: Path) -> None:
    events = [("n1", "node", "joined", "2026-10-05T10:20+08:00", 64, 0, "pool=a")]
    from_file = evidence_of_csv(csv_file(tmp_path, events), NOW)
    assert meter(from_file, EDGE, OCTOBER, instant(NOW)).total == metered(events, EDGE).total
