"""The last look before a join is undone: on a machine of loopback, whose Node someone takes over at that moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.nodes import ACCEPTED, CORDON, get_node
from poolkeeper.tasks.fleet.model import KubeadmProvider
from poolkeeper.tasks.hosts import FactsRequest, Sessions, changes
from poolkeeper.tasks.ledger import Spool
from poolkeeper.tasks.onboard.admission import Admission
from poolkeeper.tasks.onboard.context import Context
from poolkeeper.tasks.onboard.host_cleanup import LEAVE_UNIT
from poolkeeper.tasks.outcomes import ChangeRecord, ChangeState, Gate, HostState
from poolkeeper.tasks.provider.kubeadm import Kubeadm
from poolkeeper.tasks.runs.recording import Recorder
from tests.contract.cluster.conftest import SomeoneIsQuicker, admin, api, ca, cluster, embedded
from tests.contract.hosts.conftest import POOL, World, open_sessions
from tests.contract.hosts.machines import Machine

__all__ = ["admin", "api", "ca", "cluster", "embedded"]

NODE = "fra1-n01"
MACHINE_ID = "1" * 32
BROUGHT = "/etc/cni/net.d/10-terway.conf"
Json = dict[str, Any]


def a_node(name: str, **annotations: str) -> Json:
    """A Node of the machine, as our own join leaves it."""
    return {
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"unschedulable": True},
        "status": {"nodeInfo": {"machineID": MACHINE_ID}},
    }


def accepted(server: SomeoneIsQuicker) -> None:
    """By another run, which has proven it."""
    server.store.modify("nodes", NODE, "", lambda node: {**node, **a_node(NODE, **{ACCEPTED: "{}"}), "spec": {}})


def cordoned(server: SomeoneIsQuicker) -> None:
    """By a person, who has made our cordon theirs."""
    server.store.modify("nodes", NODE, "", lambda node: {**node, "metadata": {**node["metadata"], "annotations": {}}})


def uncordoned(server: SomeoneIsQuicker) -> None:
    """By a person, who lets it serve."""
    server.store.modify("nodes", NODE, "", lambda node: {**node, "spec": {}})


def renamed(server: SomeoneIsQuicker) -> None:
    """It has joined once more, by hand, under the name that it had before."""
    server.store.create("nodes", a_node("an-older-name"))


def admission(
    cluster: ClusterApi,
    sessions: Sessions,
    folder: Path,
    on_change: Callable[[ChangeRecord], None] = lambda record: None,
) -> Admission:
    """What admits hosts of a kubeadm cluster."""
    return Admission(
        Context(
            api=cluster,
            sessions=sessions,
            provider=Kubeadm(POOL.cluster, KubeadmProvider(), cluster),
            gate=Gate(dry_run=False, on_change=on_change),
            recorder=Recorder(Spool(folder / "spool"), "run-1"),
            request=FactsRequest(),
        )
    )


@pytest.mark.parametrize(
    ("meanwhile", "why"),
    [
        pytest.param(None, "", id="nobody else has it"),
        pytest.param(accepted, "the node has been accepted since", id="another run has accepted it"),
        pytest.param(cordoned, "someone else has cordoned the node", id="a person has cordoned it"),
        pytest.param(uncordoned, "someone has uncordoned the node", id="a person has uncordoned it"),
        pytest.param(renamed, "this machine is in the cluster as node an-older-name", id="it serves by another name"),
    ],
)
async def test_what_is_in_service_by_then_is_not_reset(
    cluster: ClusterApi,
    embedded: SomeoneIsQuicker,
    tmp_path: Path,
    meanwhile: Callable[[SomeoneIsQuicker], None] | None,
    why: str,
) -> None:
    """An undoing was cut off; as the next run begins with it, someone takes the machine into service."""
    embedded.store.create("nodes", a_node(NODE, **{CORDON: '{"joined": true}'}))
    machine, world = Machine(tmp_path / "machine"), World(tmp_path)
    machine.put("/etc/machine-id", f"{MACHINE_ID}\n")

    def on_change(record: ChangeRecord) -> None:
        begins = record.state is ChangeState.UNKNOWN and record.change.sentence.startswith("undo the failed join")
        if meanwhile is not None and begins:
            meanwhile(embedded)

    async with world.server(machine.behaviour()) as server, open_sessions() as sessions:
        host = world.host(server.port)
        await changes.remember(sessions, host)
        machine.put(BROUGHT)
        machine.put(f"/run/poolkeeper/{LEAVE_UNIT}/result", "1\n")
        outcome = await admission(cluster, sessions, tmp_path, on_change).admit(host)
    told_of = {finding.id: finding.evidence.observed for finding in outcome.findings}
    assert told_of.get("onboard.undo.in-service", "") == why
    there = await get_node(cluster, NODE) is not None
    assert (machine.has(BROUGHT), there) == ((True, True) if why else (False, False))
    if why:
        assert (outcome.state, outcome.summary) == (HostState.FAILED, "not undone: the node is in service")


@pytest.mark.parametrize("ours", [True, False], ids=["a join of ours", "an annotation that says so"])
async def test_only_what_the_host_itself_calls_a_join_of_ours_is_undone(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, tmp_path: Path, ours: bool
) -> None:
    """Who may patch Nodes can cordon one, and write on it that a join of ours has made it: it is not reset for that."""
    embedded.store.create("nodes", a_node(NODE, **{CORDON: '{"joined": true}'}))
    machine, world = Machine(tmp_path / "machine"), World(tmp_path)
    machine.put("/etc/machine-id", f"{MACHINE_ID}\n")
    async with world.server(machine.behaviour()) as server, open_sessions() as sessions:
        host = world.host(server.port)
        host = replace(host, pool=replace(host.pool, join=replace(host.pool.join, timeout_s=0.5)))  # it is never Ready
        if ours:
            await changes.remember(sessions, host)
        machine.put(BROUGHT)
        outcome = await admission(cluster, sessions, tmp_path).admit(host)
    assert outcome.state is (HostState.FAILED if ours else HostState.QUARANTINED)
    assert (machine.has(BROUGHT), await get_node(cluster, NODE) is not None) == (not ours, not ours)
