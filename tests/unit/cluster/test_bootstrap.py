"""What a bootstrap token is made of, and what is read from `cluster-info`."""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

from poolkeeper.tasks.cluster.bootstrap import (
    ClusterInfo,
    ClusterInfoUnusable,
    parse_cluster_info,
    public_key_hashes,
    token_object,
)

AUTHORITIES = Path(__file__).parent / "authorities"
EC, RSA = (AUTHORITIES / "ec.pem").read_text(), (AUTHORITIES / "rsa.pem").read_text()
# openssl x509 -pubkey -in FILE | openssl pkey -pubin -outform der | openssl dgst -sha256 -hex
EC_HASH = "sha256:d27896b01d9fd58840cc69fb4922eb12bf84c8054f8bbdff11e8299a499837f6"
RSA_HASH = "sha256:8ab28ec738b9b45a2229ddc09379680ab0a7ac1489875f81f3933a9175d07ea3"


@pytest.mark.parametrize(
    ("pem", "hashes"),
    [
        pytest.param(EC, {EC_HASH}, id="an elliptic curve"),
        pytest.param(RSA, {RSA_HASH}, id="RSA"),
        pytest.param(EC + RSA, {EC_HASH, RSA_HASH}, id="old and new during a change"),
        pytest.param(f"# the lab's\n{EC}", {EC_HASH}, id="with words around it"),
    ],
)
def test_the_hash_that_openssl_gives(pem: str, hashes: set[str]) -> None:
    assert public_key_hashes(pem) == hashes


@pytest.mark.parametrize("pem", ["", "no certificate", EC.replace("MII", "XII")], ids=["nothing", "words", "broken"])
def test_what_is_no_authority(pem: str) -> None:
    with pytest.raises(ClusterInfoUnusable, match="a certificate authority of the cluster cannot be read"):
        public_key_hashes(pem)


def test_a_token_as_kubernetes_wants_it() -> None:
    """Field by field from kubernetes.io, "Authenticating with Bootstrap Tokens"."""
    expires_at = datetime(2026, 11, 23, 13, tzinfo=timezone(timedelta(hours=1)))
    made = token_object("abcdef", "0123456789abcdef", "fra1-n01", expires_at)
    fields = {name: b64decode(value).decode() for name, value in made.pop("data").items()}
    assert made == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "bootstrap-token-abcdef",
            "namespace": "kube-system",
            "labels": {"poolkeeper.io/bootstrap-token": "fra1-n01"},
        },
        "type": "bootstrap.kubernetes.io/token",
    }
    assert fields == {
        "description": "poolkeeper: join of host fra1-n01",
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "expiration": "2026-11-23T12:00:00Z",
        "usage-bootstrap-authentication": "true",
        "usage-bootstrap-signing": "true",
        "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
    }
    assert expires_at.astimezone(UTC).hour == 12


def cluster_info(server: Any = "https://10.0.0.1:6443", pem: str | None = EC, **more: Any) -> dict[str, str]:
    entry = {"server": server, "certificate-authority-data": b64encode((pem or "").encode()).decode(), **more}
    return {"kubeconfig": yaml.safe_dump({"clusters": [{"name": "", "cluster": entry}]})}


@pytest.mark.parametrize(
    ("data", "endpoint"),
    [
        pytest.param(cluster_info(), "10.0.0.1:6443", id="address and port"),
        pytest.param(cluster_info("https://api.example.com"), "api.example.com:443", id="a name alone"),
        pytest.param(cluster_info("https://[fd00::1]:6443"), "[fd00::1]:6443", id="IPv6"),
        pytest.param({**cluster_info(), "jws-kubeconfig-abcdef": "x..y"}, "10.0.0.1:6443", id="signed"),
        pytest.param(cluster_info(pem=f"# M\u00fcller\n{EC}"), "10.0.0.1:6443", id="words around the authority"),
    ],
)
def test_what_machines_are_told(data: dict[str, str], endpoint: str) -> None:
    assert parse_cluster_info(data) == ClusterInfo(endpoint, frozenset({EC_HASH}))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param({}, id="empty"),
        pytest.param({"kubeconfig": "clusters: ["}, id="no YAML"),
        pytest.param({"kubeconfig": "clusters: []"}, id="no cluster"),
        pytest.param({"kubeconfig": "words"}, id="no mapping"),
        pytest.param(cluster_info("http://10.0.0.1"), id="no TLS"),
        pytest.param(cluster_info("https://:6443"), id="no host"),
        pytest.param(cluster_info("https://10.0.0.1:port"), id="no port"),
        pytest.param(cluster_info(7), id="no text"),
        pytest.param(cluster_info(**{"certificate-authority-data": "%"}), id="no base64"),
        pytest.param(cluster_info(**{"certificate-authority-data": None}), id="no authority"),
        pytest.param(cluster_info(pem=None), id="an empty authority"),
    ],
)
def test_what_tells_machines_nothing(data: dict[str, str]) -> None:
    with pytest.raises(ClusterInfoUnusable, match=r"cluster-info holds no kubeconfig|authority of the cluster cannot"):
        parse_cluster_info(data)
