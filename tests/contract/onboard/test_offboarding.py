"""A host of loopback that is taken out of a real API server's cluster: whose machine it is, and whose turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.nodes import NodeRow, get_node
from poolkeeper.tasks.fleet.model import Host, KubeadmProvider
from poolkeeper.tasks.hosts import FactsRequest, changes
from poolkeeper.tasks.hosts.fence import FencedOff
from poolkeeper.tasks.ledger import Spool
from poolkeeper.tasks.onboard.host_cleanup import LEAVE_UNIT
from poolkeeper.tasks.onboard.offboarding import Offboarding
from poolkeeper.tasks.outcomes import Gate
from poolkeeper.tasks.provider.kubeadm import Kubeadm
from poolkeeper.tasks.runs.recording import Recorder
from tests.contract.cluster.conftest import SomeoneIsQuicker, admin, api, ca, cluster, embedded
from tests.contract.hosts.conftest import POOL, World, open_sessions
from tests.contract.hosts.machines import Machine
from tests.contract.hosts.overtaken import MINE, overtaken_at, show_later
from tests.contract.hosts.servers import Obliging

__all__ = ["admin", "api", "ca", "cluster", "embedded"]

NODE = "fra1-n01"
MACHINE_ID, ANOTHER_ID = "1" * 32, "2" * 32
BROUGHT = "/etc/cni/net.d/10-terway.conf"
SYSTEMCTL = """\
echo "$*" >> "$POOLKEEPER_ROOT/asked"
case $1 in
  is-enabled) echo enabled;;
  is-active) echo active;;
esac
"""
"""Whose kubelet is on, whatever it is asked for."""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """With a kubelet that runs, and something that a join has brought."""
    made = Machine(tmp_path / "machine")
    made.put("/etc/machine-id", f"{MACHINE_ID}\n")
    made.program("systemctl", SYSTEMCTL)
    return made


@pytest.fixture
async def node(embedded: SomeoneIsQuicker, cluster: ClusterApi) -> NodeRow:
    """The machine's Node."""
    status = {"nodeInfo": {"machineID": MACHINE_ID}, "conditions": [{"type": "Ready", "status": "True"}]}
    embedded.store.create("nodes", {"metadata": {"name": NODE}, "status": status})
    found = await get_node(cluster, NODE)
    assert found is not None
    return found


@asynccontextmanager
async def leaving(
    cluster: ClusterApi,
    machine: Machine,
    folder: Path,
    behaviour: type[Obliging] | None = None,
    *,
    host_is_gone: bool = False,
) -> AsyncIterator[tuple[Offboarding, Host]]:
    """The work of an offboarding, and the host with what a join has brought."""
    world = World(folder)
    async with world.server(behaviour or machine.behaviour()) as server, open_sessions() as sessions:
        host = world.host(server.port)
        await changes.remember(sessions, host)
        machine.put(BROUGHT)
        yield (
            Offboarding(
                api=cluster,
                sessions=sessions,
                provider=Kubeadm(POOL.cluster, KubeadmProvider(), cluster),
                gate=Gate(dry_run=False),
                recorder=Recorder(Spool(folder / "spool"), "run-1"),
                request=FactsRequest(),
                host_is_gone=host_is_gone,
            ),
            host,
        )


def asked_to_stop(machine: Machine) -> bool:
    """Whether the kubelet was to be switched off."""
    return "disable --now kubelet" in machine.at("/asked").read_text()


async def test_the_machine_that_is_to_leave_is_cleaned(
    cluster: ClusterApi, node: NodeRow, machine: Machine, tmp_path: Path
) -> None:
    """And its Node stays while the kubelet does not stop."""
    async with leaving(cluster, machine, tmp_path) as (work, host):
        findings = await work.change(host, node, MINE)
    assert {finding.id for finding in findings} == {"offboard.kubelet.on"}
    assert (machine.has(BROUGHT), asked_to_stop(machine)) == (False, True)
    assert machine.at("/var/lib/poolkeeper/fencing-token").read_text() == f"{MINE.fencing_token}\n"
    assert await get_node(cluster, NODE) is not None


async def test_another_machine_by_then_is_not_cleaned(
    cluster: ClusterApi, node: NodeRow, machine: Machine, tmp_path: Path
) -> None:
    """It was looked at hours ago, and its drain is done."""
    machine.put("/etc/machine-id", f"{ANOTHER_ID}\n")
    async with leaving(cluster, machine, tmp_path) as (work, host):
        (finding,) = await work.change(host, node, MINE)
    assert finding.id == "offboard.identity.other-machine"
    assert machine.has(BROUGHT)
    assert not machine.has("/var/lib/poolkeeper/fencing-token")


async def test_a_host_of_a_later_run_is_not_cleaned(
    cluster: ClusterApi, node: NodeRow, machine: Machine, tmp_path: Path
) -> None:
    show_later(machine)
    async with leaving(cluster, machine, tmp_path) as (work, host):
        with pytest.raises(FencedOff):
            await work.change(host, node, MINE)
    assert (machine.has(BROUGHT), asked_to_stop(machine)) == (True, False)
    assert not machine.has(f"/run/poolkeeper/{LEAVE_UNIT}")
    assert await get_node(cluster, NODE) is not None


async def test_a_kubelet_that_a_later_run_has_by_then_stays_on(
    cluster: ClusterApi, node: NodeRow, machine: Machine, tmp_path: Path
) -> None:
    """The later run comes while our own record is undone."""
    behaviour = overtaken_at(machine, "nothing was undone")
    async with leaving(cluster, machine, tmp_path, behaviour) as (work, host):
        with pytest.raises(FencedOff):
            await work.change(host, node, MINE)
    assert (machine.has(BROUGHT), asked_to_stop(machine)) == (False, False)
    assert await get_node(cluster, NODE) is not None


async def test_a_machine_that_answers_by_then_is_not_gone(
    cluster: ClusterApi, embedded: SomeoneIsQuicker, node: NodeRow, machine: Machine, tmp_path: Path
) -> None:
    """The operator's word was true when it was given: the machine was silent, and its Node is not Ready still."""
    status = {"nodeInfo": {"machineID": MACHINE_ID}}
    embedded.store.modify("nodes", NODE, "", lambda it: {**it, "status": status}, subresource="status")
    async with leaving(cluster, machine, tmp_path, host_is_gone=True) as (work, host):
        (finding,) = await work.change(host, node, MINE)
    assert (finding.id, finding.evidence.observed) == (
        "offboard.host.alive",
        f"it answers over SSH (machine id {MACHINE_ID})",
    )
    assert await get_node(cluster, NODE) is not None
