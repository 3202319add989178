"""An API server to test, and the clients to test it with.

Tests take `api` (most through `admin`) and know nothing else of the server. Each runs twice: against the embedded server
and against a real control plane, which is shared by the whole session. Where the two differ, the embedded one is wrong.
A test that names `embedded` is about what only that one has, and runs once.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from kubernetes.aio import client, config

from poolkeeper.deployments.lab.kubernetes import ApiServer, Controllers, LabCA, User
from poolkeeper.deployments.lab.real.control_plane import RealControlPlane

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
    throttle: Callable[[str], Awaitable[None]]
    """Lets next to nothing of a ServiceAccount's user through any more, from soon on."""


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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Both servers for every test that takes one and does not ask for the embedded one by name."""
    if "api" in metafunc.fixturenames and "embedded" not in metafunc.fixturenames:
        servers = ["embedded", pytest.param("real", marks=pytest.mark.tier("real"))]
        metafunc.parametrize("api", servers, indirect=True)


@pytest.fixture
def api(request: pytest.FixtureRequest, ca: LabCA, tmp_path: Path) -> Api:
    """The server under test."""
    if getattr(request, "param", "embedded") == "real":
        return real_api(request.getfixturevalue("real_control_plane"), tmp_path)
    return embedded_api(request.getfixturevalue("embedded"), ca, tmp_path)


def embedded_api(embedded: ApiServer, ca: LabCA, tmp_path: Path) -> Api:
    """The embedded server, a new one for each test."""
    kubeconfig = tmp_path / "kubeconfig"
    write_kubeconfig(kubeconfig, embedded.url, ca.certificate_pem.decode(), "admin-token")

    async def compact() -> None:
        embedded.store.journal.compact()

    async def throttle(user: str) -> None:
        embedded.faults.throttled = 1_000

    def client_certificate(user: str, groups: tuple[str, ...]) -> tuple[Path, Path]:
        paths = tmp_path / f"{user}.crt", tmp_path / f"{user}.key"
        ca.client_certificate(user, groups).write(*paths)
        return paths

    return Api(embedded.url, tmp_path / "ca.crt", "admin-token", kubeconfig, compact, client_certificate, throttle)


def real_api(plane: RealControlPlane, tmp_path: Path) -> Api:
    """The real control plane; tests keep apart by namespaces and nodes of their own."""
    token = plane.credentials.admin_token
    ca_file = plane.credentials.path("ca.crt")

    async def compact() -> None:
        # what its cache remembers outlives a compaction of etcd, so it has to forget by starting anew
        await asyncio.to_thread(plane.restart_api, compacted=True)

    async def throttle(user: str) -> None:
        async with aiohttp.ClientSession(
            plane.api_url,
            headers={"Authorization": f"Bearer {token}"},
            connector=aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(ca_file))),
        ) as session:
            for resource, body in nothing_for(user).items():
                answer = await Client(session)("POST", f"/apis/flowcontrol.apiserver.k8s.io/v1/{resource}", body)
                assert answer.code == 201, answer.body

    def client_certificate(user: str, groups: tuple[str, ...]) -> tuple[Path, Path]:
        paths = tmp_path / f"{user}.crt", tmp_path / f"{user}.key"
        plane.client_certificate(user, groups).write(*paths)
        return paths

    return Api(plane.api_url, ca_file, token, plane.admin_kubeconfig, compact, client_certificate, throttle)


def nothing_for(user: str) -> dict[str, Json]:
    """API priority and fairness that gives a ServiceAccount no seat: one request at a time passes, others are refused."""
    name = f"nothing-{uuid.uuid4().hex[:8]}"
    limited = {
        "nominalConcurrencyShares": 0,
        "lendablePercent": 0,
        "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Reject"},
    }
    every_request = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"], "namespaces": ["*"], "clusterScope": True}
    namespace, account = user.split(":")[2:]
    subject = {"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": account}}
    rule = {"subjects": [subject], "resourceRules": [every_request]}
    schema = {"priorityLevelConfiguration": {"name": name}, "matchingPrecedence": 2, "rules": [rule]}
    return {
        "prioritylevelconfigurations": {"metadata": {"name": name}, "spec": {"type": "Limited", "limited": limited}},
        "flowschemas": {"metadata": {"name": name}, "spec": schema},
    }


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
async def joinable(request: pytest.FixtureRequest, api: Api, admin: Client) -> None:
    """Makes the cluster one that hosts can join by kubeadm: here, that it tells them what it tells them."""
    if request.node.callspec.params["api"] == "real":
        request.getfixturevalue("joinable_control_plane")
        return
    for namespace, name, data in (
        ("kube-system", "kubeadm-config", {"ClusterConfiguration": ""}),
        ("kube-system", "kubelet-config", {"kubelet": ""}),
        ("kube-public", "cluster-info", cluster_info(api.url, api.ca_file.read_text())),
    ):
        body = {"metadata": {"name": name}, "data": data}
        assert (await admin("POST", f"/api/v1/namespaces/{namespace}/configmaps", body)).code == 201


def cluster_info(url: str, ca_pem: str) -> dict[str, str]:
    """What kubeadm writes into the ConfigMap of that name."""
    entry = {"server": url, "certificate-authority-data": b64encode(ca_pem.encode()).decode()}
    return {"kubeconfig": yaml.safe_dump({"clusters": [{"name": "", "cluster": entry}]})}


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


async def report_pod(
    admin: Client, namespace: str, name: str, *, ready: bool, phase: str = "Running", ip: str = "127.0.0.9"
) -> Json:
    """What a kubelet writes about a pod."""
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    answer = await admin(
        "PATCH",
        f"/api/v1/namespaces/{namespace}/pods/{name}/status",
        {"status": {"phase": phase, "podIP": ip, "conditions": [condition]}},
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
class LoggingNode:
    """A node whose kubelet serves logs over TLS."""

    name: str
    goes_on: asyncio.Event
    """Set: whoever follows a log gets its second line."""
    stranger_port: int
    """The same kubelet with a certificate of an authority that nobody knows."""


@pytest.fixture
async def logging_node(admin: Client, ca: LabCA) -> AsyncIterator[LoggingNode]:
    """A stand-in for a kubelet, as far as logs go, and its Node."""
    goes_on = asyncio.Event()

    async def serve(request: web.Request) -> web.StreamResponse:
        if request.match_info["container"] == "waiting":
            return web.Response(status=400, text='container "waiting" is waiting to start: ContainerCreating')
        if request.query.get("follow") != "true":
            return web.Response(text="".join(f"{key}={value}\n" for key, value in request.query.items()) + "hello\n")
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one\n")
        await goes_on.wait()
        await response.write(b"two\n")
        return response

    app = web.Application()
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    for authority in (ca, LabCA()):
        context = authority.server_context(["127.0.0.1"])
        context.verify_mode = ssl.CERT_NONE  # whoever asks is the API server
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    (_, port), (_, stranger_port) = runner.addresses
    name = f"logging-{uuid.uuid4().hex[:8]}"
    assert (await admin("POST", "/api/v1/nodes", node_with_kubelet(name, port))).code == 201
    yield LoggingNode(name, goes_on, stranger_port)
    await admin("DELETE", f"/api/v1/nodes/{name}")
    await runner.cleanup()


def node_with_kubelet(name: str, port: int) -> Json:
    """A Node that says where its kubelet listens."""
    status = {
        "addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    return {"metadata": {"name": name}, "status": status}


@dataclass(frozen=True)
class Printed:
    """What a command printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def kubectl(api: Api, kubectl_program: str, tmp_path: Path) -> Callable[..., Awaitable[Printed]]:
    """Runs kubectl as the admin."""
    program = kubectl_program

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
