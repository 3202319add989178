"""Real apt and dpkg on a root folder of their own, with a repository of two versions of one package."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import MappingProxyType

import pytest

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import Sessions
from poolkeeper.tasks.packages.apt.downloads import download
from poolkeeper.tasks.packages.apt.installing import INSTALL, hold_again
from poolkeeper.tasks.packages.apt.lists import read_packages, update_lists
from poolkeeper.tasks.packages.apt.shell import APT
from poolkeeper.tasks.packages.errors import Locked, PackageError
from tests.contract.hosts.conftest import World
from tests.contract.hosts.machines import Machine

APT_GET, DPKG, DPKG_DEB = (shutil.which(name) for name in ("apt-get", "dpkg", "dpkg-deb"))
pytestmark = pytest.mark.skipif(not (APT_GET and DPKG and DPKG_DEB), reason="no apt on this machine")

_CONTROL = """\
Package: tool
Version: {version}
Architecture: all
Maintainer: nobody <nobody@example.com>
Description: a service that its configuring restarts
"""
_APT_CONF = """\
Dir "{root}/";
Dir::State::status "{root}/var/lib/dpkg/status";
Dir::Bin::dpkg "{dpkg}";
Dir::Bin::methods "/usr/lib/apt/methods";
APT::Sandbox::User "";
Acquire::Languages "none";
"""
_HOLDER = """\
import fcntl, sys
lock = open(sys.argv[1], "a")
fcntl.lockf(lock, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""
_DPKG = "exec {dpkg} --root={root} --force-not-root --force-script-chrootless --log=/dev/null"


class Debian:
    """A machine with apt, and how it stands with the package `tool`."""

    def __init__(self, folder: Path) -> None:
        self.machine = Machine(folder / "machine")
        self.restarts = folder / "restarts"
        self._repository = folder / "repository"
        self._repository.mkdir()
        root = self.machine.root
        for place in ("dpkg/updates", "dpkg/info", "dpkg/triggers", "apt/lists/partial"):
            (root / "var/lib" / place).mkdir(parents=True)
        for place in ("etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/cache/apt/archives/partial", "var/log/apt"):
            (root / place).mkdir(parents=True)
        self.status.touch()
        self.machine.put("/etc/apt/sources.list", f"deb [trusted=yes] copy:{self._repository} ./\n")
        self.config = folder / "apt.conf"
        dpkg = folder / "dpkg"
        dpkg.write_text(f'#!/bin/sh\n{_DPKG.format(dpkg=DPKG, root=root)} "$@"\n')
        dpkg.chmod(0o755)
        self.config.write_text(_APT_CONF.format(root=root, dpkg=dpkg))
        # apt and dpkg call programs of the system; dpkg itself is only ever ours, on this root
        for program in ("apt-get", "apt-cache", "apt-mark", "dpkg-query", "dpkg-deb", "dpkg-split", "tar", "diff"):
            path = self.machine.programs / program
            path.unlink(missing_ok=True)
            path.symlink_to(str(shutil.which(program)))
        (self.machine.programs / "dpkg").symlink_to(dpkg)
        self.machine.program("dpkg-query", f'exec {shutil.which("dpkg-query")} --admindir={root}/var/lib/dpkg "$@"')
        self._publish("1.0", "2.0")

    @property
    def status(self) -> Path:
        return self.machine.root / "var/lib/dpkg/status"

    @property
    def fetched(self) -> list[str]:
        return sorted(path.name for path in self.machine.at("/var/cache/apt/archives").glob("*.deb"))

    def _publish(self, *versions: str) -> None:
        index = []
        for version in versions:
            tree, deb = self._repository / version, self._repository / f"tool_{version}_all.deb"
            (tree / "DEBIAN").mkdir(parents=True)
            control = _CONTROL.format(version=version)
            (tree / "DEBIAN/control").write_text(control)
            script = tree / "DEBIAN/postinst"
            script.write_text(f"#!/bin/sh\necho {version} >> {self.restarts}\n")
            script.chmod(0o755)
            subprocess.run([str(DPKG_DEB), "--root-owner-group", "-b", tree, deb], check=True, capture_output=True)
            digest = hashlib.sha256(deb.read_bytes()).hexdigest()
            index.append(f"{control}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n")
        (self._repository / "Packages").write_text("\n".join(index))

    def restarted(self) -> list[str]:
        return self.restarts.read_text().split() if self.restarts.exists() else []

    @property
    def slept(self) -> Path:
        """Where a stand-in for `sleep` tells that it was called."""
        return self.machine.at("/tmp/slept")

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """Another program that has dpkg's lock until it is killed."""
        holder = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _HOLDER, str(self.status.with_name("lock-frontend"))),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"locked\n"
        try:
            yield holder
        finally:
            with suppress(ProcessLookupError):
                holder.kill()
            await holder.wait()

    def interrupt(self) -> None:
        """As after a power cut between unpacking and configuring: dpkg's journal is not merged yet."""
        entry = self.status.read_text().replace("install ok installed", "install ok unpacked")
        self.status.write_text(entry)
        self.machine.at("/var/lib/dpkg/updates/0001").write_text(entry)


