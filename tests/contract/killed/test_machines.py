"""A host's way in, its undoing and its way out, killed at each of their changes, also those on the host itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from poolkeeper.tasks.cluster.stops import stops_guard
from poolkeeper.tasks.hosts import FactsRequest
from poolkeeper.tasks.ledger import Spool
from poolkeeper.tasks.onboard.admission import Admission
from poolkeeper.tasks.onboard.context import Context
from poolkeeper.tasks.onboard.offboarding import Offboarding
from poolkeeper.tasks.outcomes import Gate
from poolkeeper.tasks.provider import Provider
from poolkeeper.tasks.rollout.goal import Goal
from poolkeeper.tasks.runs.recording import Recorder
from tests.contract.cluster.conftest import reach
from tests.contract.hosts.conftest import open_sessions
from tests.contract.killed import machines, rollouts
from tests.contract.killed.runs import Ground, Json, Kind
from tests.contract.killed.stories import Flow, Story, Theatre
from tests.contract.killed.worlds import World

LEAVE = Goal("offboard", "general")
KINDS = (Kind.REQUEST, Kind.CHANGE, Kind.COMMAND)


async def offboard(ground: Ground) -> Json:
    """The one host out of its pool."""
    provider = cast(Provider, machines.Listed(ground.folder))
    async with rollouts.opened(ground) as run, open_sessions() as sessions:
        run.provider, run.sessions = provider, sessions
        leaving = Offboarding(
            api=run.api,
            sessions=sessions,
            provider=provider,
            gate=run.gate,
            recorder=run.recorder,
            request=FactsRequest(),
            absent_s=0.05,
        )
        return await rollouts.rolled(run, LEAVE, rollouts.LIMITS, leaving, ("n0",))


def end(world: World) -> Json:
    """What is there of the host."""
    return {
        "nodes": [node["metadata"]["name"] for node in world.store.list("nodes")],
        "listed": machines.Listed(world.folder).path.exists(),
        "machine": machines.tree(world),
    }


def wrong(world: World, story: Story) -> list[str]:
    """The Node goes last, and it has left once."""
    told = world.history.smaller_fencing_tokens()
    if len(moments := machines.moments(world, "left")) > 1:
        told.append(f"it has left at {moments}")
    there = end(world)
    if not there["nodes"] and (there["listed"] or "etc/kubernetes/kubelet.conf" in there["machine"]):
        told.append(f"its Node is gone, and there is {there}")
    return told


OFFBOARDING = Flow(seed=machines.its_node, run=offboard, end=end, wrong=wrong, around=machines.in_its_pool)


async def test_a_host_leaves_all_the_same(theatre: Theatre) -> None:
    undisturbed = await theatre.undisturbed(OFFBOARDING)
    assert (undisturbed.answer, undisturbed.left["nodes"]) == ({"n0": "done"}, [])
    await theatre.killed_everywhere(OFFBOARDING, KINDS, undisturbed)


@dataclass(frozen=True)
class Onboard:
    """The one host into its pool."""

    join_ends_with: int = 0

    async def __call__(self, ground: Ground) -> Json:
        (host,) = ground.hosts
        recorder = Recorder(Spool(ground.state / "spool"), ground.run_id)
        async with reach(ground.kubeconfig) as api, open_sessions() as sessions:
            gate = Gate([stops_guard(api, {host.name: host.node_name})], dry_run=False, on_change=recorder.change)
            admission = Admission(
                Context(
                    api=api,
                    sessions=sessions,
                    provider=cast(Provider, machines.Listed(ground.folder, self.join_ends_with)),
                    gate=ground.gate(gate),
                    recorder=recorder,
                    request=FactsRequest(api_url=api.url, api_ca_pem=api.ca_pem or ""),
                )
            )
            return {host.name: str((await admission.admit(host)).state)}


def end_of_joining(world: World) -> Json:
    """What is there of the host, and what the cluster has of it."""
    nodes = [
        {
            "annotations": sorted(node["metadata"].get("annotations") or {}),
            "unschedulable": bool(node["spec"].get("unschedulable")),
        }
        for node in world.store.list("nodes")
    ]
    pods = [pod["metadata"]["name"] for pod in world.store.list("pods")]
    # in which boot the join was begun is of no more interest once what it has changed is written down
    machine = [path for path in machines.tree(world) if path != "var/lib/poolkeeper/begun"]
    return {"nodes": nodes, "pods": pods, "machine": machine}


def wrong_while_joining(world: World, story: Story) -> list[str]:
    """It joins once, and takes nothing after the cordon until it is accepted, which comes after a test pod."""
    told, probed = [], False
    for step in world.history.steps("nodes", "pods"):
        now, before = step.event.object, step.before
        probed = probed or step.event.resource == "pods"
        if step.event.resource != "nodes" or now is None or before is None:
            continue
        if before["spec"].get("unschedulable") and not now["spec"].get("unschedulable"):
            accepted = "poolkeeper.io/accepted" in now["metadata"].get("annotations", {})
            told += [] if accepted and probed else [f"uncordoned, accepted: {accepted}, probed: {probed}"]
    told += [f"it has {event} at {at}" for event in ("joined", "left") if len(at := machines.moments(world, event)) > 1]
    return told


ONBOARDING = Flow(
    seed=lambda world: None,
    run=Onboard(),
    end=end_of_joining,
    wrong=wrong_while_joining,
    around=machines.on_its_own,
)


async def test_a_host_joins_all_the_same(theatre: Theatre) -> None:
    undisturbed = await theatre.undisturbed(ONBOARDING)
    assert undisturbed.answer == {"n0": "accepted"}
    await theatre.killed_everywhere(ONBOARDING, KINDS, undisturbed)


async def test_a_failed_join_is_undone_all_the_same(theatre: Theatre) -> None:
    """A run that finds it undone already joins it anew, which fails and is undone like the first time."""
    flow = Flow(
        seed=lambda world: None,
        run=Onboard(join_ends_with=1),
        end=end_of_joining,
        wrong=wrong_while_joining_in_vain,
        around=machines.on_its_own,
    )
    undisturbed = await theatre.undisturbed(flow)
    assert (undisturbed.answer, undisturbed.left["nodes"]) == ({"n0": "failed"}, [])
    await theatre.killed_everywhere(flow, KINDS, undisturbed)


def wrong_while_joining_in_vain(world: World, story: Story) -> list[str]:
    """No Node stays that takes pods and was not accepted."""
    nodes = end_of_joining(world)["nodes"] if len(story.runs) > 1 else []
    accepted = "poolkeeper.io/accepted"
    return [f"left: {n}" for n in nodes if accepted not in n["annotations"] and not n["unschedulable"]]
