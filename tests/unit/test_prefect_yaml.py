"""prefect.yaml says what it seems to say: Prefect ignores keys that it does not know."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest
import yaml

FILE = Path(__file__).parents[2] / "prefect.yaml"
DOCUMENT = yaml.safe_load(FILE.read_text())

TOP = {"name", "prefect-version", "build", "push", "pull", "definitions", "deployments"}
DEPLOYMENT = {
    "name", "version", "version_type", "tags", "description", "schedule", "schedules", "paused", "concurrency_limit",
    "flow_name", "entrypoint", "parameters", "enforce_parameter_schema", "build", "push", "pull", "work_pool",
    "triggers", "sla",
}  # fmt: skip
WORK_POOL = {"name", "work_queue_name", "job_variables"}
TRIGGER = {"type", "name", "match", "match_related", "expect", "after", "for_each", "posture", "threshold", "within",
           "parameters", "schedule_after", "enabled", "description"}  # fmt: skip
LIMIT = {"limit", "collision_strategy", "grace_period_seconds"}
DEPLOYMENTS = [pytest.param(entry, id=entry["name"]) for entry in DOCUMENT["deployments"]]


def test_top_level_keys() -> None:
    assert DOCUMENT.keys() <= TOP


@pytest.mark.parametrize("entry", DEPLOYMENTS)
def test_keys_are_prefects(entry: dict) -> None:
    assert entry.keys() <= DEPLOYMENT
    assert entry["work_pool"].keys() <= WORK_POOL
    assert entry["concurrency_limit"].keys() <= LIMIT
    for trigger in entry.get("triggers", []):
        assert trigger.keys() <= TRIGGER


@pytest.mark.parametrize("entry", DEPLOYMENTS)
def test_entrypoint_takes_the_parameters(entry: dict) -> None:
    module, _, name = entry["entrypoint"].rpartition(".")
    flow = getattr(importlib.import_module(module), name)
    known = inspect.signature(flow.fn).parameters
    given = {
        **entry.get("parameters", {}),
        **{k: v for t in entry.get("triggers", []) for k, v in t["parameters"].items()},
    }
    assert given.keys() <= known.keys()


SCHEDULED = [p for p in DEPLOYMENTS if any(s.get("active", True) for s in p.values[0].get("schedules", []))]


@pytest.mark.parametrize("entry", SCHEDULED)
def test_what_is_scheduled_begins_nothing(entry: dict) -> None:
    if entry["name"] == "recover":  # it gives back what is ours already, and begins nothing
        return
    assert "only-looks" in entry["tags"]
    if entry["entrypoint"] == "poolkeeper.flows.onboard.onboard":
        assert entry["parameters"]["dry_run"] is True
    else:
        assert not entry.get("parameters", {}).get("close")
