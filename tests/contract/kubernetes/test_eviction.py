"""The eviction subresource under every kind of budget."""

from __future__ import annotations

import asyncio
from typing import Any

from poolkeeper.tasks.cluster.errors import ApiThrottled, api_error
from tests.contract.kubernetes.conftest import MERGE, Answer, Client, pod_body, report_pod, run_pod

Json = dict[str, Any]
REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."


def budgets(namespace: str) -> str:
    return f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"


async def make_budget(admin: Client, namespace: str, name: str = "web", **spec: Any) -> None:
    body = {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec}}
    assert (await admin("POST", budgets(namespace), body)).code == 201


async def counted(admin: Client, namespace: str, **wanted: int) -> Json:
    """The budget's status, once its controller has these counts."""

    def holds(found: list[Json]) -> bool:
        status = found[0].get("status") or {} if found else {}
        return bool(status.get("observedGeneration")) and all(
            status.get(key, 0) == value for key, value in wanted.items()
        )

    return (await admin.until(budgets(namespace), holds))[0]["status"]


async def evict(admin: Client, namespace: str, name: str, options: Json | None = None, **query: Any) -> Answer:
    body: Json = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    if options is not None:
        body["deleteOptions"] = options
    return await admin("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", body, **query)


async def pod(admin: Client, namespace: str, name: str) -> Answer:
    return await admin("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")


async def test_without_a_budget_a_pod_goes_and_says_why(admin: Client, namespace: str, node: str) -> None:
    await run_pod(admin, namespace, "a", node)
    answer = await evict(admin, namespace, "a")
    assert (answer.code, answer.body["status"]) == (201, "Success")
    left = (await pod(admin, namespace, "a")).body
    assert "deletionTimestamp" in left["metadata"]
    reasons = {c["type"]: c.get("reason") for c in left["status"]["conditions"]}
    assert reasons["DisruptionTarget"] == "EvictionByEvictionAPI"


async def test_an_exhausted_budget_refuses_with_its_cause(admin: Client, namespace: str, node: str) -> None:
    await make_budget(admin, namespace, minAvailable=2)
    for name in ("a", "b"):
        await run_pod(admin, namespace, name, node)
    await counted(admin, namespace, currentHealthy=2, disruptionsAllowed=0)
    answer = await evict(admin, namespace, "a")
    assert (answer.code, answer.body["reason"], answer.body["message"]) == (429, "TooManyRequests", REFUSED)
    assert answer.body["details"]["causes"] == [
        {
            "reason": "DisruptionBudget",
            "message": "The disruption budget web needs 2 healthy pods and has 2 currently",
        }
    ]
    # a wait of 0 seconds is not sent at all
    assert "Retry-After" not in answer.headers
    ours = api_error(answer.code, "evict", answer.body)
    assert not isinstance(ours, ApiThrottled)
    assert ours.causes == ("DisruptionBudget",)
    assert "deletionTimestamp" not in (await pod(admin, namespace, "a")).body["metadata"]


async def test_a_budget_is_spent_once_however_many_ask(admin: Client, namespace: str, node: str) -> None:
    await make_budget(admin, namespace, minAvailable=3)
    for name in ("a", "b", "c", "d"):
        await run_pod(admin, namespace, name, node)
    await counted(admin, namespace, disruptionsAllowed=1)
    answers = await asyncio.gather(*(evict(admin, namespace, name) for name in ("a", "b", "c", "d")))
    assert sorted(answer.code for answer in answers) == [201, 429, 429, 429]


async def test_a_dry_run_spends_nothing(admin: Client, namespace: str, node: str) -> None:
    await make_budget(admin, namespace, minAvailable=1)
    for name in ("a", "b"):
        await run_pod(admin, namespace, name, node)
    await counted(admin, namespace, disruptionsAllowed=1)
    assert (await evict(admin, namespace, "a", {"dryRun": ["All"]})).code == 201
    assert (await evict(admin, namespace, "b", dryRun="All")).code == 201
    status = (await admin("GET", f"{budgets(namespace)}/web")).body["status"]
    assert status["disruptionsAllowed"] == 1
    assert not status.get("disruptedPods")
    assert "deletionTimestamp" not in (await pod(admin, namespace, "a")).body["metadata"]


