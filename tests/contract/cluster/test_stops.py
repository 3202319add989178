"""Freeze and hold: a person's word in the cluster, written by several at once, obeyed by the gate, also when unreadable."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from poolkeeper.tasks.cluster import ApiError, ClusterApi, ClusterUnreachable
from poolkeeper.tasks.cluster.stops import (
    FINALIZER,
    Stop,
    Stops,
    forget_run,
    freeze,
    hold,
    read_stops,
    stop_run,
    stops_guard,
    thaw,
    unhold,
)
from poolkeeper.tasks.outcomes import Gate, GateRefused, Subject
from tests.contract.cluster import faulty as servers
from tests.contract.cluster.conftest import DEADLINE_S, SomeoneIsQuicker

Start = Callable[..., Awaitable[ClusterApi]]

ANNA = Stop("anna", "2026-11-23T12:00:00+00:00", "change freeze")
BEN = Stop("ben", "2026-11-23T12:01:00+00:00", "disk is being replaced")
HOST, NODE = Subject("host", "fra1-n01"), Subject("node", "node-1")
NODE_OF = {"fra1-n01": "node-1"}


async def test_a_new_cluster_has_none(cluster: ClusterApi) -> None:
    assert await read_stops(cluster) == Stops(None, {})
    assert await thaw(cluster) is False
    assert await unhold(cluster, "node-1") is False


async def test_the_first_word_makes_its_own_place(embedded: SomeoneIsQuicker, cluster: ClusterApi) -> None:
    assert embedded.store.find("namespaces", "poolkeeper") is None
    await freeze(cluster, ANNA)
    assert await read_stops(cluster) == Stops(ANNA, {})


async def test_freeze_and_thaw(cluster: ClusterApi) -> None:
    await freeze(cluster, ANNA)
    await freeze(cluster, BEN)
    assert (await read_stops(cluster)).freeze == BEN
    assert await thaw(cluster) is True
    assert await thaw(cluster) is False
    assert await read_stops(cluster) == Stops(None, {})


async def test_hold_and_unhold(cluster: ClusterApi) -> None:
    await freeze(cluster, ANNA)
    await hold(cluster, "node-1", ANNA)
    await hold(cluster, "node.with.dots", BEN)
    assert await unhold(cluster, "node-1") is True
    assert await read_stops(cluster) == Stops(ANNA, {"node.with.dots": BEN})


async def test_two_who_write_the_first_word_at_once(cluster: ClusterApi) -> None:
    await asyncio.gather(freeze(cluster, ANNA), *(hold(cluster, f"node-{number}", BEN) for number in range(20)))
    stops = await read_stops(cluster)
    assert stops.freeze == ANNA
    assert stops.holds == {f"node-{number}": BEN for number in range(20)}


async def test_one_takes_back_while_another_writes(embedded: SomeoneIsQuicker, cluster: ClusterApi) -> None:
    await hold(cluster, "node-1", ANNA)
    await asyncio.gather(unhold(cluster, "node-1"), hold(cluster, "node-2", BEN), freeze(cluster, ANNA))
    assert await read_stops(cluster) == Stops(ANNA, {"node-2": BEN})


async def test_taken_back_by_someone_else_meanwhile(embedded: SomeoneIsQuicker, cluster: ClusterApi) -> None:
    await freeze(cluster, ANNA)
    embedded.meddle = lambda: written_by_hand(embedded, {})
    assert await thaw(cluster) is False


def written_by_hand(embedded: SomeoneIsQuicker, data: dict[str, str], **metadata: Any) -> None:
    """What `kubectl edit` leaves there."""
    embedded.store.modify(
        "configmaps",
        "stops",
        "poolkeeper",
        lambda old: {**old, "metadata": {**old["metadata"], **metadata}, "data": data},
    )


STOPS = "/api/v1/namespaces/poolkeeper/configmaps/stops"


async def marked_as_deleted(cluster: ClusterApi) -> None:
    folder, _, name = STOPS.rpartition("/")
    async with asyncio.timeout(DEADLINE_S):
        async for found in cluster.changes(folder, query={"fieldSelector": f"metadata.name={name}"}):
            if found[0]["metadata"].get("deletionTimestamp"):
                return


@pytest.mark.parametrize("path", [STOPS, "/api/v1/namespaces/poolkeeper"], ids=["the ConfigMap", "its namespace"])
async def test_words_outlast_the_deletion_of_what_they_stand_on(
    embedded: SomeoneIsQuicker, cluster: ClusterApi, path: str
) -> None:
    await freeze(cluster, ANNA)
    await hold(cluster, "node-1", BEN)
    await cluster.request("DELETE", path)
    await marked_as_deleted(cluster)
    assert await read_stops(cluster) == Stops(ANNA, {"node-1": BEN})
    with pytest.raises(GateRefused, match="the cluster is frozen by anna"):
        await gate(cluster).change(HOST, "join it", Changed(), if_dry_run=None)
    assert await thaw(cluster) is True
    assert await read_stops(cluster) == Stops(None, {"node-1": BEN})
    await hold(cluster, "node-2", ANNA)
    assert await unhold(cluster, "node-2") is True
    assert await unhold(cluster, "node-1") is True
    assert embedded.store.find("configmaps", "stops", "poolkeeper") is None
    assert await read_stops(cluster) == Stops(None, {})


async def test_where_no_word_stands_the_place_may_be_deleted(embedded: SomeoneIsQuicker, cluster: ClusterApi) -> None:
    await freeze(cluster, ANNA)
    assert embedded.store.get("configmaps", "stops", "poolkeeper")["metadata"]["finalizers"] == [FINALIZER]
    await stop_run(cluster, "run-1", BEN)
    assert await thaw(cluster)
    assert await forget_run(cluster, "run-1")
    await cluster.request("DELETE", STOPS)
    assert embedded.store.find("configmaps", "stops", "poolkeeper") is None
    await freeze(cluster, BEN)
    assert (await read_stops(cluster)).freeze == BEN


async def test_the_finalizers_of_others_stay(embedded: SomeoneIsQuicker, cluster: ClusterApi) -> None:
    await freeze(cluster, ANNA)
    written_by_hand(embedded, {"freeze": "by hand"}, finalizers=["example.com/backup"])
    await hold(cluster, "node-1", BEN)
    found = embedded.store.get("configmaps", "stops", "poolkeeper")
    assert (found["metadata"]["finalizers"], set(found["data"])) == (
        ["example.com/backup", FINALIZER],
        {"freeze", "hold.node-1"},
    )
    await unhold(cluster, "node-1")
    await thaw(cluster)
    assert embedded.store.get("configmaps", "stops", "poolkeeper")["metadata"]["finalizers"] == ["example.com/backup"]


@pytest.mark.parametrize("text", ["", "stop!", "[]", '{"by": "anna"}', "null", '"freeze"'])
async def test_a_stop_written_by_hand_stops(embedded: SomeoneIsQuicker, cluster: ClusterApi, text: str) -> None:
    embedded.store.create("namespaces", {"metadata": {"name": "poolkeeper"}})
    embedded.store.create(
        "configmaps", {"metadata": {"name": "stops", "namespace": "poolkeeper"}, "data": {"freeze": text}}
    )
    stop = (await read_stops(cluster)).freeze
    assert stop == Stop("a person, by hand", "an unknown time", text or "no reason given")


# what the gate makes of it


class Changed:
    """Counts what was really done."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self) -> None:
        self.times += 1


