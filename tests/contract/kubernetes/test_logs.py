"""Logs of pods: the API server asks the node's kubelet, here a stand-in that serves them over TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.contract.kubernetes.conftest import (
    DEADLINE_S,
    Client,
    LoggingNode,
    Printed,
    node_with_kubelet,
    pod_body,
    run_pod,
)


def log_path(namespace: str, name: str = "p") -> str:
    return f"/api/v1/namespaces/{namespace}/pods/{name}/log"


async def test_logs_come_from_the_kubelet(admin: Client, namespace: str, logging_node: LoggingNode) -> None:
    await run_pod(admin, namespace, "p", logging_node.name)
    answer = await admin("GET", log_path(namespace), tailLines=5, limitBytes=100)
    assert (answer.code, answer.headers["Content-Type"]) == (200, "text/plain")
    assert sorted(answer.body.splitlines()) == ["hello", "limitBytes=100", "tailLines=5"]
    assert (await admin("GET", log_path(namespace), container="nope")).code == 400


async def test_logs_can_be_followed(admin: Client, namespace: str, logging_node: LoggingNode) -> None:
    await run_pod(admin, namespace, "p", logging_node.name)
    async with asyncio.timeout(DEADLINE_S), admin.session.get(log_path(namespace), params={"follow": "true"}) as log:
        assert await log.content.readline() == b"one\n"
        logging_node.goes_on.set()
        assert await log.content.readline() == b"two\n"


async def test_what_the_kubelet_refuses_is_passed_on(admin: Client, namespace: str, logging_node: LoggingNode) -> None:
    containers = [{"name": name, "image": "x:1"} for name in ("main", "waiting")]
    body = pod_body("p", nodeName=logging_node.name, containers=containers)
    await admin("POST", f"/api/v1/namespaces/{namespace}/pods", body)
    answer = await admin("GET", log_path(namespace), container="waiting")
    assert (answer.code, answer.body["message"]) == (400, 'container "waiting" is waiting to start: ContainerCreating')
    unnamed = await admin("GET", log_path(namespace))
    assert unnamed.code == 400
    assert unnamed.body["message"].endswith("choose one of: [main waiting]")


async def test_a_kubelet_that_is_away(admin: Client, namespace: str, unused_tcp_port: int) -> None:
    name = f"away-{namespace}"
    assert (await admin("POST", "/api/v1/nodes", node_with_kubelet(name, unused_tcp_port))).code == 201
    await run_pod(admin, namespace, "p", name)
    answer = await admin("GET", log_path(namespace))
    await admin("DELETE", f"/api/v1/nodes/{name}")
    assert answer.code == 500
    assert f"https://127.0.0.1:{unused_tcp_port}/containerLogs/{namespace}/p/main" in answer.body["message"]


async def test_kubectl_logs(
    admin: Client, namespace: str, logging_node: LoggingNode, kubectl: Callable[..., Awaitable[Printed]]
) -> None:
    await run_pod(admin, namespace, "p", logging_node.name)
    printed = await kubectl("logs", "p", "-n", namespace)
    assert (printed.code, printed.out.strip()) == (0, "hello")
