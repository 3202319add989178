"""Whatever stands in a file, the answer is what it means or problems at places in the text; nothing else is raised."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolkeeper.tasks.fees.metering.statement import meter
from poolkeeper.tasks.fees.periods import instant
from poolkeeper.tasks.fees.tariff.tariff_file import check_tariff, shipped_tariffs, tariff_path
from poolkeeper.tasks.fees.usage.events import EvidenceInvalid
from poolkeeper.tasks.fees.usage.evidence import UsageEvidence, evidence_of_csv
from poolkeeper.tasks.fleet import Problem
from tests.unit.fees.builders import EDGE, NOW, OCTOBER, csv_file
from tests.unit.fees.random_usage import rows

anything = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

TARIFFS = [tariff_path(name).read_text() for name in shipped_tariffs()]
TARIFFS.append((Path(__file__).parent / "tariff-mistakes.yaml").read_text())
ODD = ["", ",", '"', "\n", "\r", "\0", ";", ":", "{", "é", "joined", "-1", "9" * 30, "2026-10-25T02:30", "null", "[]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


def spoilt(text: str, chance: random.Random) -> str:
    """A text with some of it cut out, doubled, or replaced by odd things."""
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(text) + 1)
        end = min(len(text), start + chance.randint(0, 12))
        text = text[:start] + chance.choice([*ODD, text[start:end] * 2]) + text[end:]
    return text


@anything
@given(rows(), st.randoms(use_true_random=False))
def test_events(folder: Path, events: list[tuple[object, ...]], chance: random.Random) -> None:
    path = csv_file(folder, events)
    text = spoilt(path.read_text(), chance)
    path.write_text(text)
    lines = path.read_text().count("\n") + 1  # a lone carriage return ends a line as well
    found, problems = read(path)
    assert (found is None) == bool(problems)
    assert all(1 <= p.line <= lines and p.column >= 1 and p.message and p.fix for p in problems)
    if found is not None:
        statement = meter(found, EDGE, OCTOBER, instant(NOW))
        assert 0 <= statement.low <= statement.total <= statement.high
        assert 0 <= statement.coverage <= 1


def read(path: Path) -> tuple[UsageEvidence | None, tuple[Problem, ...]]:
    try:
        return evidence_of_csv(path, NOW), ()
    except EvidenceInvalid as error:
        return None, error.problems


@anything
@given(st.sampled_from(TARIFFS), st.randoms(use_true_random=False))
def test_tariffs(folder: Path, text: str, chance: random.Random) -> None:
    path = folder / "tariff.yaml"
    path.write_text(spoilt(text, chance))
    found, problems = check_tariff(path)
    assert (found is None) == bool(problems)
    assert all(p.line >= 1 and p.column >= 1 and p.message and p.fix for p in problems)


@anything
@given(st.binary(max_size=200))
def test_bytes(folder: Path, content: bytes) -> None:
    path = folder / "bytes"
    path.write_bytes(content)
    assert check_tariff(path)[1]
    with pytest.raises(EvidenceInvalid):
        evidence_of_csv(path, NOW)