@pytest.fixture
def debian(world: World) -> Debian:
    return Debian(world.folder)


@pytest.fixture
async def host(world: World, debian: Debian) -> AsyncIterator[Host]:
    on_machine = debian.machine.behaviour()

    class OnDebian(on_machine):  # type: ignore[valid-type, misc]
        environment = MappingProxyType({**on_machine.environment, "APT_CONFIG": str(debian.config)})

    async with world.server(OnDebian) as server:
        yield world.host(server.port)


async def install(sessions: Sessions, host: Host, *pins: str) -> None:
    """As an upgrade's script does on a drained host."""
    ended = await sessions.run(host, f"{APT}{INSTALL}install_exactly {' '.join(pins)}")
    assert ended.exit_status == 0, ended.stdout + ended.stderr


async def with_tool(sessions: Sessions, host: Host) -> None:
    await update_lists(sessions, host)
    await install(sessions, host, "tool=1.0")


async def test_fetching_mends_no_interrupted_dpkg(sessions: Sessions, debian: Debian, host: Host) -> None:
    """To configure what is half installed restarts its services: nobody has drained this host yet."""
    await with_tool(sessions, host)
    debian.interrupt()
    await download(sessions, host, {"tool": "2.0"}, timeout_s=30)
    assert "tool_2.0_all.deb" in debian.fetched
    assert debian.restarted() == ["1.0"]
    assert debian.machine.has("/var/lib/dpkg/updates/0001")


async def test_installing_finishes_an_interrupted_dpkg_first(sessions: Sessions, debian: Debian, host: Host) -> None:
    await with_tool(sessions, host)
    debian.interrupt()
    await install(sessions, host, "tool=2.0")
    assert debian.restarted() == ["1.0", "1.0", "2.0"]
    assert (await read_packages(sessions, host, ["tool"]))["tool"].installed == "2.0"


async def test_a_hold_is_afterwards_what_it_was(sessions: Sessions, debian: Debian, host: Host) -> None:
    await with_tool(sessions, host)
    await sessions.run(host, "apt-mark hold tool")
    await install(sessions, host, "tool=2.0")
    changed = (await read_packages(sessions, host, ["tool"]))["tool"]
    assert (changed.installed, changed.held) == ("2.0", True)
    assert not debian.machine.has("/var/lib/poolkeeper/held")


async def cut_off_before_its_hold(sessions: Sessions, debian: Debian, host: Host) -> None:
    """An install whose shell is killed as it is about to hold the package again."""
    await with_tool(sessions, host)
    await sessions.run(host, "apt-mark hold tool")
    once, apt_mark = debian.machine.at("/tmp/killed"), shutil.which("apt-mark")
    killed = f'if [ "$1" = hold ] && [ ! -e {once} ]; then echo > {once}; kill -KILL 0; fi; exec {apt_mark} "$@"'
    debian.machine.program("apt-mark", killed)
    ended = await sessions.run(host, f"{APT}{INSTALL}install_exactly tool=2.0")
    assert (ended.exit_status != 0, once.exists()) == (True, True)
    cut_off = (await read_packages(sessions, host, ["tool"]))["tool"]
    assert (cut_off.installed, cut_off.held) == ("2.0", False)


