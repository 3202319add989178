"""Bootstrap tokens, and what a cluster tells machines that are to join it.

Rules from kubernetes.io, "Authenticating with Bootstrap Tokens" and "kubeadm join": a token is a Secret of its own type
in kube-system, which the control plane deletes when it has expired; for each token with usage `signing` it signs the
ConfigMap `kube-public/cluster-info`, by which a machine that knows only the token knows the cluster.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import string
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import yaml
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from poolkeeper.tasks.cluster.access import authorities
from poolkeeper.tasks.cluster.api import ClusterApi, Json
from poolkeeper.tasks.cluster.errors import Conflict, NotFound
from poolkeeper.tasks.cluster.fields import Unread
from poolkeeper.tasks.cluster.kubeconfig import KubeconfigUnusable
from poolkeeper.tasks.outcomes import PoolkeeperError, Secret

SECRETS = "/api/v1/namespaces/kube-system/secrets"
CLUSTER_INFO = "/api/v1/namespaces/kube-public/configmaps"
OURS = "poolkeeper.io/bootstrap-token"
"""Label of the tokens that are ours; its value is the host's name."""
JOINERS = "system:bootstrappers:kubeadm:default-node-token"
"""The group whose requests for a kubelet's certificate kubeadm's own role bindings approve."""
SIGNATURE = "jws-kubeconfig-"
"""Key of the ConfigMap, before a token's id."""
_TRIES = 5


class ClusterInfoUnusable(PoolkeeperError):
    """The ConfigMap `kube-public/cluster-info`, which joining machines read, is missing or cannot be used."""

    id = "cluster.cluster-info.unusable"
    expected = "a signed ConfigMap kube-public/cluster-info with the API server's address and certificate authority"
    next_step = "Run `kubeadm init phase bootstrap-token` on a control-plane host, which writes it again."
    source = "Kubernetes API"


@dataclass(frozen=True, slots=True)
class BootstrapToken:
    """A token that the API server knows."""

    id: str
    """Its public half, in the Secret's name."""
    text: Secret
    """Both halves, as kubeadm takes them."""
    uid: str
    """Of the Secret."""
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """What `cluster-info` says of the cluster."""

    endpoint: str
    """`host:port` of the API server, as machines are to reach it."""
    authorities: frozenset[str]
    """Hash of each certificate authority's public key, as kubeadm pins it."""


async def create_token(api: ClusterApi, host: str, *, lives: timedelta) -> BootstrapToken:
    """A new token for the join of one host; it expires by the API server's own clock.

    Raises ApiError and ClusterUnreachable.
    """
    expires_at = await api.server_time() + lives
    for attempt in range(1, _TRIES + 1):
        id, half = _random(6), _random(16)
        try:
            made = await api.request("POST", SECRETS, body=token_object(id, half, host, expires_at))
        except Conflict:
            if attempt == _TRIES:
                raise
            continue  # somebody's token has this id
        return BootstrapToken(id, Secret(f"{id}.{half}"), made["metadata"]["uid"], expires_at)
    raise AssertionError("unreachable")


def token_object(id: str, half: str, host: str, expires_at: datetime) -> Json:
    """The Secret of a token. Pure."""
    fields = {
        "description": f"poolkeeper: join of host {host}",
        "token-id": id,
        "token-secret": half,
        "expiration": expires_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "usage-bootstrap-authentication": "true",
        "usage-bootstrap-signing": "true",
        "auth-extra-groups": JOINERS,
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"bootstrap-token-{id}", "namespace": "kube-system", "labels": {OURS: host}},
        "type": "bootstrap.kubernetes.io/token",
        "data": {name: b64encode(value.encode()).decode() for name, value in fields.items()},
    }


def _random(length: int) -> str:
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(length))


async def revoke_token(api: ClusterApi, token: BootstrapToken) -> None:
    """Delete a token. After it that token does not exist. Raises ApiError and ClusterUnreachable."""
    try:
        await api.request("DELETE", f"{SECRETS}/bootstrap-token-{token.id}", body={"preconditions": {"uid": token.uid}})
    except NotFound:
        return
    except Conflict as conflict:
        if not conflict.names_another_object:
            raise


