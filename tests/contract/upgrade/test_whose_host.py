"""Whose machine is upgraded, and whose turn it is: by every way, on machines of loopback and a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from poolkeeper.deployments.lab.ack import AckOpenApi
from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import FactsRequest, Sessions
from poolkeeper.tasks.hosts.fence import FencedOff
from poolkeeper.tasks.outcomes import Gate
from poolkeeper.tasks.upgrade import HostUpgrade, StepTimeouts, VersionGoal
from poolkeeper.tasks.upgrade.ways import UPGRADE_UNIT
from tests.contract.cluster.conftest import SomeoneIsQuicker, admin, api, ca, cluster, embedded
from tests.contract.hosts.conftest import World, open_sessions
from tests.contract.hosts.machines import Machine
from tests.contract.hosts.overtaken import MINE, overtaken_at, show_later
from tests.contract.hosts.servers import Obliging
from tests.contract.provider.conftest import ack_at, openapi, tokens

__all__ = ["admin", "api", "ca", "cluster", "embedded", "openapi", "tokens"]

NODE = "fra1-n01"
MACHINE_ID, ANOTHER_ID = "1" * 32, "2" * 32
RAN = "/tmp/ran"
COMMAND = f'echo run >> "$POOLKEEPER_ROOT{RAN}"'
TIMEOUTS = StepTimeouts(stage_s=5, change_s=5, hand_off_s=0.2, settle_s=0.2)


@pytest.fixture
def machine(tmp_path: Path, embedded: SomeoneIsQuicker) -> Machine:
    """With its Node, whose kubelet is older than the goal."""
    made = Machine(tmp_path / "machine")
    made.put("/etc/machine-id", f"{MACHINE_ID}\n")
    info = {"machineID": MACHINE_ID, "kubeletVersion": "v1.35.4"}
    embedded.store.create("nodes", {"metadata": {"name": NODE}, "status": {"nodeInfo": info}})
    return made


@asynccontextmanager
async def on(behaviour: type[Obliging], folder: Path) -> AsyncIterator[tuple[Host, Sessions]]:
    """A host that behaves so, and sessions to it."""
    world = World(folder)
    async with world.server(behaviour) as server, open_sessions() as sessions:
        yield world.host(server.port), sessions


def upgrading(cluster: ClusterApi, sessions: Sessions, openapi: AckOpenApi, way: str) -> HostUpgrade:
    """An upgrade by one of ACK's ways."""
    provider = ack_at(openapi.endpoint, upgrade=way, upgrade_command=COMMAND if way == "command" else None)
    return HostUpgrade(
        api=cluster,
        sessions=sessions,
        provider=provider,
        gate=Gate(dry_run=False),
        goal=VersionGoal("1.36.3"),
        request=FactsRequest(),
        timeouts=TIMEOUTS,
    )


async def test_a_script_runs_where_nobody_came_later(
    cluster: ClusterApi, openapi: AckOpenApi, machine: Machine, tmp_path: Path
) -> None:
    async with on(machine.behaviour(), tmp_path) as (host, sessions):
        assert await upgrading(cluster, sessions, openapi, "command").change(host, MINE) == ()
    assert machine.at(RAN).read_text() == "run\n"


async def test_another_machine_is_neither_changed_nor_told_our_number(
    cluster: ClusterApi, openapi: AckOpenApi, machine: Machine, tmp_path: Path
) -> None:
    machine.put("/etc/machine-id", f"{ANOTHER_ID}\n")
    async with on(machine.behaviour(), tmp_path) as (host, sessions):
        upgrade = upgrading(cluster, sessions, openapi, "command")
        for findings in (await upgrade.stage(host), await upgrade.change(host, MINE)):
            assert [finding.id for finding in findings] == ["node.identity.other-machine"]
    assert not machine.has(RAN)
    assert not machine.has("/var/lib/poolkeeper/fencing-token")


@pytest.mark.parametrize("way", ["call", "hand-off"])
async def test_a_host_of_a_later_run_is_neither_called_for_nor_handed_over(
    cluster: ClusterApi, openapi: AckOpenApi, machine: Machine, tmp_path: Path, way: str
) -> None:
    """Neither runs anything on the host, which is where a lost lease would be noticed otherwise."""
    show_later(machine)
    async with on(machine.behaviour(), tmp_path) as (host, sessions):
        upgrade = upgrading(cluster, sessions, openapi, way)
        with pytest.raises(FencedOff):
            await upgrade.change(host, MINE)
    assert len(upgrade.gate.sentences) == 1, "the provider was called"


async def test_what_a_later_run_has_by_then_is_not_started(
    cluster: ClusterApi, openapi: AckOpenApi, machine: Machine, tmp_path: Path
) -> None:
    """The later run comes when our number has been shown, and it is looked whether an upgrade runs."""
    behaviour = overtaken_at(machine, f"name={UPGRADE_UNIT}")
    async with on(behaviour, tmp_path) as (host, sessions):
        with pytest.raises(FencedOff):
            await upgrading(cluster, sessions, openapi, "command").change(host, MINE)
    assert not machine.has(RAN)
    assert not machine.has(f"/run/poolkeeper/{UPGRADE_UNIT}")
