"""Kubernetes' own words for a refusal, by whom it is: what `tasks.cluster.errors` tells them apart by."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import yaml
from aiohttp import web

from poolkeeper.deployments.lab.kubernetes import LabCA
from poolkeeper.deployments.lab.real.control_plane import RealControlPlane
from poolkeeper.tasks.cluster import AdmissionDenied, ApiError, ClusterApi, Conflict
from poolkeeper.tasks.cluster.eviction import Eviction, EvictionState, evict
from poolkeeper.tasks.cluster.pods import PodRow, create_pod, pods_on
from tests.contract.cluster.conftest import reach

pytestmark = pytest.mark.tier("real")

Json = dict[str, Any]
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
EVICTIONS = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/eviction"], "operations": ["CREATE"]}
DEADLINE_S = 30.0


@pytest.fixture
async def cluster(real_control_plane: RealControlPlane) -> AsyncIterator[ClusterApi]:
    """Our client as the admin."""
    async with reach(real_control_plane.admin_kubeconfig) as api:
        yield api


@pytest.fixture
async def space(cluster: ClusterApi) -> AsyncIterator[str]:
    """A namespace of its own, which its label chooses for policies and webhooks."""
    name = f"refusals-{uuid.uuid4().hex[:8]}"
    await cluster.request("POST", "/api/v1/namespaces", body={"metadata": {"name": name, "labels": {"refusals": name}}})
    with suppress(Conflict):  # its controller may be quicker
        accounts = f"/api/v1/namespaces/{name}/serviceaccounts"
        await cluster.request("POST", accounts, body={"metadata": {"name": "default"}})
    yield name
    await cluster.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
async def pod(cluster: ClusterApi, space: str) -> PodRow:
    """A pod that nobody runs, bound to a node that is not there."""
    await create_pod(cluster, a_pod(space, "leader"), timeout_s=DEADLINE_S)
    (row,) = [row for row in await pods_on(cluster, space) if row.name == "leader"]
    return row


def a_pod(space: str, name: str, **container: Any) -> Json:
    spec = {
        "nodeName": space,
        "automountServiceAccountToken": False,
        "containers": [{"name": "c", "image": "i", **container}],
    }
    return {"metadata": {"name": name, "namespace": space}, "spec": spec}


async def made(cluster: ClusterApi, path: str, body: Json) -> Callable[[], Awaitable[Json]]:
    """What removes the new object again."""
    await cluster.request("POST", path, body=body)
    return lambda: cluster.request("DELETE", f"{path}/{body['metadata']['name']}")


async def until(answers: Callable[[], Awaitable[Eviction]], state: EvictionState) -> Eviction:
    """The first such answer: nothing tells when a new policy or webhook is in force."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            answer = await answers()
            if answer.state is state:
                return answer
            await asyncio.sleep(0.1)