async def test_a_dry_run_is_refused_like_the_real_thing(admin: Client, namespace: str, node: str) -> None:
    await make_budget(admin, namespace, minAvailable=1)
    await run_pod(admin, namespace, "a", node)
    await counted(admin, namespace, currentHealthy=1)
    assert (await evict(admin, namespace, "a", {"dryRun": ["All"]})).code == 429


async def test_two_budgets_on_one_pod_are_an_error_without_reason(admin: Client, namespace: str, node: str) -> None:
    await make_budget(admin, namespace, minAvailable=1)
    await make_budget(admin, namespace, "other", minAvailable=1)
    await run_pod(admin, namespace, "a", node)
    answer = await evict(admin, namespace, "a")
    assert answer.code == 500
    assert answer.body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        "code": 500,
    }
    assert "deletionTimestamp" not in (await pod(admin, namespace, "a")).body["metadata"]


async def test_unhealthy_pods_go_while_enough_are_healthy(admin: Client, namespace: str, node: str) -> None:
    await make_budget(admin, namespace, minAvailable=1)
    await run_pod(admin, namespace, "well", node)
    await run_pod(admin, namespace, "ill", node, ready=False)
    await counted(admin, namespace, currentHealthy=1, disruptionsAllowed=0)
    assert (await evict(admin, namespace, "well")).code == 429
    assert (await evict(admin, namespace, "ill")).code == 201


async def test_unhealthy_pods_stay_while_too_few_are_healthy(admin: Client, namespace: str, node: str) -> None:
    await make_budget(admin, namespace, minAvailable=2)
    await run_pod(admin, namespace, "well", node)
    await run_pod(admin, namespace, "ill", node, ready=False)
    await counted(admin, namespace, currentHealthy=1)
    assert (await evict(admin, namespace, "ill")).code == 429


async def test_always_allow_lets_unhealthy_pods_go(admin: Client, namespace: str, node: str) -> None:
    await make_budget(admin, namespace, minAvailable=2, unhealthyPodEvictionPolicy="AlwaysAllow")
    await run_pod(admin, namespace, "well", node)
    await run_pod(admin, namespace, "ill", node, ready=False)
    await counted(admin, namespace, currentHealthy=1)
    assert (await evict(admin, namespace, "well")).code == 429
    assert (await evict(admin, namespace, "ill")).code == 201


async def test_finished_and_pending_pods_need_no_budget(admin: Client, namespace: str, node: str) -> None:
    await make_budget(admin, namespace, minAvailable=5)
    await run_pod(admin, namespace, "done", node)
    await report_pod(admin, namespace, "done", ready=False, phase="Succeeded")
    await admin("POST", f"/api/v1/namespaces/{namespace}/pods", pod_body("new", schedulerName="nobody"))
    await counted(admin, namespace, desiredHealthy=5)
    for name in ("done", "new"):
        assert (await evict(admin, namespace, name)).code == 201
        assert (await pod(admin, namespace, name)).code == 404


async def test_preconditions_of_an_eviction(admin: Client, namespace: str, node: str) -> None:
    made = await run_pod(admin, namespace, "a", node)
    wrong = await evict(admin, namespace, "a", {"preconditions": {"uid": "another"}})
    assert wrong.code == 409
    right = await evict(admin, namespace, "a", {"preconditions": {"uid": made["metadata"]["uid"]}})
    assert right.code == 201


async def test_an_absent_pod_is_404_and_another_name_400(admin: Client, namespace: str) -> None:
    assert (await evict(admin, namespace, "nope")).code == 404
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "other"}}
    answer = await admin("POST", f"/api/v1/namespaces/{namespace}/pods/nope/eviction", body)
    assert answer.code == 400


async def test_max_unavailable_rounds_up(admin: Client, namespace: str, node: str, kubelet: None) -> None:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod_body("x")["spec"]}
    spec = {"replicas": 7, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    await admin(
        "POST", f"/apis/apps/v1/namespaces/{namespace}/replicasets", {"metadata": {"name": "web"}, "spec": spec}
    )
    await make_budget(admin, namespace, maxUnavailable="30%")
    status = await counted(admin, namespace, currentHealthy=7)
    assert (status["expectedPods"], status["desiredHealthy"], status["disruptionsAllowed"]) == (7, 4, 3)
    await admin("PATCH", f"{budgets(namespace)}/web", {"spec": {"maxUnavailable": 0}}, kind=MERGE)
    await counted(admin, namespace, disruptionsAllowed=0, desiredHealthy=7)
