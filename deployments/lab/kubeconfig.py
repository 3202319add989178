"""Kubeconfigs as JSON, which YAML readers take."""

from __future__ import annotations

import base64
import json
from typing import Any

Json = dict[str, Any]


def kubeconfig(server: str, authority_pem: bytes, user: str, credential: Json) -> str:
    """One cluster, one user. `credential`: the user entry, such as `by_token("...")`."""
    authority = base64.b64encode(authority_pem).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority-data": authority}}],
        "users": [{"name": user, "user": credential}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
        "current-context": "lab",
    }
    return json.dumps(config, indent=2) + "\n"


def by_token(token: str) -> Json:
    """A user who shows a bearer token."""
    return {"token": token}


def by_certificate(certificate_pem: bytes, key_pem: bytes) -> Json:
    """A user who shows a client certificate."""
    return {
        "client-certificate-data": base64.b64encode(certificate_pem).decode(),
        "client-key-data": base64.b64encode(key_pem).decode(),
    }
