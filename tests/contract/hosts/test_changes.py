"""The record of changes on a fake root: whatever was there before stays, whatever the record says or lacks."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import HostError, Sessions, changes
from tests.contract.hosts.conftest import World
from tests.contract.hosts.machines import SHELLS, TOOLS, Machine

BEFORE = "var/lib/poolkeeper/before"


class Joined:
    """A machine with what a joiner makes of it."""

    def __init__(self, sessions: Sessions, host: Host, machine: Machine) -> None:
        self.sessions, self.host, self.machine = sessions, host, machine

    async def remember(self) -> None:
        await changes.remember(self.sessions, self.host)

    async def begin(self) -> None:
        await changes.record_start(self.sessions, self.host)

    async def record(self) -> tuple[str, ...]:
        return await changes.record(self.sessions, self.host)

    async def undo(self) -> tuple[str, ...]:
        return await changes.undo(self.sessions, self.host)

    def join(self) -> None:
        """Half of a join: configuration, kubelet's data and unit."""
        self.machine.put("/etc/kubernetes/kubelet.conf", "ours\n")
        self.machine.put("/var/lib/kubelet/config.yaml", "ours\n")
        self.machine.put("/etc/systemd/system/kubelet.service", "ours\n")
        self.machine.put("/etc/cni/net.d/10-terway.conf", "ours\n")


@asynccontextmanager
async def joined_on(world: World, sessions: Sessions, machine: Machine) -> AsyncIterator[Joined]:
    async with world.server(machine.behaviour()) as server:
        yield Joined(sessions, world.host(server.port), machine)


@pytest.fixture
def machine(world: World) -> Machine:
    return Machine(world.folder / "machine")


@pytest.fixture
async def joined(world: World, sessions: Sessions, machine: Machine) -> AsyncIterator[Joined]:
    async with joined_on(world, sessions, machine) as made:
        yield made


@pytest.mark.parametrize("shell", SHELLS)
async def test_remembered_recorded_undone(world: World, sessions: Sessions, shell: str) -> None:
    machine = Machine(world.folder / "machine", shell=shell)
    machine.put("/etc/containerd/config.toml")
    async with joined_on(world, sessions, machine) as joined:
        await joined.remember()
        joined.join()
        assert await joined.record() == (
            "added path cni-config",
            "added path kubelet-data",
            "added path kubelet-unit",
            "added path kubernetes-config",
        )
        assert machine.at("/var/lib/poolkeeper/changes").read_text().count("\n") == 4
        assert sorted(await joined.undo()) == [
            "removed cni-config",
            "removed kubelet-data",
            "removed kubelet-unit",
            "removed kubernetes-config",
        ]
    assert machine.at("/etc/containerd/config.toml").read_text() == "there before\n"
    assert not any(map(machine.has, ("/etc/kubernetes", "/var/lib/kubelet", "/etc/cni/net.d", BEFORE)))
    assert os.listdir(machine.at("/etc/systemd/system")) == []


async def test_what_was_there_before_stays(joined: Joined, machine: Machine) -> None:
    for path in changes.PATHS.values():
        machine.put(path if path.endswith(".service") else f"{path}/file")
    await joined.remember()
    joined.join()
    assert await joined.undo() == ()
    for path in changes.PATHS.values():
        assert machine.at(path if path.endswith(".service") else f"{path}/file").exists()


async def test_remembered_once(joined: Joined, machine: Machine) -> None:
    """A join that is started again must not take its first half for what was there before."""
    await joined.remember()
    await joined.begin()
    joined.join()
    await joined.remember()
    assert len(await joined.record()) == 4


@pytest.mark.parametrize("boot", ["", "of today"], ids=["never begun", "begun before the machine restarted"])
async def test_what_the_owner_brought_after_a_join_that_came_to_nothing_stays(
    joined: Joined, machine: Machine, boot: str
) -> None:
    await joined.remember()
    if boot:
        await joined.begin()
        machine.put("/proc/sys/kernel/random/boot_id", f"{boot}\n")
    owner_installs_docker(machine)
    await joined.remember()
    await joined.begin()
    joined.join()
    await joined.undo()
    assert machine.has("/etc/containerd/config.toml")
    assert not machine.has("/etc/kubernetes/kubelet.conf")


