"""A lab of machines whose lines are broken and mended, for as long as the tests of this folder run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.layout import LabFolder
from tests.e2e.conftest import MachinesCluster


@pytest.fixture(scope="package")
def networked(tmp_path_factory: pytest.TempPathFactory, prefect_api_url: str) -> Iterator[MachinesCluster]:
    """Machines at two sites whose lines are broken and mended: four nodes, and one more at the first site that is none."""
    place = tmp_path_factory.mktemp("networked")
    cluster = MachinesCluster(LabFolder(place / "lab"), prefect_api_url, place / "state")
    try:
        lifecycle.up_machines(cluster.folder, 5)
        nodes = cluster.names[:4]
        ended = cluster.onboard("|".join(nodes))
        assert ended.answer["summary"] == "completed: 4 accepted of 4 hosts", ended.out
        yield cluster
    finally:
        lifecycle.down(cluster.folder)
