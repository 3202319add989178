"""A host that is rid of what a join has brought, on a machine of loopback: by whom, and up to where."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.hosts import changes
from tasks.hosts.fence import FencedOff, claim
from tasks.onboard.leaving import clean_host
from tasks.outcomes import Secret
from tests.contract.hosts.conftest import World, open_sessions
from tests.contract.hosts.machines import Machine

RESET = 'rm -f "$POOLKEEPER_ROOT/etc/kubernetes/kubelet.conf"\n'
LATER_RUN = 'echo 8 > "$POOLKEEPER_ROOT/var/lib/poolkeeper/generation"\n'


@pytest.mark.parametrize("meanwhile", ["", LATER_RUN], ids=["ours to the end", "a later run has it by then"])
async def test_what_a_later_run_has_is_not_undone(tmp_path: Path, meanwhile: str) -> None:
    world, machine = World(tmp_path), Machine(tmp_path / "machine")
    async with world.server(machine.behaviour()) as server, open_sessions() as sessions:
        host = world.host(server.port)
        await changes.remember(sessions, host)
        machine.put("/etc/kubernetes/kubelet.conf", "ours\n")
        machine.put("/etc/cni/net.d/10-terway.conf", "ours\n")

        async def still_ours() -> None:
            await claim(sessions, host, 7)

        cleaning = clean_host(sessions, host, Secret(RESET + meanwhile, secret_words=()), still_ours=still_ours)
        if meanwhile:
            with pytest.raises(FencedOff):
                await cleaning
        else:
            await cleaning
    assert not machine.has("/etc/kubernetes/kubelet.conf")
    assert machine.has("/etc/cni/net.d/10-terway.conf") == bool(meanwhile)
