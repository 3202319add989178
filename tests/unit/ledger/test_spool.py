import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from poolkeeper.tasks.ledger import LIFECYCLE, RUNS, STEPS, RowInvalid, Spool

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def step(host: str, **more) -> dict:
    return {"host": host, "phase": "join", "attempt": 1, "started_at": NOON, "duration_s": 1.5, **more}


def test_rows_come_back_with_times_and_every_column(tmp_path):
    spool = Spool(tmp_path)
    spool.append(STEPS, "run-1", "h1.join.1", [step("h1")])
    (row,) = spool.rows(STEPS)
    assert row["host"] == "h1"
    assert row["started_at"] == NOON
    assert row["run_id"] == "run-1"
    assert row["detail"] is None
    assert row["written_at"].tzinfo is not None


def test_a_row_from_before_a_column_came_to_be_has_null_there(tmp_path):
    older = replace(STEPS, columns={name: kind for name, kind in STEPS.columns.items() if name != "detail"})
    Spool(tmp_path).append(older, "run-1", "h1.join.1", [step("h1")])
    (row,) = Spool(tmp_path).rows(STEPS)
    assert (row["host"], row["started_at"], row["detail"]) == ("h1", NOON, None)


def test_the_same_batch_again_replaces_it(tmp_path):
    spool = Spool(tmp_path)
    spool.append(STEPS, "run-1", "h1.join.1", [step("h1", result="aborted")])
    spool.append(STEPS, "run-1", "h1.join.1", [step("h1", result="ended")])
    assert [row["result"] for row in spool.rows(STEPS)] == ["ended"]


def test_what_is_half_written_is_not_read(tmp_path):
    spool = Spool(tmp_path)
    path = spool.append(STEPS, "run-1", "h1.join.1", [step("h1")])
    (path.parent / f".h2.jsonl.{os.getpid()}").write_text('{"host": "h2", "started_')
    assert [row["host"] for row in spool.rows(STEPS)] == ["h1"]


@pytest.mark.parametrize("name", ["../../evil", ".hidden", "a/b", "x" * 60, "ü", "a%2Fb"])
def test_any_run_id_and_batch_stay_in_the_folder_and_apart(tmp_path, name):
    spool = Spool(tmp_path / "spool")
    path = spool.append(STEPS, name, name, [step("h1")])
    spool.append(STEPS, "a_b", "a_b", [step("h2")])
    assert (tmp_path / "spool" / "steps") in path.parents
    assert [row["host"] for row in spool.rows(STEPS, name)] == ["h1"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"hots": "h1"}, "table steps has no column hots"),
        ({"host": 7}, "steps.host is int, not text"),
        ({"started_at": datetime(2026, 11, 23)}, "steps.started_at is a time without a zone"),  # noqa: DTZ001
    ],
    ids=["unknown column", "wrong type", "naive time"],
)
def test_a_row_that_does_not_fit_is_refused_and_leaves_nothing(tmp_path, row, message):
    with pytest.raises(RowInvalid, match=message):
        Spool(tmp_path).append(STEPS, "run-1", "b", [row])
    assert list(Spool(tmp_path).rows(STEPS)) == []


def test_frames_have_every_column_even_without_rows(tmp_path):
    frame = Spool(tmp_path).frame(RUNS)
    assert list(frame.columns) == ["run_id", "batch", "written_at", *RUNS.columns]
    assert frame.empty


def test_lifecycle_has_what_a_bill_needs():
    assert {"resource_id", "kind", "event", "at", "vcpus", "gpus", "labels"} <= set(LIFECYCLE.columns)
