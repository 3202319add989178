"""What every story needs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolkeeper.deployments.lab.kubernetes import LabCA
from tests.contract.killed.stories import Theatre

IN_MEMORY = Path("/dev/shm")
"""Runs sync what they write, which costs most of their time on a disk, and a kill needs none of it."""


@pytest.fixture(scope="session")
def authority() -> LabCA:
    """One for all worlds."""
    return LabCA()


@pytest.fixture
def theatre(tmp_path: Path, authority: LabCA) -> Iterator[Theatre]:
    place = IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=place, prefix="poolkeeper-killed-") as folder:
        yield Theatre(Path(folder), authority)
