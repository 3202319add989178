"""Rollouts killed at each of their changes, and run again or recovered: they end as if nothing had happened."""

from __future__ import annotations

from dataclasses import replace

from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.outcomes import Finding
from tests.contract.killed import rollouts
from tests.contract.killed.rollouts import NAMES, OLD, WANTED, Disk, OnDisk, Recover, Upgrade
from tests.contract.killed.runs import Kind
from tests.contract.killed.stories import Flow, Story, Theatre
from tests.contract.killed.worlds import World

KINDS = (Kind.REQUEST, Kind.CHANGE)
ROLLOUT = Flow(seed=rollouts.two_nodes, run=Upgrade(), end=rollouts.end, wrong=rollouts.wrong)


def begins_something(world: World, story: Story) -> list[str]:
    """What `recover` has begun or left, of all that the killed run had in hand."""
    told = rollouts.wrong(world, story)
    if len(story.runs) < 2:
        return told
    before = replace(world.history, events=[e for e in world.history.events if e.version <= story.versions[0]])
    if begun := world.history.cordoned()[len(before.cordoned()) :]:
        told.append(f"recovery has cordoned {begun}")
    left = {key: value for key, value in story.left.items() if key.startswith("node ")}
    told += [f"{key} is left as {node}" for key, node in left.items() if node["phase"] or node["unschedulable"]]
    told += [f"{key} is held" for key, value in story.left.items() if key.startswith("lease pool") and value["held"]]
    told += [f"{key} has intents" for key, value in story.left.items() if key.startswith("lease") and value["intents"]]
    for name in NAMES:
        now, then = story.left[f"host {name}"], story.at_kill[f"host {name}"]
        expected = WANTED if then["begun"] else then["running"]
        if now != {"installed": expected, "running": expected, "begun": False}:
            told.append(f"{name}, which was left {then}, has {now}")
    in_hand = set(story.at_kill.get("lease pool-general", {}).get("intents", ()))
    if story.answer != dict.fromkeys(in_hand, "done"):
        told.append(f"{sorted(in_hand)} were in hand, and recovery tells {story.answer}")
    return told


async def test_the_next_run_finishes_it_and_recover_gives_back_or_finishes(theatre: Theatre) -> None:
    """The next run ends as if nothing had happened; `recover` begins nothing new, once the dead run's lease has lapsed.

    And `recover` itself, killed wherever that is, is finished by the next one.
    """
    undisturbed = await theatre.undisturbed(ROLLOUT)
    assert undisturbed.answer == dict.fromkeys(NAMES, "done")
    stories = await theatre.killed_everywhere(ROLLOUT, KINDS, undisturbed)

    points = [story.point for story in stories if story.point and not story.as_in]
    recovered = replace(ROLLOUT, again=(Recover(),), wrong=begins_something, same_end=False, lapses=True)
    stories = await theatre.killed_at(recovered, points, undisturbed)

    for phase, begun in (("draining", False), ("changing", False), ("changing", True)):
        then = {"installed": OLD, "running": OLD, "begun": begun}
        left = next(s for s in stories if s.at_kill["node n0"]["phase"] == phase and s.at_kill["host n0"] == then)
        print(f"\nrecover, where {NAMES[0]} was left {phase}, {left.killed_at}")
        recovering = replace(ROLLOUT, first=((Upgrade(), left.point),), run=Recover(), same_end=False)
        undisturbed = await theatre.undisturbed(recovering)
        assert undisturbed.answer == {NAMES[0]: "done"}
        for story in await theatre.killed_everywhere(recovering, KINDS, undisturbed):
            assert story.as_in or story.left == undisturbed.left, story.killed_at


OUT = Flow(
    seed=rollouts.two_nodes,
    run=rollouts.out,
    end=rollouts.end,
    wrong=lambda world, story: rollouts.wrong(world, story, OLD),
)
BACK = replace(OUT, first=((rollouts.out, None),), run=rollouts.back)


async def test_a_host_is_handed_over_all_the_same(theatre: Theatre) -> None:
    undisturbed = await theatre.undisturbed(OUT)
    assert (undisturbed.answer, undisturbed.left["node n0"]["phase"]) == ({"n0": "handed over"}, "with a person")
    await theatre.killed_everywhere(OUT, KINDS, undisturbed)


async def test_a_host_is_taken_back_all_the_same(theatre: Theatre) -> None:
    undisturbed = await theatre.undisturbed(BACK)
    assert (undisturbed.answer, undisturbed.left["node n0"]["phase"]) == ({"n0": "done"}, None)
    await theatre.killed_everywhere(BACK, KINDS, undisturbed)


class OneBuild(OnDisk):
    """The same in every run: a rollout whose budget is spent is over, and the next one looks up what it installs."""

    async def prepare(self, host: Host) -> tuple[Finding, ...]:
        self._shared["build"] = WANTED
        return ()


def break_first(world: World) -> None:
    rollouts.two_nodes(world)
    Disk(world.folder, NAMES[0]).broken.touch()


def mend_first(world: World) -> None:
    Disk(world.folder, NAMES[0]).broken.unlink()


def forgets_a_failure(world: World, story: Story) -> list[str]:
    """What the next runs have made of a failure that was written down, or was not."""
    told = rollouts.wrong(world, story)
    if len(story.runs) < 2:
        return told
    spent = story.at_kill.get("lease pool-general", {}).get("spent")
    expected = {"n0": "done", "n1": "postponed" if spent else "done"}
    if story.runs[1].answer != expected:
        told.append(f"spent was {spent}, and the next run tells {story.runs[1].answer}")
    if story.answer != dict.fromkeys(NAMES, "done"):
        told.append(f"the last run tells {story.answer}")
    return told


async def test_a_failure_is_remembered_when_it_was_written_down(theatre: Theatre) -> None:
    """The budget is the rollout's and not the run's: the host is mended, and nothing new is begun in that rollout."""
    one_build = Upgrade(OneBuild)
    flow = Flow(
        seed=break_first,
        run=one_build,
        end=rollouts.end,
        wrong=forgets_a_failure,
        meanwhile=mend_first,
        again=(one_build, one_build),
        same_end=False,
    )
    undisturbed = await theatre.undisturbed(flow)
    assert undisturbed.answer == {"n0": "failed", "n1": "postponed"}
    stories = await theatre.killed_everywhere(flow, KINDS, undisturbed)
    assert any(story.at_kill.get("lease pool-general", {}).get("spent") for story in stories)
