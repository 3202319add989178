"""Test pods and closing months, killed at each of their changes: nothing is left, and nothing is there twice."""

from __future__ import annotations

from dataclasses import asdict

from poolkeeper.tasks.acceptance.pod_probe import probe_node
from poolkeeper.tasks.cluster.nodes import get_node
from poolkeeper.tasks.fees.closing.close import close
from poolkeeper.tasks.fees.closing.closed_months import ClosedMonths
from poolkeeper.tasks.fees.money import money_text
from poolkeeper.tasks.fees.periods import Period, instant
from poolkeeper.tasks.outcomes import Gate
from tests.contract.cluster.conftest import reach
from tests.contract.killed.runs import Ground, Json, Kind
from tests.contract.killed.stories import Flow, Story, Theatre
from tests.contract.killed.worlds import World
from tests.unit.fees.builders import NOW, OCTOBER, evidence_of
from tests.unit.fees.test_closing import FEE, LATE, NODE
from tests.unit.onboard.builders import a_host

MONTHS = (OCTOBER, Period.month(2026, 11))


def a_node_and_a_cloud_node(world: World) -> None:
    for name in ("n0", "cloud"):
        world.store.create("nodes", {"metadata": {"name": name}, "status": world.kubelets.status("v1.36.3")})


async def probe(ground: Ground) -> Json:
    """What the test pods of one node have shown."""
    async with reach(ground.kubeconfig) as api:
        node = await get_node(api, "n0")
        assert node is not None
        probed = await probe_node(api, ground.gate(Gate(dry_run=False)), a_host("n0"), node, "cloud", timeout_s=10.0)
    return asdict(probed)


def pods(world: World) -> Json:
    return {"pods": [pod["metadata"]["name"] for pod in world.store.list("pods")]}


def left_for_ever(world: World, story: Story) -> list[str]:
    """Test pods that would not end by themselves."""
    created = [event.object for event in world.history.events if event.resource == "pods" and event.object]
    return [f"pod {pod['metadata']['name']} has no end" for pod in created if not pod["spec"]["activeDeadlineSeconds"]]


PROBING = Flow(seed=a_node_and_a_cloud_node, run=probe, end=pods, wrong=left_for_ever)


async def test_what_a_killed_trial_leaves_the_next_one_removes(theatre: Theatre) -> None:
    undisturbed = await theatre.undisturbed(PROBING)
    assert undisturbed.left == {"pods": []}
    assert undisturbed.answer["answers"]["complete"]
    stories = await theatre.killed_everywhere(PROBING, (Kind.REQUEST, Kind.CHANGE), undisturbed)
    assert max(len(story.at_kill["pods"]) for story in stories) == 3


def folder(state: Ground | World) -> ClosedMonths:
    return ClosedMonths(state.folder / "state" / "fees" / "test")


async def close_two_months(ground: Ground) -> Json:
    """The second has evidence that came too late for the first."""
    ground.watch_files()
    totals = {}
    for period, told in zip(MONTHS, (NODE, [*NODE, *LATE]), strict=True):
        statement = close(evidence_of(told), FEE, period, instant(NOW), folder(ground)).statement
        totals[period.name] = money_text(statement.total)
    return totals


def closed(world: World) -> Json:
    """What is there under its own name."""
    return {path.name: path.read_text() for path in folder(world).folder.glob("[!.]*")}


def damaged_or_left(world: World, story: Story) -> list[str]:
    """A month that cannot be read, or more than one file of a killed close."""
    periods = folder(world).periods()
    told = [f"{period.name} is not whole" for period in periods if folder(world).read(period) is None]
    left = [path.name for path in folder(world).folder.glob(".*") if path.name != ".lock"]
    return told + ([f"left: {left}"] if len(left) > 1 else [])


CLOSING = Flow(seed=lambda world: None, run=close_two_months, end=closed, wrong=damaged_or_left)


async def test_a_month_is_closed_once(theatre: Theatre) -> None:
    undisturbed = await theatre.undisturbed(CLOSING)
    assert undisturbed.answer == {"2026-10": "4.00", "2026-11": "2.00"}
    await theatre.killed_everywhere(CLOSING, [Kind.FILE], undisturbed)
