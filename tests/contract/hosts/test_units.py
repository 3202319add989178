"""Units on a real shell, without systemd: started once, taken up by name, ended, forgotten; the secret stays one."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import HostError, Sessions, errors
from poolkeeper.tasks.hosts.units import (
    OUTPUT_KEPT_BYTES,
    UnitRun,
    UnitState,
    forget_unit,
    start_unit,
    stop_unit,
    unit_state,
    wait_unit,
)
from poolkeeper.tasks.outcomes import REDACTED, Secret
from tests.contract.hosts.conftest import World
from tests.contract.hosts.machines import SHELLS, TOOLS, Machine
from tests.contract.hosts.wires import Wire, wire_to

JOIN = "poolkeeper-join"


class Unit:
    """A machine, the line to it, and files to speak with what runs there."""

    def __init__(self, sessions: Sessions, host: Host, machine: Machine, wire: Wire) -> None:
        self.sessions, self.host, self.machine, self.wire = sessions, host, machine, wire
        self.gate = machine.root / "gate"
        self.ran = machine.root / "ran"
        os.mkfifo(self.gate)

    @property
    def folder(self) -> Path:
        return self.machine.root / "run/poolkeeper" / JOIN

    @property
    def gated(self) -> Secret:
        """Tells that it runs, waits for a word through the gate, and tells it."""
        return Secret(f'echo run >> {self.ran}\nread -r word < {self.gate}\necho "heard $word"\n')

    async def open_gate(self, word: str = "go") -> None:
        await asyncio.to_thread(self.gate.write_text, f"{word}\n")

    async def start(self, script: Secret | str, timeout_s: float = 60) -> None:
        secret = script if isinstance(script, Secret) else Secret(script)
        await start_unit(self.sessions, self.host, JOIN, secret, timeout_s=timeout_s)

    async def state(self, **more) -> UnitState:
        return await unit_state(self.sessions, self.host, JOIN, **more)

    async def wait(self, timeout_s: float = 20, **more) -> UnitState:
        return await wait_unit(self.sessions, self.host, JOIN, timeout_s=timeout_s, **more)

    async def forget(self) -> None:
        await forget_unit(self.sessions, self.host, JOIN)

    @property
    def pid(self) -> int:
        return int((self.folder / "pid").read_text().split()[0])


@asynccontextmanager
async def unit_on(world: World, sessions: Sessions, machine: Machine) -> AsyncIterator[Unit]:
    async with world.server(machine.behaviour()) as server, wire_to(server.port) as wire:
        world.through(wire.port, server)
        unit = Unit(sessions, world.host(wire.port), machine, wire)
        try:
            yield unit
        finally:
            await unit.forget()


@pytest.fixture
async def unit(world: World, sessions: Sessions) -> AsyncIterator[Unit]:
    async with unit_on(world, sessions, Machine(world.folder / "machine")) as made:
        yield made


@pytest.mark.parametrize("shell", SHELLS)
async def test_runs_to_its_end(world: World, sessions: Sessions, shell: str) -> None:
    async with unit_on(world, sessions, Machine(world.folder / "machine", shell=shell)) as unit:
        assert await unit.state() == UnitState(UnitRun.ABSENT)
        await unit.start(unit.gated)
        assert (await unit.state()).state is UnitRun.RUNNING
        await unit.open_gate()
        assert await unit.wait() == UnitState(UnitRun.SUCCEEDED, 0, "heard go\n")
        await unit.forget()
        assert await unit.state() == UnitState(UnitRun.ABSENT)
        assert not unit.folder.exists()


@pytest.mark.parametrize(
    ("script", "state"),
    [
        pytest.param("exit 3", UnitState(UnitRun.FAILED, 3), id="its own status"),
        pytest.param("echo out; echo err >&2", UnitState(UnitRun.SUCCEEDED, 0, "out\nerr\n"), id="both streams"),
        pytest.param("cat; echo end", UnitState(UnitRun.SUCCEEDED, 0, "end\n"), id="an empty stdin"),
        pytest.param("echo '100%s' \"$0\" | wc -l", UnitState(UnitRun.SUCCEEDED, 0, "1\n"), id="percent signs"),
        pytest.param("cat <<'E'\na $b\nE", UnitState(UnitRun.SUCCEEDED, 0, "a $b\n"), id="a here-document at its end"),
        pytest.param("umask", UnitState(UnitRun.SUCCEEDED, 0, "0022\n"), id="the usual umask"),
        pytest.param("kill -9 $$", UnitState(UnitRun.FAILED, 137, "Killed\n"), id="killed by itself"),
    ],
)
async def test_how_a_script_ends(unit: Unit, script: str, state: UnitState) -> None:
    await unit.start(script)
    assert await unit.wait() == state


async def test_started_twice_runs_once(unit: Unit) -> None:
    await unit.start(unit.gated)
    await unit.start(unit.gated)
    await unit.open_gate()
    await unit.wait()
    await unit.start(unit.gated)
    assert (await unit.state()).state is UnitRun.SUCCEEDED
    assert unit.ran.read_text() == "run\n"


async def test_started_by_many_at_once_runs_once_and_leaves_no_script(unit: Unit) -> None:
    await asyncio.gather(*(unit.start(unit.gated) for _ in range(6)))
    assert sorted(path.name for path in unit.folder.iterdir()) == ["output", "pid"]
    await unit.open_gate()
    assert (await unit.wait()).output == "heard go\n"
    assert unit.ran.read_text() == "run\n"


async def test_line_dropped_while_it_runs(unit: Unit) -> None:
    await unit.start(unit.gated)
    unit.wire.cut()
    assert (await unit.state()).state is UnitRun.RUNNING
    waiting = asyncio.create_task(unit.wait())
    seen = unit.wire.seen.connections
    await unit.wire.seen.until(lambda now: now.connections >= seen)
    unit.wire.cut()
    await unit.open_gate()
    assert await waiting == UnitState(UnitRun.SUCCEEDED, 0, "heard go\n")
    assert unit.ran.read_text() == "run\n"


async def test_waits_on_the_host_for_its_end(unit: Unit) -> None:
    await unit.start(unit.gated)
    waiting = asyncio.create_task(unit.state(wait_s=20))
    await unit.open_gate()
    assert (await waiting).state is UnitRun.SUCCEEDED


async def test_wait_has_a_deadline(unit: Unit) -> None:
    await unit.start(unit.gated)
    with pytest.raises(TimeoutError):
        await unit.wait(timeout_s=0.5)


async def test_killed_is_failed_and_its_script_goes_too(unit: Unit) -> None:
    await unit.start(f"echo $$ > {unit.ran}; echo begun; exec sleep 1000")
    script = int(await _written(unit.ran))
    os.kill(unit.pid, signal.SIGKILL)
    assert await unit.wait() == UnitState(UnitRun.FAILED, None, "begun\n")
    assert await asyncio.to_thread(_gone, script), "the script outlived the unit"


async def test_time_limit(unit: Unit) -> None:
    await unit.start(f"echo $$ > {unit.ran}; exec sleep 1000", timeout_s=1)
    script = int(await _written(unit.ran))
    assert await unit.wait() == UnitState(UnitRun.FAILED, None)
    assert await asyncio.to_thread(_gone, script)


async def test_a_stopped_one_has_failed_and_one_that_ended_stays_as_it_ended(unit: Unit) -> None:
    await unit.start(unit.gated)
    await stop_unit(unit.sessions, unit.host, JOIN)
    assert await unit.state() == UnitState(UnitRun.FAILED)
    await unit.forget()
    await unit.start("exit 3")
    ended = await unit.wait()
    await stop_unit(unit.sessions, unit.host, JOIN)
    assert await unit.state() == ended == UnitState(UnitRun.FAILED, 3)


async def test_forgetting_ends_all_of_it(unit: Unit) -> None:
    await unit.start(f"sleep 1000 & echo $! > {unit.ran}.part; mv {unit.ran}.part {unit.ran}; wait")
    child = int(await _written(unit.ran))
    await unit.forget()
    assert await asyncio.to_thread(_gone, child)
    assert not unit.folder.exists()
    await unit.forget()


async def test_forgetting_waits_for_systemd_to_stop_it(world: World, sessions: Sessions) -> None:
    """Which takes longer than a command may: systemd gives what it ends 90 s before it kills it."""
    machine = Machine(world.folder / "machine")
    (machine.root / "run/systemd/system").mkdir(parents=True)
    machine.program("systemd-run", "exit 1")
    machine.program("systemctl", f'[ "$1" != stop ] || {{ sleep 0.6; echo >> {machine.root}/stopped; }}')
    folder = machine.put(f"/run/poolkeeper/{JOIN}/result", "0\n").parent
    async with world.server(machine.behaviour()) as server:
        await forget_unit(sessions, world.host(server.port, command_timeout_s=0.3), JOIN)
    assert (machine.has("/stopped"), folder.exists()) == (True, False)


async def test_a_number_that_was_handed_on_is_not_the_unit(unit: Unit) -> None:
    """The unit was killed, and another process has its pid now: it is neither taken for it nor ended with it."""
    await unit.start("exec sleep 1000")
    os.kill(unit.pid, signal.SIGKILL)
    await unit.wait()
    born = (unit.folder / "pid").read_text().split()[1]
    stranger = await asyncio.create_subprocess_exec("sleep", "1000", start_new_session=True)
    try:
        (unit.folder / "pid").write_text(f"{stranger.pid} {born}\n")
        assert (await unit.state()).state is UnitRun.FAILED
        await unit.forget()
        os.kill(stranger.pid, 0)
        assert stranger.returncode is None
    finally:
        stranger.kill()
        await stranger.wait()


async def test_the_script_is_never_seen(unit: Unit) -> None:
    """Not in any argv nor environment, not in any file once it runs, and in none that others could read before."""
    word = "join-token-0123456789abcdef"
    await unit.start(Secret(f"echo {word} > /dev/null\n{unit.gated.reveal()}"))
    await _written(unit.ran)
    assert not [pid for pid, text in _processes() if word in text]
    assert not [path for path in unit.machine.root.rglob("*") if path.is_file() and word in path.read_text()]
    for path in (unit.folder, *unit.folder.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    await unit.open_gate()
    assert (await unit.wait()).state is UnitRun.SUCCEEDED


async def test_the_scripts_file_is_ours_alone_while_it_is_there(world: World, sessions: Sessions) -> None:
    """A setsid that only looks: what it finds is what is on disk between the writing and the running."""
    machine = Machine(world.folder / "machine")
    real = os.readlink(machine.programs / "setsid")
    machine.program("setsid", f'ls -ln "${{2%/*}}" > {machine.root}/listing; exec {real} "$@"')
    async with unit_on(world, sessions, machine) as unit:
        await unit.start("exit 0")
        await unit.wait()
        assert [line[:10] for line in (machine.root / "listing").read_text().splitlines()[1:]] == ["-rw-------"] * 2


async def test_output_is_redacted(unit: Unit) -> None:
    script = Secret("echo the-secret-of-this-join\necho token=abcd\necho plain\n")
    await unit.start(script)
    assert (await unit.wait(script=script)).output == f"{REDACTED}\ntoken={REDACTED}\nplain\n"


async def test_output_is_capped_and_does_not_begin_with_half_a_secret(unit: Unit) -> None:
    secret = "x" * 41  # a line of 46 bytes, so that what is kept begins within one
    script = Secret(f"i=0\nwhile [ $i -lt 1000 ]; do echo {secret} $i; i=$((i + 1)); done\n")
    await unit.start(script)
    output = (await unit.wait(script=script)).output
    assert len(output) <= OUTPUT_KEPT_BYTES
    assert output.endswith(f"{REDACTED} 999\n")
    assert "x" not in output


async def test_output_without_an_end_does_not_hinder_reading(unit: Unit) -> None:
    await unit.start("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end")
    state = await unit.wait()
    assert (state.state, state.output) == (UnitRun.SUCCEEDED, "end\n")


async def test_line_dropped_while_starting_and_started_again(unit: Unit) -> None:
    seen = unit.wire.seen.connections
    starting = asyncio.create_task(unit.start(unit.gated))
    await unit.wire.seen.until(lambda now: now.connections > seen)
    unit.wire.cut()
    with suppress(errors.ConnectionLost, errors.ConnectRefused):  # or the cut came after the answer
        await starting
    await unit.start(unit.gated)
    await unit.open_gate()
    assert (await unit.wait()).state is UnitRun.SUCCEEDED
    assert unit.ran.read_text() == "run\n"


@pytest.mark.parametrize("missing", ["setsid", "mkdir"])
async def test_what_cannot_start_says_so(world: World, sessions: Sessions, missing: str) -> None:
    machine = Machine(world.folder / "machine", tools=set(TOOLS) - {missing})
    async with unit_on(world, sessions, machine) as unit:
        with pytest.raises(HostError, match=f"unit {JOIN} could not be started"):
            await unit.start("echo never")
        (machine.programs / missing).symlink_to(f"/bin/{missing}")


@pytest.mark.parametrize("name", ["", "../up", "Join", "a b", "a;b", "-x", "a" * 70])
async def test_names_that_are_none(unit: Unit, name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        await start_unit(unit.sessions, unit.host, name, Secret("true"), timeout_s=1)


async def _written(path: Path) -> str:
    """A file's text as soon as it has a line."""
    return await asyncio.to_thread(_first_text, path)


def _first_text(path: Path) -> str:
    deadline = time.monotonic() + 10
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, f"nothing wrote {path}"
        time.sleep(0.02)  # a file has no event that works on every machine
    return path.read_text()


def _gone(pid: int) -> bool:
    """Whether a process ends within ten seconds."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 10)[0])
    finally:
        os.close(descriptor)


def _processes() -> list[tuple[str, str]]:
    """Every process's arguments and environment, as far as we may read them."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("cmdline", "environ"):
            try:
                found.append((pid, Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")))
            except OSError:
                continue
    return found
