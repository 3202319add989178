"""A state folder that cannot be written, from the beginning or from some change on: what a rollout has taken it still
finishes or gives back, and so does `recover`; both tell what is not written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from poolkeeper.deployments.lab.kubernetes import LabCA
from poolkeeper.tasks.ledger import RUNS, STEPS, Spool
from poolkeeper.tasks.outcomes import HostState, RunState
from poolkeeper.tasks.runs.result import RunResult
from tests.contract.killed import rollouts
from tests.contract.killed.rollouts import GOAL, LIMITS, NAMES, OLD, WANTED, OnDisk, Recover, opened, rolled
from tests.contract.killed.runs import Ground, Kind, Point, Run, When
from tests.contract.killed.volumes import Trouble, mount_small, refused, spoil
from tests.contract.killed.worlds import a_world

Json = dict[str, Any]

pytestmark = pytest.mark.skipif(bool(refused()), reason=refused())


@dataclass(frozen=True)
class Spoiled:
    """A run whose state folder becomes unwritable as its so-many-th change is to be made; 0: before it begins."""

    run: Run
    trouble: Trouble
    at_change: int = 0

    async def __call__(self, ground: Ground) -> Json:
        mount_small(ground.state)
        passes, passed = ground.passes, 0

        def counted(kind: Kind, what: str) -> int:
            nonlocal passed
            passed += 1
            if passed == self.at_change:
                spoil(ground.state, self.trouble)
            return passes(kind, what)

        ground.passes = counted  # type: ignore[method-assign]
        if not self.at_change:
            spoil(ground.state, self.trouble)
        return await self.run(ground)


async def upgrade(ground: Ground) -> Json:
    """Both hosts, and the answer as a flow gives it."""
    async with opened(ground) as run:
        ended = await rolled(run, GOAL, LIMITS, OnDisk(ground, run))
        state = RunState.COMPLETED if set(ended.values()) == {HostState.DONE} else RunState.FAILED
        answer = RunResult("upgrade", run.recorder, state, f"{state}: {ended}", (), "# upgrade\n")
        answer.write(ground.state / "runs")
        steps = len(list(Spool(ground.state / "spool").rows(STEPS)))
        runs = len(list(Spool(ground.state / "spool").rows(RUNS)))
        return {**ended, "state": str(answer.state), "summary": answer.summary, "steps": steps, "runs": runs}


WHY = {
    Trouble.FULL: "No space left on device",
    Trouble.NO_NAMES: "No space left on device",
    Trouble.READ_ONLY: "Read-only file system",
}


@pytest.mark.parametrize("trouble", Trouble)
async def test_a_rollout_ends_as_ever_and_says_that_it_is_not_written_down(
    trouble: Trouble, tmp_path: Path, authority: LabCA
) -> None:
    async with a_world(tmp_path, authority, rollouts.two_nodes) as world:
        ended = await world.run(Spoiled(upgrade, trouble), "run-1")
        assert ended.by_itself, ended.output
        assert {name: ended.answer[name] for name in NAMES} == dict.fromkeys(NAMES, "done"), ended.output
        assert ended.answer["state"] == "ended with an incomplete record"
        assert WHY[trouble] in ended.answer["summary"]
        assert (ended.answer["steps"], ended.answer["runs"]) == (0, 0)
        assert ended.output.count("cannot be written (") == 1
        left = rollouts.end(world)
    for name in NAMES:
        assert (left[f"node {name}"]["phase"], left[f"node {name}"]["unschedulable"]) == (None, False)
        assert left[f"host {name}"]["running"] == WANTED
    assert left["lease pool-general"]["held"] is False


async def test_a_disk_that_fills_at_any_change_costs_rows_and_nothing_else(tmp_path: Path, authority: LabCA) -> None:
    async with a_world(made(tmp_path / "undisturbed"), authority, rollouts.two_nodes) as world:
        undisturbed = await world.run(upgrade, "run-1")
        expected = rollouts.end(world)
    assert undisturbed.answer["state"] == "completed"
    for number in range(1, len(undisturbed.changes) + 1):
        async with a_world(made(tmp_path / f"at-{number}"), authority, rollouts.two_nodes) as world:
            ended = await world.run(Spoiled(upgrade, Trouble.FULL, number), "run-1")
            told = f"{number}: {undisturbed.changes[number - 1]}\n{ended.output}"
            assert ended.answer["state"] == "ended with an incomplete record", told
            assert ended.answer["steps"] < undisturbed.answer["steps"], told
            assert rollouts.end(world) == expected, told


@pytest.mark.parametrize(
    ("phase", "runs"),
    [pytest.param("draining", OLD, id="given back"), pytest.param("changing", WANTED, id="finished")],
)
async def test_recover_gives_back_or_finishes_what_a_killed_run_has_left(
    phase: str, runs: str, tmp_path: Path, authority: LabCA
) -> None:
    def is_meant(sentence: str) -> bool:
        return sentence.startswith("evict" if phase == "draining" else "install")

    async with a_world(tmp_path, authority, rollouts.two_nodes) as world:
        number = await first_change(is_meant, made(tmp_path / "counted"), authority)
        killed = await world.run(rollouts.Upgrade(), "run-1", Point(Kind.CHANGE, number, When.BEFORE))
        assert killed.was_killed, killed.output
        assert rollouts.end(world)["node n0"]["phase"] == phase
        world.free_leases()
        ended = await world.run(Spoiled(Recover(), Trouble.FULL), "run-2")
        assert ended.answer == {"n0": "done"}, ended.output
        assert ended.output.count("cannot be written (") == 1
        left = rollouts.end(world)
    assert (left["node n0"]["phase"], left["node n0"]["unschedulable"]) == (None, False)
    assert left["host n0"]["running"] == runs


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def first_change(is_meant: Callable[[str], bool], folder: Path, authority: LabCA) -> int:
    """The number of the first change of that kind, counted in a world of its own."""
    async with a_world(folder, authority, rollouts.two_nodes) as world:
        ended = await world.run(rollouts.Upgrade(), "run-1")
    return 1 + next(number for number, sentence in enumerate(ended.changes) if is_meant(sentence))