def gate(cluster: ClusterApi, *, dry_run: bool = False) -> Gate:
    return Gate([stops_guard(cluster, NODE_OF)], dry_run=dry_run)


async def test_without_a_stop_everything_passes(cluster: ClusterApi) -> None:
    act = Changed()
    await gate(cluster).change(HOST, "join it", act, if_dry_run=None)
    assert act.times == 1


async def test_a_freeze_stops_the_next_change_of_a_running_gate(cluster: ClusterApi) -> None:
    running, act = gate(cluster), Changed()
    await running.change(HOST, "join it", act, if_dry_run=None)
    await freeze(cluster, ANNA)
    with pytest.raises(GateRefused) as caught:
        await running.change(NODE, "cordon it", act, if_dry_run=None)
    assert act.times == 1
    assert caught.value.summary == (
        "refused to cordon it: the cluster is frozen by anna since 2026-11-23T12:00:00+00:00: change freeze."
        " Run `poolkeeper thaw`."
    )
    await thaw(cluster)
    await running.change(NODE, "cordon it", act, if_dry_run=None)
    assert act.times == 2


@pytest.mark.parametrize("subject", [HOST, NODE], ids=str)
async def test_a_hold_keeps_the_node_and_its_host(cluster: ClusterApi, subject: Subject) -> None:
    await hold(cluster, "node-1", BEN)
    act = Changed()
    with pytest.raises(GateRefused) as caught:
        await gate(cluster).change(subject, "touch it", act, if_dry_run=None)
    assert caught.value.refusal.guard == "hold"
    assert caught.value.refusal.next_step == "Run `poolkeeper unhold node-1`."
    assert act.times == 0


