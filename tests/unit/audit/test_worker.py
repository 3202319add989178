"""What goes to a worker in a site, and what comes back from it."""

from __future__ import annotations

from typing import Any

import pytest

from poolkeeper.tasks.audit.planning.questions import Kind, Outcome, Question, RequestBatch
from poolkeeper.tasks.audit.remote.protocol import read_batch
from poolkeeper.tasks.audit.remote.worker import PARCEL_BYTES, PARCEL_HOSTS, answers_of, parcels
from poolkeeper.tasks.hosts import HostError
from poolkeeper.tasks.hosts.errors import ConnectTimeout

BATCH_OF_REQUESTS = RequestBatch((Question(Kind.TCP, "10.0.0.1", 22),))
LONG = RequestBatch((Question(Kind.TCP, "a" * (PARCEL_BYTES // 2), 22),))
GOOD = "poolkeeper-probe begin\n0\tok\t1.5\t\npoolkeeper-probe end\n"


@pytest.mark.parametrize(
    ("batches", "sizes"),
    [
        pytest.param([], [], id="nobody"),
        pytest.param([BATCH_OF_REQUESTS] * PARCEL_HOSTS, [PARCEL_HOSTS], id="just one batch"),
        pytest.param([BATCH_OF_REQUESTS] * (PARCEL_HOSTS + 1), [PARCEL_HOSTS, 1], id="one host more"),
        pytest.param([LONG, BATCH_OF_REQUESTS, LONG, LONG], [2, 1, 1], id="by size"),
        pytest.param(
            [RequestBatch((*LONG.questions, *LONG.questions, *LONG.questions)), BATCH_OF_REQUESTS],
            [1, 1],
            id="a huge one",
        ),
    ],
)
def test_as_many_at_once_as_prefect_takes(batches: list[RequestBatch], sizes: list[int]) -> None:
    named = {f"n{number}": batch for number, batch in enumerate(batches)}
    made = list(parcels(named))
    assert [len(batch) for batch in made] == sizes
    assert {name: read_batch(text) for batch in made for name, text in batch.items()} == named


@pytest.mark.parametrize(
    ("said", "outcome", "reason"),
    [
        pytest.param({"stdout": GOOD, "stderr": ""}, Outcome.OK, "", id="an answer"),
        pytest.param({"stdout": "", "stderr": "sh: no\n"}, Outcome.UNKNOWN, "did not start: sh: no", id="none"),
        pytest.param({"stdout": 7}, Outcome.UNKNOWN, "did not start", id="no text"),
    ],
)
def test_the_output_of_the_program_is_read(said: Any, outcome: Outcome, reason: str) -> None:
    (answer,) = answers_of(said, BATCH_OF_REQUESTS)
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
        pytest.param(None, HostError, "the worker's reply has nothing about this host", id="a host that is missing"),
        pytest.param("nonsense", HostError, "the worker's reply has nothing about this host", id="nonsense"),
    ],
)
def test_an_error_there_is_the_same_error_here(said: Any, kind: type[HostError], observed: str) -> None:
    with pytest.raises(HostError) as caught:
        answers_of(said, BATCH_OF_REQUESTS)
    assert type(caught.value) is kind
    assert caught.value.observed == observed
