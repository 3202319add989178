"""The whole of it on hosts of the lab, where sudo and systemd-run are found: facts, units, fence, record of changes."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.deployments.lab.layout import LabFolder
from poolkeeper.tasks.fleet import load_fleet
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import FactsRequest, Sessions, changes, errors, read_facts
from poolkeeper.tasks.hosts.fence import FencedOff, write_fence
from poolkeeper.tasks.hosts.units import UnitRun, UnitState, forget_unit, start_unit, unit_state, wait_unit
from poolkeeper.tasks.outcomes import Known, Secret
from tests.contract.hosts.conftest import open_sessions
from tests.contract.hosts.fences import fence

JOIN = "poolkeeper-join"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabFolder]:
    folder = LabFolder(tmp_path_factory.mktemp("lab") / "lab")
    lifecycle.up(folder, 1)
    yield folder
    lifecycle.down(folder)


@pytest.fixture
def host(lab: LabFolder) -> Iterator[Host]:
    """Its only host, as its fleet file declares it; mended afterwards."""
    declared = next(iter(load_fleet(lab.fleet).hosts.values()))
    yield declared
    lifecycle.mend_host(lab, declared.name, None)


@pytest.fixture
def root(lab: LabFolder, host: Host) -> Path:
    return lab.host(host.name) / "root"


@pytest.fixture
async def sessions() -> AsyncIterator[Sessions]:
    async with open_sessions() as opened:
        yield opened


async def test_facts(lab: LabFolder, host: Host, root: Path, sessions: Sessions) -> None:
    api = json.loads(lab.ready.read_text())["api_url"]
    facts = await read_facts(sessions, host, FactsRequest(api, "not a certificate; $(touch /tmp/never) '\""))
    assert isinstance(facts.machine_id, Known)
    assert facts.machine_id.value == (root / "etc/machine-id").read_text().strip()
    assert isinstance(facts.clock_offset_s, Known)
    assert abs(facts.clock_offset_s.value) < 5
    assert isinstance(facts.api_answer, Known)
    assert facts.api_answer.value.startswith("curl: (77)"), "an authority that is none must not pass"
    assert not list((root / "tmp").iterdir()), "something was left on the host"


async def test_sudo_that_wants_a_password(lab: LabFolder, host: Host, sessions: Sessions) -> None:
    lifecycle.break_host(lab, host.name, Fault.SUDO_PASSWORD)
    with pytest.raises(errors.SudoRefused, match="a password is required"):
        await read_facts(sessions, host, FactsRequest())


async def test_what_a_command_says_last_arrives_however_fast_it_ends(host: Host, sessions: Sessions) -> None:
    ended = await asyncio.gather(*(sessions.run(host, "echo last words >&2; exit 3", sudo=False) for _ in range(8)))
    assert {(e.exit_status, e.stderr) for e in ended} == {(3, "last words\n")}


async def test_unit_under_systemd(host: Host, root: Path, sessions: Sessions) -> None:
    script = Secret(f"echo run >> {root}/tmp/ran\nread -r word < {root}/tmp/gate\necho heard $word\n")
    assert await unit_state(sessions, host, JOIN) == UnitState(UnitRun.ABSENT)
    os.mkfifo(root / "tmp/gate")
    await asyncio.gather(*(start_unit(sessions, host, JOIN, script, timeout_s=60) for _ in range(3)))
    assert (await unit_state(sessions, host, JOIN)).state is UnitRun.RUNNING
    await asyncio.to_thread((root / "tmp/gate").write_text, "go\n")
    assert await wait_unit(sessions, host, JOIN, timeout_s=20) == UnitState(UnitRun.SUCCEEDED, 0, "heard go\n")
    assert (root / "tmp/ran").read_text() == "run\n"
    await forget_unit(sessions, host, JOIN)
    assert await unit_state(sessions, host, JOIN) == UnitState(UnitRun.ABSENT)
    for left in ("gate", "ran"):
        (root / "tmp" / left).unlink()


async def test_unit_beyond_its_limit_and_once_more(host: Host, sessions: Sessions) -> None:
    await start_unit(sessions, host, JOIN, Secret("echo begun; exec sleep 1000"), timeout_s=1)
    assert await wait_unit(sessions, host, JOIN, timeout_s=20) == UnitState(UnitRun.FAILED, None, "begun\n")
    await forget_unit(sessions, host, JOIN)
    await start_unit(sessions, host, JOIN, Secret("echo again"), timeout_s=10)
    assert (await wait_unit(sessions, host, JOIN, timeout_s=20)).output == "again\n"
    await forget_unit(sessions, host, JOIN)


async def test_of_two_runs_at_once_the_later_one_stays(host: Host, root: Path, sessions: Sessions) -> None:
    async def come(fencing_token: int) -> bool:
        try:
            await write_fence(sessions, host, fence(fencing_token))
        except FencedOff:
            return False
        return True

    for earlier in (1, 3, 5):
        _, later = await asyncio.gather(come(earlier), come(earlier + 1))
        assert later
        assert (root / "var/lib/poolkeeper/fencing-token").read_text() == f"{earlier + 1}\n"
        assert not await come(earlier)


async def test_changes(lab: LabFolder, host: Host, root: Path, sessions: Sessions) -> None:
    await changes.remember(sessions, host)
    lifecycle.break_host(lab, host.name, Fault.LEFTOVERS)
    assert "added path kubernetes-config" in await changes.record(sessions, host)
    assert "removed kubernetes-config" in await changes.undo(sessions, host)
    assert not (root / "etc/kubernetes").exists()