@pytest.mark.parametrize("subject", [Subject("node", "node-2"), Subject("pool", "node-1")], ids=str)
async def test_a_hold_keeps_nothing_else(cluster: ClusterApi, subject: Subject) -> None:
    await hold(cluster, "node-1", BEN)
    act = Changed()
    await gate(cluster).change(subject, "touch it", act, if_dry_run=None)
    assert act.times == 1


async def test_a_dry_run_tells_the_refusal_and_plans(cluster: ClusterApi) -> None:
    await freeze(cluster, ANNA)
    dry = gate(cluster, dry_run=True)
    await dry.change(HOST, "join it", Changed(), if_dry_run=None)
    assert [objection.guard for objection in dry.objections(HOST)] == ["freeze"]


async def refused_because_unreadable(cluster: ClusterApi) -> str:
    act = Changed()
    with pytest.raises(GateRefused) as caught:
        await gate(cluster).change(HOST, "join it", act, if_dry_run=None)
    assert act.times == 0
    refusal = caught.value.refusal
    assert refusal.guard == "freeze"
    assert refusal.next_step.startswith("Make the API server reachable")
    return refusal.reason


async def test_what_may_not_be_read_refuses(joe: ClusterApi) -> None:
    reason = await refused_because_unreadable(joe)
    assert reason.startswith("freezes and holds cannot be read (GET ")
    assert "HTTP 403" in reason


@pytest.mark.parametrize(
    "server",
    [
        pytest.param(servers.Silent, id="never answers"),
        pytest.param(servers.CutsInMidAnswer, id="cuts its answer"),
        pytest.param(servers.LoginPage, id="login page"),
    ],
)
async def test_what_cannot_be_read_refuses(faulty: Start, server: type[servers.FaultyServer]) -> None:
    await refused_because_unreadable(await faulty(server(), timeout_s=0.3))


@pytest.mark.parametrize("status", [401, 404, 410, 500, 503])
async def test_an_error_refuses(faulty: Start, status: int) -> None:
    assert f"HTTP {status}" in await refused_because_unreadable(await faulty(servers.Refuses(status)))


@pytest.mark.parametrize("body", ["[]", "null", '{"data": ["freeze"]}', '{"data": "freeze"}'])
async def test_nonsense_in_its_place_refuses(faulty: Start, body: str) -> None:
    await refused_because_unreadable(await faulty(servers.Says(body)))


async def test_writing_into_a_cluster_that_does_not_let_us(joe: ClusterApi) -> None:
    with pytest.raises(ApiError, match="403"):
        await freeze(joe, ANNA)


async def test_writing_to_a_server_that_is_away(embedded: SomeoneIsQuicker, cluster: ClusterApi) -> None:
    embedded.faults.down = True
    with pytest.raises(ClusterUnreachable):
        await hold(cluster, "node-1", ANNA)
