"""Errors of the connection to an API server and of its answers, each with its next step.

The answer's message shows who refused a request, by the texts of kube-apiserver v1.36: the authorizer writes `User "x"
cannot get resource ...`, a webhook `admission webhook "x" denied the request` (with any status), a policy
`ValidatingAdmissionPolicy 'x' ... denied request`. Any other 403 is from a built-in admission plugin: quotas, limits,
Pod Security, a namespace that terminates.
"""

from __future__ import annotations

import re
from typing import Any

from poolkeeper.tasks.cluster.fields import at, text_at
from poolkeeper.tasks.outcomes import CannotGoOn, ChangeState, redact

_NEXT_STEPS = {
    401: "Renew the credential in the kubeconfig: the API server does not accept it.",
    403: "Give the kubeconfig's user this right; `kubectl auth can-i --list` shows the rights that it has.",
    404: "Compare the server in the kubeconfig: this answer is not from an API server.",
    429: "Wait, then start again: the API server has too many requests.",
}
_FORBIDDEN = r'(?:\S+ (?:"[^"]*" )?is )?forbidden: '
"""The start of a refusal by the API server itself: `pods "a" is forbidden: `."""
_UNAUTHORIZED = re.compile(_FORBIDDEN + r'User "')
_BY_WEBHOOK = re.compile(r'(?:Internal error occurred: )?admission webhook "([^"]*)" denied the request')
_BY_POLICY = re.compile(_FORBIDDEN + r"(?:\w*AdmissionPolicy|policy) '([^']*)' .*denied request", re.DOTALL)
_BY_QUOTA = re.compile(_FORBIDDEN + r"(?:exceeded|failed) quota: ([^,:]*)")
_BY_SECURITY = re.compile(_FORBIDDEN + r"violates PodSecurity")
_OTHER_UID = re.compile(r"UID in (?:the )?precondition")
_UNWELL = "Start again; if the error stays, run `kubectl get --raw='/readyz?verbose'` and see the cluster's console."
_SOURCE = "Kubernetes API"


class ClusterUnreachable(CannotGoOn):
    """The API server could not be asked: no answer, no connection, or a kubeconfig that cannot be used."""

    id = "cluster.api.unreachable"
    expected = "the API server answers"
    next_step = "Check the network path (route, firewall, proxy settings, the load balancer's access list)."
    source = _SOURCE
    leaves = ChangeState.UNKNOWN


class ApiError(CannotGoOn):
    """The API server answered with an error."""

    id = "cluster.api.error"
    expected = "the API server accepts the request"
    source = _SOURCE

    def __init__(self, status: int, what: str, body: dict[str, Any] | None, retry_after_s: float | None) -> None:
        body = body if body and body.get("kind") == "Status" else {}
        self.status = status
        self.reason = text_at(body, "reason")[:100]
        self.message = redact(text_at(body, "message")[:500])  # a webhook's error may quote its URL
        found = at(body, "details", "causes")
        causes = found[:20] if isinstance(found, list) else []
        self.causes = tuple(text_at(cause, "reason")[:100] for cause in causes)
        self.cause_messages = tuple(redact(text_at(cause, "message")[:500]) for cause in causes)
        self.retry_after_s = retry_after_s
        self.next_step = self._next_step()
        super().__init__(f"{what}: HTTP {status} {self.reason} {self.message}".rstrip(" ."))

    @property
    def leaves(self) -> ChangeState:
        """The state of the change that was requested: a proxy may have sent a 408 or 5xx after the change was made."""
        return ChangeState.REFUSED if self.status < 500 and self.status != 408 else ChangeState.UNKNOWN

    @property
    def missing_right(self) -> bool:
        """Whether the user of the kubeconfig lacks the right to do this."""
        return self.status == 403

    def _next_step(self) -> str:
        if self.reason == "NotFound":
            return ""  # an ordinary answer
        return _UNWELL if self.status >= 500 else _NEXT_STEPS.get(self.status, type(self).next_step)

    @property
    def temporary(self) -> bool:
        """Whether a retry may help: the server failed or had too many requests."""
        return self.status == 429 or self.status >= 500


