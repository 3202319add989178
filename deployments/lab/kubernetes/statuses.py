"""Errors as a kube-apiserver words them: a Status object with its HTTP code.

Texts and fields: k8s.io/apimachinery, pkg/api/errors (v0.36).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from poolkeeper.deployments.lab.kubernetes.resources import Resource

Json = dict[str, Any]


class StatusError(Exception):
    """An answer that is an error; `body` is the Status to send."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Json | None = None,
        metadata: Json | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details or {}
        self.metadata = metadata or {}

    @property
    def body(self) -> Json:
        """The Status object."""
        body: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": str(self),
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details:
            body["details"] = self.details
        return body | {"code": self.code}


@dataclass(frozen=True, slots=True)
class Flaw:
    """One invalid field of an object."""

    field: str
    reason: str
    message: str

    @classmethod
    def required(cls, field: str, detail: str = "") -> Flaw:
        """A field that must be there."""
        return cls(field, "FieldValueRequired", "Required value" + (f": {detail}" if detail else ""))

    @classmethod
    def invalid(cls, field: str, value: Any, detail: str) -> Flaw:
        """A field with a value that cannot be."""
        return cls(field, "FieldValueInvalid", f"Invalid value: {_shown(value)}: {detail}")

    @classmethod
    def forbidden(cls, field: str, detail: str) -> Flaw:
        """A field that must not be set or changed."""
        return cls(field, "FieldValueForbidden", f"Forbidden: {detail}")

    @classmethod
    def unsupported(cls, field: str, value: Any, supported: tuple[str, ...]) -> Flaw:
        """A field with a value out of a fixed set."""
        values = ", ".join(f'"{each}"' for each in supported)
        message = f"Unsupported value: {_shown(value)}: supported values: {values}"
        return cls(field, "FieldValueNotSupported", message)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


def _about(resource: Resource, name: str = "") -> Json:
    details: Json = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    return details | {"kind": resource.plural}


def success(details: Json, code: int | None = None) -> Json:
    """A Status that says it worked."""
    body: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details:
        body["details"] = details
    return body if code is None else body | {"code": code}


def deleted(resource: Resource, name: str, uid: str) -> Json:
    """The Status that answers a DELETE of something that is gone."""
    return success(_about(resource, name) | {"uid": uid})


def unauthorized() -> StatusError:
    """401: no user could be made of the request."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(resource: Resource, name: str, why: str) -> StatusError:
    """403: not allowed, by authorization or by a rule of the object itself."""
    what = f'{resource.qualified} "{name}"' if name else resource.qualified
    return StatusError(403, "Forbidden", f"{what} is forbidden: {why}", _about(resource, name))


def not_found(resource: Resource, name: str) -> StatusError:
    """404: no such object."""
    return StatusError(404, "NotFound", f'{resource.qualified} "{name}" not found', _about(resource, name))


def already_exists(resource: Resource, name: str) -> StatusError:
    """409: create of a name that is taken."""
    return StatusError(409, "AlreadyExists", f'{resource.qualified} "{name}" already exists', _about(resource, name))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def invalid_options(kind: str, flaw: Flaw) -> StatusError:
    """422: options of a request that cannot be."""
    causes = [{"reason": flaw.reason, "message": flaw.message, "field": flaw.field}]
    details = {"group": "meta.k8s.io", "kind": kind, "causes": causes}
    return StatusError(422, "Invalid", f'{kind}.meta.k8s.io "" is invalid: {flaw.field}: {flaw.message}', details)


def unreadable_patch(why: str) -> StatusError:
    """422: what a patch makes of an object cannot be decoded."""
    causes = [{"reason": "FieldValueInvalid", "message": f"Invalid value: {why}", "field": "patch"}]
    return StatusError(422, "Invalid", f' "" is invalid: patch: Invalid value: {why}', {"causes": causes})


def precondition_failed(resource: Resource, name: str, why: str) -> StatusError:
    """409: a deletion was meant for another object; upstream names the kind here, not the resource."""
    details = {"name": name, "kind": resource.kind} | ({"group": resource.group} if resource.group else {})
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    return StatusError(409, "Conflict", f'Operation cannot be fulfilled on {kind} "{name}": {why}', details)


def conflict(resource: Resource, name: str, why: str = MODIFIED) -> StatusError:
    """409: the object is not what the caller believes it to be."""
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return StatusError(409, "Conflict", message, _about(resource, name))


def bad_request(message: str) -> StatusError:
    """400: a request that makes no sense."""
    return StatusError(400, "BadRequest", message)


def method_not_allowed() -> StatusError:
    """405: the path exists, the verb does not."""
    return StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def unsupported_media_type(accepted: tuple[str, ...]) -> StatusError:
    """415: a body of a type that the server does not read."""
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return StatusError(415, "UnsupportedMediaType", message)


def invalid(resource: Resource, name: str, flaws: list[Flaw]) -> StatusError:
    """422: an object that breaks its rules; every flaw is named."""
    texts = [f"{flaw.field}: {flaw.message}" for flaw in flaws]
    told = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    details: Json = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    details["kind"] = resource.kind
    details["causes"] = [{"reason": f.reason, "message": f.message, "field": f.field} for f in flaws]
    return StatusError(422, "Invalid", f'{kind} "{name}" is invalid: {told}', details)


def too_many_requests(message: str, retry_after_s: int, causes: list[Json] | None = None) -> StatusError:
    """429: try later; `causes` tells an exhausted disruption budget from a busy server."""
    details: Json = {"causes": causes} if causes else {}
    if retry_after_s:
        details["retryAfterSeconds"] = retry_after_s
    return StatusError(429, "TooManyRequests", message, details)


def expired(message: str, continue_token: str = "") -> StatusError:
    """410: a resourceVersion or continue token that history no longer reaches."""
    metadata = {"continue": continue_token} if continue_token else {}
    return StatusError(410, "Expired", message, metadata=metadata)


def too_large_version(asked: int, current: int) -> StatusError:
    """504: a resourceVersion from the future."""
    message = f"Too large resource version: {asked}, current: {current}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    return StatusError(504, "Timeout", message, {"causes": causes, "retryAfterSeconds": 1})


def internal_error(message: str) -> StatusError:
    """500: something behind the API did not work."""
    causes = [{"message": message}]
    return StatusError(500, "InternalError", f"Internal error occurred: {message}", {"causes": causes})


def unavailable(message: str) -> StatusError:
    """503: not now."""
    return StatusError(503, "ServiceUnavailable", message)


def not_implemented(what: str) -> StatusError:
    """501: a kube-apiserver has this and the lab has not; better than a wrong success."""
    return StatusError(501, "NotImplemented", f"the lab's API server does not have {what}")
