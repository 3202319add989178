"""The drain of one claimed Node, for as long as it stays claimed and cordoned."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from operator import attrgetter
from typing import Any

from poolkeeper.tasks.cluster import ClusterApi
from poolkeeper.tasks.cluster.claims import ClaimedByOthers, Uncordoned, claim_of
from poolkeeper.tasks.cluster.eviction import Blockers, Drain, DrainBlocked, Eviction, EvictionState, delete_now, evict
from poolkeeper.tasks.cluster.leases import HeldLease
from poolkeeper.tasks.cluster.nodes import NodeRow, wait_node
from poolkeeper.tasks.cluster.pods import PodRow
from poolkeeper.tasks.cluster.stops import NAMESPACE
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.outcomes import Gate, PoolkeeperError, Subject
from poolkeeper.tasks.rollout.goal import Goal, Limits, OnBlocked
from poolkeeper.tasks.rollout.leased_changes import change_under_lease
from poolkeeper.tasks.rollout.live_view import LiveView


class NodeLost(PoolkeeperError):
    """The Node was deleted while a rollout worked on its host.

    Without its Node a host has no claim, no cordon and no identity: nothing more is done to it.
    """

    id = "rollout.node.gone"
    expected = "its Node, cordoned and claimed by us"
    next_step = "Find out who deleted the Node (audit log); onboard the host again."
    source = "rollout"


class HostDrain:
    """Evicts the pods of one host's Node.

    Invariant: it ends as soon as the Node is deleted, uncordoned or claimed by others, for pods would come without end.

    refuse_if_stopped: raises where a person wants nothing new to start; called before each pod
    """

    def __init__(
        self,
        host: Host,
        *,
        api: ClusterApi,
        gate: Gate,
        lease: HeldLease,
        goal: Goal,
        limits: Limits,
        live: LiveView,
        refuse_if_stopped: Callable[[], Awaitable[None]],
    ) -> None:
        self._host, self._node = host, host.node_name
        self._api, self._gate, self._lease, self._live = api, gate, lease, live
        self._goal, self._limits = goal, limits
        self._refuse_if_stopped = refuse_if_stopped

    async def run(self) -> None:
        """Evict every pod, or delete it where the drain is blocked and may be forced.

        Raises DrainBlocked, NodeLost, Uncordoned, ClaimedByOthers, GateRefused and what `refuse_if_stopped` raises.
        """
        timeout_s = self._limits.drain_timeout_s
        try:
            await self._while_cordoned(
                self._drain(self._evict, on_change=self._show_blocking).empty(timeout_s=timeout_s)
            )
        except DrainBlocked:
            if self._limits.on_blocked is not OnBlocked.FORCE:
                raise
            await self._while_cordoned(self._drain(self._delete).empty(timeout_s=timeout_s))

    async def run_on_dead_machine(self) -> None:
        """Ask once for each pod: one that a budget keeps there runs nowhere, and its data is lost already."""
        with suppress(DrainBlocked):
            drain = Drain(
                self._api,
                self._node,
                remove=self._evict,
                on_change=self._show_blocking,
                node_is_dead=True,
                waits=self._waits,
            )
            await drain.empty(timeout_s=self._limits.drain_timeout_s)

    def _drain(
        self,
        remove: Callable[[PodRow], Awaitable[Eviction]],
        *,
        on_change: Callable[[Blockers], None] = lambda blocking: None,
    ) -> Drain:
        return Drain(
            self._api, self._node, remove=remove, refuse=self._refuse_to_lose, on_change=on_change, waits=self._waits
        )

    @property
    def _waits(self) -> bool:
        return self._gate.seen(True, if_dry_run=False)

    async def _while_cordoned(self, drain: Coroutine[Any, Any, None]) -> None:
        def is_over(row: NodeRow | None) -> bool:
            return row is None or not row.unschedulable or not self._is_ours(row)

        watch = self._gate.watch(lambda: wait_node(self._api, self._node, is_over))
        draining, watching = asyncio.create_task(drain), asyncio.create_task(watch)
        try:
            await asyncio.wait((draining, watching), return_when=asyncio.FIRST_COMPLETED)
            if not watching.done():
                return await draining
            if (row := watching.result()) is None:
                raise NodeLost(f"Node {self._node} was deleted while it was drained")
            if not self._is_ours(row):
                raise ClaimedByOthers(self._node, claim_of(row), "has lost our claim while it was drained")
            raise Uncordoned(f"someone has uncordoned node {self._node} while it was drained")
        finally:
            for task in (draining, watching):
                task.cancel()
            await asyncio.gather(draining, watching, return_exceptions=True)

    def _is_ours(self, row: NodeRow) -> bool:
        claim = claim_of(row)
        return claim is not None and claim.rollout == self._goal.id

    def _show_blocking(self, blocking: Blockers) -> None:
        self._live.show_host(self._host.name, _blocking(blocking))

    def _refuse_to_lose(self, pod: PodRow) -> str:
        """Why a pod may not be evicted at all; empty: it may."""
        if pod.namespace == NAMESPACE and pod.managed_by == "poolkeeper":
            return ""  # a test pod of an audit that chose the node before it was claimed
        if not pod.owner_kind and self._limits.on_blocked is not OnBlocked.FORCE:
            return "it has no controller: nothing would bring it back"
        if pod.local_data and not self._limits.delete_emptydir_data:
            return "the data in its emptyDir would be lost (delete_emptydir_data allows that)"
        return ""

    async def _evict(self, pod: PodRow) -> Eviction:
        sentence = f"evict pod {pod.namespace}/{pod.name} from node {self._node}"
        return await self._remove(sentence, lambda: evict(self._api, pod))

    async def _delete(self, pod: PodRow) -> Eviction:
        sentence = f"delete pod {pod.namespace}/{pod.name} on node {self._node}, despite its budget"
        return await self._remove(sentence, lambda: delete_now(self._api, pod))

    async def _remove(self, sentence: str, act: Callable[[], Awaitable[Eviction]]) -> Eviction:
        await self._refuse_if_stopped()
        return await change_under_lease(
            self._gate,
            self._lease,
            Subject("node", self._node),
            sentence,
            act,
            if_dry_run=Eviction(EvictionState.ACCEPTED),
            end=attrgetter("end"),
        )


def _blocking(blocking: Blockers) -> str:
    if not blocking:
        return "drained"
    (namespace, name), why = min(blocking.items())
    more = f" and {len(blocking) - 1} more" if len(blocking) > 1 else ""
    return f"drain: waits for {namespace}/{name}: {why}{more}"
