"""The proof of one node: wait until it is Ready, read everything that counts, judge it, and repeat where that may help.

Onboarding proves that a node may take workloads, an upgrade that it may take them again. Test pods pass the gate.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count

from poolkeeper.tasks.acceptance.checks import NodeEvidence, check_acceptance
from poolkeeper.tasks.acceptance.identity import another_machine
from poolkeeper.tasks.acceptance.pod_probe import Probed, choose_cloud_node, probe_node
from poolkeeper.tasks.acceptance.testpod import PodAnswers
from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.nodes import CLOUD_NODES, NodeRow, get_node, list_nodes, new_node, wait_node
from poolkeeper.tasks.cluster.pods import PodRow, pods_on, wait_pods_on
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import FactsRequest, Sessions, read_facts
from poolkeeper.tasks.outcomes import Finding, Gate, PoolkeeperError, Unknown, blockers

ATTEMPTS = 3
"""Node-local DNS answers with errors for a moment after its start."""
REFUSED_PATIENCE_S = 60.0
"""How long a test pod that a webhook refuses is tried again, before the node counts as not proven."""


class NodeGone(PoolkeeperError):
    """The Node was deleted while it was being proven."""

    id = "acceptance.node.gone"
    expected = "the Node stays until its proof has ended"
    next_step = "Find out who deleted it (the API server's audit log), then run this again."
    source = "Kubernetes API"

    def __init__(self, node: str) -> None:
        super().__init__(f"Node {node} was deleted")


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients that a node is read and tested with."""

    api: ClusterApi
    sessions: Sessions
    gate: Gate
    request: FactsRequest


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a node must be."""

    kubelet_version: str | None
    """None: any that the skew rule allows."""
    ready_within_s: float
    """How long to wait for it, before it is judged as it is."""
    as_wanted: Callable[[NodeRow], bool] = lambda node: True
    """What the Node must show besides Ready before it is judged: its status may be older than the change."""


async def prove_node(clients: Clients, host: Host, wanted: Wanted) -> tuple[Finding, ...]:
    """Every blocker of a host's node; none: it is proven.

    Raises NodeGone, GateRefused, HostError, ClusterUnreachable and ApiError.
    """
    gate = clients.gate
    await gate.unless_dry_run(partial(wait_until_ready, clients.api, host, wanted), if_dry_run=None)
    is_another = partial(another_machine, clients.api, clients.sessions, host)
    if (other := await gate.unless_dry_run(is_another, if_dry_run=None)) is not None:
        return (other,)
    began = time.monotonic()
    for attempt in count(1):
        evidence = await read_evidence(clients, host, wanted.kubelet_version)
        checked = check_acceptance(evidence)
        findings = gate.seen(blockers(c.finding for c in checked if c.finding is not None), if_dry_run=())
        pause_s = look_again_after_s(evidence, attempt, time.monotonic() - began) if findings else None
        if pause_s is None:
            return findings
        await asyncio.sleep(pause_s)
    raise AssertionError("unreachable")


def look_again_after_s(seen: NodeEvidence, attempt: int, spent_s: float) -> float | None:
    """After how many seconds another look may show more; None: this look counts. Pure."""
    if not seen.node.ready:
        return None
    if seen.may_pass and spent_s < REFUSED_PATIENCE_S:
        return 5.0
    return 1.0 if attempt < ATTEMPTS else None


async def wait_until_ready(api: ClusterApi, host: Host, wanted: Wanted) -> None:
    """Wait until the Node is gone, or is as wanted and Ready with its expected pods, at most `ready_within_s`."""

    def is_ready_or_gone(row: NodeRow | None) -> bool:
        return row is None or (bool(row.ready) and wanted.as_wanted(row))

    with suppress(TimeoutError):
        async with asyncio.timeout(wanted.ready_within_s):
            if await wait_node(api, host.node_name, is_ready_or_gone) is not None:
                await wait_pods_on(api, host.node_name, lambda pods: _all_there(pods, host.pool.expected_pods))


async def read_evidence(clients: Clients, host: Host, kubelet_version: str | None) -> NodeEvidence:
    """Everything that acceptance looks at, read now. Raises NodeGone, and as `prove_node`."""
    pool, name = host.pool, host.node_name
    node = await get_node(clients.api, name)
    node = clients.gate.seen(node, if_dry_run=replace(node or new_node(name), ready=True))
    if node is None:
        raise NodeGone(name)
    pods = await pods_on(clients.api, name)
    api_answer = await clients.gate.unless_dry_run(partial(_api_answer, clients, host), if_dry_run=None)
    cloud_node = choose_cloud_node(await list_nodes(clients.api, CLOUD_NODES), name)
    probed = Probed(PodAnswers())
    if node.ready:
        probed = await probe_node(clients.api, clients.gate, host, node, cloud_node)
    return NodeEvidence(
        node=node,
        pods=pods,
        expected_version=kubelet_version,
        expected_pods=pool.expected_pods,
        api_from_host=api_answer,
        answers=probed.answers,
        log_error=probed.log_error,
        cloud_node=cloud_node,
        cloud_error=probed.cloud_error,
        seen_at=datetime.now(UTC),
        refused=probed.refused,
        next_step=probed.next_step,
        may_pass=probed.may_pass,
    )


async def _api_answer(clients: Clients, host: Host) -> str | None:
    """The API server's answer to the host; None: unknown."""
    answer = (await read_facts(clients.sessions, host, clients.request)).api_answer
    return None if isinstance(answer, Unknown) else answer.value


def _all_there(pods: tuple[PodRow, ...], prefixes: tuple[str, ...]) -> bool:
    return all(any(p.ready and p.owner_name.startswith(prefix) for p in pods) for prefix in prefixes)
