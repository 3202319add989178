"""Long lists, and waiting on watches: through expired tokens, forgotten history, throttling and a restarting server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from poolkeeper.deployments.lab.kubernetes import ApiServer, LabCA, User
from poolkeeper.tasks.cluster import ApiError, ClusterApi, Gone
from poolkeeper.tasks.cluster import api as cluster_api
from poolkeeper.tasks.cluster.nodes import NodeRow, wait_node
from tests.contract.cluster import faulty as servers
from tests.contract.cluster.conftest import DEADLINE_S, SomeoneIsQuicker

Start = Callable[..., Awaitable[ClusterApi]]
NODES = "/api/v1/nodes"


def make_nodes(server: ApiServer, *names: str) -> None:
    for name in names:
        server.store.create("nodes", {"metadata": {"name": name}})


class Waiting:
    """A wait that runs, and an event for each time that it has looked at the node."""

    def __init__(self, cluster: ClusterApi, until: Callable[[NodeRow | None], bool]) -> None:
        self.looks: asyncio.Queue[NodeRow | None] = asyncio.Queue()

        def look(row: NodeRow | None) -> bool:
            self.looks.put_nowait(row)
            return until(row)

        self._task = asyncio.create_task(wait_node(cluster, "n1", look))

    async def looked(self) -> NodeRow | None:
        async with asyncio.timeout(DEADLINE_S):
            return await self.looks.get()

    async def ended(self) -> NodeRow | None:
        async with asyncio.timeout(DEADLINE_S):
            return await self._task


def is_there(row: NodeRow | None) -> bool:
    return row is not None


# lists


async def test_every_page(embedded: SomeoneIsQuicker, cluster: ClusterApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_api, "PAGE_SIZE", 3)
    names = [f"n{number}" for number in range(7)]
    make_nodes(embedded, *names)
    items, version = await cluster.list_all(NODES)
    assert [item["metadata"]["name"] for item in items] == names
    assert int(version) > 0


async def test_a_token_that_expires_starts_the_list_anew(
    embedded: SomeoneIsQuicker, cluster: ClusterApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compaction between two pages: no item is missing, and none is there twice."""
    monkeypatch.setattr(cluster_api, "PAGE_SIZE", 3)
    names = [f"n{number}" for number in range(7)]
    make_nodes(embedded, *names)
    pages = 0

    def compact_after_the_first_page(method: str, path: str) -> bool:
        nonlocal pages
        pages += 1
        if pages == 2:
            make_nodes(embedded, "n9")
            embedded.store.journal.compact()
        return False

    embedded.faults.concerns, embedded.faults.throttled = compact_after_the_first_page, 1
    items, _ = await cluster.list_all(NODES)
    assert [item["metadata"]["name"] for item in items] == [*names, "n9"]
    assert pages == 2 + 3


async def test_a_server_that_forgets_every_page_is_given_up(faulty: Start) -> None:
    server = servers.ForgetsPages()
    api = await faulty(server)
    with pytest.raises(Gone):
        await api.list_all(NODES)
    assert len(server.asked) == 4


async def test_a_list_that_is_null(faulty: Start) -> None:
    api = await faulty(servers.Throttles(0))
    assert await api.list_all(NODES) == ([], "1")


# waits


async def test_what_is_there_already(embedded: SomeoneIsQuicker, cluster: ClusterApi) -> None:
    make_nodes(embedded, "n1")
    row = await Waiting(cluster, is_there).ended()
    assert row is not None
    assert row.name == "n1"


async def test_what_comes_later(embedded: SomeoneIsQuicker, cluster: ClusterApi) -> None:
    waiting = Waiting(cluster, is_there)
    assert await waiting.looked() is None
    make_nodes(embedded, "n0", "n1")
    assert await waiting.ended() is not None


async def test_what_goes_away(embedded: SomeoneIsQuicker, cluster: ClusterApi) -> None:
    make_nodes(embedded, "n1")
    waiting = Waiting(cluster, lambda row: row is None)
    assert await waiting.looked() is not None
    embedded.store.delete("nodes", "n1")
    assert await waiting.ended() is None


async def test_a_deadline_ends_it(cluster: ClusterApi) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await wait_node(cluster, "n1", is_there)


async def test_through_forgotten_history(
    embedded: SomeoneIsQuicker, cluster: ClusterApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """410 Gone at the start of the watch: what happened in between is in the next list."""
    monkeypatch.setattr(cluster_api, "RELIST_PAUSE_S", 0.01)

    def forget_between_list_and_watch(method: str, path: str) -> bool:
        nonlocal requests
        requests += 1
        if requests == 2:
            make_nodes(embedded, "n1")
            embedded.store.journal.compact()
        return False

    requests = 0
    embedded.faults.concerns, embedded.faults.throttled = forget_between_list_and_watch, 1
    waiting = Waiting(cluster, is_there)
    assert await waiting.looked() is None
    assert await waiting.ended() is not None
    assert requests == 3


async def test_through_a_restart_of_the_server(
    ca: LabCA, embedded: SomeoneIsQuicker, cluster: ClusterApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_api, "RELIST_PAUSE_S", 0.01)
    waiting = Waiting(cluster, is_there)
    assert await waiting.looked() is None
    await embedded.stop()
    again = ApiServer(ca, {"admin-token": User("admin", ("system:masters",))}, store=embedded.store)
    make_nodes(embedded, "n1")
    await again.start("127.0.0.1", embedded.port)
    try:
        assert await waiting.ended() is not None
    finally:
        await again.stop()


@pytest.mark.parametrize("fault", ["unavailable", "throttled", "unanswered"])
async def test_through_a_server_that_is_unwell_for_a_while(
    embedded: SomeoneIsQuicker, cluster: ClusterApi, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(cluster_api, "RELIST_PAUSE_S", 0.01)
    monkeypatch.setattr(cluster_api, "THROTTLED_WAIT_S", 0.01)
    setattr(embedded.faults, fault, 7)
    waiting = Waiting(cluster, is_there)
    assert await waiting.looked() is None
    assert getattr(embedded.faults, fault) == 0
    make_nodes(embedded, "n1")
    assert await waiting.ended() is not None


async def test_what_will_not_mend_itself_ends_the_wait(joe: ClusterApi) -> None:
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(ApiError, match="403"):
            await wait_node(joe, "n1", is_there)


async def test_a_watch_that_breaks_in_mid_event(faulty: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_api, "RELIST_PAUSE_S", 0.01)
    server = servers.GarblesWatches()
    api = await faulty(server)
    seen: list[list[Any]] = []
    async with asyncio.timeout(DEADLINE_S):
        async for items in api.changes(NODES):
            seen.append([item["metadata"]["name"] for item in items])
            if items:
                break
    assert seen == [[], [], ["seen at last"]]


async def test_a_restarting_server_is_not_hammered(faulty: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every list is followed by a pause, whatever ended the watch before it."""
    monkeypatch.setattr(cluster_api, "RELIST_PAUSE_S", 0.1)
    server = servers.Refuses(503, reason="ServiceUnavailable")
    api = await faulty(server)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.35):
            await wait_node(api, "n1", is_there)
    assert 1 <= len(server.asked) <= 4
