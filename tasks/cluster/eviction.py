"""Drains a node: evicts its pods one by one, and reports the pods that block the drain.

Pods are evicted through the eviction subresource, so that disruption budgets decide. The pods are watched: pods that
arrive during the drain are evicted too. Pods of DaemonSets, static pods and finished pods stay, as with `kubectl drain
--ignore-daemonsets`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from poolkeeper.tasks.cluster.api import ClusterApi, Json
from poolkeeper.tasks.cluster.errors import (
    AdmissionDenied,
    ApiError,
    ApiThrottled,
    ClusterUnreachable,
    Conflict,
    NotFound,
)
from poolkeeper.tasks.cluster.pods import PodRow, wait_pods_on
from poolkeeper.tasks.outcomes import ChangeState, End, PoolkeeperError

RETURNS = 5
"""Pods of one controller that may arrive on a cordoned node during its drain; with more, the drain would never end."""
PATIENCE_S = 1.0
"""Pause before a refused eviction is tried again; it grows to five times this."""
FINISHED = ("Succeeded", "Failed")


class EvictionState(StrEnum):
    """The answer to one request to evict a pod."""

    ACCEPTED = "accepted"
    GONE = "gone"
    """The pod does not exist any more; another one may have its name."""
    BLOCKED = "blocked"
    """A disruption budget or admission refused; a later request may be allowed."""
    NEVER = "never"
    """Two budgets select the pod, or the right to evict is missing: a later request is refused too."""
    LATER = "later"
    """The API server had too many requests, did not answer, or reported a conflict: the pod's state is unknown."""


@dataclass(frozen=True, slots=True)
class Eviction:
    """The answer to one request to evict."""

    state: EvictionState
    why: str = ""

    @property
    def end(self) -> End:
        """How the change ended: a refusal had no effect; a request without a clear answer may have had one."""
        if self.state in (EvictionState.ACCEPTED, EvictionState.GONE):
            return ChangeState.DONE, ""
        return (ChangeState.UNKNOWN if self.state is EvictionState.LATER else ChangeState.REFUSED), self.why


