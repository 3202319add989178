"""Upgrades of ACK nodes: by what the fleet file declares, and a call that is followed to its end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from poolkeeper.deployments.lab.ack import AckOpenApi
from poolkeeper.tasks.provider import OutcomeUnknown, ProviderError
from poolkeeper.tasks.provider.ack import Ack
from poolkeeper.tasks.provider.upgrading import ByCall, HandOff, OnHost
from tests.contract.cluster.faulty import FaultyServer
from tests.contract.provider.conftest import DEADLINE_S, HOST, ack_at, refused

POOL_PATH = "/clusters/c-poolkeeper-lab/nodepools/np-general"
Start = Callable[..., Awaitable[Ack]]


class Scripted(FaultyServer):
    """Answers each action in turn; the last answer of an action stays."""

    def __init__(self, **answers: list[Any]) -> None:
        """answers: of `pool` (states), `task` (rows, or a status), `upgrade` (rows, or a status)"""
        super().__init__()
        self.answers = {"pool": ["active"], "task": [{"state": "success"}], "upgrade": [{"task_id": "T-1"}], **answers}
        self.bodies: list[Any] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        kind = "upgrade" if request.path.endswith("/upgrade") else "task" if "/tasks/" in request.path else "pool"
        if request.path == "/clusters/c-poolkeeper-lab":
            return web.json_response({"current_version": "1.36.3-aliyun.1"})
        told = self.answers[kind].pop(0) if len(self.answers[kind]) > 1 else self.answers[kind][0]
        if kind == "upgrade":
            self.bodies.append(json.loads(await request.text()))
        if isinstance(told, int):
            return web.json_response({"code": "E", "message": "It is so."}, status=told)
        return web.json_response({"status": {"state": told}} if kind == "pool" else told)

    @property
    def did(self) -> list[str]:
        return [method for method, _ in self.asked if method == "POST"]


async def carried_out(ack: Ack, *, done: bool = False) -> str:
    way = ack.upgrade_way(HOST, "v1.36.3", {})
    assert isinstance(way, ByCall)

    async def is_done() -> bool:
        return done

    async with asyncio.timeout(DEADLINE_S):
        return await way.run(is_done)


async def test_one_node_of_its_pool_in_acks_own_spelling(faulty: Start) -> None:
    server = Scripted()
    assert await carried_out(await faulty(server, upgrade="call")) == ""
    assert server.bodies == [
        {
            "kubernetes_version": "1.36.3-aliyun.1",
            "node_names": [HOST.node_name],
            "rolling_policy": {"max_parallelism": 1},
        }
    ]
    assert ("POST", f"{POOL_PATH}/upgrade") in server.asked


@pytest.mark.parametrize(
    ("answers", "why", "calls"),
    [
        pytest.param({"pool": ["upgrading", "scaling", "active"]}, "", 1, id="a busy pool is waited for"),
        pytest.param({"pool": ["failed"]}, "the node pool is failed", 0, id="a failed pool is not"),
        pytest.param({"task": [{"state": "running"}, {"state": "paused"}, {"state": "success"}]}, "", 1, id="a pause"),
        pytest.param({"task": [502, {"state": "success"}]}, "", 1, id="no answer about the task"),
        pytest.param(
            {"task": [{"state": "fail", "error": {"code": "NodeNotReady", "message": "kubelet did not start"}}]},
            "task T-1 ended as fail: NodeNotReady kubelet did not start",
            1,
            id="a task that fails",
        ),
        pytest.param({"task": [{"state": "fail"}]}, "task T-1 ended as fail: no reason given", 1, id="no reason"),
    ],
)
async def test_how_a_call_ends(faulty: Start, answers: dict[str, list[Any]], why: str, calls: int) -> None:
    server = Scripted(**answers)
    assert await carried_out(await faulty(server, upgrade="call")) == why
    assert len(server.did) == calls


async def test_nothing_is_called_for_a_node_that_is_there_by_then(faulty: Start) -> None:
    server = Scripted(pool=["upgrading", "active"])
    assert await carried_out(await faulty(server, upgrade="call"), done=True) == ""
    assert server.did == []


async def test_a_call_of_unknown_outcome_is_not_repeated(faulty: Start) -> None:
    server = Scripted(upgrade=[502])
    error = await refused(carried_out(await faulty(server, upgrade="call")))
    assert isinstance(error, OutcomeUnknown)
    assert len(server.did) == 1


async def test_an_answer_without_a_task(faulty: Start) -> None:
    await refused(carried_out(await faulty(Scripted(upgrade=[{}]), upgrade="call")))


async def test_two_of_one_pool_are_called_one_after_the_other(faulty: Start) -> None:
    server = Scripted()
    ack = await faulty(server, upgrade="call")
    await asyncio.gather(carried_out(ack), carried_out(ack))
    kinds = [path.rpartition("/")[2] for _, path in server.asked]
    assert kinds == ["np-general", "c-poolkeeper-lab", "upgrade", "T-1"] * 2


def test_the_operators_command(openapi: AckOpenApi) -> None:
    command = "edgeadm upgrade --version=v{version}"
    ack = ack_at(openapi.endpoint, upgrade="command", upgrade_command=command)
    way = ack.upgrade_way(HOST, "v1.36.3", {})
    assert isinstance(way, OnHost)
    assert way.script.reveal() == "edgeadm upgrade --version=v1.36.3"
    hostile = ack.upgrade_way(HOST, "1; reboot", {})
    assert isinstance(hostile, OnHost)
    assert hostile.script.reveal() == "edgeadm upgrade --version=v'1; reboot'"


def test_a_person_by_default(openapi: AckOpenApi) -> None:
    way = ack_at(openapi.endpoint).upgrade_way(HOST, "1.36.3", {})
    assert isinstance(way, HandOff)
    assert f"Upgrade node {HOST.node_name} (host {HOST.name}) to Kubernetes 1.36.3 now" in way.steps
    assert "%" not in way.steps


async def test_what_a_minor_means(faulty: Start) -> None:
    ack = await faulty(Scripted())
    assert await ack.newest_patch("1.36") == "1.36.3"
    with pytest.raises(ProviderError, match=r"the cluster has 1\.36\.3-aliyun\.1, not 1\.35"):
        await ack.newest_patch("1.35")
