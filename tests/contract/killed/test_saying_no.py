"""What is told of flows that are broken on purpose: the stories of kills can say no, and say where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from poolkeeper.tasks.cluster.api import MERGE_PATCH
from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts.fence import Fence
from poolkeeper.tasks.outcomes import Finding, Subject
from tests.contract.cluster.conftest import reach
from tests.contract.killed.rollouts import NAMES, WANTED, OnDisk, Upgrade
from tests.contract.killed.runs import Ground, Json, Kind, Point, When
from tests.contract.killed.stories import Story, Theatre
from tests.contract.killed.test_rollouts import OUT, ROLLOUT


class Forgetful(OnDisk):
    """Does not look at what is on the host already."""

    async def change(self, host: Host, node: NodeRow | None, fence: Fence) -> tuple[Finding, ...]:
        disk = self.disk(host)
        disk.write(replace(disk.record, running=""))
        await self.run.gate.change(
            Subject("host", host.name),
            f"install on {host.name}",
            lambda: self.install(host, self._shared["build"]),
            if_dry_run=None,
        )
        return await super().change(host, node, fence)


class LooksUpAnew(OnDisk):
    """Does not remember what hosts of its rollout share."""

    def remember(self, what: object) -> None:
        pass


class Hasty(OnDisk):
    """Lets pods come back as soon as the kubelet is restarted."""

    async def restart(self, host: Host) -> None:
        await super().restart(host)
        async with reach(self.ground.folder / "kubelet") as anyone:
            body = {"spec": {"unschedulable": None}}
            await anyone.request("PATCH", f"/api/v1/nodes/{host.name}", body=body, content_type=MERGE_PATCH)


async def idle(ground: Ground) -> Json:
    """Tells that all is done, and has not looked."""
    return dict.fromkeys(NAMES, "done")


async def breaks_off(ground: Ground) -> Json:
    """Ends in an error."""
    raise ZeroDivisionError("of all things")


def changes_of(undisturbed: Story) -> list[Point]:
    """After each change of the first host."""
    changes = enumerate(undisturbed.counted(Kind.CHANGE), 1)
    return [Point(Kind.CHANGE, number, When.AFTER) for number, what in changes if NAMES[0] in what]


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (Forgetful, r"killed after change \d+: install on n0: install was done 2 times on n0"),
        (LooksUpAnew, rf"killed \w+ change \d+: .*: hosts of one rollout have different builds: .*{WANTED}\+run-2"),
    ],
    ids=["twice", "another version"],
)
async def test_work_that_goes_wrong_after_a_kill(theatre: Theatre, work: Callable[..., OnDisk], told: str) -> None:
    flow = replace(ROLLOUT, run=Upgrade(work))
    undisturbed = await theatre.undisturbed(flow)
    with pytest.raises(AssertionError, match=told):
        await theatre.killed_at(flow, changes_of(undisturbed), undisturbed)


async def test_a_node_that_is_freed_before_it_is_proven(theatre: Theatre) -> None:
    with pytest.raises(AssertionError, match="n0 was uncordoned after install, restart, with no proof since"):
        await theatre.undisturbed(replace(ROLLOUT, run=Upgrade(Hasty)))


async def test_a_next_run_that_does_nothing(theatre: Theatre) -> None:
    flow = replace(ROLLOUT, again=(idle,))
    told = r'killed after change 1: cordon node n0: it ends otherwise than undisturbed:\n(.*\n)*.*"unschedulable": true'
    undisturbed = await theatre.undisturbed(flow)
    with pytest.raises(AssertionError, match=told):
        await theatre.killed_at(flow, changes_of(undisturbed), undisturbed)


async def test_a_change_that_no_run_is_killed_at(theatre: Theatre) -> None:
    """Such as one that only the undisturbed run makes."""
    undisturbed = await theatre.undisturbed(OUT)
    undisturbed.runs[0].changes.append("repaint host n0")
    with pytest.raises(AssertionError, match=r"no run was killed before: \['repaint host n0'\]"):
        await theatre.killed_everywhere(OUT, [Kind.CHANGE], undisturbed)


async def test_a_run_that_breaks_off_shows_why(theatre: Theatre) -> None:
    with pytest.raises(AssertionError, match=r"run-1 ended with 1:\n(.*\n)*ZeroDivisionError: of all things"):
        await theatre.undisturbed(replace(ROLLOUT, run=breaks_off))
