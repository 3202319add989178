"""A lab of its own for the tests of one process, and the real clients that speak to it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import yaml
from alibabacloud_cs20151215.client import Client as AckClient
from alibabacloud_tea_openapi.utils_models import Config

from poolkeeper.deployments.lab import lifecycle
from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.deployments.lab.layout import CLUSTER_ID, LabFolder

DEADLINE_S = 30


@dataclass(frozen=True)
class RunningLab:
    """A lab that is up."""

    folder: LabFolder
    told: dict[str, Any]

    def host(self, index: int) -> dict[str, Any]:
        return self.told["hosts"][index]

    @asynccontextmanager
    async def ssh(self, index: int, **changed: Any) -> AsyncIterator[asyncssh.SSHClientConnection]:
        keys = self.folder.keys
        options = {
            "username": "ops",
            "client_keys": [str(keys / "ops")],
            "known_hosts": str(keys / "known_hosts"),
            "config": None,
            "agent_path": None,
            **changed,
        }
        host = self.host(index)
        async with asyncssh.connect(host["address"], host["port"], **options) as connection:
            yield connection

    async def run(self, index: int, program: str, *, sudo: bool = True) -> asyncssh.SSHCompletedProcess:
        async with asyncio.timeout(DEADLINE_S), self.ssh(index) as connection:
            return await connection.run("sudo -n sh -s" if sudo else "sh -s", input=program)

    def kubectl(self, *words: str) -> str:
        command = ["kubectl", "--kubeconfig", str(self.folder.admin_kubeconfig), "--request-timeout=20s", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ack(self, **changed: str) -> AckClient:
        document = yaml.safe_load(self.folder.fleet.read_text())
        settings = document["clusters"]["main"]["provider"]["ack"]
        values = {
            "access_key_id": (self.folder.path / settings["access_key_id"]["file"]).read_text().strip(),
            "access_key_secret": (self.folder.path / settings["access_key_secret"]["file"]).read_text().strip(),
            "endpoint": settings["endpoint"],
            "protocol": settings["protocol"],
            "region_id": settings["region"],
            **changed,
        }
        return AckClient(Config(**values, connect_timeout=5000, read_timeout=5000))

    async def join(self, index: int) -> asyncssh.SSHCompletedProcess:
        from alibabacloud_cs20151215 import models

        request = models.DescribeClusterAttachScriptsRequest(nodepool_id="np-general", arch="amd64")
        script = await self.ack().describe_cluster_attach_scripts_async(CLUSTER_ID, request)
        return await self.run(index, script.body)

    async def leave(self, index: int) -> None:
        name = self.host(index)["name"]
        assert (await self.run(index, "edgeadm reset")).exit_status == 0
        await asyncio.to_thread(self.kubectl, "delete", "node", name, "--ignore-not-found")

    def break_host(self, index: int, fault: Fault) -> None:
        lifecycle.break_host(self.folder, self.host(index)["name"], fault)

    def mend_host(self, index: int, fault: Fault | None = None) -> None:
        lifecycle.mend_host(self.folder, self.host(index)["name"], fault)


async def eventually(check: Callable[[], Awaitable[Any]]) -> Any:
    """The first true answer of a check, under one deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if answer := await check():
                return answer
            await asyncio.sleep(0.1)  # what is asked for has no event that a client could wait on


@pytest.fixture(scope="session")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    """One lab of four hosts; whoever breaks something in it mends it."""
    folder = LabFolder(tmp_path_factory.mktemp("lab") / "lab")
    lifecycle.up(folder, 4)
    yield RunningLab(folder, json.loads(folder.ready.read_text()))
    lifecycle.down(folder)


@pytest.fixture
def lab(shared_lab: RunningLab) -> Iterator[RunningLab]:
    """The shared lab, mended afterwards."""
    yield shared_lab
    for index in range(4):
        shared_lab.mend_host(index)


@pytest.fixture
def own_folder(tmp_path: Path) -> Iterator[LabFolder]:
    """A folder for a lab of the test's own; no lab is left in it."""
    folder = LabFolder(tmp_path / "lab")
    yield folder
    lifecycle.down(folder)