async def evict(api: ClusterApi, pod: PodRow) -> Eviction:
    """Request one eviction. The pod's uid is a precondition, so another pod of the same name is not evicted.

    Raises ApiError for an error that neither concerns this pod nor is temporary, such as an expired credential.
    """
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": pod.namespace},
        "deleteOptions": {"preconditions": {"uid": pod.uid}},
    }
    return await _asked(api, "POST", f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/eviction", body)


async def _asked(api: ClusterApi, method: str, path: str, body: Json) -> Eviction:
    try:
        await api.request(method, path, body=body)
    except NotFound:
        return Eviction(EvictionState.GONE)
    except Conflict as conflict:  # any other 409 says nothing of whether the pod is still there
        return Eviction(EvictionState.GONE if conflict.names_another_object else EvictionState.LATER, str(conflict))
    except (ClusterUnreachable, ApiThrottled) as error:
        return Eviction(EvictionState.LATER, str(error))
    except ApiError as error:
        return judged(error)
    return Eviction(EvictionState.ACCEPTED)


def judged(error: ApiError) -> Eviction:
    """What a refusal means. The answer's causes distinguish a budget's 429 from the API server's own limits.

    Raises the error if it neither concerns the pod nor is temporary.
    """
    if isinstance(error, AdmissionDenied):
        return Eviction(EvictionState.BLOCKED, error.message)
    if error.status == 429:
        return Eviction(EvictionState.BLOCKED, "; ".join(error.cause_messages) or error.message)
    if error.status == 500 and "more than one PodDisruptionBudget" in error.message:
        return Eviction(EvictionState.NEVER, error.message)
    if error.missing_right:
        return Eviction(EvictionState.NEVER, error.summary)
    if error.temporary:
        return Eviction(EvictionState.LATER, str(error))
    raise error


async def delete_now(api: ClusterApi, pod: PodRow) -> Eviction:
    """Request the deletion of a pod once, without its budget, with its own grace period. Raises as `evict` does."""
    body = {"preconditions": {"uid": pod.uid}}
    return await _asked(api, "DELETE", f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}", body)


def must_go(pod: PodRow) -> bool:
    """Whether a drain has to wait until this pod is gone."""
    return pod.owner_kind not in ("DaemonSet", "Node") and not pod.mirror and pod.phase not in FINISHED


Blockers = Mapping[tuple[str, str], str]
"""(namespace, name) of each pod that is still there -> the reason."""


class DrainBlocked(PoolkeeperError):
    """The node is not empty at the deadline, or cannot become empty by waiting."""

    id = "cluster.drain.blocked"
    expected = "the node is empty within its drain timeout"
    next_step = "Remove what blocks these pods' eviction, then run this again."
    source = "Kubernetes API"

    def __init__(self, node: str, blockers: Blockers) -> None:
        names = "; ".join(f"{namespace}/{name}: {why}" for (namespace, name), why in sorted(blockers.items())[:5])
        more = f" and {len(blockers) - 5} more" if len(blockers) > 5 else ""
        super().__init__(f"node {node} is not empty: {names}{more}")
        self.node, self.blockers = node, dict(blockers)


class Drain:
    """The drain of one node.

    remove: evicts or deletes one pod through the gate, and returns the API's answer
    on_change: called with the blocking pods, each time that they change
    refuse: why a pod may not be evicted at all, such as data that would be lost; empty: it may
    node_is_dead: no kubelet ends pods there, so a pod whose eviction was accepted counts as gone
    waits: whether to wait until the pods are gone; a dry run only requests each eviction
    """

    def __init__(
        self,
        api: ClusterApi,
        node: str,
        *,
        remove: Callable[[PodRow], Awaitable[Eviction]],
        refuse: Callable[[PodRow], str] = lambda pod: "",
        on_change: Callable[[Blockers], None] = lambda blockers: None,
        node_is_dead: bool = False,
        waits: bool = True,
    ) -> None:
        self._api, self._node, self._node_is_dead, self._waits = api, node, node_is_dead, waits
        self._remove, self._refuse, self._on_change = remove, refuse, on_change
        self._blockers: dict[tuple[str, str], str] = {}
        self._asked: set[str] = set()
        """Uids whose eviction was accepted."""
        self._first: frozenset[str] | None = None
        """Uids of the pods at the start of the drain."""
        self._came = defaultdict[tuple[str, ...], set[str]](set)
        """Controller -> uids of its pods that have arrived since."""

    async def empty(self, *, timeout_s: float) -> None:
        """Evict until no pod that must go is left. Raises DrainBlocked, and what `remove` raises."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty()
        except TimeoutError:
            raise DrainBlocked(self._node, self._blockers or {("", self._node): "its pods cannot be read"}) from None

    async def _empty(self) -> None:
        pause_s = PATIENCE_S
        while True:
            there = await wait_pods_on(self._api, self._node, lambda pods: True)
            self._note_arrivals(there)
            left = [pod for pod in there if must_go(pod) and not (self._node_is_dead and self._is_ending(pod))]
            if not left:
                self._report({})
                return
            progress = await self._try_all(left)
            if not self._waits:
                return
            pause_s = PATIENCE_S if progress else min(pause_s * 1.5, 5 * PATIENCE_S)
            with suppress(TimeoutError):  # look again after a change, or after the pause
                async with asyncio.timeout(pause_s):
                    await wait_pods_on(self._api, self._node, partial(_differs, {pod.uid for pod in left}))

    async def _try_all(self, pods: Iterable[PodRow]) -> bool:
        """Request the eviction of each pod once; True if any was accepted. Raises DrainBlocked if one can never be."""
        blockers: dict[tuple[str, str], str] = {}
        hopeless: dict[tuple[str, str], str] = {}
        todo = []
        for pod in pods:
            key = (pod.namespace, pod.name)
            if pod.unread:
                hopeless[key] = f"its object cannot be read: {pod.unread}"
            elif self._is_ending(pod):
                blockers[key] = f"it is ending{_held_by(pod)}"
            elif why := self._refuse(pod) or self._comes_back(pod):
                hopeless[key] = why
            else:
                todo.append(pod)
        if hopeless:
            self._report(hopeless)
            raise DrainBlocked(self._node, hopeless)
        progress = False
        for pod in todo:
            answer, key = await self._remove(pod), (pod.namespace, pod.name)
            if answer.state in (EvictionState.ACCEPTED, EvictionState.GONE):
                self._asked.add(pod.uid)
                progress = True
                blockers[key] = "it is ending"
            elif answer.state is EvictionState.NEVER:
                raise DrainBlocked(self._node, {key: answer.why})
            else:
                blockers[key] = answer.why
        self._report(blockers)
        return progress

    def _note_arrivals(self, pods: Iterable[PodRow]) -> None:
        uids = {pod.uid for pod in pods}
        if self._first is None:
            self._first = frozenset(uids)
        for pod in pods:
            if pod.uid not in self._first:
                self._came[_owner(pod)].add(pod.uid)

    def _comes_back(self, pod: PodRow) -> str:
        """Why evicting it would never end; empty: it may end."""
        came = len(self._came.get(_owner(pod), ()))
        if not pod.owner_kind or came <= RETURNS:
            return ""
        return (
            f"its {pod.owner_kind} brings its pods back to this node, {came} since the drain started:"
            " it names the node, or tolerates node.kubernetes.io/unschedulable"
        )

    def _is_ending(self, pod: PodRow) -> bool:
        return pod.deleting or pod.uid in self._asked

    def _report(self, blockers: dict[tuple[str, str], str]) -> None:
        if blockers != self._blockers:
            self._blockers = blockers
            self._on_change(blockers)


def _differs(seen: set[str], pods: tuple[PodRow, ...]) -> bool:
    return {pod.uid for pod in pods if must_go(pod)} != seen


def _owner(pod: PodRow) -> tuple[str, ...]:
    return (pod.namespace, pod.owner_kind, pod.owner_name)


def _held_by(pod: PodRow) -> str:
    return f", held by its finalizers {', '.join(pod.finalizers)}" if pod.finalizers else ""
