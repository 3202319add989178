"""What can go wrong between us and an API server, each as a sentence with its next step."""

from __future__ import annotations

from typing import Any

from tasks.outcomes import redact

_NEXT_STEPS = {
    401: "Renew the credential in the kubeconfig: the API server does not know it.",
    403: "Give the kubeconfig's user this right; `kubectl auth can-i --list` shows those that it has.",
    404: "Compare the server in the kubeconfig: an API server would have said more.",
    429: "Wait and start again: something asks the API server more than it lets through.",
}
_UNWELL = (
    "Start again; if it stays so, ask `kubectl get --raw='/readyz?verbose'` and look at the cluster in the console."
)


class ClusterUnreachable(Exception):
    """The API server could not be asked: no answer, no connection, or a kubeconfig that does not work."""


class ApiError(Exception):
    """The API server answered with an error."""

    def __init__(self, status: int, what: str, body: dict[str, Any] | None, retry_after_s: float | None) -> None:
        body = body if body and body.get("kind") == "Status" else {}
        self.status = status
        self.reason: str = body.get("reason", "")
        self.message: str = redact(str(body.get("message", ""))[:500])  # a webhook's error may quote its URL
        causes = (body.get("details") or {}).get("causes") or ()
        self.causes: tuple[str, ...] = tuple(cause.get("reason", "") for cause in causes)
        self.cause_messages: tuple[str, ...] = tuple(redact(str(cause.get("message", ""))[:500]) for cause in causes)
        self.retry_after_s = retry_after_s
        self.next_step = _UNWELL if status >= 500 else _NEXT_STEPS.get(status, "")
        if self.reason == "NotFound":
            self.next_step = ""  # a plain answer, not a trouble
        told = f"{what}: HTTP {status} {self.reason} {self.message}".rstrip(" .")
        super().__init__(f"{told}. {self.next_step}".rstrip())

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


class Throttled(ApiError):
    """429 from the API server's own limits, still so after some patience. A disruption budget's is a plain ApiError."""


def api_error(status: int, what: str, body: dict[str, Any] | None, retry_after_s: float | None = None) -> ApiError:
    """The error of the class that its status and causes ask for."""
    plain = ApiError(status, what, body, retry_after_s)
    kinds: dict[int, type[ApiError]] = {409: Conflict, 410: Gone}
    if plain.reason == "NotFound":
        kinds[404] = NotFound
    if not plain.causes:
        kinds[429] = Throttled
    return kinds[status](status, what, body, retry_after_s) if status in kinds else plain
