"""Nodes whose pods are under one disruption budget are drained one after another: at once they would only wait for
each other."""

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
    """One run's turns at budgets."""

    def __init__(self, api: ClusterApi) -> None:
        self._api = api
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def acquired(self, node: str) -> AsyncIterator[None]:
        """This node's turn at every budget that its pods are under, always taken in the same order."""
        async with AsyncExitStack() as stack:
            for key in await self._budgets_on(node):
                await stack.enter_async_context(self._turns[key])
            yield

    async def _budgets_on(self, node: str) -> list[str]:
        """Where budgets may not be read, all nodes are taken to be under one."""
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
