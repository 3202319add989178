"""Objects: identity, versions, conflicts, deletion, dry run, validation."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest
from kubernetes.aio import client

from tests.contract.kubernetes.conftest import DEADLINE_S, MERGE, Client, pod_body, run_pod

NODES = "/api/v1/nodes"


def configmaps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


async def make(admin: Client, namespace: str, name: str = "a", **extra: Any) -> dict[str, Any]:
    answer = await admin("POST", configmaps(namespace), {"metadata": {"name": name, **extra}, "data": {"k": "1"}})
    assert answer.code == 201, answer.body
    return answer.body


async def test_the_server_fills_in_identity(admin: Client, namespace: str) -> None:
    made = await make(admin, namespace)
    metadata = made["metadata"]
    assert (made["kind"], made["apiVersion"], metadata["namespace"]) == ("ConfigMap", "v1", namespace)
    assert metadata["uid"]
    assert int(metadata["resourceVersion"])
    assert datetime.fromisoformat(metadata["creationTimestamp"])


async def test_a_generated_name_is_unique(admin: Client, namespace: str) -> None:
    body = {"metadata": {"generateName": "x-"}}
    names = {(await admin("POST", configmaps(namespace), body)).body["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("x-") and len(name) == 7 for name in names)


async def test_a_taken_name_is_refused(admin: Client, namespace: str) -> None:
    await make(admin, namespace)
    answer = await admin("POST", configmaps(namespace), {"metadata": {"name": "a"}})
    assert answer.code == 409
    assert answer.body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'configmaps "a" already exists',
        "reason": "AlreadyExists",
        "details": {"name": "a", "kind": "configmaps"},
        "code": 409,
    }


async def test_an_absent_object_is_404_with_its_name(admin: Client, namespace: str) -> None:
    answer = await admin("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments/nope")
    assert (answer.code, answer.body["reason"]) == (404, "NotFound")
    assert answer.body["message"] == 'deployments.apps "nope" not found'
    assert answer.body["details"] == {"name": "nope", "group": "apps", "kind": "deployments"}


async def test_a_stale_put_is_a_conflict_and_changes_nothing(admin: Client, namespace: str) -> None:
    first = await make(admin, namespace)
    path = f"{configmaps(namespace)}/a"
    fresh = await admin("PUT", path, {**first, "data": {"k": "2"}})
    assert fresh.code == 200
    stale = await admin("PUT", path, {**first, "data": {"k": "3"}})
    assert (stale.code, stale.body["reason"]) == (409, "Conflict")
    assert stale.body["message"].startswith('Operation cannot be fulfilled on configmaps "a": the object has been')
    assert (await admin("GET", path)).body == fresh.body


async def test_a_put_without_a_version_overwrites(admin: Client, namespace: str) -> None:
    await make(admin, namespace)
    answer = await admin("PUT", f"{configmaps(namespace)}/a", {"metadata": {"name": "a"}, "data": {"k": "9"}})
    assert (answer.code, answer.body["data"]) == (200, {"k": "9"})


async def test_a_write_that_changes_nothing_makes_no_new_version(admin: Client, namespace: str) -> None:
    first = await make(admin, namespace)
    again = await admin("PUT", f"{configmaps(namespace)}/a", first)
    assert again.body["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_of_many_writers_with_one_version_one_wins(admin: Client, namespace: str) -> None:
    first = await make(admin, namespace)
    path = f"{configmaps(namespace)}/a"
    answers = await asyncio.gather(*(admin("PUT", path, {**first, "data": {"k": str(n)}}) for n in range(8)))
    assert sorted(answer.code for answer in answers) == [200] + [409] * 7


async def test_a_patch_with_a_stale_version_is_a_conflict(admin: Client, node: str) -> None:
    read = (await admin("GET", f"{NODES}/{node}")).body
    version = read["metadata"]["resourceVersion"]
    await admin("PATCH", f"{NODES}/{node}", {"metadata": {"labels": {"a": "1"}}}, kind=MERGE)
    body = {"metadata": {"resourceVersion": version}, "spec": {"unschedulable": True}}
    assert (await admin("PATCH", f"{NODES}/{node}", body, kind=MERGE)).code == 409
    assert "unschedulable" not in (await admin("GET", f"{NODES}/{node}")).body["spec"]


async def test_spec_and_status_are_written_apart(admin: Client, node: str) -> None:
    read = (await admin("GET", f"{NODES}/{node}")).body
    read["spec"]["unschedulable"] = True
    read["status"]["nodeInfo"] = {"kubeletVersion": "v9"}
    changed = (await admin("PUT", f"{NODES}/{node}", read)).body
    assert changed["spec"]["unschedulable"] is True
    assert changed["status"].get("nodeInfo", {}).get("kubeletVersion", "") == ""


async def test_generation_counts_changes_of_the_spec_only(admin: Client, namespace: str) -> None:
    path = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"
    body = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}}
    assert (await admin("POST", path, body)).body["metadata"]["generation"] == 1
    labelled = await admin("PATCH", f"{path}/b", {"metadata": {"labels": {"x": "y"}}}, kind=MERGE)
    assert labelled.body["metadata"]["generation"] == 1
    changed = await admin("PATCH", f"{path}/b", {"spec": {"minAvailable": 2}}, kind=MERGE)
    assert changed.body["metadata"]["generation"] == 2


async def test_delete_answers_a_status_and_pods_the_pod(admin: Client, namespace: str) -> None:
    made = await make(admin, namespace)
    answer = await admin("DELETE", f"{configmaps(namespace)}/a")
    details = {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}
    assert (answer.code, answer.body["status"], answer.body["details"]) == (200, "Success", details)
    await admin("POST", f"/api/v1/namespaces/{namespace}/pods", pod_body("p", schedulerName="nobody"))
    assert (await admin("DELETE", f"/api/v1/namespaces/{namespace}/pods/p")).body["kind"] == "Pod"


@pytest.mark.parametrize("what", ["uid", "resourceVersion"])
async def test_delete_preconditions_protect_another_object(admin: Client, namespace: str, what: str) -> None:
    made = await make(admin, namespace)
    path, wrong = f"{configmaps(namespace)}/a", {"preconditions": {what: "1"}}
    refused = await admin("DELETE", path, wrong)
    assert (refused.code, refused.body["reason"]) == (409, "Conflict")
    right = {"preconditions": {what: made["metadata"][what]}}
    assert (await admin("DELETE", path, right)).code == 200


async def test_a_finalizer_holds_an_object_until_it_is_removed(admin: Client, namespace: str) -> None:
    await make(admin, namespace, finalizers=["example.com/keep"])
    path = f"{configmaps(namespace)}/a"
    marked = await admin("DELETE", path)
    assert "deletionTimestamp" in marked.body["metadata"]
    added = {"metadata": {"finalizers": ["example.com/keep", "example.com/more"]}}
    assert (await admin("PATCH", path, added, kind=MERGE)).code == 422
    assert (await admin("PATCH", path, {"metadata": {"finalizers": None}}, kind=MERGE)).code == 200
    assert (await admin("GET", path)).code == 404


async def test_a_pod_on_a_node_goes_gracefully(admin: Client, namespace: str, node: str) -> None:
    await run_pod(admin, namespace, "p", node)
    path = f"/api/v1/namespaces/{namespace}/pods/p"
    marked = (await admin("DELETE", path)).body["metadata"]
    assert marked["deletionGracePeriodSeconds"] == 30
    assert (await admin("DELETE", path, {"gracePeriodSeconds": 60})).body["metadata"][
        "deletionGracePeriodSeconds"
    ] == 30
    sooner = await admin("DELETE", path, {"gracePeriodSeconds": 5})
    assert sooner.body["metadata"]["deletionGracePeriodSeconds"] == 5
    assert (await admin("GET", path)).code == 200
    await admin("DELETE", path, {"gracePeriodSeconds": 0})
    assert (await admin("GET", path)).code == 404


async def test_a_pod_without_a_node_goes_at_once(admin: Client, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    await admin("POST", path, pod_body("p", schedulerName="nobody"))
    await admin("DELETE", f"{path}/p")
    assert (await admin("GET", f"{path}/p")).code == 404


@pytest.mark.parametrize("verb", ["create", "update", "patch", "delete", "deletecollection"])
async def test_a_dry_run_answers_and_keeps_nothing(admin: Client, namespace: str, verb: str) -> None:
    made = await make(admin, namespace)
    root, path = configmaps(namespace), f"{configmaps(namespace)}/a"
    calls = {
        "create": ("POST", root, {"metadata": {"name": "b"}}, "application/json"),
        "update": ("PUT", path, {**made, "data": {}}, "application/json"),
        "patch": ("PATCH", path, {"data": {"k": "2"}}, MERGE),
        "delete": ("DELETE", path, None, "application/json"),
        "deletecollection": ("DELETE", root, None, "application/json"),
    }
    method, where, body, kind = calls[verb]
    before = (await admin("GET", root, labelSelector="!absent")).body["items"]
    answer = await admin(method, where, body, kind=kind, dryRun="All")
    assert answer.code in (200, 201), answer.body
    assert (await admin("GET", root, labelSelector="!absent")).body["items"] == before


async def test_namespaces_are_needed_and_closed_while_they_go(admin: Client, namespace: str) -> None:
    answer = await admin("POST", configmaps("nowhere"), {"metadata": {"name": "a"}})
    assert (answer.code, answer.body["message"]) == (404, 'namespaces "nowhere" not found')
    await make(admin, namespace, finalizers=["example.com/keep"])
    await admin("DELETE", f"/api/v1/namespaces/{namespace}")
    late = await admin("POST", configmaps(namespace), {"metadata": {"name": "b"}})
    assert late.code == 403
    assert late.body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    await admin("PATCH", f"{configmaps(namespace)}/a", {"metadata": {"finalizers": None}}, kind=MERGE)
    await admin.until("/api/v1/namespaces", lambda found: not found, fieldSelector=f"metadata.name={namespace}")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        pytest.param("/api/v1/nodes", {"metadata": {"name": "Upper"}}, "metadata.name", id="name in capitals"),
        pytest.param("/api/v1/nodes", {"metadata": {}}, "metadata.name", id="no name"),
        pytest.param(
            "/api/v1/namespaces/{ns}/pods",
            {"metadata": {"name": "p"}, "spec": {"containers": []}},
            "spec.containers",
            id="pod without containers",
        ),
        pytest.param(
            "/api/v1/nodes",
            {"metadata": {"name": "n"}, "spec": {"taints": [{"key": "a", "effect": "Sometimes"}]}},
            "metadata.taints[0].effect",
            id="taint of unknown effect",
        ),
        pytest.param(
            "/api/v1/namespaces/{ns}/configmaps",
            {"metadata": {"name": "c", "labels": {"a": "not a label!"}}},
            "metadata.labels",
            id="label value with a space",
        ),
    ],
)
async def test_invalid_objects_are_refused_by_field(
    admin: Client, namespace: str, path: str, body: dict[str, Any], field: str
) -> None:
    answer = await admin("POST", path.format(ns=namespace), body)
    assert (answer.code, answer.body["reason"]) == (422, "Invalid"), answer.body
    assert field in [cause["field"] for cause in answer.body["details"]["causes"]]


async def test_a_pod_gets_defaults_and_keeps_its_spec(admin: Client, namespace: str, node: str) -> None:
    pod = await run_pod(admin, namespace, "p", node)
    spec = pod["spec"]
    assert spec["serviceAccountName"] == "default"
    assert (spec["restartPolicy"], spec["priority"], pod["status"]["qosClass"]) == ("Always", 0, "BestEffort")
    seconds = {t["key"]: t["tolerationSeconds"] for t in spec["tolerations"]}
    assert seconds == {"node.kubernetes.io/not-ready": 300, "node.kubernetes.io/unreachable": 300}
    path = f"/api/v1/namespaces/{namespace}/pods/p"
    assert (await admin("PATCH", path, {"spec": {"nodeName": "other"}}, kind=MERGE)).code == 422
    image = [{**spec["containers"][0], "image": "registry.example/app:2"}]
    assert (await admin("PATCH", path, {"spec": {"containers": image}}, kind=MERGE)).code == 200


async def test_a_pod_is_bound_once(admin: Client, namespace: str, node: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    await admin("POST", path, pod_body("p", schedulerName="nobody"))
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"name": node}}
    assert (await admin("POST", f"{path}/p/binding", binding)).code == 201
    assert (await admin("GET", f"{path}/p")).body["spec"]["nodeName"] == node
    assert (await admin("POST", f"{path}/p/binding", binding)).code == 409


async def test_leases_are_taken_over_by_version(admin: Client, namespace: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    spec = {"holderIdentity": "one", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"}
    made = (await admin("POST", path, {"metadata": {"name": "l"}, "spec": spec})).body
    taken = [{**made, "spec": {**spec, "holderIdentity": name}} for name in ("two", "three")]
    answers = await asyncio.gather(*(admin("PUT", f"{path}/l", body) for body in taken))
    assert sorted(answer.code for answer in answers) == [200, 409]
    versionless = {"metadata": {"name": "l"}, "spec": {**spec, "holderIdentity": "four"}}
    assert (await admin("PUT", f"{path}/l", versionless)).code == 422


async def test_the_official_client_reads_what_raw_http_wrote(
    admin: Client, core: client.CoreV1Api, namespace: str
) -> None:
    await make(admin, namespace)
    async with asyncio.timeout(DEADLINE_S):
        found = await core.read_namespaced_config_map("a", namespace)
        listed = await core.list_namespaced_config_map(namespace)
        with pytest.raises(client.ApiException) as caught:
            await core.read_namespaced_config_map("nope", namespace)
    assert found.data == {"k": "1"}
    assert "a" in [item.metadata.name for item in listed.items]
    assert caught.value.status == 404
