"""A host that is rid of what a join has brought, on a machine of loopback: by whom, and up to where."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import Sessions, changes
from poolkeeper.tasks.hosts.fence import FencedOff, write_fence
from poolkeeper.tasks.hosts.units import UnitRun, forget_unit, start_unit, unit_state
from poolkeeper.tasks.onboard.host_cleanup import JOIN_UNIT, LEAVE_UNIT, clean_host
from poolkeeper.tasks.outcomes import Secret
from tests.contract.hosts.conftest import World, open_sessions
from tests.contract.hosts.machines import Machine
from tests.contract.hosts.overtaken import LATER, MINE, overtaken_at, show_later

RESET = 'rm -f "$POOLKEEPER_ROOT/etc/kubernetes/kubelet.conf"\n'
LATER_RUN = f'echo {LATER} > "$POOLKEEPER_ROOT/var/lib/poolkeeper/fencing-token"\n'


def ours(sessions: Sessions, host: Host) -> Callable[[], Awaitable[None]]:
    """Shows the host our own fencing token."""

    async def show() -> None:
        await write_fence(sessions, host, MINE)

    return show


@pytest.mark.parametrize("meanwhile", ["", LATER_RUN], ids=["ours to the end", "a later run has it by then"])
async def test_what_a_later_run_has_is_not_undone(tmp_path: Path, meanwhile: str) -> None:
    world, machine = World(tmp_path), Machine(tmp_path / "machine")
    async with world.server(machine.behaviour()) as server, open_sessions() as sessions:
        host = world.host(server.port)
        await changes.remember(sessions, host)
        machine.put("/etc/kubernetes/kubelet.conf", "ours\n")
        machine.put("/etc/cni/net.d/10-terway.conf", "ours\n")

        script = Secret(RESET + meanwhile, secret_words=())
        cleaning = clean_host(sessions, host, script, still_ours=ours(sessions, host))
        if meanwhile:
            with pytest.raises(FencedOff):
                await cleaning
        else:
            await cleaning
    assert not machine.has("/etc/kubernetes/kubelet.conf")
    assert machine.has("/etc/cni/net.d/10-terway.conf") == bool(meanwhile)


async def test_a_later_runs_join_is_not_ended(tmp_path: Path) -> None:
    world, machine = World(tmp_path), Machine(tmp_path / "machine")
    show_later(machine)
    async with world.server(machine.behaviour()) as server, open_sessions() as sessions:
        host = world.host(server.port)
        await start_unit(sessions, host, JOIN_UNIT, Secret("exec sleep 1000", secret_words=()), timeout_s=60)
        with pytest.raises(FencedOff):
            await clean_host(sessions, host, Secret(RESET, secret_words=()), still_ours=ours(sessions, host))
        assert (await unit_state(sessions, host, JOIN_UNIT)).state is UnitRun.RUNNING
        await forget_unit(sessions, host, JOIN_UNIT)


async def test_a_reset_is_not_begun_on_a_host_that_a_later_run_has_by_then(tmp_path: Path) -> None:
    """It comes while what an earlier try has left is cleared away."""
    world, machine = World(tmp_path), Machine(tmp_path / "machine")
    kubelet = machine.put("/etc/kubernetes/kubelet.conf", "theirs\n")
    behaviour = overtaken_at(machine, f"name={LEAVE_UNIT}")
    async with world.server(behaviour) as server, open_sessions() as sessions:
        host = world.host(server.port)
        with pytest.raises(FencedOff):
            await clean_host(sessions, host, Secret(RESET, secret_words=()), still_ours=ours(sessions, host))
    assert kubelet.exists()
    assert not machine.has(f"/run/poolkeeper/{LEAVE_UNIT}")
