"""Lists by selector and by page, and watches, with what happens when history is too short."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from kubernetes.aio import client, watch

from tests.contract.cluster.conftest import reach
from tests.contract.kubernetes.conftest import DEADLINE_S, MERGE, Api, Client, pod_body, run_pod


def configmaps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


async def make(admin: Client, namespace: str, *names: str, **labels: str) -> None:
    for name in names:
        body = {"metadata": {"name": name, "labels": labels}}
        assert (await admin("POST", configmaps(namespace), body)).code == 201


async def names(admin: Client, path: str, **query: Any) -> list[str]:
    answer = await admin("GET", path, **query)
    assert answer.code == 200, answer.body
    return [item["metadata"]["name"] for item in answer.body["items"] if item["metadata"]["name"] != "kube-root-ca.crt"]


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        pytest.param("tier=web", ["a"], id="equal"),
        pytest.param("tier!=web", ["b", "c"], id="not equal, or absent"),
        pytest.param("tier in (web,db)", ["a", "b"], id="in a set"),
        pytest.param("tier notin (web)", ["b", "c"], id="not in a set"),
        pytest.param("tier", ["a", "b"], id="present"),
        pytest.param("!tier", ["c"], id="absent"),
        pytest.param("tier,site=fra1", ["b"], id="both"),
        pytest.param("n>1", ["b"], id="greater"),
    ],
)
async def test_label_selectors(admin: Client, namespace: str, selector: str, found: list[str]) -> None:
    await make(admin, namespace, "a", tier="web", n="1")
    await make(admin, namespace, "b", tier="db", site="fra1", n="2")
    await make(admin, namespace, "c")
    assert await names(admin, configmaps(namespace), labelSelector=selector) == found


async def test_field_selectors_of_pods(admin: Client, namespace: str, node: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    await run_pod(admin, namespace, "placed", node)
    await admin("POST", path, pod_body("waiting", schedulerName="nobody"))
    assert await names(admin, path, fieldSelector=f"spec.nodeName={node}") == ["placed"]
    assert await names(admin, path, fieldSelector="status.phase!=Running") == ["waiting"]
    assert await names(admin, "/api/v1/pods", fieldSelector=f"spec.nodeName={node}") == ["placed"]
    refused = await admin("GET", path, fieldSelector="spec.colour=red")
    assert refused.code == 400
    assert "field label not supported: spec.colour" in refused.body["message"]


async def test_cordoned_nodes_are_found_by_field(admin: Client, node: str) -> None:
    await admin("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}}, kind=MERGE)
    found = await names(admin, "/api/v1/nodes", fieldSelector="spec.unschedulable=true")
    assert node in found


async def test_items_of_a_list_do_not_repeat_their_kind(admin: Client, namespace: str) -> None:
    await make(admin, namespace, "a")
    body = (await admin("GET", configmaps(namespace))).body
    assert (body["kind"], body["apiVersion"]) == ("ConfigMapList", "v1")
    assert all("kind" not in item for item in body["items"])


async def test_pages_are_of_one_moment(admin: Client, namespace: str) -> None:
    await make(admin, namespace, "a", "b", "d", "e", x="y")
    first = (await admin("GET", configmaps(namespace), limit=2, labelSelector="x=y")).body
    assert [item["metadata"]["name"] for item in first["items"]] == ["a", "b"]
    assert "remainingItemCount" not in first["metadata"]
    await make(admin, namespace, "c", x="y")
    await admin("DELETE", f"{configmaps(namespace)}/e")
    token = first["metadata"]["continue"]
    second = (await admin("GET", configmaps(namespace), limit=5, labelSelector="x=y", **{"continue": token})).body
    assert [item["metadata"]["name"] for item in second["items"]] == ["d", "e"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert not second["metadata"].get("continue")


async def test_a_page_tells_how_many_are_left(admin: Client, namespace: str) -> None:
    secrets = f"/api/v1/namespaces/{namespace}/secrets"  # no controller makes any
    for name in ("a", "b", "c"):
        await admin("POST", secrets, {"metadata": {"name": name}})
    page = (await admin("GET", secrets, limit=1)).body
    assert page["metadata"]["remainingItemCount"] == 2


async def test_an_expired_token_is_410_and_offers_another(api: Api, admin: Client, namespace: str) -> None:
    await make(admin, namespace, "a", "b", "c")
    page = (await admin("GET", configmaps(namespace), limit=1)).body
    await make(admin, namespace, "aa")
    await api.compact()
    gone = await admin("GET", configmaps(namespace), limit=1, **{"continue": page["metadata"]["continue"]})
    assert (gone.code, gone.body["reason"]) == (410, "Expired")
    rest = {"continue": gone.body["metadata"]["continue"]}
    assert await names(admin, configmaps(namespace), **rest) == ["aa", "b", "c"]


@pytest.mark.parametrize("token", ["nonsense", "e30"])
async def test_a_token_of_nobody_is_400(admin: Client, namespace: str, token: str) -> None:
    assert (await admin("GET", configmaps(namespace), **{"continue": token})).code == 400


async def test_a_version_of_the_future_is_refused(admin: Client, namespace: str) -> None:
    answer = await admin("GET", configmaps(namespace), resourceVersion="999999999", resourceVersionMatch="NotOlderThan")
    assert answer.code == 504
    assert answer.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def take(admin: Client, path: str, count: int, **query: Any) -> list[tuple[str, str]]:
    """(type, name) of the first events of a watch."""
    seen: list[tuple[str, str]] = []
    async with asyncio.timeout(DEADLINE_S):
        async for event in admin.events(path, **query):
            seen.append((event["type"], event["object"]["metadata"].get("name", "")))
            if len(seen) == count:
                return seen
    raise AssertionError(f"the watch ended after {seen}")


async def test_a_watch_goes_on_from_a_list(admin: Client, namespace: str) -> None:
    path = configmaps(namespace)
    version = (await admin("GET", path)).body["metadata"]["resourceVersion"]
    await make(admin, namespace, "a")
    await admin("PATCH", f"{path}/a", {"data": {"k": "v"}}, kind=MERGE)
    await admin("DELETE", f"{path}/a")
    seen = await take(admin, path, 3, resourceVersion=version, fieldSelector="metadata.name=a")
    assert seen == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_a_watch_hears_what_happens_later(admin: Client, namespace: str) -> None:
    path = configmaps(namespace)
    version = (await admin("GET", path)).body["metadata"]["resourceVersion"]
    listening = asyncio.create_task(take(admin, path, 1, resourceVersion=version, fieldSelector="metadata.name=late"))
    await make(admin, namespace, "late")
    assert await listening == [("ADDED", "late")]


async def test_leaving_a_selector_is_a_deletion(admin: Client, namespace: str) -> None:
    path = configmaps(namespace)
    version = (await admin("GET", path)).body["metadata"]["resourceVersion"]
    await make(admin, namespace, "a", x="y")
    await admin("PATCH", f"{path}/a", {"metadata": {"labels": {"x": "z"}}}, kind=MERGE)
    await admin("PATCH", f"{path}/a", {"metadata": {"labels": {"x": "y"}}}, kind=MERGE)
    seen = await take(admin, path, 3, resourceVersion=version, labelSelector="x=y")
    assert [kind for kind, _ in seen] == ["ADDED", "DELETED", "ADDED"]


async def test_a_watch_without_version_begins_with_what_is_there(admin: Client, namespace: str) -> None:
    await make(admin, namespace, "a", "b", x="y")
    assert await take(admin, configmaps(namespace), 2, labelSelector="x=y") == [("ADDED", "a"), ("ADDED", "b")]


async def test_a_streamed_list_ends_with_a_bookmark(admin: Client, namespace: str) -> None:
    await make(admin, namespace, "a", x="y")
    query = {
        "labelSelector": "x=y",
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    assert await take(admin, configmaps(namespace), 2, **query) == [("ADDED", "a"), ("BOOKMARK", "")]


async def test_a_watch_ends_at_its_timeout(admin: Client, namespace: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        secrets = f"/api/v1/namespaces/{namespace}/secrets"
        version = (await admin("GET", secrets)).body["metadata"]["resourceVersion"]
        events = [e async for e in admin.events(secrets, timeoutSeconds=1, resourceVersion=version)]
    assert events == []


async def test_a_version_that_is_too_old_is_410(api: Api, admin: Client, namespace: str) -> None:
    path = configmaps(namespace)
    version = (await admin("GET", path)).body["metadata"]["resourceVersion"]
    await make(admin, namespace, "a", "b")
    async with asyncio.timeout(DEADLINE_S), reach(api.kubeconfig) as ours:
        follower = ours.changes(path, query={"labelSelector": "x=y"})
        assert await anext(follower) == []
        await api.compact()
        events = [event async for event in admin.events(path, resourceVersion=version)]
        # our own client lists again and goes on
        await make(admin, namespace, "late", x="y")
        async for items in follower:
            if items:
                break
    assert [item["metadata"]["name"] for item in items] == ["late"]
    assert [event["type"] for event in events] == ["ERROR"]
    assert (events[0]["object"]["code"], events[0]["object"]["reason"]) == (410, "Expired")


async def test_the_official_client_watches(admin: Client, core: client.CoreV1Api, namespace: str) -> None:
    await make(admin, namespace, "a", x="y")
    async with asyncio.timeout(DEADLINE_S), watch.Watch() as stream:
        async for event in stream.stream(
            core.list_namespaced_config_map, namespace, label_selector="x=y", timeout_seconds=10
        ):
            assert (event["type"], event["object"].metadata.name) == ("ADDED", "a")
            break
