"""A lab whose hosts are nodes with an older kubelet than the API server, and upgrades of them as a rollout makes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.deployments.lab.layout import LabFolder
from poolkeeper.tasks.cluster import ClusterApi, connect
from poolkeeper.tasks.cluster.nodes import NodeRow, get_node, wait_node
from poolkeeper.tasks.fleet import load_fleet
from poolkeeper.tasks.fleet.model import AckProvider, Fleet, Host, KubeadmProvider
from poolkeeper.tasks.hosts import FactsRequest, Sessions
from poolkeeper.tasks.outcomes import Gate, Guard
from poolkeeper.tasks.provider import Provider
from poolkeeper.tasks.provider.ack import Ack
from poolkeeper.tasks.provider.kubeadm import Kubeadm
from poolkeeper.tasks.settings import secret_reader
from poolkeeper.tasks.upgrade import HostUpgrade, Pins, StepTimeouts, VersionGoal

OLD, NEW = "v1.35.4", "v1.36.3"
HOSTS = 40
DEADLINE_S = 60.0
TIMEOUTS = StepTimeouts(stage_s=30, change_s=30, hand_off_s=30, settle_s=20)


@dataclass
class World:
    """The lab as a run sees it, and as its owner does."""

    folder: LabFolder
    fleet: Fleet
    api: ClusterApi
    sessions: Sessions

    @property
    def ack(self) -> AckProvider:
        """The provider's settings in the fleet file."""
        provider = self.fleet.clusters["main"].provider
        assert isinstance(provider, AckProvider)
        return provider

    def provider(self, **changed: str | None) -> Ack:
        """ACK, with what differs in the fleet file."""
        settings = replace(self.ack, **changed)
        return Ack(self.fleet.clusters["main"], settings, secret_reader(), poll_s=0.05)

    def kubeadm(self) -> Kubeadm:
        """The same cluster, as one that is upgraded by kubeadm."""
        return Kubeadm(self.fleet.clusters["main"], KubeadmProvider(), self.api)

    def upgrade(
        self,
        goal: VersionGoal,
        *,
        provider: Provider | None = None,
        dry_run: bool = False,
        guards: Sequence[Guard] = (),
        pinned: Pins | None = None,
        **timeouts: float,
    ) -> HostUpgrade:
        """One run's."""
        return HostUpgrade(
            api=self.api,
            sessions=self.sessions,
            provider=provider or self.provider(),
            gate=Gate(guards, dry_run=dry_run),
            goal=goal,
            request=FactsRequest(api_url=self.api.url, api_ca_pem=self.api.ca_pem),
            timeouts=replace(TIMEOUTS, **timeouts),
            pinned=pinned,
        )

    async def node(self, host: Host) -> NodeRow:
        row = await get_node(self.api, host.node_name)
        assert row is not None
        return row

    async def run(self, host: Host, program: str) -> str:
        """A program run by root on a host."""
        ended = await self.sessions.run(host, program)
        assert ended.exit_status == 0, ended.stdout + ended.stderr
        return ended.stdout.strip()

    async def with_packages(self, host: Host) -> None:
        """Kubernetes as a host has it that joined by kubeadm: by apt, and held."""
        versions = " ".join(f"{name}={OLD.removeprefix('v')}-1.1" for name in ("kubelet", "kubeadm"))
        await self.run(
            host, f"apt-get -y -q install {versions} && apt-mark hold kubelet kubeadm && systemctl restart kubelet"
        )

    def root(self, host: Host) -> Path:
        return self.folder.host(host.name) / "root"

    def break_host(self, host: Host, fault: Fault) -> None:
        lifecycle.break_host(self.folder, host.name, fault)

    def mend_host(self, host: Host) -> None:
        lifecycle.mend_host(self.folder, host.name, None)


@asynccontextmanager
async def opened(folder: LabFolder) -> AsyncIterator[World]:
    """The lab as a run of its own opens it, with poolkeeper's own rights."""
    fleet, secret = load_fleet(folder.fleet), secret_reader()
    cluster = fleet.clusters["main"]
    async with connect(cluster, secret(cluster.kubeconfig)) as api, Sessions(fleet.ssh_limits, secret) as sessions:
        yield World(folder, fleet, api, sessions)


async def join(world: World, host: Host) -> None:
    script = await world.provider().join_script(host, "amd64")
    await world.run(host, script.reveal())
    async with asyncio.timeout(DEADLINE_S):
        await wait_node(world.api, host.node_name, lambda row: row is not None and bool(row.ready))


@pytest.fixture(scope="session")
def upgrade_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabFolder]:
    """One lab for all tests, each of which takes hosts that nobody had before."""
    folder = LabFolder(tmp_path_factory.mktemp("upgrade") / "lab")
    lifecycle.up(folder, HOSTS, kubelet=OLD)
    yield folder
    lifecycle.down(folder)


@pytest.fixture(scope="session")
def untouched(upgrade_lab: LabFolder) -> list[Host]:
    """Hosts that no test has had yet."""
    return list(load_fleet(upgrade_lab.fleet).hosts.values())


@pytest.fixture
async def world(upgrade_lab: LabFolder) -> AsyncIterator[World]:
    async with opened(upgrade_lab) as world:
        yield world


@pytest.fixture
async def host(world: World, untouched: list[Host]) -> Host:
    """A host that is a Ready node with the older kubelet."""
    taken = untouched.pop()
    await join(world, taken)
    return taken


@pytest.fixture
async def other(world: World, untouched: list[Host]) -> Host:
    """One more."""
    taken = untouched.pop()
    await join(world, taken)
    return taken
