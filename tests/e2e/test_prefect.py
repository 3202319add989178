"""The Prefect half as it is installed: server, deployments of prefect.yaml, schedule, form, trigger, worker."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Cluster, Json
from tests.e2e.conftest import ask_prefect as ask

DEADLINE_S = 240.0
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def eventually(check: Callable[[], Any]) -> Any:
    """The first true answer, under one deadline; the server offers nothing to wait on."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if answer := check():
            return answer
        time.sleep(0.3)
    raise AssertionError(f"not within {DEADLINE_S:.0f} s")


def deployment(cluster: Cluster, name: str, flow: str = "onboard") -> Json:
    found: Json = ask(cluster, "GET", f"/deployments/name/{flow}/{name}")
    return found


def runs_of(cluster: Cluster, name: str) -> list[Json]:
    chosen = {"deployments": {"id": {"any_": [deployment(cluster, name)["id"]]}}, "limit": 200}
    found: list[Json] = ask(cluster, "POST", "/flow_runs/filter", chosen)
    return found


def ended(cluster: Cluster, run_id: str) -> Json | None:
    run: Json = ask(cluster, "GET", f"/flow_runs/{run_id}")
    return run if run["state_type"] in ENDED else None


def test_the_form_has_typed_and_described_fields(prefect_lab: Cluster) -> None:
    schema = deployment(prefect_lab, "onboard")["parameter_openapi_schema"]["properties"]
    assert {name: (field.get("type"), field.get("default")) for name, field in schema.items()} == {
        "pool": ("string", ""),
        "hosts": ("string", "all"),
        "dry_run": ("boolean", True),
        "skip_checks": (None, None),
        "fleet": ("string", ""),
    }
    assert all(len(field["description"]) > 20 for field in schema.values())


def test_the_nightly_check_is_scheduled(prefect_lab: Cluster) -> None:
    coming = eventually(lambda: [r for r in runs_of(prefect_lab, "preflight-nightly") if r["auto_scheduled"]])
    at = {datetime.fromisoformat(run["expected_start_time"]).astimezone(UTC).strftime("%H:%M") for run in coming}
    assert at == {"02:15"}
    assert all(run["parameters"]["dry_run"] is True for run in coming)


def test_a_scheduled_run_runs_on_the_worker(prefect_lab: Cluster) -> None:
    """The nightly one, on a schedule that a test can wait for beside its own."""
    nightly = deployment(prefect_lab, "preflight-nightly")
    before = {run["id"] for run in runs_of(prefect_lab, "preflight-nightly")}
    schedule = {"interval": 20.0, "anchor_date": datetime.now(UTC).isoformat(), "timezone": "UTC"}
    added = ask(prefect_lab, "POST", f"/deployments/{nightly['id']}/schedules", [{"schedule": schedule}])

    def first_ended() -> Json | None:
        scheduled = [
            r for r in runs_of(prefect_lab, "preflight-nightly") if r["auto_scheduled"] and r["id"] not in before
        ]
        # a run that takes longer than the schedule's interval has the next ones cancelled: the limit is one
        return next((r for r in scheduled if r["state_type"] in ENDED and r["state_type"] != "CANCELLED"), None)

    try:
        done = eventually(first_ended)
    finally:
        for row in added:
            ask(prefect_lab, "DELETE", f"/deployments/{nightly['id']}/schedules/{row['id']}")
    assert (done["state_name"], done["state"]["message"]) == ("Completed", "completed: 2 planned of 2 hosts")
    assert prefect_lab.nodes == {}


def test_an_event_starts_a_run(prefect_lab: Cluster) -> None:
    before = {run["id"] for run in runs_of(prefect_lab, "onboard")}
    event = {
        "event": "poolkeeper.hosts.requested",
        "resource": {"prefect.resource.id": "poolkeeper.pool.general"},
        "payload": {"hosts": "name=fra1-*"},
        "occurred": datetime.now(UTC).isoformat(),
        "id": "6f2a1c0e-6a2b-4f0e-9b0a-1d2e3f405162",
    }
    ask(prefect_lab, "POST", "/events", [event])
    run = eventually(lambda: [r for r in runs_of(prefect_lab, "onboard") if r["id"] not in before])[0]
    assert run["parameters"] == {"hosts": "name=fra1-*", "dry_run": True}
    done = eventually(lambda: ended(prefect_lab, run["id"]))
    assert (done["name"], done["state_name"]) == ("onboard name=fra1-* (dry run)", "Completed")


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        pytest.param({"hosts": "pool=genral"}, "Did you mean", id="a selection that means nothing"),
        pytest.param({"skip_checks": {"hosts.cpus": "because"}}, "there is no check", id="no such check"),
    ],
)
def test_a_run_with_wrong_parameters_says_what_to_write(prefect_lab: Cluster, parameters: Json, says: str) -> None:
    run_id = begun(prefect_lab, deployment(prefect_lab, "onboard"), parameters)
    done = eventually(lambda: ended(prefect_lab, run_id))
    assert done["state_name"] == "Failed"
    assert says.lower() in done["state"]["message"].lower()


def begun(cluster: Cluster, deployed: Json, parameters: Json) -> str:
    """A deployment's run."""
    wanted = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
    return str(ask(cluster, "POST", f"/deployments/{deployed['id']}/create_flow_run", wanted)["id"])


@pytest.mark.parametrize(
    ("flow", "name", "parameter"),
    [("onboard", "onboard", "fleet"), ("audit", "audit-nightly", "fleet"), ("meter", "fees-nightly", "events")],
)
def test_a_parameter_names_no_file_that_the_worker_does_not_allow(
    prefect_lab: Cluster, tmp_path: Path, flow: str, name: str, parameter: str
) -> None:
    secret = tmp_path / "shadow"
    secret.write_text("root:hunter2:19000:0:99999:7:::\nhosts: hunter2\n")
    run_id = begun(prefect_lab, deployment(prefect_lab, name, flow), {parameter: str(secret)})
    done = eventually(lambda: ended(prefect_lab, run_id))
    assert done["state_name"] == "Failed"
    assert "runs on this worker may not read" in done["state"]["message"]
    about = {"flow_runs": {"id": {"any_": [run_id]}}}
    kept = [ask(prefect_lab, "POST", f"/{kind}/filter", about) for kind in ("artifacts", "logs")]
    assert "hunter2" not in json.dumps([done, *kept])
