"""One host's upgrade from stage to proof, by every way that there is."""

from __future__ import annotations

import asyncio

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.upgrade import HostUpgrade, Pins, VersionGoal
from tests.contract.hosts.fences import fence
from tests.contract.upgrade.conftest import NEW, OLD, World

CONTAINERD = "1.6.24~ds1-1+deb12u1"


async def whole(world: World, upgrade: HostUpgrade, host: Host, fencing_token: int = 1) -> None:
    """All of it, with nothing to object to."""
    before = await world.node(host)
    assert not await upgrade.is_finished(host, before)
    assert await upgrade.stage(host) == ()
    assert await upgrade.change(host, fence(fencing_token)) == ()
    assert await upgrade.prove(host, before) == ()
    assert await upgrade.is_finished(host, await world.node(host))


async def test_by_the_operators_command(world: World, host: Host) -> None:
    upgrade = world.upgrade(VersionGoal("1.36"))
    await whole(world, upgrade, host, fencing_token=7)
    node = await world.node(host)
    assert (node.kubelet_version, node.ready) == (NEW, True)
    assert upgrade.pins == Pins("1.36.3")
    assert (world.root(host) / "var/lib/poolkeeper/fencing-token").read_text() == "7\n"
    assert not (world.root(host) / "run/poolkeeper/poolkeeper-upgrade").exists()
    sentences = dict.fromkeys(upgrade.gate.sentences)  # a proof tries more than once
    assert list(sentences) == [
        f"upgrade host {host.name} to Kubernetes v1.36",
        f"run a test pod on node cloud-1 to talk to {host.name}, and remove it",
        f"run a test pod on node {host.name} and remove it",
        f"remove the ended unit poolkeeper-upgrade from host {host.name}",
    ]


async def test_by_a_call_to_ack(world: World, host: Host, other: Host) -> None:
    """Two of one pool at once: ACK takes one after the other."""
    upgrade = world.upgrade(VersionGoal(NEW), provider=world.provider(upgrade="call", upgrade_command=None))
    await asyncio.gather(whole(world, upgrade, host), whole(world, upgrade, other))
    assert [(await world.node(each)).kubelet_version for each in (host, other)] == [NEW, NEW]


STEP = "edgeadm upgrade --interconnect-mode=private --region=cn-hangzhou"


async def test_by_a_person(world: World, host: Host, said: list[str]) -> None:
    upgrade = world.upgrade(VersionGoal("1.36.3"), provider=world.provider(upgrade="hand-off", upgrade_command=None))
    before = await world.node(host)
    changing = asyncio.create_task(upgrade.change(host, fence()))
    await world.run(host, "edgeadm upgrade --version=v1.36.3")
    assert await changing == ()
    (logged,) = [line for line in said if STEP in line]
    assert logged.startswith(f"{host.name}: ")
    assert upgrade.gate.sentences[0].startswith(f"hand host {host.name} over to a person")
    assert await upgrade.prove(host, before) == ()


async def test_by_a_person_who_does_not_come(world: World, host: Host) -> None:
    provider = world.provider(upgrade="hand-off", upgrade_command=None)
    upgrade = world.upgrade(VersionGoal("1.36.3"), provider=provider, hand_off_s=0.5)
    (finding,) = await upgrade.change(host, fence())
    assert finding.id == "upgrade.hand-off.not-done"
    assert STEP in finding.next_step
    assert OLD in finding.evidence.observed


async def test_the_container_runtime_alone(world: World, host: Host) -> None:
    upgrade = world.upgrade(VersionGoal(packages={"containerd": CONTAINERD}))
    assert (await world.node(host)).runtime_version == "containerd://1.6.20~ds1"
    await whole(world, upgrade, host)
    node = await world.node(host)
    assert (node.kubelet_version, node.runtime_version) == (OLD, "containerd://1.6.24~ds1")
    assert await world.run(host, "dpkg-query -W -f '${Version}' containerd") == CONTAINERD


async def test_by_packages_and_kubeadm(world: World, host: Host, other: Host) -> None:
    """The first host's sources decide what every other one gets; holds are afterwards what they were."""
    for each in (host, other):
        await world.with_packages(each)
    goal = VersionGoal("1.36", {"containerd": CONTAINERD})
    upgrade = world.upgrade(goal, provider=world.kubeadm())
    await whole(world, upgrade, host)
    assert upgrade.pins == Pins("1.36.3", {"kubelet": "1.36.3-1.1", "kubeadm": "1.36.3-1.1"})
    assert (await world.run(host, "apt-mark showhold")).split() == ["kubeadm", "kubelet"]
    assert await world.run(host, "kubeadm version -o short") == NEW

    later = world.upgrade(goal, provider=world.kubeadm(), pinned=Pins.of_row(upgrade.pins.row()))
    await whole(world, later, other)
    assert later.pins == upgrade.pins


async def test_a_dry_run_tells_and_does_nothing(world: World, host: Host) -> None:
    await world.with_packages(host)
    upgrade = world.upgrade(VersionGoal("1.36"), provider=world.kubeadm(), dry_run=True)
    before = await world.node(host)
    assert not await upgrade.is_finished(host, before)
    assert await upgrade.stage(host) == ()
    assert await upgrade.change(host, fence(9)) == ()
    assert await upgrade.prove(host, before) == ()
    assert list(dict.fromkeys(upgrade.gate.sentences)) == [
        f"fetch the package lists of host {host.name}",
        f"fetch kubeadm=1.36.3-1.1, kubelet=1.36.3-1.1 onto host {host.name}, installing nothing",
        f"upgrade host {host.name} to Kubernetes v1.36",
        f"run a test pod on node cloud-1 to talk to {host.name}, and remove it",
        f"run a test pod on node {host.name} and remove it",
        f"remove the ended unit poolkeeper-upgrade from host {host.name}, and hold its packages again",
    ]
    assert (await world.node(host)).kubelet_version == OLD
    assert not (world.root(host) / "var/lib/poolkeeper/fencing-token").exists()
