"""Our own client against the embedded API server, and against servers that misbehave."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from poolkeeper.deployments.lab.kubernetes import ApiServer, Controllers, LabCA, User
from poolkeeper.tasks.cluster import ClusterApi, connect
from poolkeeper.tasks.fleet.model import Cluster, SecretRef
from poolkeeper.tasks.outcomes import Secret
from tests.contract.cluster.faulty import FaultyServer
from tests.contract.kubernetes.conftest import admin, api, ca, namespace
from tests.unit.onboard.builders import CLUSTER

__all__ = ["admin", "api", "ca", "namespace"]

DEADLINE_S = 15.0


class SomeoneIsQuicker(ApiServer):
    """Between our reading and our writing, someone else writes: `meddle` runs once, before the next PATCH is looked at.

    most_watches: path, with its field selector -> of how many requests it was watched at once, at the most
    denies: the words of an admission webhook against a request (method, path); empty: it has nothing against it
    """

    meddle: Callable[[], Any] | None = None
    denies: Callable[[str, str], str] | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._watches, self.most_watches = Counter[str](), Counter[str]()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return await self._answer_now(request)
        watched = f"{request.path}?{request.query.get('fieldSelector', '')}".rstrip("?")
        self._watches[watched] += 1
        self.most_watches |= self._watches
        try:
            return await super()._answer(request)
        finally:
            self._watches[watched] -= 1

    async def _answer_now(self, request: web.Request) -> web.StreamResponse:
        if self.denies is not None and (why := self.denies(request.method, request.path)):
            message = f'admission webhook "guard.example.com" denied the request: {why}'
            body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403}
            return web.json_response({**body, "message": message}, status=403)
        if request.method == "PATCH" and self.meddle is not None:
            meddle, self.meddle = self.meddle, None
            meddle()
        return await super()._answer(request)


@pytest.fixture
async def embedded(ca: LabCA) -> AsyncIterator[SomeoneIsQuicker]:
    """The server behind `api`, with its controllers."""
    server = SomeoneIsQuicker(ca, {"admin-token": User("admin", ("system:masters",)), "joe-token": User("joe")})
    await server.start("127.0.0.1")
    controllers = Controllers(server.store, node_grace_s=None, pod_grace_s=0.1, toleration_second_s=0.05)
    await controllers.start()
    yield server
    await controllers.stop()
    await server.stop()


def declared(kubeconfig: Path, context: str | None = None) -> Cluster:
    """A cluster of the fleet file whose kubeconfig is a file."""
    return replace(CLUSTER, kubeconfig=SecretRef(file=kubeconfig), context=context)


def reach(
    kubeconfig: Path, *, context: str | None = None, timeout_s: float = DEADLINE_S
) -> AbstractAsyncContextManager[ClusterApi]:
    """A connection by a kubeconfig on disk."""
    return connect(declared(kubeconfig, context), Secret(kubeconfig.read_text()), timeout_s=timeout_s)


def kubeconfig_of(path: Path, cluster: dict[str, Any], user: dict[str, Any]) -> Path:
    """A kubeconfig with one cluster and one user."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "only",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "only", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture
async def cluster(api: Any) -> AsyncIterator[ClusterApi]:
    """Our client as the admin of the embedded server."""
    async with reach(api.kubeconfig) as connected:
        yield connected


@pytest.fixture
async def joe(api: Any, tmp_path: Path) -> AsyncIterator[ClusterApi]:
    """Our client as someone whom the server knows and who may do nothing."""
    path = kubeconfig_of(
        tmp_path / "joe", {"server": api.url, "certificate-authority": "ca.crt"}, {"token": "joe-token"}
    )
    async with reach(path) as connected:
        yield connected


@pytest.fixture
async def faulty(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Starts a misbehaving server and connects to it."""
    running: list[FaultyServer] = []
    connections: list[AbstractAsyncContextManager[ClusterApi]] = []

    async def start(server: FaultyServer, *, timeout_s: float = DEADLINE_S) -> ClusterApi:
        await server.start()
        running.append(server)
        connection = reach(kubeconfig_of(tmp_path / "faulty", {"server": server.url}, {}), timeout_s=timeout_s)
        connected = await connection.__aenter__()
        connections.append(connection)
        return connected

    yield start
    for connection in connections:
        await connection.__aexit__(None, None, None)
    for server in running:
        await server.stop()
