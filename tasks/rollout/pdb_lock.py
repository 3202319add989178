"""Locks on PodDisruptionBudgets: nodes whose pods share a budget are drained one after another, for at once they would
only wait for each other."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from poolkeeper.tasks.cluster import ApiError, ClusterApi
from poolkeeper.tasks.cluster.budgets import Budget, parse_budget
from poolkeeper.tasks.cluster.workloads import Pod, Shared, parse_pod

_ALL = "every budget"


class PdbLocks:
    """One run's locks."""

    def __init__(self, api: ClusterApi) -> None:
        self._api = api
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def acquired(self, node: str) -> AsyncIterator[None]:
        """Holds the locks of every budget on this node. Invariant: always in the same order, so that none deadlock."""
        async with AsyncExitStack() as stack:
            for key in await self._budgets_on(node):
                await stack.enter_async_context(self._turns[key])
            yield

    async def _budgets_on(self, node: str) -> list[str]:
        """The budgets of a node's pods. Where budgets may not be read, all nodes count as sharing one."""
        shared = Shared()
        try:
            budgets = await self._api.list_rows("/apis/policy/v1/poddisruptionbudgets", parse_budget)
        except ApiError as error:
            if error.status != 403:
                raise
            return [_ALL]
        query = {"fieldSelector": f"spec.nodeName={node}"}
        pods = await self._api.list_rows("/api/v1/pods", lambda pod: parse_pod(pod, shared), query=query)
        return sorted({str(budget) for pod in pods for budget in budgets if guards(budget, pod)})


def guards(budget: Budget, pod: Pod) -> bool:
    """Whether a pod is under a budget. Pure."""
    return budget.namespace == pod.namespace and budget.selector.matches(pod.labels)