async def test_a_hold_outlives_a_kill_before_it_is_set_again(sessions: Sessions, debian: Debian, host: Host) -> None:
    await cut_off_before_its_hold(sessions, debian, host)
    await install(sessions, host, "tool=2.0")
    assert (await read_packages(sessions, host, ["tool"]))["tool"].held


async def test_a_hold_that_was_lost_is_set_again_without_another_install(
    sessions: Sessions, debian: Debian, host: Host
) -> None:
    await cut_off_before_its_hold(sessions, debian, host)
    for _ in range(2):
        await hold_again(sessions, host)
        assert (await read_packages(sessions, host, ["tool"]))["tool"].held
    await sessions.run(host, "apt-mark unhold tool")
    await install(sessions, host, "tool=2.0")
    assert not (await read_packages(sessions, host, ["tool"]))["tool"].held, "a person's word since then"


@pytest.fixture
async def unheld(sessions: Sessions, debian: Debian, host: Host) -> Debian:
    """With a package that is to be held again."""
    await with_tool(sessions, host)
    debian.machine.put("/var/lib/poolkeeper/held", "tool\n")
    return debian


async def test_a_lock_is_waited_for_before_what_was_held_is_held_again(
    sessions: Sessions, unheld: Debian, host: Host
) -> None:
    async with unheld.locked() as other:
        unheld.machine.program("sleep", f"echo slept >> {unheld.slept}; kill {other.pid} 2>/dev/null")
        await hold_again(sessions, host)
    assert unheld.slept.exists()
    assert (await read_packages(sessions, host, ["tool"]))["tool"].held
    assert not unheld.machine.has("/var/lib/poolkeeper/held")


async def test_a_lock_is_not_waited_for_for_ever(sessions: Sessions, unheld: Debian, host: Host) -> None:
    unheld.machine.program("sleep", f"echo slept >> {unheld.slept}")
    clock = unheld.machine.at("/tmp/clock")
    clock.write_text("0")
    unheld.machine.program("date", f'read -r now < {clock}; echo $((now + 100)) > {clock}; echo "$now"')
    async with unheld.locked():
        with pytest.raises(Locked, match="locked by another process"):
            await hold_again(sessions, host)
    assert unheld.slept.read_text().split() == ["slept"] * 2
    assert unheld.machine.has("/var/lib/poolkeeper/held"), "for the next try"


async def test_another_error_than_a_lock_is_told_at_once(sessions: Sessions, unheld: Debian, host: Host) -> None:
    unheld.machine.program("sleep", f"echo slept >> {unheld.slept}")
    unheld.machine.program("apt-mark", "echo 'E: Executing dpkg failed. Are you root?' >&2; exit 100")
    with pytest.raises(PackageError, match="Are you root") as caught:
        await hold_again(sessions, host)
    assert not isinstance(caught.value, Locked)
    assert not unheld.slept.exists()


async def test_an_installation_that_failed_is_no_success_because_its_hold_is_back(
    sessions: Sessions, debian: Debian, host: Host
) -> None:
    await with_tool(sessions, host)
    await sessions.run(host, "apt-mark hold tool")
    ended = await sessions.run(host, f"{APT}{INSTALL}install_exactly tool=3.0")
    assert ended.exit_status != 0
    assert (await read_packages(sessions, host, ["tool"]))["tool"].held


async def test_what_is_not_installed_is_not_held(sessions: Sessions, debian: Debian, host: Host) -> None:
    """A join notes what it will hold before it installs: where that fails, nobody's later install is to be hindered."""
    await update_lists(sessions, host)
    ended = await sessions.run(host, f"{APT}{INSTALL}hold_later tool; install_exactly tool=3.0")
    assert ended.exit_status != 0
    assert not (await read_packages(sessions, host, ["tool"]))["tool"].held
    assert not debian.machine.has("/var/lib/poolkeeper/held")
