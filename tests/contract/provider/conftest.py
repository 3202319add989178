"""`provider/ack` through the vendor's SDK: against the lab's OpenAPI, and against endpoints that misbehave."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from poolkeeper.deployments.lab.ack import AckOpenApi
from poolkeeper.deployments.lab.layout import CLUSTER_ID, REGION
from poolkeeper.deployments.lab.tokens import JoinTokens
from poolkeeper.tasks.fleet.model import AckProvider, Cluster, Pool, SecretRef
from poolkeeper.tasks.outcomes import Secret
from poolkeeper.tasks.provider import ProviderError
from poolkeeper.tasks.provider.ack import Ack
from tests.contract.cluster.faulty import FaultyServer
from tests.unit.onboard.builders import CLUSTER, POOL, a_host

KEY_ID, KEY_SECRET = "LTAI-lab-key", "the-labs-own-access-key-secret"
KEY_ID_REF, KEY_SECRET_REF = SecretRef(file=Path("id")), SecretRef(file=Path("secret"))
DEADLINE_S = 10.0
HYBRID = replace(POOL, nodepool_id="np-general")
HOST = replace(a_host(), pool=HYBRID)


class OneNodeCluster:
    """What the OpenAPI is told of the cluster behind it."""

    def details(self) -> dict[str, Any]:
        return {"current_version": "1.36.3"}

    def nodes(self) -> list[dict[str, Any]]:
        return []

    def remove_node(self, name: str) -> bool:
        return False

    async def upgrade_node(self, name: str, version: str) -> str:
        return ""

    def admit(self, node_name: str, machine_id: str, pool_id: str) -> dict[str, Any]:
        return {}

    def admin_kubeconfig(self) -> str:
        return ""


def read_secret(reference: SecretRef) -> Secret:
    return Secret({KEY_ID_REF: KEY_ID, KEY_SECRET_REF: KEY_SECRET}[reference])


def cluster_at(endpoint: str, **changed: Any) -> Cluster:
    """The lab's cluster in a fleet file, with what differs in its provider."""
    settings = AckProvider(
        CLUSTER_ID, REGION, endpoint, "http", access_key_id=KEY_ID_REF, access_key_secret=KEY_SECRET_REF
    )
    return replace(CLUSTER, provider=replace(settings, **changed))


def ack_at(
    endpoint: str, *, timeout_s: float = 10.0, poll_s: float = 0.01, secret: str | None = None, **changed: Any
) -> Ack:
    """Our provider for the lab's cluster, with what differs."""

    def read(reference: SecretRef) -> Secret:
        if secret is not None and reference == KEY_SECRET_REF:
            return Secret(secret)
        return read_secret(reference)

    cluster = cluster_at(endpoint, **changed)
    assert isinstance(cluster.provider, AckProvider)
    return Ack(cluster, cluster.provider, read, timeout_s=timeout_s, poll_s=poll_s)


@pytest.fixture
def tokens() -> JoinTokens:
    """The join tokens that are out."""
    return JoinTokens()


@pytest.fixture
async def openapi(tokens: JoinTokens) -> AsyncIterator[AckOpenApi]:
    """The lab's OpenAPI."""
    server = AckOpenApi(OneNodeCluster(), KEY_ID, KEY_SECRET, tokens)
    await server.start("127.0.0.1")
    yield server
    await server.stop()


@pytest.fixture
def ack(openapi: AckOpenApi) -> Ack:
    """Our provider, as the fleet file of the lab has it."""
    return ack_at(openapi.endpoint)


@pytest.fixture
async def faulty() -> AsyncIterator[Callable[..., Any]]:
    """Starts a misbehaving endpoint and gives our provider for it."""
    running: list[FaultyServer] = []

    async def start(server: FaultyServer, **more: Any) -> Ack:
        await server.start()
        running.append(server)
        return ack_at(server.url.removeprefix("http://"), **more)

    yield start
    for server in running:
        await server.stop()


def pool(**changed: Any) -> Pool:
    """The lab's hybrid pool, with what differs."""
    return replace(HYBRID, **changed)


async def refused(call: Awaitable[Any]) -> ProviderError:
    """The error of a call that must end soon, told as a sentence and without the secret."""
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(ProviderError) as caught:
            await call
    told = "".join(traceback.format_exception(caught.value))
    assert KEY_SECRET not in told
    assert caught.value.summary.endswith(".")
    assert ".." not in caught.value.summary
    return caught.value
