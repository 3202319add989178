"""Pods of our own, and reading their logs through the API server from a node's kubelet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from poolkeeper.deployments.lab.kubernetes import ApiServer, LabCA
from poolkeeper.tasks.cluster import ApiError, ClusterApi
from poolkeeper.tasks.cluster.pods import create_pod, delete_pod, pod_log, pods_on, wait_pod, wait_pod_log, wait_pods_on
from tests.contract.cluster import faulty as servers
from tests.contract.cluster.conftest import DEADLINE_S
from tests.contract.kubernetes.conftest import Client, pod_body, report_pod, run_pod


class Kubelet:
    """Serves one log, which grows each time it was read; `refusing` is the status that it answers instead."""

    def __init__(self, ca: LabCA) -> None:
        self.lines = ["starting", "half a mark", "mark", "after"]
        self.shown = 1
        self.refusing: int | None = None
        self.port = 0
        self._ca = ca

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._log)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._ca.server_context(["127.0.0.1"])).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _log(self, request: web.Request) -> web.Response:
        if self.refusing:
            return web.Response(status=self.refusing, text="no log today")
        self.shown += 1
        return web.Response(text="".join(f"{line}\n" for line in self.lines[: self.shown - 1]))


@pytest.fixture
async def kubelet(embedded: ApiServer, ca: LabCA) -> AsyncIterator[Kubelet]:
    """The kubelet of node `n1`."""
    kubelet = Kubelet(ca)
    await kubelet.start()
    addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
    endpoint = {"kubeletEndpoint": {"Port": kubelet.port}}
    embedded.store.create(
        "nodes", {"metadata": {"name": "n1"}, "status": {"addresses": addresses, "daemonEndpoints": endpoint}}
    )
    yield kubelet
    await kubelet.stop()


async def test_a_log_through_the_kubelet(cluster: ClusterApi, admin: Client, namespace: str, kubelet: Kubelet) -> None:
    await run_pod(admin, namespace, "p", "n1")
    assert await pod_log(cluster, namespace, "p") == "starting\n"


async def test_waiting_for_a_whole_line(cluster: ClusterApi, admin: Client, namespace: str, kubelet: Kubelet) -> None:
    await run_pod(admin, namespace, "p", "n1")
    async with asyncio.timeout(DEADLINE_S):
        log = await wait_pod_log(cluster, namespace, "p", "mark")
    assert log == "starting\nhalf a mark\nmark\n"


async def test_a_kubelet_that_gives_no_log(
    cluster: ClusterApi, admin: Client, namespace: str, kubelet: Kubelet
) -> None:
    await run_pod(admin, namespace, "p", "n1")
    kubelet.refusing = 500
    with pytest.raises(ApiError, match=r"HTTP 500 InternalError .*no log today"):
        await pod_log(cluster, namespace, "p")


async def test_a_kubelet_that_cannot_be_reached(
    cluster: ClusterApi, admin: Client, namespace: str, kubelet: Kubelet
) -> None:
    """The API server answers for it: the way from there to the node is what acceptance is about."""
    await run_pod(admin, namespace, "p", "n1")
    await kubelet.stop()
    with pytest.raises(ApiError, match=r"HTTP 500 .*Cannot connect to host"):
        await pod_log(cluster, namespace, "p")


async def test_a_log_of_megabytes_without_newline_is_not_a_problem(
    cluster: ClusterApi, admin: Client, namespace: str, kubelet: Kubelet
) -> None:
    await run_pod(admin, namespace, "p", "n1")
    kubelet.lines = ["x" * 3_000_000]
    assert len(await pod_log(cluster, namespace, "p")) == 3_000_001


async def test_log_bytes_that_are_no_text(faulty: Callable[..., Awaitable[ClusterApi]]) -> None:
    api = await faulty(servers.Says(b"ok \xff\n".decode("latin-1")))
    assert await pod_log(api, "poolkeeper", "p") == "ok \xff\n"


async def test_pods_on_a_node(cluster: ClusterApi, admin: Client, namespace: str, kubelet: Kubelet) -> None:
    await run_pod(admin, namespace, "here", "n1")
    await run_pod(admin, namespace, "there", "n2")
    (row,) = await pods_on(cluster, "n1")
    assert (row.name, row.node, row.phase, row.ready, row.ip) == ("here", "n1", "Running", True, "127.0.0.9")
    assert not row.deleting


async def test_waiting_for_the_pods_of_a_node(
    cluster: ClusterApi, admin: Client, namespace: str, kubelet: Kubelet
) -> None:
    await run_pod(admin, namespace, "p", "n1", ready=False)
    waiting = asyncio.create_task(wait_pods_on(cluster, "n1", lambda pods: any(pod.ready for pod in pods)))
    await report_pod(admin, namespace, "p", ready=True)
    async with asyncio.timeout(DEADLINE_S):
        (row,) = await waiting
    assert row.ready


async def test_a_pod_left_by_an_earlier_run_goes_first(
    cluster: ClusterApi, admin: Client, namespace: str, kubelet: Kubelet
) -> None:
    left = await run_pod(admin, namespace, "p", "n1")
    body = pod_body("p", nodeName="n1")
    body["metadata"]["namespace"] = namespace
    creating = asyncio.create_task(create_pod(cluster, body, timeout_s=DEADLINE_S))
    async with asyncio.timeout(DEADLINE_S):
        await wait_pod(cluster, namespace, "p", lambda pod: pod.deleting)
        await admin("DELETE", f"/api/v1/namespaces/{namespace}/pods/p", {"gracePeriodSeconds": 0})  # as its kubelet
        await creating
        row = await wait_pod(cluster, namespace, "p", lambda pod: True)
    assert row.uid != left["metadata"]["uid"]


async def test_deleting_what_is_gone_is_fine(cluster: ClusterApi, namespace: str) -> None:
    await delete_pod(cluster, namespace, "p")
