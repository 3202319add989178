"""Who gets in, and what they may do."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import aiohttp
import pytest

from poolkeeper.tasks.cluster.errors import ApiThrottled, api_error
from tests.contract.kubernetes.conftest import DEADLINE_S, Answer, Api, Client, tls

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ACCESS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def ask(api: Api, path: str, *, token: str = "", context: ssl.SSLContext | None = None) -> Answer:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connector = aiohttp.TCPConnector(ssl=context or tls(api))
    async with aiohttp.ClientSession(api.url, headers=headers, connector=connector) as session:
        return await Client(session)("GET", path)


async def until_answered(api: Api, path: str, code: int, *, token: str) -> Answer:
    """Ask until the answer has this code: rights that were given take a moment to count everywhere."""
    async with asyncio.timeout(DEADLINE_S):
        while (answer := await ask(api, path, token=token)).code != code:
            pass
    return answer


@pytest.fixture
async def account(admin: Client, namespace: str) -> str:
    """Token of a ServiceAccount `robot` without any right."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    await admin("POST", path, {"metadata": {"name": "robot"}})
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = await admin("POST", f"{path}/robot/token", request)
    assert answer.code == 201
    return answer.body["status"]["token"]


async def grant(admin: Client, namespace: str, rule: dict[str, Any]) -> None:
    subject = {"kind": "ServiceAccount", "name": "robot", "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    await admin("POST", f"{RBAC}/namespaces/{namespace}/roles", {"metadata": {"name": "r"}, "rules": [rule]})
    body = {"metadata": {"name": "r"}, "subjects": [subject], "roleRef": role}
    assert (await admin("POST", f"{RBAC}/namespaces/{namespace}/rolebindings", body)).code == 201


@pytest.mark.parametrize("path", ["/version", "/healthz", "/livez", "/readyz"])
async def test_health_and_version_are_open_to_all(api: Api, path: str) -> None:
    assert (await ask(api, path)).code == 200


async def test_the_version_is_of_this_minor(api: Api) -> None:
    body = (await ask(api, "/version")).body
    assert (body["major"], body["minor"]) == ("1", "36")
    assert body["gitVersion"].startswith("v1.36.")


async def test_a_wrong_token_is_unauthorized(api: Api) -> None:
    answer = await ask(api, "/api/v1/nodes", token="wrong")
    assert (answer.code, answer.body["reason"]) == (401, "Unauthorized")


async def test_who_shows_nothing_is_anonymous_and_has_no_right(api: Api) -> None:
    answer = await ask(api, "/api/v1/nodes")
    assert (answer.code, answer.body["reason"]) == (403, "Forbidden")
    assert answer.body["message"] == (
        'nodes is forbidden: User "system:anonymous" cannot list resource "nodes" in API group "" at the cluster scope'
    )


async def test_a_client_that_does_not_trust_the_authority_does_not_connect(api: Api) -> None:
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await ask(api, "/version", context=ssl.create_default_context())


async def test_a_client_certificate_names_user_and_groups(api: Api) -> None:
    context = tls(api)
    context.load_cert_chain(*api.client_certificate("boss", ("system:masters",)))
    assert (await ask(api, "/api/v1/nodes", context=context)).code == 200
    context = tls(api)
    context.load_cert_chain(*api.client_certificate("clerk", ("others",)))
    answer = await ask(api, "/api/v1/nodes", context=context)
    assert answer.code == 403
    assert 'User "clerk" cannot list resource "nodes"' in answer.body["message"]


async def test_a_refusal_says_who_what_and_where(api: Api, namespace: str, account: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    user = f"system:serviceaccount:{namespace}:robot"
    answer = await ask(api, f"{path}/p/log", token=account)
    assert answer.body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f'pods "p" is forbidden: User "{user}" cannot get resource "pods/log" in API group "" '
        f'in the namespace "{namespace}"',
        "reason": "Forbidden",
        "details": {"name": "p", "kind": "pods"},
        "code": 403,
    }
    answer = await ask(api, "/api/v1/nodes", token=account)
    assert answer.body["message"] == (
        f'nodes is forbidden: User "{user}" cannot list resource "nodes" in API group "" at the cluster scope'
    )


async def test_a_role_holds_in_its_namespace_only(api: Api, admin: Client, namespace: str, account: str) -> None:
    await grant(admin, namespace, {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]})
    await until_answered(api, f"/api/v1/namespaces/{namespace}/pods", 200, token=account)
    assert (await ask(api, "/api/v1/namespaces/default/pods", token=account)).code == 403
    assert (await ask(api, "/api/v1/pods", token=account)).code == 403
    assert (await ask(api, f"/api/v1/namespaces/{namespace}/pods?watch=true", token=account)).code == 403


async def test_resource_names_and_subresources_are_looked_at(
    api: Api, admin: Client, namespace: str, account: str
) -> None:
    rule = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"], "verbs": ["get"]}
    await grant(admin, namespace, rule)
    path = f"/api/v1/namespaces/{namespace}"
    await until_answered(api, f"{path}/configmaps/mine", 404, token=account)
    assert (await ask(api, f"{path}/configmaps/other", token=account)).code == 403
    assert (await ask(api, f"{path}/configmaps", token=account)).code == 403


async def may_create(robot: Client, namespace: str, subresource: str) -> bool:
    attributes = {"verb": "create", "resource": "pods", "subresource": subresource, "namespace": namespace}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await robot("POST", ACCESS, body)
    assert answer.code == 201, answer.body
    return bool(answer.body["status"]["allowed"])


async def test_a_user_may_ask_what_it_may(api: Api, admin: Client, namespace: str, account: str) -> None:
    await grant(admin, namespace, {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]})
    headers = {"Authorization": f"Bearer {account}"}
    connector = aiohttp.TCPConnector(ssl=tls(api))
    async with aiohttp.ClientSession(api.url, headers=headers, connector=connector) as session:
        robot = Client(session)
        async with asyncio.timeout(DEADLINE_S):
            while not await may_create(robot, namespace, "eviction"):
                pass
        assert not await may_create(robot, namespace, "log")


async def test_a_throttled_user_is_told_when_to_come_back_and_no_cause(api: Api, namespace: str, account: str) -> None:
    """Priority and fairness refuses in plain text; a disruption budget's 429 is a Status with a cause."""
    await api.throttle(f"system:serviceaccount:{namespace}:robot")
    async with asyncio.timeout(DEADLINE_S):
        refused: list[Answer] = []
        while not refused:
            answers = await asyncio.gather(*(ask(api, "/api/v1/nodes", token=account) for _ in range(10)))
            refused = [answer for answer in answers if answer.code == 429]
    answer = refused[0]
    assert (answer.headers["Retry-After"], answer.headers["Content-Type"]) == ("1", "text/plain; charset=utf-8")
    assert answer.body == "Too many requests, please try again later.\n"
    assert isinstance(api_error(answer.code, "GET /api/v1/nodes", None), ApiThrottled)
