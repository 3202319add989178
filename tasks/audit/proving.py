"""Reading a node's evidence for acceptance: test pods out, answers in, pods gone again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tasks.audit import testpod
from tasks.audit.testpod import NAMESPACE, PodAnswers
from tasks.cluster import ApiError, ClusterApi, ClusterUnreachable
from tasks.cluster.nodes import NodeRow
from tasks.cluster.pods import create_pod, delete_pod, wait_pod, wait_pod_log
from tasks.fleet.model import SiteDns
from tasks.outcomes import Gate, Planned, Subject

POD_TIMEOUT_S = 90.0
"""From creating a test pod to its last answer, image pull included."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A pod on a cloud node that the nodes under test talk to."""

    node: str
    ip: str


def choose_cloud_node(nodes: dict[str, NodeRow]) -> str | None:
    """The first Ready node that is not one of the user's own machines, or None."""
    ready = sorted(row.name for row in nodes.values() if row.ready and not row.is_hybrid)
    return ready[0] if ready else None


@asynccontextmanager
async def cloud_peer(api: ClusterApi, gate: Gate, node: str | None, image: str) -> AsyncIterator[Peer | None]:
    """A serving pod on a cloud node for as long as it is needed; None where that cannot be had, or in a dry run."""
    if node is None or gate.dry_run:
        yield None
        return
    pod = testpod.peer_pod(node, image)
    async with _pod(api, gate, pod):
        try:
            async with asyncio.timeout(POD_TIMEOUT_S):
                row = await wait_pod(api, NAMESPACE, pod["metadata"]["name"], lambda p: p.ready and p.ip != "")
            peer = Peer(node, row.ip)
        except TimeoutError:
            peer = None
        yield peer


async def probe_node(
    api: ClusterApi, gate: Gate, node: str, image: str, dns: SiteDns, peer: Peer | None
) -> tuple[PodAnswers, str]:
    """What the test pod on a node answers, and why its log could not be read (empty when it could).

    The pods are removed whatever happens. Raises GateRefused.
    """
    pod = testpod.probe_pod(node, image, dns, peer.ip if peer else None)
    name = pod["metadata"]["name"]
    async with _pod(api, gate, pod):
        try:
            async with asyncio.timeout(POD_TIMEOUT_S):
                row = await wait_pod(api, NAMESPACE, name, lambda p: p.phase in ("Running", "Failed") and p.ip != "")
                log = await wait_pod_log(api, NAMESPACE, name, testpod.FINISHED)
        except TimeoutError:
            return PodAnswers(), f"the test pod did not finish within {POD_TIMEOUT_S:.0f} s"
        except (ApiError, ClusterUnreachable) as error:
            return PodAnswers(), str(error)
        answers = testpod.parse_log(log)
        if peer is None:
            return answers, ""
        back = testpod.way_back_pod(peer.node, node, image, row.ip)
        async with _pod(api, gate, back):
            try:
                async with asyncio.timeout(POD_TIMEOUT_S):
                    log += await wait_pod_log_of_ended(api, back["metadata"]["name"])
            except (TimeoutError, ApiError, ClusterUnreachable):
                return answers, ""
        return testpod.parse_log(log), ""


def probe_sentence(node: str) -> str:
    """What the gate is told of a test pod."""
    return f"run a test pod on node {node} and remove it"


async def wait_pod_log_of_ended(api: ClusterApi, name: str) -> str:
    """The log of a pod that ends by itself."""
    await wait_pod(api, NAMESPACE, name, lambda p: p.phase in ("Succeeded", "Failed"))
    return await wait_pod_log(api, NAMESPACE, name, testpod.FINISHED)


@asynccontextmanager
async def _pod(api: ClusterApi, gate: Gate, pod: dict[str, Any]) -> AsyncIterator[None]:
    """A pod of ours, created through the gate and removed at the end.

    Removing it takes no second word: it was part of what the gate let pass.
    """
    node, name = pod["spec"]["nodeName"], pod["metadata"]["name"]
    passed = await gate.change(Subject("node", node), probe_sentence(node), lambda: create_pod(api, pod))
    try:
        yield
    finally:
        if not isinstance(passed, Planned):
            await _remove(api, name)


async def _remove(api: ClusterApi, name: str) -> None:
    try:
        async with asyncio.timeout(10):
            await delete_pod(api, NAMESPACE, name)
    except (TimeoutError, ApiError, ClusterUnreachable):
        return  # it ends by its own activeDeadlineSeconds, and the next run removes it first
