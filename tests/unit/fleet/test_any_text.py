"""Whatever stands in the file, the answer is a fleet or problems, each at a place in the text; nothing is raised."""

from __future__ import annotations

import random
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolkeeper.tasks.fleet import check_fleet
from tests.unit.fleet.builders import GOOD, a_file

EXAMPLE = (Path(__file__).parents[3] / "deployments" / "examples" / "fleet.yaml").read_text()
MISTAKES = (Path(__file__).parent / "mistakes.yaml").read_text()
ODD = [
    None,
    True,
    0,
    -1,
    3.5,
    10**30,
    "",
    " ",
    "0",
    "x" * 300,
    "a\nb",
    "{}",
    "~",
    "é\u2028",
    [],
    [[]],
    [None],
    {},
    {"a": {}},
]
ODD += [
    "10.1.0.11",
    "10.1.0.0/16",
    "::/0",
    "02:00",
    "4h",
    "10%",
    "LTAI5tSomeAccessKeyId00",
    {"file": "x"},
    {"env": ["x"]},
]

anything = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the key that a fleet file names."""
    return a_file(tmp_path_factory.mktemp("fleet")).parent


def answers(folder: Path, content: str | bytes) -> None:
    raw = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    (folder / "fleet.yaml").write_bytes(raw)
    fleet, problems = check_fleet(folder / "fleet.yaml")
    assert (fleet is None) == bool(problems)
    lines = raw.count(b"\n") + raw.count(b"\r") + 2
    for problem in problems:
        assert 1 <= problem.line <= lines
        assert problem.column >= 1
        assert problem.message.endswith(".")
        assert problem.fix.endswith((".", "?"))
        assert "LTAI5t" not in f"{problem.path}{problem.message}{problem.fix}"
        assert len(problem.message) < 400
    assert list(problems) == sorted(set(problems))


@anything
@given(content=st.one_of(st.text(), st.binary()))
def test_any_text_and_any_bytes(folder, content):
    answers(folder, content)


@anything
@given(content=st.sampled_from([GOOD, EXAMPLE, MISTAKES]), seed=st.integers(0, 10**9), bites=st.integers(1, 30))
def test_a_file_with_bytes_taken_out(folder, content, seed, bites):
    raw, chance = bytearray(content.encode()), random.Random(seed)
    for _ in range(bites):
        del raw[chance.randrange(len(raw))]
    answers(folder, bytes(raw))


@anything
@given(content=st.sampled_from([GOOD, EXAMPLE, MISTAKES]), seed=st.integers(0, 10**9), swaps=st.integers(1, 10))
def test_a_file_with_lines_changing_places(folder, content, seed, swaps):
    lines, chance = content.splitlines(), random.Random(seed)
    for _ in range(swaps):
        one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
        lines[one], lines[other] = lines[other], lines[one]
    answers(folder, "\n".join(lines))


@anything
@given(content=st.sampled_from([GOOD, EXAMPLE, MISTAKES]), seed=st.integers(0, 10**9), cuts=st.integers(1, 8))
def test_a_file_with_lines_left_out_or_written_twice(folder, content, seed, cuts):
    lines, chance = content.splitlines(), random.Random(seed)
    for _ in range(cuts):
        at = chance.randrange(len(lines))
        lines[at : at + 1] = [lines[at]] * chance.choice([0, 2])
    answers(folder, "\n".join(lines))


@anything
@given(content=st.sampled_from([GOOD, EXAMPLE]), seed=st.integers(0, 10**9), changes=st.integers(1, 6))
def test_a_file_with_values_of_other_kinds(folder, content, seed, changes):
    data, chance = yaml.safe_load(content), random.Random(seed)
    for _ in range(changes):
        holders = list(every_holder(data))
        holder, key = holders[chance.randrange(len(holders))]
        holder[key] = deepcopy(chance.choice(ODD))  # one that is put into itself would never end
    answers(folder, yaml.safe_dump(data, sort_keys=False, allow_unicode=chance.random() < 0.5))


def test_each_value_in_turn_of_each_other_kind(folder):
    """Every place in the file, every odd value: no chance involved."""
    data = yaml.safe_load(GOOD)
    for holder, key in list(every_holder(data)):
        meant = holder[key]
        for odd in ODD:
            holder[key] = odd
            answers(folder, yaml.dump(data, Dumper=yaml.CSafeDumper, sort_keys=False))
        holder[key] = meant


def every_holder(value: Any) -> Any:
    """Each place of a value in a mapping or list, with what holds it."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from every_holder(value[key])
