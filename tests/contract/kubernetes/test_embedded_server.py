"""What only the embedded server has: faults on demand, the audit hook, honest 501s, a patience of milliseconds."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import Any

import aiohttp
import pytest

from poolkeeper.deployments.lab.kubernetes import ApiServer, Controllers, Faults, LabCA, Store, User
from tests.contract.kubernetes.conftest import (
    DEADLINE_S,
    MERGE,
    Client,
    LoggingNode,
    node_with_kubelet,
    pod_body,
    run_pod,
)

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


async def test_a_kubelet_of_another_authority_is_not_asked(
    admin: Client, namespace: str, logging_node: LoggingNode
) -> None:
    """The lab's kubelets have certificates of its authority. A real API server looks at them only where it is told to."""
    made = await admin("POST", "/api/v1/nodes", node_with_kubelet("stranger", logging_node.stranger_port))
    assert made.code == 201
    await run_pod(admin, namespace, "q", "stranger")
    answer = await admin("GET", f"/api/v1/namespaces/{namespace}/pods/q/log")
    assert answer.code == 500
    assert "certificate" in answer.body["message"].lower()


async def test_logs_of_previous_containers_are_missing(
    admin: Client, namespace: str, logging_node: LoggingNode
) -> None:
    await run_pod(admin, namespace, "p", logging_node.name)
    assert (await admin("GET", f"/api/v1/namespaces/{namespace}/pods/p/log", previous="true")).code == 501


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