class NotFound(ApiError):
    """404 with the API server's own reason NotFound: there is no such object. Any other 404 is a plain ApiError."""

    id = "cluster.api.not-found"
    expected = "the object exists"


class Conflict(ApiError):
    """409: the object exists already, or has changed since it was read."""

    id = "cluster.api.conflict"
    expected = "nobody else changes the object at the same time"
    next_step = "Start this again."

    @property
    def names_another_object(self) -> bool:
        """Whether the object of the request is gone and another one has its name: its uid was a precondition."""
        return _OTHER_UID.search(self.message) is not None


class Gone(ApiError):
    """410: the watch or the continue token has expired; the list must be read again."""

    id = "cluster.api.expired"
    expected = "the API server still has this version of the list"


class AdmissionDenied(ApiError):
    """Admission (a webhook, a policy, a quota, Pod Security) denied a request that the user has the right to make.

    No right is missing, and a later retry of the same request may be admitted.
    """

    id = "cluster.api.admission-denied"
    expected = "admission lets the request pass"

    @property
    def temporary(self) -> bool:
        """False: the API server works and has answered, with whatever status a webhook chose."""
        return False

    @property
    def missing_right(self) -> bool:
        """False: the right is there."""
        return False

    @property
    def for_want_of_quota(self) -> bool:
        """Whether a quota is used up, which other workloads release over time."""
        return _BY_QUOTA.match(self.message) is not None

    @property
    def may_pass(self) -> bool:
        """Whether the same request may be admitted later: by a webhook, or when the quota has free capacity."""
        return self.for_want_of_quota or _BY_WEBHOOK.match(self.message) is not None

    def _next_step(self) -> str:
        if webhook := _BY_WEBHOOK.match(self.message):
            kinds = "validatingwebhookconfigurations,mutatingwebhookconfigurations"
            return f"Follow its message, or find the owner of webhook {webhook[1]}: `kubectl get {kinds} -o yaml`."
        if policy := _BY_POLICY.match(self.message):
            return f"Follow its message, or find its owner: `kubectl get validatingadmissionpolicies {policy[1]}`."
        if _BY_QUOTA.match(self.message):
            return "Free capacity in the quota: `kubectl describe resourcequotas --all-namespaces`."
        if _BY_SECURITY.match(self.message):
            return "Compare the labels pod-security.kubernetes.io/enforce: `kubectl get namespaces --show-labels`."
        return "Follow its message: an admission plugin of the API server denied the request; no right is missing."


class ApiThrottled(ApiError):
    """429 from the API server's own limits, after several retries. A disruption budget's 429 is a plain ApiError."""

    id = "cluster.api.throttled"
    expected = "the API server has capacity for the request"


def api_error(status: int, what: str, body: dict[str, Any] | None, retry_after_s: float | None = None) -> ApiError:
    """The error, of the class that its status and causes select."""
    plain = ApiError(status, what, body, retry_after_s)
    if _is_denied(plain, what):
        return AdmissionDenied(status, what, body, retry_after_s)
    kinds: dict[int, type[ApiError]] = {409: Conflict, 410: Gone}
    if plain.reason == "NotFound":
        kinds[404] = NotFound
    if not plain.causes:
        kinds[429] = ApiThrottled
    return kinds[status](status, what, body, retry_after_s) if status in kinds else plain


def _is_denied(error: ApiError, what: str) -> bool:
    if _BY_WEBHOOK.match(error.message) or _BY_POLICY.match(error.message):
        return True
    # reads do not pass admission; and a 403 without a message of the API server may be a proxy's
    writes = what.startswith(("POST ", "PUT ", "PATCH ", "DELETE "))
    return writes and error.status == 403 and bool(error.message) and not _UNAUTHORIZED.match(error.message)
