"""Each fault of an upgrade has its finding, at the step that can see it; what was cut off or failed is called again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts.fence import FencedOff, write_fence
from poolkeeper.tasks.hosts.units import UnitRun, unit_state
from poolkeeper.tasks.outcomes import Change, Finding, GateRefused, Refusal
from poolkeeper.tasks.upgrade import HostUpgrade, VersionGoal
from poolkeeper.tasks.upgrade.ways import UPGRADE_UNIT
from tests.contract.hosts.fences import fence
from tests.contract.upgrade.conftest import DEADLINE_S, NEW, OLD, World, opened

CONTAINERD = VersionGoal(packages={"containerd": "1.6.24~ds1-1+deb12u1"})


def ids(findings: tuple[Finding, ...]) -> list[str]:
    for finding in findings:
        assert finding.next_step, finding
        assert finding.evidence.observed, finding
    return [finding.id for finding in findings]


@pytest.mark.parametrize(
    ("fault", "goal", "id"),
    [
        pytest.param(Fault.PACKAGE_MISSING, CONTAINERD, "hosts.packages.missing", id="the package is missing"),
        pytest.param(Fault.MIRROR_DOWN, CONTAINERD, "hosts.packages.lists", id="the mirror is down"),
        pytest.param(Fault.DISK_FULL, CONTAINERD, "upgrade.disk.space", id="the disk is full"),
        pytest.param(Fault.DISK_FULL, VersionGoal(NEW), "upgrade.disk.space", id="the disk is full, without packages"),
    ],
)
async def test_what_keeps_a_host_from_being_drained(
    world: World, host: Host, fault: Fault, goal: VersionGoal, id: str
) -> None:
    before = await world.run(host, "dpkg-query -W containerd")
    world.break_host(host, fault)
    try:
        assert ids(await world.upgrade(goal).stage(host)) == [id]
        assert await world.run(host, "dpkg-query -W containerd") == before
    finally:
        world.mend_host(host)
    assert await world.upgrade(goal).stage(host) == ()


async def test_a_package_that_did_not_come_by_apt(world: World, host: Host) -> None:
    upgrade = world.upgrade(VersionGoal("1.36.3", {"runc": "1.1.5+ds1-1"}), provider=world.kubeadm())
    assert ids(await upgrade.stage(host)) == ["hosts.packages.not-installed"] * 2


async def test_what_would_go_back_is_refused_before_anything_is_touched(world: World, host: Host) -> None:
    await world.run(host, "apt-get -y -q install containerd=1.6.24~ds1-1+deb12u1")
    before = await world.run(host, "dpkg-query -W")
    older = world.upgrade(VersionGoal(packages={"containerd": "1.6.20~ds1-1+deb12u1"}))
    for findings in (await older.stage(host), await older.change(host, fence())):
        assert ids(findings) == ["hosts.packages.downgrade"]
    for goal in ("1.35.3", f"{OLD}-rc.0"):
        assert ids(await world.upgrade(VersionGoal(goal)).stage(host)) == ["upgrade.skew.downgrade"]
    assert ids(await world.upgrade(VersionGoal(f"{OLD}-aliyun.1")).stage(host)) == ["upgrade.skew.builds"]
    assert await world.run(host, "dpkg-query -W") == before


async def test_a_version_that_the_provider_brings_no_node_to(world: World, host: Host) -> None:
    """ACK's call brings nodes to the cluster's own version: any other would be refused once the node is drained."""
    provider = world.provider(upgrade="call", upgrade_command=None)
    (finding,) = await world.upgrade(VersionGoal("1.36.2"), provider=provider).stage(host)
    assert (finding.id, finding.evidence.observed) == ("upgrade.provider.goal", "the cluster has 1.36.3-aliyun.1")
    assert await world.upgrade(VersionGoal(NEW), provider=provider).stage(host) == ()


async def test_what_was_staged_needs_no_mirror(world: World, host: Host) -> None:
    upgrade = world.upgrade(CONTAINERD)
    before = await world.node(host)
    assert await upgrade.stage(host) == ()
    world.break_host(host, Fault.MIRROR_DOWN)
    try:
        assert await upgrade.change(host, fence()) == ()
        assert await upgrade.prove(host, before) == ()
    finally:
        world.mend_host(host)


async def test_a_later_host_gets_what_the_first_one_got_or_nothing(world: World, host: Host, other: Host) -> None:
    for each in (host, other):
        await world.with_packages(each)
    upgrade = world.upgrade(VersionGoal("1.36"), provider=world.kubeadm())
    assert await upgrade.stage(host) == ()
    world.break_host(other, Fault.PACKAGE_MISSING)
    try:
        findings = await upgrade.stage(other)
    finally:
        world.mend_host(other)
    assert ids(findings) == ["hosts.packages.missing"] * 2
    assert findings[0].evidence.expected == "kubelet 1.36.3-1.1, which every host of this run gets"


async def test_a_kubelet_that_stays_old_is_not_proven(world: World, host: Host) -> None:
    upgrade = world.upgrade(VersionGoal(NEW), settle_s=2)
    before = await world.node(host)
    world.break_host(host, Fault.KEEPS_OLD_KUBELET)
    try:
        assert await upgrade.change(host, fence()) == (), "the vendor's command says that all went well"
        (finding,) = await upgrade.prove(host, before)
    finally:
        world.mend_host(host)
    assert (finding.id, finding.evidence.observed, finding.evidence.expected) == ("node.kubelet.version", OLD, "1.36.3")
    assert "systemctl cat kubelet" in finding.next_step
    assert not await upgrade.is_finished(host, await world.node(host))
    # mended, it is done again: that the unit had ended well was not enough
    assert await upgrade.change(host, fence()) == ()
    assert await upgrade.prove(host, before) == ()


async def test_a_kubelet_that_stays_old_is_seen_at_once_where_kubeadm_upgrades(world: World, host: Host) -> None:
    await world.with_packages(host)
    upgrade = world.upgrade(VersionGoal(NEW), provider=world.kubeadm())
    world.break_host(host, Fault.KEEPS_OLD_KUBELET)
    try:
        (finding,) = await upgrade.change(host, fence())
    finally:
        world.mend_host(host)
    assert finding.id == "upgrade.change.failed"
    assert "kubelet is 1.35.4, not 1.36.3: see which one is first on the PATH of root" in finding.evidence.observed


async def test_a_kubelet_that_never_returns_is_not_proven(world: World, host: Host) -> None:
    upgrade = world.upgrade(VersionGoal(NEW), settle_s=2)
    before = await world.node(host)
    world.break_host(host, Fault.NEVER_RETURNS)
    assert await upgrade.change(host, fence()) == ()
    assert ids(await upgrade.prove(host, before)) == ["node.ready"]
    assert (await unit_state(world.sessions, host, UPGRADE_UNIT)).state is UnitRun.SUCCEEDED, "kept for whoever looks"
    world.mend_host(host)
    assert await world.upgrade(VersionGoal(NEW)).prove(host, before) == ()


@pytest.mark.parametrize("way", ["command", "call"])
async def test_a_failed_one_is_told_and_tried_again(world: World, host: Host, way: str) -> None:
    command = world.ack.upgrade_command if way == "command" else None
    upgrade = world.upgrade(VersionGoal(NEW), provider=world.provider(upgrade=way, upgrade_command=command))
    before = await world.node(host)
    world.break_host(host, Fault.PACKAGE_MISSING)
    try:
        (finding,) = await upgrade.change(host, fence())
    finally:
        world.mend_host(host)
    assert finding.id == {"command": "upgrade.change.failed", "call": "upgrade.provider.task"}[way]
    assert "download kubelet v1.36.3: 404 Not Found" in finding.evidence.observed
    assert (await world.node(host)).kubelet_version == OLD
    assert await upgrade.change(host, fence()) == ()
    assert await upgrade.prove(host, before) == ()


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if await check():
                return
            await asyncio.sleep(0.05)  # what a host's script does has no event that a client could wait on


class Held:
    """A command that upgrades a host when it is let: it waits at a pipe."""

    def __init__(self, world: World, host: Host) -> None:
        self.pipe: Path = world.root(host) / "tmp/held"
        self.ran: Path = world.root(host) / "tmp/ran"
        self._world, self._host = world, host

    async def make(self) -> None:
        await self._world.run(self._host, f"mkfifo {self.pipe}")

    @property
    def command(self) -> str:
        return f"echo run >> {self.ran}; read -r _ < {self.pipe}; edgeadm upgrade --version=v{{version}}"

    async def begun(self) -> bool:
        return self.ran.exists()

    async def let(self) -> None:
        await asyncio.to_thread(self.pipe.write_text, "go\n")


async def test_an_interrupted_upgrade_is_followed_by_its_name(world: World, host: Host, said: list[str]) -> None:
    held, before = Held(world, host), await world.node(host)
    await held.make()
    upgrade = world.upgrade(VersionGoal(NEW), provider=world.provider(upgrade_command=held.command))
    first = asyncio.create_task(upgrade.change(host, fence()))
    await until(held.begun)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first

    async with opened(world.folder) as anew:  # another process would have sessions of its own as well
        again = anew.upgrade(VersionGoal(NEW), provider=anew.provider(upgrade_command=held.command))
        second = asyncio.create_task(again.change(host, fence(2)))

        async def follows() -> bool:
            return f"{host.name}: waits for unit {UPGRADE_UNIT}, which an earlier run has started" in said

        await until(follows)
        await held.let()
        assert await second == ()
        assert held.ran.read_text() == "run\n", "it was not begun a second time"
        assert await again.prove(host, before) == ()
        assert await again.is_finished(host, await anew.node(host))


async def test_cut_off_after_its_end_it_is_not_done_again(world: World, host: Host) -> None:
    ran = world.root(host) / "tmp/ran"
    command = f"echo run >> {ran}; edgeadm upgrade --version=v{{version}}"
    before = await world.node(host)
    for fencing_token in (1, 2):
        upgrade = world.upgrade(VersionGoal(NEW), provider=world.provider(upgrade_command=command))
        assert await upgrade.change(host, fence(fencing_token)) == ()
    assert ran.read_text() == "run\n"
    assert await upgrade.prove(host, before) == ()


async def test_a_call_that_an_earlier_run_made_is_waited_for_and_not_repeated(world: World, host: Host) -> None:
    def anew() -> HostUpgrade:
        return world.upgrade(VersionGoal(NEW), provider=world.provider(upgrade="call", upgrade_command=None))

    first = asyncio.create_task(anew().change(host, fence()))

    async def begun() -> bool:
        state = await world.provider()._pool_state(
            f"/clusters/{world.ack.cluster_id}/nodepools/{host.pool.nodepool_id}"
        )
        return state == "upgrading"

    await until(begun)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await anew().change(host, fence(2)) == ()
    assert (await world.node(host)).kubelet_version == NEW


async def test_a_run_that_has_lost_its_lease_does_nothing(world: World, host: Host) -> None:
    await write_fence(world.sessions, host, fence(5))
    with pytest.raises(FencedOff):
        await world.upgrade(VersionGoal(NEW)).change(host, fence(4))
    assert (await unit_state(world.sessions, host, UPGRADE_UNIT)).state is UnitRun.ABSENT


async def test_the_gate_is_asked_first(world: World, host: Host) -> None:
    async def frozen(change: Change) -> Refusal | None:
        return Refusal("freeze", "the cluster is frozen", "Thaw it.")

    for step in ("stage", "change"):
        upgrade = world.upgrade(CONTAINERD, guards=[frozen])
        with pytest.raises(GateRefused):
            await (upgrade.stage(host) if step == "stage" else upgrade.change(host, fence()))
    assert not (world.root(host) / "var/lib/poolkeeper/fencing-token").exists()


async def test_versions_are_compared_again_before_the_change(world: World, host: Host) -> None:
    assert ids(await world.upgrade(VersionGoal("1.37.0")).change(host, fence())) == ["upgrade.skew.goal-newer"]
    assert ids(await world.upgrade(VersionGoal("1.34.9")).change(host, fence())) == ["upgrade.skew.downgrade"]
    await world.run(host, "edgeadm upgrade --version=v1.34.9")
    (finding,) = await world.upgrade(VersionGoal(NEW)).change(host, fence())
    assert (finding.id, finding.next_step) == ("upgrade.skew.steps", "Upgrade to 1.35 first, then to 1.36.3.")


async def test_a_node_that_is_gone(world: World, host: Host) -> None:
    before = await world.node(host)
    await world.api.request("DELETE", f"/api/v1/nodes/{host.node_name}")
    assert ids(await world.upgrade(VersionGoal(NEW)).change(host, fence())) == ["upgrade.node.gone"]
    assert ids(await world.upgrade(VersionGoal(NEW)).prove(host, before)) == ["upgrade.node.gone"]


async def test_a_machine_that_is_not_the_nodes_is_not_upgraded(world: World, host: Host, other: Host) -> None:
    """Two addresses were swapped in the fleet file: the Node that is drained is not that of the machine that answers."""
    packages, before = await world.run(other, "dpkg-query -W"), await world.node(host)
    async with opened(world.folder) as anew:  # which has no session to the host by its right address
        crossed, goal = replace(host, address=other.address, ssh=other.ssh), VersionGoal(NEW)
        for upgrade in (anew.upgrade(goal), anew.upgrade(goal, dry_run=True)):
            assert ids(await upgrade.stage(crossed)) == ["node.identity.other-machine"]
        upgrade = anew.upgrade(goal)
        (finding,) = await upgrade.change(crossed, fence())
        assert ids(await upgrade.prove(crossed, before)) == ["node.identity.other-machine"]
    assert finding.id == "node.identity.other-machine"
    mine, theirs = before.machine_id, (await world.node(other)).machine_id
    assert finding.evidence.observed == (
        f"the machine at its address has machine id {theirs}; Node {host.node_name} has machine id {mine}"
    )
    assert await world.run(other, "dpkg-query -W") == packages
    assert not (world.root(other) / "var/lib/poolkeeper/fencing-token").exists()
    assert (await world.node(other)).kubelet_version == OLD


async def test_a_goal_that_another_machine_is_at_is_not_reached(world: World, host: Host, other: Host) -> None:
    version, node = "1.6.24~ds1-1+deb12u1", await world.node(host)
    await world.run(other, f"apt-get -y -q install containerd={version}")
    at_goal = replace(node, runtime_version="containerd://1.6.24~ds1")  # upgraded by other means than apt
    async with opened(world.folder) as anew:
        crossed = replace(host, address=other.address, ssh=other.ssh)
        assert not await anew.upgrade(VersionGoal(packages={"containerd": version})).is_finished(crossed, at_goal)


async def test_a_machine_that_is_not_the_declared_one(world: World, host: Host) -> None:
    declared = replace(host, machine_id="f" * 32)
    for findings in (
        await world.upgrade(VersionGoal(NEW)).stage(declared),
        await world.upgrade(VersionGoal(NEW)).change(declared, fence()),
    ):
        assert ids(findings) == ["node.identity.machine-id"]


async def test_a_machine_that_does_not_tell_who_it_is(world: World, host: Host) -> None:
    (world.root(host) / "etc/machine-id").unlink()
    for findings in (
        await world.upgrade(VersionGoal(NEW)).stage(host),
        await world.upgrade(VersionGoal(NEW)).change(host, fence()),
    ):
        assert ids(findings) == ["node.identity.unknown"]


async def test_what_a_kill_has_left_unheld_is_held_again_once_it_is_proven(world: World, host: Host) -> None:
    """Killed between installing and holding, host and Node are at the goal: nothing is installed any more."""
    await world.with_packages(host)
    upgrade, before = world.upgrade(VersionGoal(NEW), provider=world.kubeadm()), await world.node(host)
    assert await upgrade.stage(host) == ()
    assert await upgrade.change(host, fence()) == ()
    await world.run(host, "apt-mark unhold kubelet; echo kubelet > $POOLKEEPER_ROOT/var/lib/poolkeeper/held")
    assert await upgrade.prove(host, before) == ()
    assert (await world.run(host, "apt-mark showhold")).split() == ["kubeadm", "kubelet"]
    assert not (world.root(host) / "var/lib/poolkeeper/held").exists()
