"""An API server to test, and the clients to test it with.

Tests take `api` and know nothing else of the server, so that a real kube-apiserver with its controllers can stand behind the
same fixture. What only the embedded server has is tested in `test_embedded_*`.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from kubernetes.aio import client, config

from deployments.lab.kubernetes import ApiServer, Controllers, LabCA, User

Json = dict[str, Any]

DEADLINE_S = 20.0
JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


@dataclass(frozen=True)
class Api:
    """Where an API server is, and how an admin gets in."""

    url: str
    ca_file: Path
    token: str
    kubeconfig: Path
    compact: Callable[[], Awaitable[None]]
    """Makes it forget its history, as a compaction of etcd does."""
    client_certificate: Callable[[str, tuple[str, ...]], tuple[Path, Path]]
    """Certificate and key, as files, for a user and its groups."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    code: int
    body: Any
    headers: Any


class Client:
    """HTTP and JSON, and nothing in between."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def __call__(
        self, method: str, path: str, body: Any = None, *, kind: str = "application/json", **query: Any
    ) -> Answer:
        data = None if body is None else json.dumps(body)
        async with self.session.request(
            method, path, data=data, params=query, headers={"Content-Type": kind}
        ) as answer:
            raw = await answer.text()
            parsed = json.loads(raw) if answer.content_type == "application/json" else raw
            return Answer(answer.status, parsed, answer.headers)

    async def events(self, path: str, **query: Any) -> AsyncIterator[Json]:
        """The events of a watch, until it ends."""
        async with self.session.get(path, params={"watch": "true", **query}) as answer:
            async for line in answer.content:
                yield json.loads(line)

    async def until(self, path: str, holds: Callable[[list[Json]], Any], **query: Any) -> list[Json]:
        """The items of a list as soon as `holds` is true of them, under the deadline."""
        async with asyncio.timeout(DEADLINE_S):
            first = (await self("GET", path, **query)).body
            state = {_key(item): item for item in first["items"]}
            if holds(list(state.values())):
                return list(state.values())
            version = first["metadata"]["resourceVersion"]
            async for event in self.events(path, resourceVersion=version, **query):
                if event["type"] == "DELETED":
                    state.pop(_key(event["object"]), None)
                else:
                    state[_key(event["object"])] = event["object"]
                if holds(list(state.values())):
                    return list(state.values())
        raise AssertionError("the watch ended")


def _key(item: Json) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def write_kubeconfig(path: Path, url: str, ca_pem: str, token: str) -> None:
    """A kubeconfig for one user."""
    named = {
        "clusters": [{"name": "lab", "cluster": {"server": url, "certificate-authority": "ca.crt"}}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "user"}}],
    }
    path.with_name("ca.crt").write_text(ca_pem)
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "lab", **named}))


@pytest.fixture
def ca() -> LabCA:
    """The authority of the embedded server."""
    return LabCA()


@pytest.fixture
async def embedded(ca: LabCA) -> AsyncIterator[ApiServer]:
    """The embedded server itself, for tests of what only it has."""
    server = ApiServer(ca, {"admin-token": User("admin", ("system:masters",)), "joe-token": User("joe")})
    await server.start("127.0.0.1")
    controllers = Controllers(server.store, node_grace_s=None, pod_grace_s=0.1, toleration_second_s=0.05)
    await controllers.start()
    yield server
    await controllers.stop()
    await server.stop()


@pytest.fixture
async def api(embedded: ApiServer, ca: LabCA, tmp_path: Path) -> Api:
    """The server under test."""
    kubeconfig = tmp_path / "kubeconfig"
    write_kubeconfig(kubeconfig, embedded.url, ca.certificate_pem.decode(), "admin-token")

    async def compact() -> None:
        embedded.store.journal.compact()

    def client_certificate(user: str, groups: tuple[str, ...]) -> tuple[Path, Path]:
        paths = tmp_path / f"{user}.crt", tmp_path / f"{user}.key"
        ca.client_certificate(user, groups).write(*paths)
        return paths

    return Api(embedded.url, tmp_path / "ca.crt", "admin-token", kubeconfig, compact, client_certificate)


def tls(api: Api) -> ssl.SSLContext:
    """Trust in the server's authority only."""
    return ssl.create_default_context(cafile=str(api.ca_file))


