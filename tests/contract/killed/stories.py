"""Every point of a flow at which it can be killed, found by counting, and what holds when it was killed there.

A flow is a row: how its world is made, what runs, what counts as its end, what must hold on the way. It is run once
undisturbed. Then it is killed at its first change, at its second, ..., each time in a new world, before the change and
after it, and run again until it ends by itself. A change that someone adds to the flow is a new point by itself.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from poolkeeper.deployments.lab.kubernetes import LabCA
from tests.contract.killed.runs import Ended, Kind, Point, Run
from tests.contract.killed.worlds import World, a_world
from tests.e2e.history import History

Json = dict[str, Any]

MOST = 200
"""So many points of one kind no flow of ours has: one that does is not coming to its end."""
AT_ONCE = 2
"""Stories: a child computes while another world answers."""


@dataclass
class Story:
    """What happened in one world."""

    point: Point | None
    runs: list[Ended] = field(default_factory=list)
    seen: list[dict[Kind, list[str]]] = field(default_factory=list)
    """What the world has counted of each run."""
    history: History = field(default_factory=lambda: History([]))
    """What the API server had, one after the other."""
    at_kill: Json = field(default_factory=dict)
    """What there was right after the first run."""
    left: Json = field(default_factory=dict)
    """What there is in the end."""
    versions: list[int] = field(default_factory=list)
    """Of the newest object, as each run ended."""
    wrong: Sequence[str] = ()
    """What should not have happened."""
    as_in: str = ""
    """Where an earlier run was killed that left the very same behind: what follows from there was seen already."""

    def counted(self, kind: Kind, run: int = 0) -> list[str]:
        """What a run has come by, in order."""
        ended = self.runs[run]
        return {Kind.CHANGE: ended.changes, Kind.FILE: ended.files, **self.seen[run]}[kind]

    @property
    def answer(self) -> Json:
        """Of the last run."""
        return self.runs[-1].answer

    @property
    def killed_at(self) -> str:
        """The point in words."""
        if self.point is None:
            return "undisturbed"
        counted = self.counted(self.point.kind)
        what = counted[self.point.number - 1] if len(counted) >= self.point.number else "its end"
        return f"{self.point}: {what}"


@dataclass(frozen=True)
class Flow:
    """One row: a flow that is killed.

    seed: makes its world. run: what is killed. end: what counts in the end. wrong: what should not have happened by then
    again: what follows, each until it ends by itself; empty: the same once more. meanwhile: what happens before that
    first: what runs before, and where it is killed. same_end: whether the end has to be that of the undisturbed run
    lapses: the dead run's leases lapse, after a second; else a person gives them back
    around: what else stands in its world
    """

    seed: Callable[[World], None]
    run: Run
    end: Callable[[World], Json]
    wrong: Callable[[World, Story], Sequence[str]]
    again: Sequence[Run] = ()
    first: Sequence[tuple[Run, Point | None]] = ()
    meanwhile: Callable[[World], None] = lambda world: None
    same_end: bool = True
    lapses: bool = False
    around: Callable[[World], AbstractAsyncContextManager[None]] = lambda world: nullcontext()


class Theatre:
    """Where a flow's stories are told, each in a world of its own."""

    def __init__(self, folder: Path, ca: LabCA) -> None:
        self._folder, self._ca, self._number = folder, ca, count(1)
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def undisturbed(self, flow: Flow) -> Story:
        """The flow's run as it goes when nobody kills it."""
        story = await self._told(replace(flow, again=()), None, {})
        assert not story.wrong, "\n".join(story.wrong)
        return story

    async def killed_everywhere(self, flow: Flow, kinds: Iterable[Kind], undisturbed: Story) -> list[Story]:
        """A story for each point. Fails with everything that held in one of them and should not have."""
        stories, seen = list[Story](), dict[str, str]()
        for kind in kinds:
            for when in kind.sides:
                began, expected = time.monotonic(), undisturbed.counted(kind)
                points = [Point(kind, number, when) for number in range(1, len(expected) + 1)]
                killed = [story for story in await self._each(flow, points, seen) if story.runs[0].was_killed]
                while (last := await self._told(flow, Point(kind, len(points) + 1, when), seen)).runs[0].was_killed:
                    points.append(Point(kind, len(points) + 1, when))
                    killed.append(last)
                    assert len(points) < MOST, f"it does not come to its end: {last.killed_at}"
                tell(f"{when} each {kind}", killed, time.monotonic() - began)
                lacking = set(expected) - {
                    story.counted(kind)[story.point.number - 1] for story in killed if story.point
                }
                assert not lacking, f"the undisturbed run has made what no run was killed {when}: {sorted(lacking)}"
                stories += killed
        refuse_wrong(flow, stories, undisturbed)
        return stories

    async def killed_at(self, flow: Flow, points: Sequence[Point], undisturbed: Story) -> list[Story]:
        """A story for each of some points that were found already."""
        began = time.monotonic()
        stories = await self._each(flow, points, {})
        tell("at points that were found", stories, time.monotonic() - began)
        assert all(story.runs[0].was_killed for story in stories)
        refuse_wrong(flow, stories, undisturbed)
        return stories

    async def _each(self, flow: Flow, points: Iterable[Point], seen: dict[str, str]) -> list[Story]:
        async def told(point: Point) -> Story:
            async with self._slots:
                return await self._told(flow, point, seen)

        return await asyncio.gather(*map(told, points))

    def _new_folder(self) -> Path:
        folder = self._folder / f"world-{next(self._number)}"
        folder.mkdir()
        return folder

    async def _told(self, flow: Flow, point: Point | None, seen: dict[str, str]) -> Story:
        """One story from beginning to end. seen: what runs left behind -> where they were killed"""
        folder = self._new_folder()
        story = Story(point)
        async with a_world(folder, self._ca, flow.seed) as world, flow.around(world):

            async def add(run: Run, at: Point | None = None) -> Ended:
                ended = await world.run(run, f"run-{len(story.runs) + 1}", at)
                story.runs.append(ended)
                story.seen.append(dict(world.watch.counted))
                story.versions.append(world.store.journal.version)
                return ended

            for number, (run, at) in enumerate(flow.first, 1):
                _as_told(await world.run(run, f"first-{number}", at), at)
                world.free_leases(lapse=flow.lapses)
            ended = await add(flow.run, point)
            _as_told(ended, point if ended.was_killed else None)
            story.at_kill = flow.end(world)
            if ended.was_killed:
                story.as_in = seen.setdefault(world.everything, story.killed_at)
                story.as_in = "" if story.as_in == story.killed_at else story.as_in
            if point is not None and not story.as_in:
                flow.meanwhile(world)
            for run in () if point is None or story.as_in else flow.again or (flow.run,):
                world.free_leases(lapse=flow.lapses)
                _as_told(await add(run), None, f", after {story.runs[0].run_id} was killed {story.killed_at}")
            story.left, story.history = flow.end(world), world.history
            story.wrong = flow.wrong(world, story)
        shutil.rmtree(folder)
        return story


