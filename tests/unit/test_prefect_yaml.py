"""prefect.yaml says what it seems to say: Prefect ignores keys that it does not know."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from poolkeeper.flows.parameters import signature_of
from poolkeeper.flows.registry import FLOWS

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


FLOW_OF = {name: flow for flow in FLOWS.values() for name in flow.deployments}
"""Deployment -> its flow, as the one table of flows has it."""


def test_deployments_are_those_of_the_registered_flows() -> None:
    found = {entry["name"]: entry["entrypoint"] for entry in DOCUMENT["deployments"]}
    assert found == {name: flow.entrypoint for name, flow in FLOW_OF.items()}


@pytest.mark.parametrize("entry", DEPLOYMENTS)
def test_a_deployment_that_may_change_hosts_says_so(entry: dict) -> None:
    changes = FLOW_OF[entry["name"]].changes_hosts and entry.get("parameters", {}).get("dry_run") is not True
    assert ("changes-hosts" in entry["tags"]) is changes


@pytest.mark.parametrize("entry", DEPLOYMENTS)
def test_flow_takes_the_parameters(entry: dict) -> None:
    known = {parameter.name for parameter in signature_of(FLOW_OF[entry["name"]]).parameters}
    given = {
        **entry.get("parameters", {}),
        **{k: v for t in entry.get("triggers", []) for k, v in t["parameters"].items()},
    }
    assert given.keys() <= known


SCHEDULED = [p for p in DEPLOYMENTS if any(s.get("active", True) for s in p.values[0].get("schedules", []))]


@pytest.mark.parametrize("entry", SCHEDULED)
def test_what_is_scheduled_begins_nothing(entry: dict) -> None:
    assert "only-looks" in entry["tags"]
    if FLOW_OF[entry["name"]].changes_hosts:
        assert entry["parameters"]["dry_run"] is True
    else:
        assert not entry.get("parameters", {}).get("close")