async def test_never_remembered(joined: Joined, machine: Machine) -> None:
    joined.join()
    assert await joined.record() == ()
    assert await joined.undo() == ()
    assert machine.has("/etc/kubernetes/kubelet.conf")


@pytest.mark.parametrize(
    "mount",
    ["/var/lib/kubelet", "/var/lib/kubelet/pods/p1/volumes/v1", "/var/lib/kubelet/a\\040b"],
    ids=["at it", "below it", "below it, with a space"],
)
async def test_mounts_stay(joined: Joined, machine: Machine, mount: str) -> None:
    await joined.remember()
    joined.join()
    machine.mounts("/dev/vda1 / ext4 rw 0 0", f"tmpfs {mount} tmpfs rw 0 0")
    done = await joined.undo()
    assert "kept kubelet-data: something is mounted at or below /var/lib/kubelet" in done
    assert "removed kubernetes-config" in done
    assert machine.has("/var/lib/kubelet/config.yaml")


async def test_a_mount_beside_it_does_not_hinder(joined: Joined, machine: Machine) -> None:
    await joined.remember()
    joined.join()
    machine.mounts("/dev/vda1 / ext4 rw 0 0", "tmpfs /var/lib/kubelet2 tmpfs rw 0 0", "tmpfs /var/lib tmpfs rw 0 0")
    assert "removed kubelet-data" in await joined.undo()


async def test_what_was_kept_is_undone_later_and_is_not_taken_for_older(joined: Joined, machine: Machine) -> None:
    await joined.remember()
    await joined.begin()
    joined.join()
    machine.mounts("tmpfs /var/lib/kubelet/pods tmpfs rw 0 0")
    await joined.undo()
    machine.mounts("/dev/vda1 / ext4 rw 0 0")
    await joined.remember()
    assert await joined.undo() == ("removed kubelet-data",)


async def test_mounts_that_cannot_be_read(joined: Joined, machine: Machine) -> None:
    await joined.remember()
    joined.join()
    machine.at("/proc/mounts").unlink()
    with pytest.raises(HostError, match="mounts cannot be read"):
        await joined.undo()
    assert machine.has("/var/lib/kubelet/config.yaml")


async def test_a_link_from_before_stays_and_so_does_its_target(joined: Joined, machine: Machine) -> None:
    machine.put("/data/kubelet/file")
    machine.at("/var/lib/kubelet").symlink_to(machine.at("/data/kubelet"))
    await joined.remember()
    joined.join()
    await joined.undo()
    assert machine.at("/var/lib/kubelet").is_symlink()
    assert machine.has("/data/kubelet/file")


async def test_a_link_from_before_whose_target_was_not_there(joined: Joined, machine: Machine) -> None:
    """The disk behind it was not mounted yet when it was looked at."""
    machine.at("/var/lib/kubelet").symlink_to(machine.at("/data/kubelet"))
    await joined.remember()
    machine.put("/data/kubelet/file")
    joined.join()
    assert "removed kubelet-data" not in await joined.undo()
    assert machine.at("/var/lib/kubelet").is_symlink()
    assert machine.has("/data/kubelet/file")


async def test_a_link_that_the_join_made_goes_without_its_target(joined: Joined, machine: Machine) -> None:
    machine.put("/data/kubelet/file")
    await joined.remember()
    machine.at("/var/lib/kubelet").symlink_to(machine.at("/data/kubelet"))
    assert await joined.undo() == ("removed kubelet-data",)
    assert machine.has("/data/kubelet/file")


