"""Plans that wait for a word, in a ConfigMap that a person may have written into."""

from __future__ import annotations

import json
from typing import Any

import pytest

from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.approvals import Approval, read_approvals, write_approval
from tests.contract.cluster.conftest import SomeoneIsQuicker

PLAN: dict[str, Any] = {"flow": "upgrade", "pool": "general", "goal": {}, "limits": {}, "hosts": [["h1", 1], ["h2", 2]]}
ASKED = Approval("0123456789ab", "run-1", PLAN, "2026-11-24T12:00:00+00:00")
FIELDS: dict[str, Any] = {"run": "run-1", "plan": PLAN, "asked_at": ASKED.asked_at, "word": "approved"}


async def test_what_was_asked_is_read_back(cluster: ClusterApi, embedded: SomeoneIsQuicker) -> None:
    embedded.store.create("namespaces", {"metadata": {"name": "poolkeeper"}})
    await write_approval(cluster, ASKED)
    assert await read_approvals(cluster) == {ASKED.key: ASKED}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("yes", id="a word"),
        pytest.param("[" * 100_000, id="deep"),
        pytest.param("9" * 5000, id="5,000 digits"),
        pytest.param("null", id="nothing"),
        pytest.param(json.dumps({**FIELDS, "run": 7}), id="a run of another type"),
        pytest.param(json.dumps({**FIELDS, "word": ["approved"]}), id="a word of another type"),
        pytest.param(json.dumps({**FIELDS, "plan": "all"}), id="no plan"),
        pytest.param(json.dumps({**FIELDS, "plan": {**PLAN, "hosts": 3}}), id="a plan without hosts"),
        pytest.param(json.dumps({**FIELDS, "plan": {**PLAN, "hosts": [["h1", "first"]]}}), id="no wave"),
        pytest.param(json.dumps({**FIELDS, "plan": {**PLAN, "hosts": [["h1"]]}}), id="half a host"),
        pytest.param(json.dumps({**FIELDS, "plan": {**PLAN, "limits": []}}), id="limits of another type"),
    ],
)
async def test_one_that_cannot_be_read_is_none_and_costs_no_other(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, text: str
) -> None:
    embedded.store.create("namespaces", {"metadata": {"name": "poolkeeper"}})
    embedded.store.create(
        "configmaps", {"metadata": {"name": "approvals", "namespace": "poolkeeper"}, "data": {"junk": text}}
    )
    await write_approval(cluster, ASKED)
    assert await read_approvals(cluster) == {ASKED.key: ASKED}
