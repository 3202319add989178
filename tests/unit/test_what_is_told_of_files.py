"""What a run tells of a file that it cannot use: where the trouble is, and nothing of what stands there."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from poolkeeper.tasks.fees import Period, evidence_of_csv, load_tariff
from poolkeeper.tasks.fees.bill.bill_export import bill_of_csv
from poolkeeper.tasks.fees.csv_records import MAX_PROBLEMS
from poolkeeper.tasks.fleet import load_fleet
from poolkeeper.tasks.fleet.problems import MAX_SHOWN, FileInvalid, Problem, Problems

SECRET = "hunter2-hunter2"
SHADOW = f"root:$6${SECRET}:19000:0:99999:7:::\nops:$6${SECRET}:19000:0:99999:7:::\n"
FILES = {
    "a shadow file": SHADOW,
    "keys": f"{SECRET}: 1\n{SECRET}: 2\nhosts: {{{SECRET} {SECRET}: !x 1}}\n",
    "an environment": f"PASSWORD={SECRET}\nTOKEN={SECRET}\n",
    "settings": f"hosts: {SECRET}\nmode: {SECRET}\npassword: {SECRET}\nsites: [{SECRET}]\nrules: {SECRET}\n",
    "an alias": f"a: *{SECRET}\n",
    "a tag": f"fleet: !{SECRET} x\n",
    "a quote that stays open": f'a: "{SECRET}\n',
    "a quote in a table": f'a,b\n"{SECRET}\n',
    "one word": SECRET,
    "half a list": f"[{SECRET}, ",
    "a table": f"{SECRET},x\n{SECRET},y\n",
    "events": f"resource_id,kind,event,at\n{SECRET},{SECRET},{SECRET},{SECRET}\nshort\n",
    "control": f"{SECRET}\x00{SECRET}",
    "Latin-1": f"{SECRET} é",
}
READ: dict[str, Callable[[Path], object]] = {
    "fleet": load_fleet,
    "tariff": load_tariff,
    "events": lambda path: evidence_of_csv(path, datetime(2026, 11, 1, tzinfo=UTC)),
    "bill": lambda path: bill_of_csv(path, Period.of("2026-10"), "USD"),
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
@pytest.mark.parametrize("read", READ.values(), ids=READ)
def test_nothing_of_a_file_stands_in_what_a_run_says(read: Callable[[Path], object], text: str, tmp_path: Path) -> None:
    path = tmp_path / "named.txt"
    path.write_bytes(text.encode("latin-1" if "é" in text else "utf-8"))
    with pytest.raises(FileInvalid) as told:
        read(path)
    said = str(told.value)
    assert said.startswith("named.txt has ")
    assert re.search(r"^named.txt:\d+:\d+: ", said, re.MULTILINE)
    assert not [part for part in ("hunter2", "19000", "99999") if part in said]


def test_places_are_told_and_the_command_that_tells_more(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(f"fleet: acme\nmode: {SECRET}\n")
    with pytest.raises(FileInvalid) as told:
        load_fleet(path)
    assert "fleet.yaml:2:7: mode" in str(told.value).splitlines()
    assert told.value.next_step.startswith("Run `poolkeeper check FILE` to see what is wrong there")
    assert f"fleet.yaml:2:7: mode: '{SECRET}' is not one of act, observe." in told.value.in_full


def test_what_is_in_no_file_is_told_to_everyone(tmp_path: Path) -> None:
    with pytest.raises(FileInvalid, match=r"there is no file .*absent.yaml\. Name one with --fleet"):
        load_fleet(tmp_path / "absent.yaml")


def test_of_many_problems_the_first_are_told_and_all_are_counted() -> None:
    problems = Problems.of((Problem(line, 1, "a", "wrong.", "Mend it.") for line in range(5_000, 0, -1)), more=7)
    error = FileInvalid("x", problems)
    assert [problem.line for problem in error.problems] == list(range(1, MAX_SHOWN + 1))
    assert error.in_full.splitlines()[0] == "x has 5007 problems:"
    assert error.in_full.splitlines()[-1] == f"and {5_007 - MAX_SHOWN} more: correct these first."


@pytest.mark.parametrize(
    ("read", "head"),
    [
        (READ["events"], "resource_id,kind,event,at\n"),
        (READ["bill"], "InstanceID,Currency,PretaxGrossAmount,PretaxAmount,BillingItem,BillingCycle\n"),
    ],
    ids=["events", "bill"],
)
def test_a_table_of_nothing_but_mistakes_is_not_read_to_its_end(
    read: Callable[[Path], object], head: str, tmp_path: Path
) -> None:
    path = tmp_path / "named.csv"
    path.write_text(head + "".join(f"{n},x\n" for n in range(3 * MAX_PROBLEMS)))
    with pytest.raises(FileInvalid) as told:
        read(path)
    assert told.value.in_all == MAX_PROBLEMS + 1
