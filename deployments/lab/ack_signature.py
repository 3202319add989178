"""Alibaba Cloud's request signature ACS3-HMAC-SHA256, verified as the real OpenAPI does.

Rules: https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import quote

ALGORITHM = "ACS3-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Credential=(?P<key>[^,]+),SignedHeaders=(?P<headers>[^,]+),Signature=(?P<signature>[0-9a-f]+)"
)


class SignatureRefused(Exception):
    """The request is not signed by the key pair; `code` is the OpenAPI's own."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def verify(
    method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes, key_id: str, secret: str
) -> None:
    """Check one request. `path` is as sent; `headers` is case-insensitive. Raises SignatureRefused."""
    found = _AUTHORIZATION.fullmatch(headers.get("Authorization", ""))
    if found is None:
        raise SignatureRefused("MissingAuthorization", f"the Authorization header is not an {ALGORITHM} signature")
    if found["key"] != key_id:
        raise SignatureRefused("InvalidAccessKeyId.NotFound", "Specified access key is not found.")
    if hashlib.sha256(body).hexdigest() != headers.get("x-acs-content-sha256"):
        raise SignatureRefused("SignatureDoesNotMatch", "x-acs-content-sha256 is not the hash of the body")
    names = found["headers"].split(";")
    canonical = "\n".join(
        (
            method,
            path,
            "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in sorted(query.items())),
            "".join(f"{name}:{headers.get(name, '').strip()}\n" for name in names),
            found["headers"],
            headers["x-acs-content-sha256"],
        )
    )
    text = f"{ALGORITHM}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    expected = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, found["signature"]):
        raise SignatureRefused("SignatureDoesNotMatch", "Specified signature does not match our calculation.")