async def refused(cluster: ClusterApi, pod: Json, words: str) -> ApiError:
    """How the API server refuses a pod, once it does so in these words."""
    path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods"
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                await cluster.request("POST", path, body=pod, query={"dryRun": "All"})
            except ApiError as error:
                if words in error.message:
                    return error
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("code", [403, 404, 409, 429, 500, None])
async def test_a_webhook(cluster: ClusterApi, space: str, pod: PodRow, code: int | None) -> None:
    """Whatever status it chooses."""
    ca, asked = LabCA(), list[str]()

    async def deny(request: web.Request) -> web.Response:
        review = await request.json()
        asked.append(review["request"]["name"])
        status = {"message": "move the leader away first", **({"code": code} if code else {})}
        answer = {"uid": review["request"]["uid"], "allowed": False, "status": status}
        return web.json_response({"kind": review["kind"], "apiVersion": review["apiVersion"], "response": answer})

    app = web.Application()
    app.router.add_post("/", deny)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ca.server_context(["127.0.0.1"])).start()
    webhook = {
        "name": "guard.example.com",
        "clientConfig": {
            "url": f"https://127.0.0.1:{runner.addresses[0][1]}/",
            "caBundle": base64.b64encode(ca.certificate_pem).decode(),
        },
        "rules": [EVICTIONS],
        "namespaceSelector": {"matchLabels": {"refusals": space}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    remove = await made(
        cluster, f"{ADMISSION}/validatingwebhookconfigurations", {"metadata": {"name": space}, "webhooks": [webhook]}
    )
    try:
        answer = await until(lambda: evict(cluster, never(pod)), EvictionState.BLOCKED)
        assert answer.why == 'admission webhook "guard.example.com" denied the request: move the leader away first'
        assert set(asked) == {"leader"}
    finally:
        await remove()
        await runner.cleanup()


def never(pod: PodRow) -> PodRow:
    """The pod under another uid, so that an eviction which is let pass by then does nothing."""
    return PodRow(**{**{name: getattr(pod, name) for name in PodRow.__slots__}, "uid": str(uuid.uuid4())})


async def test_a_policy(cluster: ClusterApi, space: str, pod: PodRow) -> None:
    constraints = {"resourceRules": [EVICTIONS], "namespaceSelector": {"matchLabels": {"refusals": space}}}
    rule = {"expression": "false", "message": "move the leader away first"}
    policy = {"metadata": {"name": space}, "spec": {"matchConstraints": constraints, "validations": [rule]}}
    binding = {"metadata": {"name": space}, "spec": {"policyName": space, "validationActions": ["Deny"]}}
    removing = [
        await made(cluster, f"{ADMISSION}/validatingadmissionpolicies", policy),
        await made(cluster, f"{ADMISSION}/validatingadmissionpolicybindings", binding),
    ]
    try:
        answer = await until(lambda: evict(cluster, never(pod)), EvictionState.BLOCKED)
        assert (
            f"ValidatingAdmissionPolicy '{space}' with binding '{space}' denied request: move the leader" in answer.why
        )
    finally:
        for remove in removing:
            await remove()


async def test_a_quota(cluster: ClusterApi, space: str) -> None:
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "0"}}}
    await cluster.request("POST", f"/api/v1/namespaces/{space}/resourcequotas", body=quota)
    error = await refused(cluster, a_pod(space, "one"), "exceeded quota: few")
    assert isinstance(error, AdmissionDenied)
    assert error.for_want_of_quota
    assert error.next_step.startswith("Free capacity in the quota")


async def test_pod_security(cluster: ClusterApi, space: str) -> None:
    labels = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    await cluster.request(
        "PATCH", f"/api/v1/namespaces/{space}", body=labels, content_type="application/merge-patch+json"
    )
    error = await refused(cluster, a_pod(space, "one", securityContext={"privileged": True}), "PodSecurity")
    assert isinstance(error, AdmissionDenied)
    assert "pod-security.kubernetes.io/enforce" in error.next_step


async def test_a_missing_right(
    cluster: ClusterApi, real_control_plane: RealControlPlane, space: str, pod: PodRow
) -> None:
    account = {"metadata": {"name": "nobody"}}
    await cluster.request("POST", f"/api/v1/namespaces/{space}/serviceaccounts", body=account)
    path = f"/api/v1/namespaces/{space}/serviceaccounts/nobody/token"
    token = (await cluster.request("POST", path, body={"spec": {}}))["status"]["token"]
    config = yaml.safe_load(real_control_plane.admin_kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    nobodys = real_control_plane.admin_kubeconfig.with_name(f"{space}.kubeconfig")
    nobodys.write_text(yaml.safe_dump(config))
    async with reach(nobodys) as nobody:
        answer = await evict(nobody, pod)
    assert answer.state is EvictionState.NEVER
    assert 'cannot create resource "pods/eviction" in API group ""' in answer.why
    assert f"system:serviceaccount:{space}:nobody" in answer.why