def tell(where: str, stories: Sequence[Story], spent_s: float) -> None:
    """What was killed, for whoever looks at the test's output (`pytest -s`, or -rP)."""
    print(f"\n{where}: {len(stories)} kills, {spent_s:.1f} s")
    for story in stories:
        print(f"  {story.killed_at}" + (f"  [left the same as {story.as_in}]" if story.as_in else ""))


def refuse_wrong(flow: Flow, stories: Sequence[Story], undisturbed: Story) -> None:
    """Fail with everything that is wrong with stories."""
    told = [told for story in stories for told in judged(flow, story, undisturbed)]
    assert not told, "\n" + "\n".join(told)


def judged(flow: Flow, story: Story, undisturbed: Story) -> Iterator[str]:
    """What is wrong with a story, each with the point at which it was killed."""
    for wrong in story.wrong:
        yield f"killed {story.killed_at}: {wrong}"
    if not flow.same_end or story.as_in:
        return
    if story.left != undisturbed.left:
        yield f"killed {story.killed_at}: it ends otherwise than undisturbed:\n{difference(undisturbed.left, story.left)}"
    if story.answer != undisturbed.answer:
        yield f"killed {story.killed_at}: the next run tells {story.answer}, and not {undisturbed.answer}"


def difference(wanted: Json, found: Json) -> str:
    """Two ends, as far as they are not the same."""
    lines = []
    for key in sorted({*wanted, *found}):
        if wanted.get(key) != found.get(key):
            lines += [
                f"    {key}:",
                f"      undisturbed {json.dumps(wanted.get(key), sort_keys=True)}",
                f"      killed      {json.dumps(found.get(key), sort_keys=True)}",
            ]
    return "\n".join(lines)


def _as_told(ended: Ended, point: Point | None, why: str = "") -> None:
    """It was killed where it was to be killed, and ended by itself elsewhere; what it wrote is shown if it did not."""
    assert ended.status == (0 if point is None else -signal.SIGKILL), (
        f"{ended.run_id}{why} ended with {ended.status}:\n{ended.output}"
    )
