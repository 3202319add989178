"""The checks between two waves: other actors before a wave, lost nodes and workloads after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from poolkeeper.tasks.cluster import ApiError, ClusterApi, ClusterUnreachable
from poolkeeper.tasks.cluster.nodes import NodeRow, list_nodes
from poolkeeper.tasks.fleet.model import Pool
from poolkeeper.tasks.outcomes import Evidence, Finding, Severity, Subject
from poolkeeper.tasks.provider import Provider, ProviderError
from poolkeeper.tasks.rollout.other_actors import other_actors
from poolkeeper.tasks.rollout.user_checks import failing
from poolkeeper.tasks.rollout.wave_gates import Workload, list_workloads, lost_nodes, lost_workloads

UNSEEN = "rollout.unseen"
LOOK_S = 2.0
"""How often a check is repeated while something recovers, or cannot be read, in seconds."""


class BetweenWaves:
    """One run's checks of its pool between waves.

    names: the pool's nodes. nodes: as they were when the run started. going: nodes that the run itself removes
    timeout_s: how long nodes and workloads may take to recover, and how long the cluster may be unreadable
    stopped: why a person wants nothing new to start; empty: continue
    """

    def __init__(
        self,
        api: ClusterApi,
        provider: Provider,
        pool: Pool,
        *,
        names: Collection[str],
        nodes: Mapping[str, NodeRow],
        going: Collection[str],
        timeout_s: float,
        stopped: Callable[[], Awaitable[str]],
    ) -> None:
        self._api, self._provider, self._pool = api, provider, pool
        self._names, self._nodes, self._going = names, nodes, going
        self._timeout_s, self._stopped = timeout_s, stopped
        self._workloads: Mapping[str, Workload] = {}

    async def begin(self) -> None:
        """Read the workloads as they are before the first wave. Raises ApiError and ClusterUnreachable."""
        self._workloads = await list_workloads(self._api)

    async def before(self) -> tuple[Finding, ...]:
        """What keeps a wave from starting. An unreadable cluster is a reason only when that lasts."""
        return await self._looked_at(self._others, until=_is_seen)

    async def after(self) -> tuple[Finding, ...]:
        """What a wave has cost, if it has not recovered in time."""
        return await self._looked_at(self._lost, until=lambda findings: not findings)

    async def _looked_at(
        self,
        look: Callable[[], Awaitable[tuple[Finding, ...]]],
        *,
        until: Callable[[tuple[Finding, ...]], bool],
    ) -> tuple[Finding, ...]:
        """The findings of the last check, repeated until `until` holds, a person stops the run, or time is up."""
        late = f"cluster, provider or a check has not answered within {self._timeout_s:.0f} s"
        findings: tuple[Finding, ...] = (self._unseen(late),)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_s):
                while True:
                    try:
                        findings = await look()
                    except (ApiError, ClusterUnreachable, ProviderError) as error:
                        findings = (self._unseen(error.summary),)
                    if until(findings) or await self._stopped():
                        return findings
                    await asyncio.sleep(LOOK_S)
        return findings

    async def _others(self) -> tuple[Finding, ...]:
        """Other actors on this pool's nodes, the provider's findings, and the user's own checks."""
        nodes = [node for node in (await list_nodes(self._api)).values() if node.name in self._names]
        checked = await self._provider.check_pool(self._pool)
        return (
            *other_actors(self._pool.name, nodes, datetime.now(UTC)),
            *(c.finding for c in checked if c.finding is not None),
            *await failing(self._pool.rollout.checks),
        )

    async def _lost(self) -> tuple[Finding, ...]:
        """What was fine when the run started and is not now."""
        at = datetime.now(UTC)
        return (
            *lost_nodes(self._nodes, await list_nodes(self._api), at, self._going),
            *lost_workloads(self._workloads, await list_workloads(self._api), at),
            *await failing(self._pool.rollout.checks),
        )

    def _unseen(self, why: str) -> Finding:
        evidence = Evidence(why, "cluster and provider can be read", "rollout", datetime.now(UTC))
        next_step = "Make them reachable; then run this again: it continues from the current state."
        return Finding(UNSEEN, Severity.BLOCKER, Subject("pool", self._pool.name), evidence, next_step)


def _is_seen(findings: tuple[Finding, ...]) -> bool:
    return all(finding.id != UNSEEN for finding in findings)
