"""How a host asks the API server, where the kubeconfig has a path or another name: the program in this machine's shell."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from poolkeeper.deployments.lab.kubernetes import LabCA
from poolkeeper.tasks.hosts.facts import FactsRequest, facts_program, parse_facts
from poolkeeper.tasks.outcomes import Known
from tests.contract.cluster.noting import NotingServer


async def api_answer(request: FactsRequest) -> str:
    process = await asyncio.create_subprocess_exec(
        "sh", "-s", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate(facts_program(request, "").encode())
    found = parse_facts(out.decode(), datetime.now(UTC)).api_answer
    assert isinstance(found, Known), found
    return found.value


@pytest.mark.parametrize("name", ["api.example", ""])
async def test_by_the_name_that_its_certificate_is_for_and_by_its_path(name: str) -> None:
    ca = LabCA()
    server = NotingServer(ca, ["api.example" if name else "127.0.0.1"])
    await server.start()
    pem = ca.certificate_pem.decode()
    assert await api_answer(FactsRequest(f"{server.url}/k8s/c-1", pem, name)) == ""
    assert [(asked.path, asked.server_name) for asked in server.asked] == [("/k8s/c-1/version", name)]
    assert (await api_answer(FactsRequest(server.url, pem, "other.example"))).startswith("curl: (60)")
    await server.stop()