@pytest.fixture
async def admin(api: Api) -> AsyncIterator[Client]:
    """Raw HTTP as the admin."""
    async with aiohttp.ClientSession(
        api.url,
        headers={"Authorization": f"Bearer {api.token}"},
        connector=aiohttp.TCPConnector(ssl=tls(api)),
    ) as session:
        yield Client(session)


@pytest.fixture
async def core(api: Api) -> AsyncIterator[client.CoreV1Api]:
    """The official client."""
    settings = client.Configuration()
    await config.load_kube_config(str(api.kubeconfig), client_configuration=settings)
    async with client.ApiClient(settings) as api_client:
        yield client.CoreV1Api(api_client)


@pytest.fixture
async def namespace(admin: Client) -> AsyncIterator[str]:
    """A namespace of the test's own."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    assert (await admin("POST", "/api/v1/namespaces", {"metadata": {"name": name}})).code == 201
    await admin.until(f"/api/v1/namespaces/{name}/serviceaccounts", bool)
    yield name
    await admin("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
async def node(admin: Client) -> AsyncIterator[str]:
    """A Ready node of the test's own, on which nothing runs unless the test says so."""
    name = f"n-{uuid.uuid4().hex[:8]}"
    await make_node(admin, name)
    yield name
    await admin("DELETE", f"/api/v1/nodes/{name}")


async def make_node(admin: Client, name: str, **metadata: Any) -> None:
    """A node as a kubelet registers it, Ready."""
    status = {
        "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}],
    }
    made = await admin("POST", "/api/v1/nodes", {"metadata": {"name": name, **metadata}, "status": status})
    assert made.code == 201, made.body
    await admin.until(
        "/api/v1/nodes",
        lambda nodes: nodes and not nodes[0]["spec"].get("taints"),
        fieldSelector=f"metadata.name={name}",
    )


def pod_body(name: str, **spec: Any) -> Json:
    """The least a pod needs, with an app label."""
    containers = [{"name": "main", "image": "registry.example/app:1"}]
    return {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {"containers": containers, **spec}}


async def run_pod(admin: Client, namespace: str, name: str, node: str, *, ready: bool = True) -> Json:
    """A pod that runs on a node, as far as the API knows."""
    made = await admin("POST", f"/api/v1/namespaces/{namespace}/pods", pod_body(name, nodeName=node))
    assert made.code == 201, made.body
    return await report_pod(admin, namespace, name, ready=ready)


async def report_pod(admin: Client, namespace: str, name: str, *, ready: bool, phase: str = "Running") -> Json:
    """What a kubelet writes about a pod."""
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    answer = await admin(
        "PATCH",
        f"/api/v1/namespaces/{namespace}/pods/{name}/status",
        {"status": {"phase": phase, "podIP": "127.0.0.9", "conditions": [condition]}},
        kind=STRATEGIC,
    )
    assert answer.code == 200, answer.body
    return answer.body


@pytest.fixture
async def kubelet(admin: Client, namespace: str) -> AsyncIterator[None]:
    """Lets every pod of the namespace that has a node run, and go when it is deleted."""

    async def follow() -> None:
        path = f"/api/v1/namespaces/{namespace}/pods"
        async for event in admin.events(path, resourceVersion="0"):
            pod = event["object"]
            name, status = pod["metadata"]["name"], pod.get("status") or {}
            if event["type"] == "DELETED" or not pod["spec"].get("nodeName"):
                continue
            if "deletionTimestamp" in pod["metadata"]:
                await admin("DELETE", f"{path}/{name}", {"gracePeriodSeconds": 0})
            elif status.get("phase") == "Pending":
                await report_pod(admin, namespace, name, ready=True)

    task = asyncio.create_task(follow())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@dataclass(frozen=True)
class Printed:
    """What a command printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def kubectl(api: Api, tmp_path: Path) -> Callable[..., Awaitable[Printed]]:
    """Runs the machine's kubectl as the admin."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("SKIPPED TIER kubectl: there is no kubectl on PATH")

    async def run(*arguments: str, stdin: str = "") -> Printed:
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            f"--kubeconfig={api.kubeconfig}",
            f"--cache-dir={tmp_path / 'cache'}",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(DEADLINE_S):
                out, err = await process.communicate(stdin.encode())
        except TimeoutError:
            process.kill()
            raise
        return Printed(process.returncode or 0, out.decode(), err.decode())

    return run
