"""Versions that go together, and how packages are asked for."""

from __future__ import annotations

import pytest

from poolkeeper.tasks.provider import ProviderError
from poolkeeper.tasks.provider.kubeadm import minor_of, skew_between
from poolkeeper.tasks.provider.kubeadm_scripts import packages_of

API = "v1.36.3"


@pytest.mark.parametrize(
    ("kubelet", "why"),
    [
        pytest.param(None, "", id="not declared"),
        pytest.param("1.36.3", "", id="the same"),
        pytest.param("1.36.9", "", id="a newer patch"),
        pytest.param("v1.33.0", "", id="three minors older"),
        pytest.param("1.32.9", "kubernetes_version 1.32.9 is 4 minors older than the API server's v1.36.3", id="four"),
        pytest.param("1.37.0", "kubernetes_version 1.37.0 is newer than the API server's v1.36.3", id="newer"),
    ],
)
def test_skew(kubelet: str | None, why: str) -> None:
    assert skew_between(kubelet, API) == why


@pytest.mark.parametrize(("version", "minor"), [("v1.36.3", 36), ("1.36", 36), ("v1.36.3+lab", 36), ("v1.9.0", 9)])
def test_minors(version: str, minor: int) -> None:
    assert minor_of(version) == minor


@pytest.mark.parametrize("version", ["", "v2.0.0", "1", "v1.x", "1.36+"])
def test_what_is_no_version(version: str) -> None:
    with pytest.raises(ProviderError, match="which is not one of Kubernetes"):
        minor_of(version)


@pytest.mark.parametrize(
    ("version", "packages"),
    [
        ("1.36", "1.36.*"),
        ("v1.36.3", "1.36.3-*"),
        ("1.36.3-1.1", "1.36.3-1.1"),
    ],
)
def test_packages(version: str, packages: str) -> None:
    assert packages_of(version) == packages
