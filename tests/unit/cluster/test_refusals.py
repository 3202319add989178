"""Who refused a request, told by the API server's own words, and what that means for a drain."""

from __future__ import annotations

from typing import Any, cast

import pytest

from poolkeeper.tasks.cluster import AdmissionDenied, ApiError, ApiThrottled, ClusterApi, Conflict, Gone, NotFound
from poolkeeper.tasks.cluster.errors import api_error
from poolkeeper.tasks.cluster.eviction import EvictionState, evict, judged
from poolkeeper.tasks.cluster.pods import PodRow
from poolkeeper.tasks.outcomes import ChangeState

Json = dict[str, Any]

USER = 'User "system:serviceaccount:poolkeeper:poolkeeper" cannot create resource "pods/eviction" in API group "" in the namespace "shop"'
WEBHOOK = 'admission webhook "guard.example.com" denied the request'
POLICY = "ValidatingAdmissionPolicy 'no-leader' with binding 'all' denied request: move the leader away first"
BUDGET = {"causes": [{"reason": "DisruptionBudget", "message": "The disruption budget web needs 1"}]}


def answer(status: int, message: str = "", reason: str = "", **more: Any) -> ApiError:
    return api_error(status, "POST x", {"kind": "Status", "message": message, "reason": reason, **more})


@pytest.mark.parametrize(
    ("error", "kind", "state"),
    [
        # a right that is missing
        pytest.param(answer(403, f'pods "a" is forbidden: {USER}'), ApiError, "never", id="no right"),
        pytest.param(answer(403, f"pods is forbidden: {USER}"), ApiError, "never", id="no right, to a kind"),
        pytest.param(answer(403, f"pods.metrics.k8s.io is forbidden: {USER}"), ApiError, "never", id="no right, to a group's kind"),
        pytest.param(answer(403, 'forbidden: User "joe" cannot get path "/version"'), ApiError, "never", id="no right, to a path"),
        pytest.param(answer(403, f'pods "a" is forbidden: {USER}: RBAC: role "x" not found'), ApiError, "never", id="with a reason"),
        pytest.param(api_error(403, "POST x", None), ApiError, "never", id="no word of an API server"),
        pytest.param(api_error(403, "GET x", {"kind": "Status", "message": "no."}), ApiError, "never", id="reading"),
        # admission, whatever status it chose
        pytest.param(answer(403, f"{WEBHOOK}: move the leader away first"), AdmissionDenied, "blocked", id="a webhook"),
        pytest.param(answer(400, f"{WEBHOOK} without explanation"), AdmissionDenied, "blocked", id="a webhook of few words"),
        pytest.param(answer(404, f"{WEBHOOK}: no such leader", "NotFound"), AdmissionDenied, "blocked", id="a webhook's 404"),
        pytest.param(answer(409, f"{WEBHOOK}: busy", "Conflict"), AdmissionDenied, "blocked", id="a webhook's 409"),
        pytest.param(answer(410, f"{WEBHOOK}: gone"), AdmissionDenied, "blocked", id="a webhook's 410"),
        pytest.param(answer(429, f"{WEBHOOK}: one at a time"), AdmissionDenied, "blocked", id="a webhook's 429"),
        pytest.param(answer(500, f"{WEBHOOK}: our own error"), AdmissionDenied, "blocked", id="a webhook's 500"),
        pytest.param(answer(500, f"Internal error occurred: {WEBHOOK}: no"), AdmissionDenied, "blocked", id="a webhook's, wrapped"),
        pytest.param(answer(403, f"{WEBHOOK}: {USER}"), AdmissionDenied, "blocked", id="a webhook that speaks of rights"),
        pytest.param(answer(422, f'pods "a" is forbidden: {POLICY}', "Invalid"), AdmissionDenied, "blocked", id="a policy"),
        pytest.param(answer(401, f'pods "a" is forbidden: {POLICY}', "Unauthorized"), AdmissionDenied, "blocked", id="a policy's 401"),
        pytest.param(answer(403, f'pods "a" is forbidden: {POLICY}, for {USER}'), AdmissionDenied, "blocked", id="a policy that speaks of rights"),
        pytest.param(answer(403, 'pods "a" is forbidden: exceeded quota: few, requested: pods=1, used: pods=2, limited: pods=2'), AdmissionDenied, "blocked", id="a quota"),
        pytest.param(answer(403, 'pods "a" is forbidden: violates PodSecurity "restricted:latest": privileged'), AdmissionDenied, "blocked", id="Pod Security"),
        pytest.param(answer(403, 'poddisruptionbudget.policy "web" is forbidden: pdb disruptions allowed is negative'), AdmissionDenied, "blocked", id="a broken budget"),
        pytest.param(answer(403, 'pods "a" is forbidden: unable to create new content in namespace x because it is being terminated'), AdmissionDenied, "blocked", id="a namespace that is going"),
        # neither
        pytest.param(answer(429, "slow down"), ApiThrottled, "blocked", id="too much at once"),
        pytest.param(answer(429, "no", details=BUDGET), ApiError, "blocked", id="a budget"),
        pytest.param(answer(500, "This pod has more than one PodDisruptionBudget"), ApiError, "never", id="two budgets"),
        pytest.param(answer(500, 'Internal error occurred: failed calling webhook "x": connection refused'), ApiError, "later", id="a webhook that is away"),
        pytest.param(answer(503), ApiError, "later", id="unwell"),
        pytest.param(answer(404, 'pods "a" not found', "NotFound"), NotFound, None, id="not found"),
        pytest.param(answer(409, "changed"), Conflict, None, id="a conflict"),
        pytest.param(answer(410, "too old"), Gone, None, id="too old"),
        pytest.param(answer(401), ApiError, None, id="a credential that has expired"),
    ],
)  # fmt: skip
def test_who_refused(error: ApiError, kind: type[ApiError], state: str | None) -> None:
    assert type(error) is kind
    assert error.missing_right == (error.status == 403 and kind is ApiError)
    if state is None:
        with pytest.raises(kind):
            judged(error)
    else:
        assert judged(error).state is EvictionState(state)