async def test_mounts_behind_a_linked_parent(joined: Joined, machine: Machine) -> None:
    """/etc/cni is a link: the mounts are told by where it leads."""
    machine.at("/data/cni").mkdir(parents=True)
    machine.at("/etc/cni").symlink_to(machine.at("/data/cni"))
    await joined.remember()
    joined.join()
    machine.mounts("tmpfs /data/cni/net.d tmpfs rw 0 0")
    assert "kept cni-config: something is mounted at or below /etc/cni/net.d" in await joined.undo()
    assert machine.has("/data/cni/net.d/10-terway.conf")


@pytest.mark.parametrize(
    "lines",
    [
        ["path ../../../precious"],
        ["path kubelet-data /precious", "path /precious", "removed path /precious"],
        ["unit precious; rm -rf $R/precious", "$(rm -rf $R/precious)", "`rm -rf $R/precious`"],
    ],
    ids=["a way up", "a path of its own", "shell"],
)
async def test_a_record_that_was_tampered_with_removes_nothing_else(
    joined: Joined, machine: Machine, lines: list[str]
) -> None:
    machine.put("/precious/file")
    await joined.remember()
    joined.join()
    record = machine.at(BEFORE)
    record.write_text("".join(f"{line}\n" for line in lines) + record.read_text())
    machine.at("/var/lib/poolkeeper/changes").write_text("".join(f"{line}\n" for line in lines))
    await joined.undo()
    assert machine.has("/precious/file")
    assert {path.name for path in machine.root.iterdir()} == {"proc", "etc", "var", "run", "tmp", "opt", "precious"}


@pytest.mark.parametrize("kept", [0, 1, 12], ids=["empty", "one byte", "half a line"])
async def test_a_record_that_was_cut_short(joined: Joined, machine: Machine, kept: int) -> None:
    """A full disk or a crash: what is missing from the record was there, and must stay."""
    machine.put("/etc/kubernetes/file")
    await joined.remember()
    joined.join()
    record = machine.at(BEFORE)
    record.write_text(record.read_text()[:kept])
    with pytest.raises(HostError, match="is incomplete"):
        await joined.undo()
    with pytest.raises(HostError, match="is incomplete"):
        await joined.record()
    assert machine.has("/etc/kubernetes/file")
    assert machine.has("/var/lib/kubelet/config.yaml")


async def test_no_record_no_join(world: World, sessions: Sessions, machine: Machine) -> None:
    """Where nothing can be written down, remembering fails, and with it what would come after."""
    (machine.root / "var/lib/poolkeeper").write_text("a file in its place\n")
    async with joined_on(world, sessions, machine) as joined:
        with pytest.raises(HostError, match="the record of changes"):
            await joined.remember()


async def test_no_room_for_the_record(world: World, sessions: Sessions, machine: Machine) -> None:
    """Every write to it fails, as on a full disk."""
    async with joined_on(world, sessions, machine) as joined:
        part = machine.at(f"{BEFORE}.part")
        part.parent.mkdir(parents=True)
        machine.program("rm", "exit 0")
        part.symlink_to("/dev/full")
        with pytest.raises(HostError, match="the record of changes"):
            await joined.remember()
        assert not machine.has(BEFORE)


@pytest.mark.parametrize("missing", ["grep", "awk", "sed", "head"])
async def test_without_a_tool_that_minimal_hosts_lack(world: World, sessions: Sessions, missing: str) -> None:
    machine = Machine(world.folder / "machine", tools=set(TOOLS) - {missing})
    machine.put("/etc/containerd/config.toml")
    async with joined_on(world, sessions, machine) as joined:
        await joined.remember()
        joined.join()
        machine.put("/etc/containerd/more")
        machine.mounts("tmpfs /var/lib/kubelet/pods tmpfs rw 0 0")
        assert len(await joined.record()) == 4
        done = await joined.undo()
    assert machine.has("/etc/containerd/config.toml")
    assert machine.has("/var/lib/kubelet/config.yaml")
    assert "removed kubernetes-config" in done


async def test_what_cannot_be_removed_is_told(joined: Joined, machine: Machine) -> None:
    await joined.remember()
    joined.join()
    machine.program("rm", 'case "$*" in *kubelet) exit 1;; *) exec /bin/rm "$@";; esac')
    done = await joined.undo()
    assert "kept kubelet-data: not all of /var/lib/kubelet could be removed" in done
    assert machine.has(BEFORE)