async def wait_cluster_info(api: ClusterApi, until: Callable[[Mapping[str, str]], bool]) -> None:
    """Until the ConfigMap's data is such; it is empty where there is none. Waits for ever: put it under a deadline."""
    async for found in api.changes(CLUSTER_INFO, query={"fieldSelector": "metadata.name=cluster-info"}):
        if until(Unread(found[0], "").pairs("data") if found else {}):
            return


async def wait_signed(api: ClusterApi, token: BootstrapToken, *, timeout_s: float) -> None:
    """Until `cluster-info` is signed for a token. Raises ClusterInfoUnusable after `timeout_s`, and ApiError."""
    try:
        async with asyncio.timeout(timeout_s):
            await wait_cluster_info(api, lambda data: f"{SIGNATURE}{token.id}" in data)
    except TimeoutError:
        raise ClusterInfoUnusable(
            f"the control plane has not signed kube-public/cluster-info for a new token within {timeout_s:g} s",
            next_step="See that kube-controller-manager runs with its controller bootstrap-signer-controller.",
        ) from None


async def require_configuration(api: ClusterApi, name: str) -> None:
    """That the ConfigMap `kube-system/NAME`, which kubeadm keeps, is there. Raises NotFound and ApiError."""
    await api.request("GET", f"/api/v1/namespaces/kube-system/configmaps/{name}")


async def read_cluster_info(api: ClusterApi) -> ClusterInfo:
    """What machines are told. Raises ClusterInfoUnusable, ApiError and ClusterUnreachable."""
    try:
        found = await api.request("GET", f"{CLUSTER_INFO}/cluster-info")
    except NotFound:
        raise ClusterInfoUnusable(
            "the cluster has no ConfigMap kube-public/cluster-info, which joining machines read"
        ) from None
    return parse_cluster_info(Unread(found, "").pairs("data"))


def parse_cluster_info(data: Mapping[str, str]) -> ClusterInfo:
    """The ConfigMap's data: a kubeconfig with one cluster and no user. Pure. Raises ClusterInfoUnusable."""
    try:
        entry: Mapping[str, Any] = yaml.safe_load(data["kubeconfig"])["clusters"][0]["cluster"]
        endpoint = _endpoint(entry["server"])
        pem = authorities(b64decode(entry["certificate-authority-data"], validate=True))
    except (yaml.YAMLError, KubeconfigUnusable, LookupError, TypeError, ValueError, AttributeError, RecursionError):
        raise ClusterInfoUnusable(
            "the ConfigMap kube-public/cluster-info holds no kubeconfig with a server and its certificate authority",
            next_step="Inspect it with `kubectl -n kube-public get configmap cluster-info -o yaml`; `kubeadm init phase"
            " bootstrap-token` on a control-plane host writes it again.",
        ) from None
    return ClusterInfo(endpoint, public_key_hashes(pem))


def _endpoint(server: str) -> str:
    url = urlsplit(server)
    if url.scheme != "https" or not url.hostname:
        raise ValueError(server)
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return f"{host}:{url.port or 443}"


def public_key_hashes(pem: str) -> frozenset[str]:
    """`sha256:` and the hash of each certificate's SubjectPublicKeyInfo (RFC 7469), as kubeadm pins it. Pure.

    Raises ClusterInfoUnusable for what holds no certificate.
    """
    try:
        keys = [found.public_key() for found in x509.load_pem_x509_certificates(pem.encode())]
    except (ValueError, UnsupportedAlgorithm):
        raise ClusterInfoUnusable(
            "a certificate authority of the cluster cannot be read",
            next_step="Compare certificate-authority-data in the kubeconfig and in the ConfigMap"
            " kube-public/cluster-info.",
        ) from None
    infos = [key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for key in keys]
    return frozenset(f"sha256:{hashlib.sha256(info).hexdigest()}" for info in infos)
