"""Who sends a request: by bearer token, by client certificate, or nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

AUTHENTICATED = "system:authenticated"
MASTERS = "system:masters"


@dataclass(frozen=True, slots=True)
class User:
    """A user and the groups that it is in."""

    name: str
    groups: tuple[str, ...] = ()

    @property
    def all_groups(self) -> frozenset[str]:
        """Its groups with those that Kubernetes adds."""
        added = {"system:unauthenticated" if self is ANONYMOUS else AUTHENTICATED}
        if self.name.startswith("system:serviceaccount:"):
            added |= {"system:serviceaccounts", f"system:serviceaccounts:{self.name.split(':')[2]}"}
        return frozenset(self.groups) | added


ANONYMOUS = User("system:anonymous")


def authenticate(
    authorization: str | None, certificate: Mapping[str, Any] | None, tokens: Mapping[str, User]
) -> User | None:
    """The user of a request; None when it shows credentials that are not good.

    certificate: as `SSLSocket.getpeercert` gives it, verified by the TLS handshake
    """
    if certificate:
        subject = [pair for group in certificate.get("subject", ()) for pair in group]
        name = next((value for key, value in subject if key == "commonName"), "")
        if name:
            return User(name, tuple(value for key, value in subject if key == "organizationName"))
    if authorization:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return ANONYMOUS
        return tokens.get(token.strip())
    return ANONYMOUS