SYSTEMCTL = """
at=$POOLKEEPER_ROOT/units/$2
case $1 in
  is-enabled) if [ -e "$at" ]; then echo enabled; else echo disabled; exit 1; fi;;
  disable) rm "$POOLKEEPER_ROOT/units/$3";;
esac"""


async def test_units_that_the_join_enabled(joined: Joined, machine: Machine) -> None:
    machine.program("systemctl", SYSTEMCTL)
    machine.put("/units/containerd")
    await joined.remember()
    machine.put("/units/kubelet")
    assert await joined.record() == ("added unit kubelet",)
    assert await joined.undo() == ("disabled unit kubelet",)
    assert machine.has("/units/containerd")


def owner_installs_docker(machine: Machine) -> None:
    """Months after the join, and for the owner's own ends."""
    machine.put("/units/docker")
    machine.put("/units/containerd")
    machine.put("/etc/containerd/config.toml", "the owner's\n")
    machine.put("/opt/cni/bin/bridge", "the owner's\n")


@pytest.mark.parametrize("shell", SHELLS)
async def test_what_came_after_the_join_stays(world: World, sessions: Sessions, shell: str) -> None:
    machine = Machine(world.folder / "machine", shell=shell)
    machine.program("systemctl", SYSTEMCTL)
    machine.put("/proc/swaps", SWAP)
    machine.program("swapon", f"printf '%s' '{SWAP}' > $POOLKEEPER_ROOT/proc/swaps")
    machine.at("/opt/cni/bin").mkdir(parents=True)
    async with joined_on(world, sessions, machine) as joined:
        await joined.remember()
        joined.join()
        machine.put("/units/kubelet")
        await joined.record()
        owner_installs_docker(machine)
        machine.put("/proc/swaps", HEAD)
        assert sorted(await joined.undo()) == [
            "disabled unit kubelet",
            "removed cni-config",
            "removed kubelet-data",
            "removed kubelet-unit",
            "removed kubernetes-config",
        ]
    assert {path.name for path in machine.at("/units").iterdir()} == {"docker", "containerd"}
    assert machine.at("/etc/containerd/config.toml").read_text() == "the owner's\n"
    assert machine.at("/opt/cni/bin/bridge").read_text() == "the owner's\n"
    assert machine.at("/proc/swaps").read_text() == HEAD
    assert not machine.has(BEFORE)
    assert not machine.has("/var/lib/poolkeeper/changes")


async def test_what_came_after_the_join_stays_also_when_something_had_to_be_kept(
    joined: Joined, machine: Machine
) -> None:
    machine.program("systemctl", SYSTEMCTL)
    await joined.remember()
    joined.join()
    await joined.record()
    owner_installs_docker(machine)
    machine.mounts("tmpfs /var/lib/kubelet/pods tmpfs rw 0 0")
    assert "kept kubelet-data: something is mounted at or below /var/lib/kubelet" in await joined.undo()
    machine.mounts("/dev/vda1 / ext4 rw 0 0")
    assert await joined.undo() == ("removed kubelet-data",)
    assert machine.has("/units/docker")
    assert machine.has("/etc/containerd/config.toml")


async def test_what_was_kept_is_the_next_joins_and_what_the_owner_brought_is_not(
    joined: Joined, machine: Machine
) -> None:
    machine.program("systemctl", SYSTEMCTL)
    machine.at("/etc/cni/net.d").mkdir(parents=True)
    await joined.remember()
    joined.join()
    await joined.record()
    owner_installs_docker(machine)
    machine.mounts("tmpfs /var/lib/kubelet/pods tmpfs rw 0 0", "tmpfs /etc/cni/net.d tmpfs rw 0 0")
    await joined.undo()
    machine.mounts("/dev/vda1 / ext4 rw 0 0")
    await joined.remember()
    joined.join()
    done = await joined.undo()  # of a join that never finished
    assert {"removed kubelet-data", "emptied cni-config", "removed kubernetes-config"} <= set(done)
    assert machine.has("/units/docker")
    assert machine.has("/etc/containerd/config.toml")
    assert machine.has("/opt/cni/bin/bridge")


