"""The real control plane itself: its versions, that nothing of it stays behind, and hollow nodes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from poolkeeper.deployments.lab.processes import kill_marked, marked
from poolkeeper.deployments.lab.real.control_plane import RealControlPlane
from poolkeeper.deployments.lab.real.hollow_nodes import HollowNode
from poolkeeper.deployments.lab.real.pins import CONTROL_PLANE, HOLLOW_NODES, KUBERNETES
from tests.contract.kubernetes.conftest import MERGE, Client

pytestmark = pytest.mark.tier("real")

Json = dict[str, Any]
Programs = Callable[..., Mapping[str, Path]]
DEADLINE_S = 60.0


@pytest.fixture
async def admin(real_control_plane: RealControlPlane) -> AsyncIterator[Client]:
    """Raw HTTP as the admin."""
    plane = real_control_plane
    context = ssl.create_default_context(cafile=str(plane.credentials.path("ca.crt")))
    headers = {"Authorization": f"Bearer {plane.credentials.admin_token}"}
    async with aiohttp.ClientSession(
        plane.api_url, headers=headers, connector=aiohttp.TCPConnector(ssl=context)
    ) as session:
        yield Client(session)


def listeners(octet: str) -> list[str]:
    """Local addresses on 127.<octet>.0.0/16 that something listens on, from /proc/net/tcp."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    found = []
    for line in lines:
        _, local, _, state = line.split()[:4]
        address = bytes.fromhex(local.split(":")[0])[::-1]
        if state == "0A" and address[:2] == bytes([127, int(octet)]):
            found.append(local)
    return found


async def test_programs_tell_their_true_version(admin: Client, real_control_plane: RealControlPlane) -> None:
    version = (await admin("GET", "/version")).body
    assert (version["gitVersion"], version["major"], version["minor"]) == (KUBERNETES.version, "1", "36")


def test_everything_listens_on_its_own_network(real_control_plane: RealControlPlane) -> None:
    assert len(listeners(str(real_control_plane.network.octet))) == 5


def test_a_killed_starter_leaves_nothing_that_the_mark_does_not_find(programs: Programs, tmp_path: Path) -> None:
    found = {name: str(path) for name, path in programs(*CONTROL_PLANE).items()}
    code = f"""
        import json, signal
        from pathlib import Path
        from poolkeeper.deployments.lab.real.control_plane import RealControlPlane
        programs = {{name: Path(path) for name, path in json.loads({json.dumps(found)!r}).items()}}
        plane = RealControlPlane(Path({str(tmp_path / "plane")!r}), programs)
        plane.start()
        print(plane.lab, plane.network.octet, flush=True)
        signal.pause()
    """
    starter = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    lab = ""
    try:
        assert starter.stdout is not None
        lab, octet = starter.stdout.readline().split()
        starter.send_signal(signal.SIGKILL)
        starter.wait(DEADLINE_S)
        assert len(marked(lab)) == 4
        assert len(listeners(octet)) == 5
        # and nobody else takes the network while they are there
        assert f"@poolkeeper-lab-127.{octet}" in Path("/proc/net/unix").read_text()
    finally:
        starter.kill()
        lab = lab or (tmp_path / "plane" / "lab-id").read_text()
        assert kill_marked(lab) == ()
    assert marked(lab) == ()
    assert listeners(octet) == []
    assert f"@poolkeeper-lab-127.{octet}" not in Path("/proc/net/unix").read_text()


@pytest.fixture
async def hollow(
    programs: Programs, admin: Client, real_control_plane: RealControlPlane
) -> AsyncIterator[tuple[str, ...]]:
    """Names of two hollow nodes that are Ready."""
    kubemark = programs(*HOLLOW_NODES)["kubemark"]
    names = ("hollow-1", "hollow-2")
    nodes = [
        HollowNode(real_control_plane, kubemark, name, labels={"tier": "hollow"}, taints=["hollow=yes:NoSchedule"])
        for name in names
    ]
    try:
        async with asyncio.timeout(DEADLINE_S):
            await admin.until(
                "/api/v1/nodes",
                lambda found: sum(is_ready(node) for node in found) == len(names),
                labelSelector="tier=hollow",
            )
        yield names
    finally:
        for node in nodes:
            await asyncio.to_thread(node.stop)
            await admin("DELETE", f"/api/v1/nodes/{node.name}")


def is_ready(found: Json) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in found["status"].get("conditions") or ())


async def test_hollow_nodes_run_pods_under_a_budget(admin: Client, hollow: tuple[str, ...]) -> None:
    """Scheduler, controllers, kubelets and the eviction API, all real."""
    namespace, labels = "hollow", {"app": "web"}
    pods = f"/api/v1/namespaces/{namespace}/pods"
    budgets = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"
    await admin("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    await admin.until(f"/api/v1/namespaces/{namespace}/serviceaccounts", bool)
    pod = {
        "containers": [{"name": "main", "image": "registry.example/app:1"}],
        "nodeSelector": {"tier": "hollow"},
        "tolerations": [{"key": "hollow", "operator": "Exists"}],
        "terminationGracePeriodSeconds": 1,
    }
    spec = {
        "replicas": 2,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    await admin(
        "POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", {"metadata": {"name": "web"}, "spec": spec}
    )
    budget = {"minAvailable": 1, "selector": {"matchLabels": labels}}
    await admin("POST", budgets, {"metadata": {"name": "web"}, "spec": budget})
    async with asyncio.timeout(DEADLINE_S):
        first = await admin.until(pods, two_run)
        assert {pod["spec"]["nodeName"] for pod in first} <= set(hollow)
        await admin.until(budgets, lambda found: (found[0].get("status") or {}).get("disruptionsAllowed") == 1)
        names = [name_of(pod) for pod in first]
        # a hollow node runs a replacement within milliseconds, which would let the second one go
        await cordon(admin, hollow, True)
        answers = await asyncio.gather(*(evict(admin, namespace, name) for name in names))
        assert sorted(answers) == [201, 429]
        gone, stays = names if answers[0] == 201 else reversed(names)
        await cordon(admin, hollow, False)
        later = await admin.until(pods, lambda found: two_run(found) and gone not in map(name_of, found))
    assert stays in map(name_of, later)
    await admin("DELETE", f"/api/v1/namespaces/{namespace}")


async def cordon(admin: Client, nodes: tuple[str, ...], unschedulable: bool) -> None:
    for node in nodes:
        await admin("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": unschedulable}}, kind=MERGE)


def name_of(item: Json) -> str:
    return str(item["metadata"]["name"])


def two_run(found: list[Json]) -> bool:
    return len(found) == 2 and all(is_ready(pod) and pod["status"]["phase"] == "Running" for pod in found)


async def evict(admin: Client, namespace: str, name: str) -> int:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    return (await admin("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", body)).code
