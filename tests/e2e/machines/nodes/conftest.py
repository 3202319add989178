"""A lab of machines that become nodes, for as long as the tests of this folder run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.layout import LabFolder
from tests.e2e.conftest import MachinesCluster

MACHINES = 8
"""Five to onboard, one with each fault that preflight finds, one that never joins."""


@pytest.fixture(scope="package")
def machines(tmp_path_factory: pytest.TempPathFactory, prefect_api_url: str) -> Iterator[MachinesCluster]:
    """Machines and a cloud node, of which every test here takes what it needs."""
    place = tmp_path_factory.mktemp("machines")
    folder = LabFolder(place / "lab")
    try:
        lifecycle.up_machines(folder, MACHINES)
        yield MachinesCluster(folder, prefect_api_url, place / "state")
    finally:
        lifecycle.down(folder)
