"""What can go wrong between us and an API server, each as a sentence with its next step.

Who refused a request is told by the words that kube-apiserver v1.36 has for it: the authorizer's `User "x" cannot get
resource ...`, a webhook's `admission webhook "x" denied the request` (with whatever status it likes), a policy's
`ValidatingAdmissionPolicy 'x' ... denied request`. Any other 403 is from a plugin of the server's own admission:
quotas, limits, Pod Security, a namespace that is going.
"""

from __future__ import annotations

import re
from typing import Any

from poolkeeper.tasks.cluster.fields import at, text_at
from poolkeeper.tasks.outcomes import CannotGoOn, ChangeState, redact

_NEXT_STEPS = {
    401: "Renew the credential in the kubeconfig: the API server does not know it.",
    403: "Give the kubeconfig's user this right; `kubectl auth can-i --list` shows those that it has.",
    404: "Compare the server in the kubeconfig: an API server would have said more.",
    429: "Wait and start again: something asks the API server more than it lets through.",
}
_FORBIDDEN = r'(?:\S+ (?:"[^"]*" )?is )?forbidden: '
"""How the API server begins a refusal of its own: `pods "a" is forbidden: `."""
_UNAUTHORIZED = re.compile(_FORBIDDEN + r'User "')
_BY_WEBHOOK = re.compile(r'(?:Internal error occurred: )?admission webhook "([^"]*)" denied the request')
_BY_POLICY = re.compile(_FORBIDDEN + r"(?:\w*AdmissionPolicy|policy) '([^']*)' .*denied request", re.DOTALL)
_BY_QUOTA = re.compile(_FORBIDDEN + r"(?:exceeded|failed) quota: ([^,:]*)")
_BY_SECURITY = re.compile(_FORBIDDEN + r"violates PodSecurity")
_UNWELL = (
    "Start again; if it stays so, ask `kubectl get --raw='/readyz?verbose'` and look at the cluster in the console."
)


class ClusterUnreachable(CannotGoOn):
    """The API server could not be asked: no answer, no connection, or a kubeconfig that does not work."""

    leaves = ChangeState.UNKNOWN


class ApiError(CannotGoOn):
    """The API server answered with an error."""

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
        told = f"{what}: HTTP {status} {self.reason} {self.message}".rstrip(" .")
        super().__init__(f"{told}. {self.next_step}".rstrip())

    @property
    def leaves(self) -> ChangeState:
        """What it says of the change that was asked for: some answers may be those of something in between."""
        return ChangeState.REFUSED if self.status < 500 and self.status != 408 else ChangeState.UNKNOWN

    @property
    def missing_right(self) -> bool:
        """Whether it says that our user may not do this at all."""
        return self.status == 403

    def _next_step(self) -> str:
        if self.reason == "NotFound":
            return ""  # a plain answer, not a trouble
        return _UNWELL if self.status >= 500 else _NEXT_STEPS.get(self.status, "")

    @property
    def temporary(self) -> bool:
        """Whether asking again may help: the server was unwell or had too much to do."""
        return self.status == 429 or self.status >= 500


class NotFound(ApiError):
    """404, and the API server itself says that there is no such object; any other 404 is a plain ApiError."""


class Conflict(ApiError):
    """409: it exists already, or has changed since it was read."""


class Gone(ApiError):
    """410: a watch or a list must start anew."""


class Denied(ApiError):
    """Admission said no to what we have the right to: a webhook, a policy, a quota, Pod Security.

    It is no missing right, and no word about the object: what is asked again may be let pass.
    """

    @property
    def temporary(self) -> bool:
        """The server is well: it was asked and has answered, with whatever status a webhook chose."""
        return False

    @property
    def leaves(self) -> ChangeState:
        """What it says of the change that was asked for: some answers may be those of something in between."""
        return ChangeState.REFUSED if self.status < 500 and self.status != 408 else ChangeState.UNKNOWN

    @property
    def missing_right(self) -> bool:
        """It is none."""
        return False

    @property
    def for_want_of_quota(self) -> bool:
        """Whether a quota is used up, which others give back by and by."""
        return _BY_QUOTA.match(self.message) is not None

    @property
    def may_pass(self) -> bool:
        """Whether the very same request may be let pass a little later: by a webhook, or once a quota has room."""
        return self.for_want_of_quota or _BY_WEBHOOK.match(self.message) is not None

    def _next_step(self) -> str:
        if webhook := _BY_WEBHOOK.match(self.message):
            kinds = "validatingwebhookconfigurations,mutatingwebhookconfigurations"
            return f"Do as it says, or see whose webhook {webhook[1]} is: `kubectl get {kinds} -o yaml`."
        if policy := _BY_POLICY.match(self.message):
            return f"Do as it says, or see whose policy it is: `kubectl get validatingadmissionpolicies {policy[1]}`."
        if _BY_QUOTA.match(self.message):
            return "Make room in it: `kubectl describe resourcequotas --all-namespaces`."
        if _BY_SECURITY.match(self.message):
            return "Compare the labels pod-security.kubernetes.io/enforce: `kubectl get namespaces --show-labels`."
        return "Do as it says: an admission plugin of the API server refused it, and not a missing right."


class Throttled(ApiError):
    """429 from the API server's own limits, still so after some patience. A disruption budget's is a plain ApiError."""


def api_error(status: int, what: str, body: dict[str, Any] | None, retry_after_s: float | None = None) -> ApiError:
    """The error of the class that its status and causes ask for."""
    plain = ApiError(status, what, body, retry_after_s)
    if _is_denied(plain, what):
        return Denied(status, what, body, retry_after_s)
    kinds: dict[int, type[ApiError]] = {409: Conflict, 410: Gone}
    if plain.reason == "NotFound":
        kinds[404] = NotFound
    if not plain.causes:
        kinds[429] = Throttled
    return kinds[status](status, what, body, retry_after_s) if status in kinds else plain


def _is_denied(error: ApiError, what: str) -> bool:
    if _BY_WEBHOOK.match(error.message) or _BY_POLICY.match(error.message):
        return True
    # admission is not asked about reading; and without a message of the API server's own, a 403 may be a proxy's
    writes = what.startswith(("POST ", "PUT ", "PATCH ", "DELETE "))
    return writes and error.status == 403 and bool(error.message) and not _UNAUTHORIZED.match(error.message)