async def test_a_finished_join_is_recorded_once(joined: Joined, machine: Machine) -> None:
    """A node that is accepted once more, months later: what came since is not the join's."""
    await joined.remember()
    joined.join()
    recorded = await joined.record()
    owner_installs_docker(machine)
    assert await joined.record() == recorded
    await joined.undo()
    assert machine.has("/etc/containerd/config.toml")


async def test_what_a_killed_join_was_to_hold_is_held_by_the_next_one(joined: Joined, machine: Machine) -> None:
    """Its packages stay, so that the next join installs nothing: what it is to hold has to outlive the undoing."""
    await joined.remember()
    joined.join()
    noted = machine.put("/var/lib/poolkeeper/held", "kubelet\nkubeadm\n")
    await joined.undo()
    assert noted.exists()


async def test_without_a_record_all_that_is_new_goes(joined: Joined, machine: Machine) -> None:
    """A join that never finished has none."""
    await joined.remember()
    joined.join()
    machine.put("/etc/containerd/config.toml", "half of a join\n")
    assert "removed containerd-config" in await joined.undo()


HEAD = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
SWAP = f"{HEAD}/dev/vda2                               partition\t1000\t0\t-2\n"


@pytest.mark.parametrize(
    ("before", "after", "swapon", "done"),
    [
        pytest.param(SWAP, HEAD, f"printf '%s' '{SWAP}' > $POOLKEEPER_ROOT/proc/swaps", ["swap on again"], id="back"),
        pytest.param(
            SWAP, HEAD, "exit 0", ["kept swap off: /etc/fstab has none that can be switched on"], id="not in fstab"
        ),
        pytest.param(SWAP, SWAP, "echo never >&2; exit 1", [], id="it was never off"),
        pytest.param(HEAD, HEAD, "echo never >&2; exit 1", [], id="there was none"),
    ],
)
async def test_swap(joined: Joined, machine: Machine, before: str, after: str, swapon: str, done: list[str]) -> None:
    machine.put("/proc/swaps", before)
    machine.program("swapon", swapon)
    await joined.remember()
    machine.put("/proc/swaps", after)
    assert list(await joined.undo()) == done


async def test_record_is_for_root_only(joined: Joined, machine: Machine) -> None:
    await joined.remember()
    joined.join()
    await joined.record()
    for path in (Path(BEFORE), Path(BEFORE).parent, Path(BEFORE).with_name("changes")):
        assert machine.at(str(path)).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_folder_that_was_empty_before_is_empty_again(shell: str, world: World, sessions: Sessions) -> None:
    """containerd watches /etc/cni/net.d, which it makes when it starts: it stays, and what the join put there goes."""
    machine = Machine(world.folder / "machine", shell=shell)
    machine.at("/etc/cni/net.d").mkdir(parents=True)
    async with joined_on(world, sessions, machine) as joined:
        await joined.remember()
        joined.join()
        machine.put("/etc/cni/net.d/.hidden", "ours\n")
        assert {"added path cni-config", "removed empty cni-config"} <= set(await joined.record())
        assert "emptied cni-config" in await joined.undo()
        assert list(machine.at("/etc/cni/net.d").iterdir()) == []
        assert await joined.undo() == ()


async def test_a_folder_that_has_become_a_link_is_not_emptied_through_it(joined: Joined, machine: Machine) -> None:
    machine.at("/opt/cni/bin").mkdir(parents=True)
    await joined.remember()
    precious = machine.put("/usr/lib/cni/bridge", "not ours\n")
    machine.at("/opt/cni/bin").rmdir()
    machine.at("/opt/cni/bin").symlink_to(machine.at("/usr/lib/cni"))
    assert "kept cni-programs: /opt/cni/bin was a folder and is a link now" in await joined.undo()
    assert precious.read_text() == "not ours\n"
