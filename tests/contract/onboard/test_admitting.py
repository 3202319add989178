"""Admitting a host of loopback to a real API server: what a guard's word and what is on the host make of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from poolkeeper.tasks.cluster import ClusterApi, ClusterUnreachable
from poolkeeper.tasks.cluster.nodes import ROLLOUT
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import FactsRequest, Sessions
from poolkeeper.tasks.ledger import Spool
from poolkeeper.tasks.onboard.admission import Admission
from poolkeeper.tasks.onboard.context import Context
from poolkeeper.tasks.onboard.host_cleanup import JOIN_UNIT, LEAVE_UNIT
from poolkeeper.tasks.onboard.next_action import JoinState, Step
from poolkeeper.tasks.outcomes import Change, ChangeRecord, ChangeState, Gate, HostState, Refusal
from poolkeeper.tasks.runs.recording import Recorder
from tests.contract.cluster.conftest import SomeoneIsQuicker, admin, api, ca, cluster, embedded
from tests.contract.hosts.conftest import World, open_sessions
from tests.contract.hosts.machines import Machine

__all__ = ["admin", "api", "ca", "cluster", "embedded"]

NOT_ASKED = cast(Any, None)
"""The provider: no join is begun."""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


@pytest.fixture
async def host(machine: Machine, tmp_path: Path) -> AsyncIterator[Host]:
    world = World(tmp_path)
    async with world.server(machine.behaviour()) as server:
        yield world.host(server.port)


@pytest.fixture
async def sessions() -> AsyncIterator[Sessions]:
    async with open_sessions() as opened:
        yield opened


def admitting(cluster: ClusterApi, sessions: Sessions, folder: Path, gate: Gate) -> Admission:
    recorder = Recorder(Spool(folder / "spool"), "run-1")
    return Admission(
        Context(
            api=cluster, sessions=sessions, provider=NOT_ASKED, gate=gate, recorder=recorder, request=FactsRequest()
        )
    )


def refusing(*, temporary: bool) -> Gate:
    async def guard(change: Change) -> Refusal:
        return Refusal("freeze", "freezes cannot be read", "Run this again.", temporary=temporary)

    return Gate([guard], dry_run=False)


async def test_a_guard_that_cannot_answer_now_is_asked_again(
    cluster: ClusterApi, sessions: Sessions, host: Host, tmp_path: Path
) -> None:
    with pytest.raises(ClusterUnreachable, match="freezes cannot be read"):
        await admitting(cluster, sessions, tmp_path, refusing(temporary=True)).admit(host)


async def test_a_guards_no_is_the_end(cluster: ClusterApi, sessions: Sessions, host: Host, tmp_path: Path) -> None:
    outcome = await admitting(cluster, sessions, tmp_path, refusing(temporary=False)).admit(host)
    assert (outcome.state, outcome.findings[0].id) == (HostState.REFUSED, "gate.freeze")


@pytest.mark.parametrize("unit", [JOIN_UNIT, LEAVE_UNIT])
async def test_nothing_starts_while_the_state_of_a_unit_is_unknown(
    cluster: ClusterApi, sessions: Sessions, machine: Machine, host: Host, tmp_path: Path, unit: str
) -> None:
    """Its result was cut off as it was written."""
    machine.put(f"/run/poolkeeper/{unit}/result", "")
    look = await admitting(cluster, sessions, tmp_path, refusing(temporary=False)).look(host, None)
    assert (look.join, look.action.step) == (JoinState.UNKNOWN, Step.STOP)


async def test_an_undoing_that_was_cut_off_comes_first(
    cluster: ClusterApi, sessions: Sessions, machine: Machine, host: Host, tmp_path: Path
) -> None:
    machine.put(f"/run/poolkeeper/{LEAVE_UNIT}/result", "1\n")
    look = await admitting(cluster, sessions, tmp_path, refusing(temporary=False)).look(host, None)
    assert (look.join, look.action.step) == (JoinState.FAILED, Step.UNDO_THEN_JOIN)


def ready_again(node: dict[str, Any]) -> dict[str, Any]:
    """Its machine was only away."""
    return {**node, "status": {**node["status"], "conditions": [{"type": "Ready", "status": "True"}]}}


def taken(node: dict[str, Any]) -> dict[str, Any]:
    """A rollout has marked it."""
    return {**node, "metadata": {**node["metadata"], "annotations": {ROLLOUT: "{}"}}}


@pytest.mark.parametrize("became", [ready_again, taken], ids=["Ready again", "in a rollout's hands"])
async def test_a_dead_node_that_has_come_back_is_not_deleted(
    cluster: ClusterApi,
    embedded: SomeoneIsQuicker,
    sessions: Sessions,
    machine: Machine,
    host: Host,
    tmp_path: Path,
    became: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    """Of a host that was reinstalled: what it was looked at for has changed by the moment that it is to go."""
    machine.put("/etc/machine-id", f"{'2' * 32}\n")
    long_ago = {"type": "Ready", "status": "Unknown", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    status = {"nodeInfo": {"machineID": "1" * 32}, "conditions": [long_ago]}
    embedded.store.create("nodes", {"metadata": {"name": host.node_name}, "status": status})

    def on_change(record: ChangeRecord) -> None:
        if record.state is ChangeState.UNKNOWN and record.change.sentence.startswith("delete the stale Node"):
            for part in ("", "status"):
                embedded.store.modify("nodes", host.node_name, "", became, subresource=part)

    gate = Gate(dry_run=False, on_change=on_change)
    outcome = await admitting(cluster, sessions, tmp_path, gate).admit(replace(host, machine_id="2" * 32))
    assert [finding.id for finding in outcome.findings] == ["onboard.identity.came-back"]
    assert (outcome.state, outcome.summary) == (HostState.STOPPED, "its old Node came back")
    assert embedded.store.find("nodes", host.node_name) is not None
