"""What other people write and do in a cluster while rollouts work there, on Kubernetes' own control plane."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from poolkeeper.deployments.lab.real.control_plane import RealControlPlane
from poolkeeper.tasks.cluster import ClusterApi, Conflict
from poolkeeper.tasks.cluster.api import MERGE_PATCH
from poolkeeper.tasks.cluster.claims import Claim, Phase, claim_of, claim_text
from poolkeeper.tasks.cluster.nodes import PATH, get_node
from poolkeeper.tasks.cluster.pods import pods_on
from poolkeeper.tasks.fleet.model import Host, Limit
from poolkeeper.tasks.outcomes import Change
from poolkeeper.tasks.rollout.goal import Goal, Limits
from tests.contract.cluster.conftest import reach
from tests.contract.rollout.instant import as_they_begin, carried, open_run
from tests.contract.rollout.test_intents import Hosts, Watched, recovered
from tests.unit.onboard.builders import a_host

pytestmark = pytest.mark.tier("real")

DEADLINE_S = 30.0
LIMITS = Limits(gate_timeout_s=0.2, headroom_timeout_s=5.0, drain_timeout_s=600.0)


@dataclass(frozen=True)
class Pool:
    """Two Ready nodes that no kubelet stands behind, and their hosts."""

    api: ClusterApi
    name: str
    hosts: list[Host]
    folder: Path

    @property
    def nodes(self) -> list[str]:
        return [host.node_name for host in self.hosts]

    @property
    def upgrade(self) -> Goal:
        return Goal("upgrade", self.name, {"kubernetes": "v1.36.3"})

    async def patch(self, node: str, annotations: dict[str, str | None], **spec: Any) -> None:
        """What who may patch nodes can do."""
        body = {"metadata": {"annotations": annotations}, "spec": spec}
        await self.api.request("PATCH", f"{PATH}/{node}", body=body, content_type=MERGE_PATCH)

    async def rolled(self, run_id: str, work: Watched, **more: Any) -> dict[str, str]:
        """One upgrade of both: host -> how it ended."""
        run = await open_run(self.api, self.hosts, self.folder, run_id)
        for name, value in more.items():
            setattr(run.gate, name, value)
        async with asyncio.timeout(DEADLINE_S):
            outcomes, _ = await carried(run, self.upgrade, LIMITS, work)
        return {name: str(outcome.state) for name, outcome in outcomes.items()}

    async def recovered(self, work: Watched) -> dict[str, list[str]]:
        """Host -> ids of what recovery has found."""
        run = await open_run(self.api, self.hosts, self.folder, "recovery", Hosts)
        assert isinstance(run, Hosts)
        run.begun = {}
        async with asyncio.timeout(DEADLINE_S):
            return {name: [f.id for f in one.findings] for name, one in (await recovered(run, work)).items()}


@pytest.fixture
async def pool(real_control_plane: RealControlPlane, tmp_path: Path) -> AsyncIterator[Pool]:
    """A pool of its own."""
    name = f"pool-{uuid.uuid4().hex[:8]}"
    async with reach(real_control_plane.admin_kubeconfig) as api:
        with suppress(Conflict):
            await api.request("POST", "/api/v1/namespaces", body={"metadata": {"name": "poolkeeper"}})
        hosts = [a_host(f"{name}-n{n}", pool={"name": name, "max_unavailable": Limit(count=2)}) for n in range(2)]
        status = {
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"kubeletVersion": "v1.35.4", "machineID": "m-1"},
        }
        for host in hosts:
            await api.request("POST", PATH, body={"metadata": {"name": host.node_name}})
            path = f"{PATH}/{host.node_name}/status"
            await api.request("PATCH", path, body={"status": status}, content_type=MERGE_PATCH)
        yield Pool(api, name, hosts, tmp_path)
        for host in hosts:
            await api.request("DELETE", f"{PATH}/{host.node_name}")


async def test_two_forged_annotations_reset_nothing(pool: Pool) -> None:
    """Each with a right hash, a cordon, and whatever phase: recovery tells them, and so does the flow that they name."""
    for goal in (Goal("offboard", pool.name), pool.upgrade):
        for phase in (Phase.CHANGING, Phase.DRAINING):
            claim = Claim(goal.id, goal.flow, goal.wanted, "run-0", 1, phase, "2026-11-24T12:00:00+00:00")
            for node in pool.nodes:
                await pool.patch(node, {"poolkeeper.io/rollout": claim_text(claim)}, unschedulable=True)
            work = Watched()
            assert await pool.recovered(work) == {node: ["recover.claim.unknown"] for node in pool.nodes}
            assert (await pool.rolled("run-1", work), work.fences) == ({}, {})
            for node in pool.nodes:
                row = await get_node(pool.api, node)
                assert row is not None
                assert claim_of(row) == claim


async def test_junk_on_one_node_costs_that_one_alone(pool: Pool) -> None:
    first, second = pool.nodes
    for text in ("[" * 100_000, '{"fencing_token": ' + "9" * 5000 + "}", "\x1b]0;you\x07"):
        await pool.patch(first, {"poolkeeper.io/rollout": text})
        work = Watched()
        assert await pool.rolled("run-1", work) == {second: "done"}
        assert list(work.fences) == [second]
        assert list(await pool.recovered(work)) == [first]


async def test_an_uncordon_ends_a_blocked_drain_and_is_told(pool: Pool) -> None:
    """Nobody's kubelet ends the pod; the next one, which came because the node took pods again, is left in peace."""
    first, space = pool.nodes[0], f"{pool.name}-shop"
    namespaces, here = "/api/v1/namespaces", f"/api/v1/namespaces/{space}"
    await pool.api.request("POST", namespaces, body={"metadata": {"name": space}})
    with suppress(Conflict):  # its controller may be quicker
        await pool.api.request("POST", f"{here}/serviceaccounts", body={"metadata": {"name": "default"}})
    owner = await pool.api.request("POST", f"{here}/configmaps", body={"metadata": {"name": "owner"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "controller": True, "name": "owner"}

    def a_pod(name: str) -> dict[str, Any]:
        owners = [{**reference, "uid": owner["metadata"]["uid"]}]
        spec = {"nodeName": first, "containers": [{"name": "c", "image": "registry.invalid/none"}]}
        return {"metadata": {"name": name, "ownerReferences": owners}, "spec": spec}

    await pool.api.request("POST", f"{here}/pods", body=a_pod("web-1"))
    evicted, tasks = list[str](), list[asyncio.Task[None]]()

    async def uncordon() -> None:
        await pool.patch(first, {}, unschedulable=None)
        await pool.api.request("POST", f"{here}/pods", body=a_pod("web-2"))

    def told(change: Change) -> None:
        if change.sentence.startswith("evict pod"):
            evicted.append(change.sentence)
            tasks.append(asyncio.create_task(uncordon()))

    alone = replace(pool, hosts=pool.hosts[:1])
    assert await alone.rolled("run-1", Watched(), on_change=as_they_begin(told)) == {first: "stopped"}
    await asyncio.gather(*tasks)
    assert evicted == [f"evict pod {space}/web-1 from node {first}"]
    row = await get_node(pool.api, first)
    assert row is not None
    assert (row.unschedulable, claim_of(row)) == (False, None)
    assert "web-2" in [pod.name for pod in await pods_on(pool.api, first)]
    await pool.api.request("DELETE", f"{here}")