@pytest.mark.parametrize(
    ("error", "next_step"),
    [
        (answer(403, f"pods is forbidden: {USER}"), "Give the kubeconfig's user this right"),
        (answer(404, f"{WEBHOOK}: no", "NotFound"), "find the owner of webhook guard.example.com"),
        (answer(422, f'pods "a" is forbidden: {POLICY}'), "`kubectl get validatingadmissionpolicies no-leader`"),
        (answer(403, 'pods "a" is forbidden: exceeded quota: few, requested: pods=1'), "`kubectl describe resourcequotas"),
        (answer(403, 'pods "a" is forbidden: violates PodSecurity "restricted:latest": x'), "pod-security.kubernetes.io/enforce"),
        (answer(403, 'pods "a" is forbidden: no PriorityClass x'), "an admission plugin of the API server denied the request"),
    ],
    ids=["right", "webhook", "policy", "quota", "Pod Security", "plugin"],
)  # fmt: skip
def test_what_to_do_about_it(error: ApiError, next_step: str) -> None:
    assert next_step in error.next_step
    assert error.summary.endswith(error.next_step)


@pytest.mark.parametrize(
    ("message", "passes"),
    [
        (f"{WEBHOOK}: not now", True),
        ('pods "a" is forbidden: exceeded quota: few, requested: pods=1', True),
        (f'pods "a" is forbidden: {POLICY}', False),
        ('pods "a" is forbidden: violates PodSecurity "restricted:latest": x', False),
    ],
    ids=["webhook", "quota", "policy", "Pod Security"],
)
def test_what_may_be_let_pass_a_little_later(message: str, passes: bool) -> None:
    error = answer(403, message)
    assert isinstance(error, AdmissionDenied)
    assert error.may_pass is passes


@pytest.mark.parametrize(
    ("message", "gone"),
    [
        ("Precondition failed: UID in precondition: a, UID in object meta: b", True),
        (
            "the UID in the precondition (a) does not match the UID in record (b). The object might have been deleted",
            True,
        ),
        ("Operation cannot be fulfilled on pods: the object has been modified", False),
        ("", False),
    ],
    ids=["storage", "deletion", "a changed object", "no reason"],
)
async def test_only_a_conflict_of_the_uid_says_that_an_object_is_gone(message: str, gone: bool) -> None:
    """An eviction or a deletion that met another conflict is not recorded as done."""

    class Answers:
        async def request(self, *arguments: Any, **more: Any) -> Json:
            raise answer(409, message, "Conflict")

    pod = PodRow("shop", "a", "u1", "n1", "Running", True, "", "ReplicaSet", "web", False, "")
    eviction = await evict(cast(ClusterApi, Answers()), pod)
    assert (eviction.state, eviction.end[0]) == (
        (EvictionState.GONE, ChangeState.DONE) if gone else (EvictionState.LATER, ChangeState.UNKNOWN)
    )


def test_why_is_what_was_said() -> None:
    assert judged(answer(429, "no", details=BUDGET)).why == "The disruption budget web needs 1"
    assert judged(answer(403, f"{WEBHOOK}: move the leader away first")).why == f"{WEBHOOK}: move the leader away first"
    assert "Give the kubeconfig's user this right" in judged(answer(403, f"pods is forbidden: {USER}")).why


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "Status", "reason": [], "message": {"a": 1}, "details": []},
        {"kind": "Status", "message": None, "details": {"causes": [None, 5, {"reason": 5}]}},
        {"kind": "Status", "details": {"causes": "x"}},
        {"kind": ["Status"]},
        {},
        {"kind": "Status", "message": "x" * 10**6, "details": {"causes": [{"message": "y" * 10**6}] * 1000}},
    ],
)
def test_an_odd_answer_is_an_error_like_any_other(body: Json) -> None:
    error = api_error(422, "POST x", body)
    assert error.status == 422
    assert len(str(error)) < 1000
    assert sum(map(len, error.cause_messages)) <= 10_000
