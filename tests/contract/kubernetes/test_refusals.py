"""Requests that make no sense: refused with the same code, reason and field by both servers, and without effect."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.kubernetes.conftest import JSON_PATCH, MERGE, Client, pod_body, run_pod

Json = dict[str, Any]

CONFIGMAPS, PODS = "/api/v1/namespaces/{ns}/configmaps", "/api/v1/namespaces/{ns}/pods"
BUDGETS = "/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases"


def refused(name: str, method: str, path: str, body: Any, code: int, reason: str, **query: str) -> Any:
    return pytest.param(method, path, body, query, code, reason, id=name)


def named(**content: Any) -> Json:
    return {"metadata": {"name": "x"}, **content}


def a_pod(**container: Any) -> Json:
    body = pod_body("x", schedulerName="nobody")
    body["spec"]["containers"][0] |= container
    return body


@pytest.mark.parametrize(
    ("method", "path", "body", "query", "code", "reason"),
    [
        refused("a number in a ConfigMap", "POST", CONFIGMAPS, named(data={"n": 5}), 400, "BadRequest"),
        refused("text for a ConfigMap's data", "POST", CONFIGMAPS, named(data="text"), 400, "BadRequest"),
        refused("a key with a space", "POST", CONFIGMAPS, named(data={"bad key": "x"}), 422, "Invalid"),
        refused("a number as annotation", "POST", CONFIGMAPS, {"metadata": {"name": "x", "annotations": {"a": 5}}}, 400, "BadRequest"),
        refused("an object of another kind", "POST", CONFIGMAPS, named(kind="Pod", apiVersion="v1"), 400, "BadRequest"),
        refused("a list for an object", "POST", CONFIGMAPS, [], 400, "BadRequest"),
        refused("an unknown kind of dry run", "POST", CONFIGMAPS, named(), 422, "Invalid", dryRun="Some"),
        refused("a patched-in number", "PATCH", f"{CONFIGMAPS}/a", {"data": {"k": 2}}, 422, "Invalid"),
        refused("a patch of an absent object", "PATCH", f"{CONFIGMAPS}/nope", {"data": {}}, 404, "NotFound"),
        refused("deleted under another uid", "DELETE", f"{CONFIGMAPS}/a", {"preconditions": {"uid": "x"}}, 409, "Conflict"),
        refused("an unknown propagation", "DELETE", f"{CONFIGMAPS}/a", {"propagationPolicy": "Bogus"}, 422, "Invalid"),
        refused("a match without version", "GET", CONFIGMAPS, None, 422, "Invalid", resourceVersionMatch="Exact"),
        refused("an unknown match", "GET", CONFIGMAPS, None, 422, "Invalid", resourceVersionMatch="Bogus", resourceVersion="1"),
        refused("a limit in words", "GET", CONFIGMAPS, None, 400, "BadRequest", limit="many"),
        refused("half a label selector", "GET", CONFIGMAPS, None, 400, "BadRequest", labelSelector="a in"),
        refused("a field nobody knows", "GET", CONFIGMAPS, None, 400, "BadRequest", fieldSelector="data.k=1"),
        refused("a PUT without name", "PUT", CONFIGMAPS, named(), 405, "MethodNotAllowed"),
        refused("a POST with name", "POST", f"{CONFIGMAPS}/x", named(), 405, "MethodNotAllowed"),
        refused("a budget above all", "POST", BUDGETS, named(spec={"minAvailable": "200%"}), 422, "Invalid"),
        refused("a budget below nothing", "POST", BUDGETS, named(spec={"minAvailable": -1}), 422, "Invalid"),
        refused("a budget in words", "POST", BUDGETS, named(spec={"minAvailable": "half"}), 422, "Invalid"),
        refused("a budget both ways", "POST", BUDGETS, named(spec={"minAvailable": 1, "maxUnavailable": 1}), 422, "Invalid"),
        refused("a Lease without microseconds", "POST", LEASES, named(spec={"renewTime": "2026-01-01T00:00:00Z"}), 400, "BadRequest"),
        refused("a Lease of no time", "POST", LEASES, named(spec={"leaseDurationSeconds": 0}), 422, "Invalid"),
        refused("a container in capitals", "POST", PODS, a_pod(name="Main"), 422, "Invalid"),
        refused("reading an eviction", "GET", f"{PODS}/p/eviction", None, 405, "MethodNotAllowed"),
        refused("a taint with a space", "PATCH", "/api/v1/nodes/{node}", {"spec": {"taints": [{"key": "a b", "effect": "NoSchedule"}]}}, 422, "Invalid"),
        refused("a taint twice", "PATCH", "/api/v1/nodes/{node}", {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}] * 2}}, 422, "Invalid"),
        refused("a cordon in words", "PATCH", "/api/v1/nodes/{node}", {"spec": {"unschedulable": "yes"}}, 422, "Invalid"),
        refused("deleting kube-system", "DELETE", "/api/v1/namespaces/kube-system", None, 403, "Forbidden"),
        refused("deleting all namespaces", "DELETE", "/api/v1/namespaces", None, 405, "MethodNotAllowed"),
    ],
)  # fmt: skip
async def test_refused(
    admin: Client, namespace: str, node: str, method: str, path: str, body: Any, query: Json, code: int, reason: str
) -> None:
    await admin("POST", CONFIGMAPS.format(ns=namespace), {"metadata": {"name": "a"}, "data": {"k": "1"}})
    await run_pod(admin, namespace, "p", node)
    kind = MERGE if method == "PATCH" else "application/json"
    where = path.format(ns=namespace, node=node)
    answer = await admin(method, where, body, kind=kind, **query)
    assert (answer.code, answer.body["reason"]) == (code, reason), answer.body
    assert (await admin("GET", f"{CONFIGMAPS.format(ns=namespace)}/a")).body["data"] == {"k": "1"}
    if method == "POST" and code != 405:
        assert (await admin("GET", f"{where}/x")).code == 404


async def test_a_body_of_a_deletion_silences_the_query(admin: Client, namespace: str) -> None:
    """`?dryRun=All` beside a body is not heard, and the object is gone: options belong in one place."""
    path = f"{CONFIGMAPS.format(ns=namespace)}/a"
    await admin("POST", CONFIGMAPS.format(ns=namespace), {"metadata": {"name": "a"}})
    assert (await admin("DELETE", path, {"gracePeriodSeconds": 0}, dryRun="All")).code == 200
    assert (await admin("GET", path)).code == 404


async def test_a_json_patch_replaces_what_is_not_there(admin: Client, namespace: str) -> None:
    """Against RFC 6902, and relied on by nobody here: who wants to be sure puts a `test` before it."""
    path = f"{CONFIGMAPS.format(ns=namespace)}/a"
    await admin("POST", CONFIGMAPS.format(ns=namespace), {"metadata": {"name": "a"}, "data": {"k": "1"}})
    answer = await admin("PATCH", path, [{"op": "replace", "path": "/data/new", "value": "2"}], kind=JSON_PATCH)
    assert (answer.code, answer.body["data"]) == (200, {"k": "1", "new": "2"})
    refused = await admin("PATCH", path, [{"op": "test", "path": "/data/k", "value": "9"}], kind=JSON_PATCH)
    assert (refused.code, refused.body["message"]) == (
        422,
        "the server rejected our request due to an error in our request",
    )
