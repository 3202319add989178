"""A host of loopback in a world: its shell is real, and what a provider's scripts do there is done at once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from poolkeeper.deployments.lab.kubernetes.journal import Event
from poolkeeper.deployments.lab.kubernetes.resources import Resource
from poolkeeper.tasks.fleet.model import Host, Pool
from poolkeeper.tasks.ledger import LIFECYCLE, Spool
from poolkeeper.tasks.outcomes import Checked, Secret
from tests.contract.hosts.conftest import World as Ssh
from tests.contract.hosts.machines import TOOLS, Machine
from tests.contract.hosts.servers import Seen
from tests.contract.killed.runs import Kind, When
from tests.contract.killed.worlds import World

MACHINE_ID = "0123456789abcdef0123456789abcdef"
ENABLED = "var/lib/enabled"
"""Where it is, systemd starts the kubelet."""
OFF = "var/lib/switched-off"
"""Where it is, the kubelet was switched off once."""
SYSTEMCTL = f"""
unit="$POOLKEEPER_ROOT/{ENABLED}"
case "$*" in
  "is-enabled kubelet") [ -e "$unit" ] && echo enabled || echo disabled ;;
  "is-active kubelet") [ -e "$unit" ] && echo active || echo inactive ;;
  "disable --now kubelet") rm -f "$unit" && touch "$POOLKEEPER_ROOT/{OFF}" ;;
esac
exit 0
"""


class Watched(set[asyncio.subprocess.Process]):
    """The programs that run on a machine. Tells the world when one has ended that has changed something of ours."""

    def __init__(self, world: World, machine: Machine) -> None:
        super().__init__()
        self._world, self._machine, self._there = world, machine, of_ours(machine)

    def discard(self, program: asyncio.subprocess.Process) -> None:
        """It has ended, and nobody was told yet."""
        super().discard(program)
        before, self._there = self._there, of_ours(self._machine)
        if told := [f"+{path}" for path in self._there - before] + [f"-{path}" for path in before - self._there]:
            number = self._world.watch.count(Kind.COMMAND, " ".join(sorted(told)))
            self._world.watch.kills_at(Kind.COMMAND, number, When.AFTER)


def of_ours(machine: Machine) -> frozenset[str]:
    """What our programs make or end; not what a provider's script does meanwhile in its unit."""
    there = [*machine.at("var/lib/poolkeeper").rglob("*"), *machine.at("run").glob("poolkeeper/*"), machine.at(OFF)]
    paths = {str(path.relative_to(machine.root)) for path in there if path.exists()}
    return frozenset(paths) - {"var/lib/poolkeeper/fencing-token.lock"}


SLEEP = """
case $1 in 0.*) exec /bin/sleep 0.01 ;; esac
exec /bin/sleep "$@"
"""
"""Our programs look again a little later, which here is at once."""


def bare(world: World) -> Machine:
    """One with nothing of a cluster on it."""
    machine = Machine(world.folder / "machine", tools=[*TOOLS, "flock", "mktemp"])
    machine.program("systemctl", SYSTEMCTL)
    machine.program("sleep", SLEEP)
    machine.program("curl", "exit 0")
    machine.put("etc/machine-id", f"{MACHINE_ID}\n")
    return machine


@asynccontextmanager
async def in_its_pool(world: World) -> AsyncIterator[None]:
    """A machine that has joined by us, as node n0."""
    machine = bare(world)
    for path in (ENABLED, "etc/kubernetes/kubelet.conf", "var/lib/kubelet/config.yaml"):
        machine.put(path)
    machine.put("var/lib/poolkeeper/changes", "added path kubernetes-config\nadded path kubelet-data\n")
    Listed(world.folder).path.touch()
    async with reached(world, machine):
        yield


@asynccontextmanager
async def on_its_own(world: World) -> AsyncIterator[None]:
    """A machine that is no node yet, whose kubelet makes its Node when a join starts it."""
    machine = bare(world)
    os.mkfifo(machine.at("kubelet"))
    line = os.open(machine.at("kubelet"), os.O_RDWR | os.O_NONBLOCK)
    loop = asyncio.get_running_loop()

    def start() -> None:
        os.read(line, 1000)
        if world.store.find("nodes", "n0") is None:
            its_node(world, accepted=False)

    def hear(resource: Resource, event: Event) -> None:
        node = event.after
        if resource.plural == "nodes" and node is not None and node["spec"].get("unschedulable"):
            machine.put("tmp/cordoned")

    loop.add_reader(line, start)
    world.store.journal.listeners.append(hear)
    async with reached(world, machine):
        yield
    loop.remove_reader(line)
    os.close(line)


@asynccontextmanager
async def reached(world: World, machine: Machine) -> AsyncIterator[None]:
    """A machine behind an SSH server."""
    ssh = Ssh(world.folder)
    async with ssh.server(machine.behaviour(), seen=Seen(running=Watched(world, machine))) as server:
        host = ssh.host(server.port, "n0")
        join = replace(host.pool.join, timeout_s=20.0)
        world.hosts = [replace(host, pool=replace(host.pool, expected_pods=(), join=join))]
        yield


def its_node(world: World, *, accepted: bool = True) -> None:
    """The Node that its kubelet makes, Ready."""
    annotations = {"poolkeeper.io/accepted": "{}"} if accepted else {}
    metadata = {"name": "n0", "annotations": annotations, "labels": {"alibabacloud.com/nodepool-type": "hybridcloud"}}
    status = world.kubelets.status("v1.36.3", machineID=MACHINE_ID)
    world.store.create("nodes", {"metadata": metadata, "status": status})


@dataclass(frozen=True)
class Listed:
    """A provider that keeps a list of one node, in a file, and whose scripts have nothing to wait for."""

    folder: Path
    join_ends_with: int = 0
    upgrades_one_by_one = False

    @property
    def path(self) -> Path:
        return self.folder / "disk-list"

    async def check_pool(self, pool: Pool) -> tuple[Checked, ...]:
        return ()

    def leave_script(self, host: Host) -> Secret:
        return Secret('rm -f "$POOLKEEPER_ROOT/etc/kubernetes/kubelet.conf"\n', secret_words=())

    async def join_script(self, host: Host, arch: str) -> Secret:
        """Starts the kubelet, and ends when its Node is cordoned: well, or not."""
        return Secret(
            f"""cd "$POOLKEEPER_ROOT" || exit 1
mkdir -p etc/kubernetes var/lib/kubelet
touch etc/kubernetes/kubelet.conf var/lib/kubelet/config.yaml {ENABLED}
echo start > kubelet
while [ ! -e tmp/cordoned ]; do sleep 0.1; done
exit {self.join_ends_with}
""",
            secret_words=(),
        )

    async def join_ended(self, host: Host) -> None:
        pass

    async def lists_node(self, host: Host) -> bool:
        return self.path.exists()

    async def remove_node(self, host: Host) -> str:
        self.path.unlink()
        return ""


def moments(world: World, event: str) -> list[str]:
    """When something happened to a node, as rows of all runs tell."""
    rows = Spool(world.folder / "state/spool").rows(LIFECYCLE)
    return sorted({str(row["at"]) for row in rows if row["event"] == event})


def tree(world: World) -> list[str]:
    """What is on the machine, without what runs there."""
    root = world.folder / "machine/root"
    paths = [path for place in ("etc", "var", "run") for path in (root / place).rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(root)) for path in paths if path.name != "fencing-token.lock")
