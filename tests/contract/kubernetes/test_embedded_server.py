"""What only the embedded server has: faults on demand, the audit hook, honest 501s, a patience of milliseconds."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from deployments.lab.kubernetes import ApiServer, Controllers, Faults, LabCA, Store, User
from tests.contract.kubernetes.conftest import DEADLINE_S, MERGE, Client, Printed, pod_body, run_pod

Json = dict[str, Any]

pytestmark = pytest.mark.usefixtures("embedded")


@pytest.mark.parametrize(
    ("method", "path", "missing"),
    [
        pytest.param("GET", "/apis/certificates.k8s.io/v1/certificatesigningrequests", "certificat", id="group"),
        pytest.param("GET", "/apis/batch/v1/namespaces/default/cronjobs", "cronjobs.batch", id="resource"),
        pytest.param("POST", "/api/v1/namespaces/default/pods/p/exec", "pods/exec", id="subresource"),
        pytest.param("GET", "/api/v1/nodes/n/proxy/healthz", "nodes/proxy", id="node proxy"),
        pytest.param("POST", "/api/v1/namespaces/default/resourcequotas", "resourcequotas", id="never acted upon"),
    ],
)
async def test_what_is_missing_is_named(admin: Client, method: str, path: str, missing: str) -> None:
    answer = await admin(method, path, {} if method == "POST" else None)
    assert (answer.code, answer.body["reason"]) == (501, "NotImplemented")
    assert missing in answer.body["message"]


async def test_server_side_apply_is_missing(admin: Client, node: str) -> None:
    answer = await admin("PATCH", f"/api/v1/nodes/{node}", {}, kind="application/apply-patch+yaml", fieldManager="t")
    assert (answer.code, answer.body["message"]) == (501, "the lab's API server does not have server-side apply")


async def test_nonsense_is_not_found(admin: Client) -> None:
    assert (await admin("GET", "/api/v1/spoons")).code == 404
    assert (await admin("GET", "/apis/example.com/v1/things")).code == 404
    assert (await admin("GET", "/nothing")).code == 404


async def test_throttling_passes(embedded: ApiServer, admin: Client) -> None:
    embedded.faults.throttled = 1
    answer = await admin("GET", "/api/v1/nodes")
    assert (answer.code, answer.headers["Retry-After"]) == (429, "1")
    assert (await admin("GET", "/api/v1/nodes")).code == 200


async def test_an_outage_cuts_connections(embedded: ApiServer, admin: Client) -> None:
    embedded.faults.down = True
    with pytest.raises(aiohttp.ClientError):
        await admin("GET", "/version")
    embedded.faults.down = False
    assert (await admin("GET", "/version")).code == 200


async def test_an_answer_may_get_lost_after_the_write(embedded: ApiServer, admin: Client, node: str) -> None:
    embedded.faults.concerns = lambda method, path: method == "PATCH"
    embedded.faults.unanswered = 1
    with pytest.raises(aiohttp.ClientError):
        await admin("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}}, kind=MERGE)
    assert (await admin("GET", f"/api/v1/nodes/{node}")).body["spec"]["unschedulable"] is True


async def test_every_mutation_is_audited_with_its_code(ca: LabCA) -> None:
    heard: list[Json] = []
    api = ApiServer(ca, {"t": User("ops", ("system:masters",))}, audit=heard.append, faults=Faults())
    await api.start("127.0.0.1")
    connector = aiohttp.TCPConnector(ssl=ca.client_context())
    headers = {"Authorization": "Bearer t"}
    async with aiohttp.ClientSession(api.url, headers=headers, connector=connector) as session:
        admin = Client(session)
        await admin("POST", "/api/v1/nodes", {"metadata": {"name": "n"}})
        await admin("GET", "/api/v1/nodes/n")
        await admin("PATCH", "/api/v1/nodes/absent", {"spec": {}}, kind=MERGE)
    await api.stop()
    told = [(e["user"], e["verb"], e["resource"], e["name"], e["code"], e["object"]) for e in heard]
    assert told == [
        ("ops", "create", "nodes", "n", 201, {"metadata": {"name": "n"}}),
        ("ops", "patch", "nodes", "absent", 404, {"spec": {}}),
    ]


async def test_a_watch_that_is_too_slow_starts_anew_within_the_window(ca: LabCA) -> None:
    store = Store(window=3)
    for number in range(5):
        store.create("nodes", {"metadata": {"name": f"n{number}"}})
    api = ApiServer(ca, {"t": User("ops", ("system:masters",))}, store=store)
    await api.start("127.0.0.1")
    connector = aiohttp.TCPConnector(ssl=ca.client_context())
    headers = {"Authorization": "Bearer t"}
    async with aiohttp.ClientSession(api.url, headers=headers, connector=connector) as session:
        events = [e async for e in Client(session).events("/api/v1/nodes", resourceVersion="1")]
    await api.stop()
    assert [event["object"]["code"] for event in events] == [410]


async def test_stopping_ends_watches(ca: LabCA) -> None:
    api = ApiServer(ca, {"t": User("ops", ("system:masters",))})
    await api.start("127.0.0.1")
    connector = aiohttp.TCPConnector(ssl=ca.client_context())
    headers = {"Authorization": "Bearer t"}
    async with aiohttp.ClientSession(api.url, headers=headers, connector=connector) as session:
        events = Client(session).events("/api/v1/namespaces")
        assert (await anext(events))["type"] == "ADDED"
        async with asyncio.timeout(DEADLINE_S):
            await api.stop()
            with contextlib.suppress(aiohttp.ClientError):
                async for _ in events:
                    continue


@pytest.fixture
async def logging_node(embedded: ApiServer, ca: LabCA, admin: Client) -> AsyncIterator[str]:
    """A node whose kubelet serves logs over TLS."""

    async def serve(request: web.Request) -> web.StreamResponse:
        if request.match_info["container"] == "waiting":
            return web.Response(status=400, text='container "waiting" is waiting to start: ContainerCreating')
        if request.query.get("follow") != "true":
            return web.Response(text="".join(f"{key}={value}\n" for key, value in request.query.items()) + "hello\n")
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one\n")
        await going_on.wait()
        await response.write(b"two\n")
        return response

    going_on = asyncio.Event()
    app = web.Application()
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ca.server_context(["127.0.0.1"])).start()
    embedded.store.create("nodes", node_with_kubelet("logging", runner.addresses[0][1]))
    embedded.store.journal.listeners.append(lambda resource, event: going_on.set())
    yield "logging"
    await runner.cleanup()


def node_with_kubelet(name: str, port: int) -> Json:
    status = {
        "addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    return {"metadata": {"name": name}, "status": status}


def log_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods/p/log"


async def test_logs_come_from_the_kubelet(admin: Client, namespace: str, logging_node: str) -> None:
    await run_pod(admin, namespace, "p", logging_node)
    answer = await admin("GET", log_path(namespace), tailLines=5, limitBytes=100)
    assert (answer.code, answer.body) == (200, "tailLines=5\nlimitBytes=100\nhello\n")
    assert (await admin("GET", log_path(namespace), container="nope")).code == 400
    assert (await admin("GET", log_path(namespace), previous="true")).code == 501


async def test_logs_can_be_followed(admin: Client, namespace: str, logging_node: str) -> None:
    await run_pod(admin, namespace, "p", logging_node)
    async with asyncio.timeout(DEADLINE_S), admin.session.get(log_path(namespace), params={"follow": "true"}) as log:
        assert await log.content.readline() == b"one\n"
        # any change lets the stand-in write its second line
        await admin("PATCH", f"/api/v1/nodes/{logging_node}", {"metadata": {"labels": {"a": "b"}}}, kind=MERGE)
        assert await log.content.readline() == b"two\n"


async def test_what_the_kubelet_refuses_is_passed_on(admin: Client, namespace: str, logging_node: str) -> None:
    containers = [{"name": name, "image": "x:1"} for name in ("main", "waiting")]
    await admin(
        "POST", f"/api/v1/namespaces/{namespace}/pods", pod_body("p", nodeName=logging_node, containers=containers)
    )
    answer = await admin("GET", log_path(namespace), container="waiting")
    assert (answer.code, answer.body["message"]) == (400, 'container "waiting" is waiting to start: ContainerCreating')
    unnamed = await admin("GET", log_path(namespace))
    assert unnamed.body["message"].endswith("choose one of: [main waiting]")


async def test_a_kubelet_that_is_away_or_of_another_authority(
    embedded: ApiServer, admin: Client, namespace: str, unused_tcp_port: int
) -> None:
    embedded.store.create("nodes", node_with_kubelet("away", unused_tcp_port))
    await run_pod(admin, namespace, "p", "away")
    answer = await admin("GET", log_path(namespace))
    assert answer.code == 500
    assert f"https://127.0.0.1:{unused_tcp_port}/containerLogs/{namespace}/p/main" in answer.body["message"]

    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=LabCA().server_context(["127.0.0.1"])).start()
    embedded.store.create("nodes", node_with_kubelet("stranger", runner.addresses[0][1]))
    await run_pod(admin, namespace, "q", "stranger")
    answer = await admin("GET", log_path(namespace).replace("/p/", "/q/"))
    await runner.cleanup()
    assert answer.code == 500
    assert "certificate" in answer.body["message"].lower()


async def test_kubectl_logs(admin: Client, namespace: str, logging_node: str, kubectl: Any) -> None:
    await run_pod(admin, namespace, "p", logging_node)
    printed: Printed = await kubectl("logs", "p", "-n", namespace)
    assert (printed.code, printed.out.strip()) == (0, "hello")


async def reporting(store: Store, name: str) -> None:
    """What a kubelet does while it lives: a lease that is renewed."""
    lease = {"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": {"holderIdentity": name}}
    store.create("leases.coordination.k8s.io", lease)
    for beat in itertools.count():
        renewed = f"2026-01-01T00:00:00.{beat % 1_000_000:06}Z"
        spec = {"holderIdentity": name, "renewTime": renewed}
        store.modify("leases.coordination.k8s.io", name, "kube-node-lease", lambda lease, s=spec: {**lease, "spec": s})
        await asyncio.sleep(0.1)


async def test_a_silent_node_is_lost_and_found_again(ca: LabCA) -> None:
    """A real controller manager could do this too, for the whole cluster and after 50 s only."""
    store = Store()
    api = ApiServer(ca, {"t": User("ops", ("system:masters",))}, store=store)
    await api.start("127.0.0.1")
    controllers = Controllers(store, node_grace_s=0.5, toleration_second_s=0.001)
    await controllers.start()
    ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}
    for name in ("n", "other"):
        store.create("nodes", {"metadata": {"name": name}, "status": {"conditions": [ready]}})
    other = asyncio.create_task(reporting(store, "other"))
    pod = {**pod_body("p", nodeName="n"), "metadata": {"name": "p", "namespace": "default"}}
    pod["spec"]["terminationGracePeriodSeconds"] = 1
    store.create("pods", pod)
    connector = aiohttp.TCPConnector(ssl=ca.client_context())
    async with aiohttp.ClientSession(api.url, headers={"Authorization": "Bearer t"}, connector=connector) as session:
        admin = Client(session)
        lost = await admin.until(
            "/api/v1/nodes",
            lambda nodes: any(t["effect"] == "NoExecute" for t in nodes[0]["spec"].get("taints") or ()),
            fieldSelector="metadata.name=n",
        )
        conditions = {c["type"]: c for c in lost[0]["status"]["conditions"]}
        assert (conditions["Ready"]["status"], conditions["Ready"]["reason"]) == ("Unknown", "NodeStatusUnknown")
        await admin.until("/api/v1/pods", lambda pods: all("deletionTimestamp" in p["metadata"] for p in pods))
        back = {"status": {"conditions": [{**ready, "lastHeartbeatTime": "2026-01-01T00:01:00Z"}]}}
        await admin("PATCH", "/api/v1/nodes/n/status", back, kind=MERGE)
        await admin.until(
            "/api/v1/nodes", lambda nodes: not nodes[0]["spec"].get("taints"), fieldSelector="metadata.name=n"
        )
    other.cancel()
    await controllers.stop()
    await api.stop()
