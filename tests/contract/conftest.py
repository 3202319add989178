"""Kubernetes' own programs, once for the whole session."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from poolkeeper.deployments.lab.real.control_plane import RealControlPlane
from poolkeeper.deployments.lab.real.kubeadm import make_joinable
from poolkeeper.deployments.lab.real.pins import CONTROL_PLANE
from poolkeeper.deployments.lab.real.programs import find, lacking


@pytest.fixture(scope="session")
def programs(pytestconfig: pytest.Config) -> Callable[..., Mapping[str, Path]]:
    """Finds or builds programs; a build takes minutes the first time, and says so past pytest's capturing."""

    def found(*names: str) -> Mapping[str, Path]:
        with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            return find(names)

    return found


@pytest.fixture(scope="session")
def real_control_plane(
    programs: Callable[..., Mapping[str, Path]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealControlPlane]:
    """One for all tests, which keep apart by namespaces and nodes of their own."""
    with RealControlPlane(tmp_path_factory.mktemp("real") / "plane", programs(*CONTROL_PLANE)) as plane:
        yield plane


@pytest.fixture(scope="session")
def kubectl_program(programs: Callable[..., Mapping[str, Path]]) -> str:
    """The kubectl of the real build, or this machine's where that cannot be had."""
    if not lacking(["kubectl"]):
        return str(programs("kubectl")["kubectl"])
    program = shutil.which("kubectl")
    assert program is not None, "the tier kubectl does not run without it"
    return program


@pytest.fixture(scope="session")
def joinable_control_plane(
    real_control_plane: RealControlPlane, programs: Callable[..., Mapping[str, Path]]
) -> RealControlPlane:
    """The same one, with what `kubeadm join` needs to find in a cluster."""
    make_joinable(real_control_plane, programs("kubeadm")["kubeadm"])
    return real_control_plane
