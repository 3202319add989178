"""What goes to a worker in a site, and what comes back from it."""

from __future__ import annotations

from typing import Any

import pytest

from poolkeeper.tasks.audit.planning.questions import Kind, Outcome, Question, Sheet
from poolkeeper.tasks.audit.remote.protocol import read_sheet
from poolkeeper.tasks.audit.remote.worker import BATCH_BYTES, BATCH_HOSTS, answers_of, batches
from poolkeeper.tasks.hosts import HostError
from poolkeeper.tasks.hosts.errors import ConnectTimeout

SHEET = Sheet((Question(Kind.TCP, "10.0.0.1", 22),))
LONG = Sheet((Question(Kind.TCP, "a" * (BATCH_BYTES // 2), 22),))
GOOD = "poolkeeper-probe begin\n0\tok\t1.5\t\npoolkeeper-probe end\n"


@pytest.mark.parametrize(
    ("sheets", "sizes"),
    [
        pytest.param([], [], id="nobody"),
        pytest.param([SHEET] * BATCH_HOSTS, [BATCH_HOSTS], id="just one batch"),
        pytest.param([SHEET] * (BATCH_HOSTS + 1), [BATCH_HOSTS, 1], id="one host more"),
        pytest.param([LONG, SHEET, LONG, LONG], [2, 1, 1], id="by size"),
        pytest.param([Sheet((*LONG.questions, *LONG.questions, *LONG.questions)), SHEET], [1, 1], id="a huge one"),
    ],
)
def test_as_many_at_once_as_prefect_takes(sheets: list[Sheet], sizes: list[int]) -> None:
    named = {f"n{number}": sheet for number, sheet in enumerate(sheets)}
    made = list(batches(named))
    assert [len(batch) for batch in made] == sizes
    assert {name: read_sheet(text) for batch in made for name, text in batch.items()} == named


@pytest.mark.parametrize(
    ("said", "outcome", "reason"),
    [
        pytest.param({"stdout": GOOD, "stderr": ""}, Outcome.OK, "", id="an answer"),
        pytest.param({"stdout": "", "stderr": "sh: no\n"}, Outcome.UNKNOWN, "did not begin: sh: no", id="none"),
        pytest.param({"stdout": 7}, Outcome.UNKNOWN, "did not begin", id="no text"),
    ],
)
def test_what_the_program_told_is_read_here(said: Any, outcome: Outcome, reason: str) -> None:
    (answer,) = answers_of(said, SHEET)
    assert (answer.outcome, reason in answer.reason) == (outcome, True)


@pytest.mark.parametrize(
    ("said", "kind", "observed"),
    [
        pytest.param(
            {"error": ConnectTimeout.id, "observed": "no answer", "next_step": "look"},
            ConnectTimeout,
            "no answer",
            id="an error keeps its kind",
        ),
        pytest.param({"error": "from a later version", "observed": "x"}, HostError, "x", id="a kind we do not know"),
        pytest.param(None, HostError, "the worker told nothing of it", id="a host that is missing"),
        pytest.param("nonsense", HostError, "the worker told nothing of it", id="nonsense"),
    ],
)
def test_an_error_there_is_the_same_error_here(said: Any, kind: type[HostError], observed: str) -> None:
    with pytest.raises(HostError) as caught:
        answers_of(said, SHEET)
    assert type(caught.value) is kind
    assert caught.value.observed == observed
