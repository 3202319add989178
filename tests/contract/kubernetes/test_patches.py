"""The three patch languages, through the server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.kubernetes.conftest import JSON_PATCH, MERGE, STRATEGIC, Client, run_pod

Json = dict[str, Any]


def taints(answer: Any) -> list[str]:
    return [taint["key"] for taint in answer.body["spec"].get("taints") or ()]


async def test_a_merge_patch_replaces_lists_and_removes_by_null(admin: Client, node: str) -> None:
    path = f"/api/v1/nodes/{node}"
    first = {
        "metadata": {"annotations": {"a": "1", "b": "2"}},
        "spec": {"taints": [{"key": "x", "effect": "NoSchedule"}]},
    }
    assert taints(await admin("PATCH", path, first, kind=MERGE)) == ["x"]
    second = {"metadata": {"annotations": {"a": None}}, "spec": {"taints": [{"key": "y", "effect": "NoSchedule"}]}}
    answer = await admin("PATCH", path, second, kind=MERGE)
    assert taints(answer) == ["y"]
    annotations = answer.body["metadata"]["annotations"]  # a controller may have added some
    assert (annotations.get("a"), annotations["b"]) == (None, "2")


async def test_taints_are_one_value_to_a_strategic_patch(admin: Client, node: str) -> None:
    path = f"/api/v1/nodes/{node}"
    for key in ("x", "y"):
        body = {"spec": {"taints": [{"key": key, "effect": "NoSchedule"}]}}
        assert taints(await admin("PATCH", path, body, kind=STRATEGIC)) == [key]


async def test_conditions_merge_by_type(admin: Client, node: str) -> None:
    path = f"/api/v1/nodes/{node}/status"
    body = {"status": {"conditions": [{"type": "DiskPressure", "status": "False"}]}}
    conditions = (await admin("PATCH", path, body, kind=STRATEGIC)).body["status"]["conditions"]
    assert sorted(condition["type"] for condition in conditions) == ["DiskPressure", "Ready"]
    body = {"status": {"conditions": [{"type": "DiskPressure", "$patch": "delete"}]}}
    conditions = (await admin("PATCH", path, body, kind=STRATEGIC)).body["status"]["conditions"]
    assert [condition["type"] for condition in conditions] == ["Ready"]


async def test_containers_merge_by_name(admin: Client, namespace: str, node: str) -> None:
    await run_pod(admin, namespace, "p", node)
    body = {"spec": {"containers": [{"name": "main", "image": "registry.example/app:2"}]}}
    answer = await admin("PATCH", f"/api/v1/namespaces/{namespace}/pods/p", body, kind=STRATEGIC)
    container = answer.body["spec"]["containers"][0]
    assert (container["image"], container["terminationMessagePath"]) == (
        "registry.example/app:2",
        "/dev/termination-log",
    )


async def test_finalizers_are_a_set(admin: Client, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await admin("POST", path, {"metadata": {"name": "a", "finalizers": ["example.com/a"]}})
    body: Json = {"metadata": {"finalizers": ["example.com/b"]}}
    answer = await admin("PATCH", f"{path}/a", body, kind=STRATEGIC)
    assert sorted(answer.body["metadata"]["finalizers"]) == ["example.com/a", "example.com/b"]
    body = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/a", "example.com/b"]}}
    answer = await admin("PATCH", f"{path}/a", body, kind=STRATEGIC)
    assert not answer.body["metadata"].get("finalizers")


async def test_a_json_patch_is_all_or_nothing(admin: Client, node: str) -> None:
    path = f"/api/v1/nodes/{node}"
    good = [
        {"op": "add", "path": "/metadata/annotations", "value": {"example.com/a": "1"}},
        {"op": "test", "path": "/metadata/annotations/example.com~1a", "value": "1"},
        {"op": "add", "path": "/spec/unschedulable", "value": True},
    ]
    answer = await admin("PATCH", path, good, kind=JSON_PATCH)
    assert (answer.code, answer.body["spec"]["unschedulable"]) == (200, True)
    bad = [
        {"op": "replace", "path": "/spec/unschedulable", "value": False},
        {"op": "test", "path": "/metadata/name", "value": "another"},
    ]
    assert (await admin("PATCH", path, bad, kind=JSON_PATCH)).code == 422
    assert (await admin("GET", path)).body["spec"]["unschedulable"] is True


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        pytest.param("application/json", {"spec": {}}, 415, id="no patch type"),
        pytest.param(MERGE, {"metadata": {"name": "another"}}, 400, id="another name"),
        pytest.param(MERGE, [], 400, id="a list as merge patch"),
        pytest.param(JSON_PATCH, {}, 400, id="an object as JSON patch"),
    ],
)
async def test_patches_that_make_no_sense(admin: Client, node: str, kind: str, body: Any, code: int) -> None:
    assert (await admin("PATCH", f"/api/v1/nodes/{node}", body, kind=kind)).code == code


async def test_scale_sets_replicas(admin: Client, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": "registry.example/app:1"}]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    await admin("POST", path, {"metadata": {"name": "web"}, "spec": spec})
    scale = await admin("PATCH", f"{path}/web/scale", {"spec": {"replicas": 3}}, kind=MERGE)
    assert (scale.body["kind"], scale.body["spec"]["replicas"]) == ("Scale", 3)
    assert scale.body["status"]["selector"] == "app=web"
    assert (await admin("GET", f"{path}/web")).body["spec"]["replicas"] == 3
