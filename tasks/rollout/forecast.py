"""What draining nodes would do, told before the first cordon. Pure: a snapshot in, verdicts out.

The nodes given are one wave: cordoned together, drained one after another in the order given, pods by namespace and
name. Budgets and room are spent cumulatively in that order.

A drain is what `kubectl drain --ignore-daemonsets --delete-emptydir-data` does (k8s.io/kubectl v0.36, pkg/drain), under
a deadline: a pod that it would need `--force` for blocks, and so does one that it would wait for in vain.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from poolkeeper.tasks.cluster.node_names import NodesMistyped
from poolkeeper.tasks.cluster.scheduling import CORDON
from poolkeeper.tasks.cluster.selectors import NodeTerms
from poolkeeper.tasks.cluster.snapshot import Node, Snapshot
from poolkeeper.tasks.cluster.workloads import Pod
from poolkeeper.tasks.outcomes import Known, NotKnown, Unknown, known
from poolkeeper.tasks.rollout.pdb_spending import Budgets, needs_budget
from poolkeeper.tasks.rollout.placement import Destination, NoRoom, Placement, Rooms, Terms, Unsure
from poolkeeper.tasks.rollout.service_losses import service_losses
from poolkeeper.tasks.rollout.snapshot_index import SnapshotIndex, WorkloadKey
from poolkeeper.tasks.rollout.verdicts import (
    REFUSED_AT_FIRST,
    Forecast,
    NodeForecast,
    PodForecast,
    PodVerdict,
    Reason,
    by_verdict,
    worst_first,
)

REMOVED_IN_TIME = frozenset({"batch.kubernetes.io/job-tracking", "foregroundDeletion", "orphan"})
"""Finalizers that Kubernetes' own controllers take away as soon as a pod has ended."""
STUCK_AFTER_S = 60.0
"""So long after a deleted pod should have been gone it is not just late."""
_NO_REPLICAS = ("Job", "DaemonSet")
"""Kinds of controllers whose pods do not stand in for each other."""


def forecast(snapshot: Snapshot, nodes: Sequence[str], *, deadline_s: float, now: datetime) -> Forecast:
    """What draining these nodes as one wave would do.

    deadline_s: how long one node's drain waits for its pods to end
    Raises NodesMistyped.
    """
    world = SnapshotIndex(snapshot)
    looked_at, at_once = _Wave(Rooms(world), nodes, deadline_s, now).look()
    return Forecast(snapshot.seen_at, now, deadline_s, looked_at, service_losses(world, at_once), snapshot.unread)


def forecast_each(
    snapshot: Snapshot, nodes: Iterable[str], *, deadline_s: float, now: datetime
) -> dict[str, NodeForecast]:
    """What draining each of these nodes alone would do: what an order of waves is made from.

    Raises NodesMistyped.
    """
    rooms = Rooms(SnapshotIndex(snapshot))
    return {node: _Wave(rooms, [node], deadline_s, now).look()[0][0] for node in nodes}


class _Wave:
    """One wave being looked at."""

    def __init__(self, rooms: Rooms, nodes: Sequence[str], deadline_s: float, now: datetime) -> None:
        self._world, self._rooms = rooms.world, rooms
        self._snapshot = rooms.world.snapshot
        self._nodes = list(dict.fromkeys(nodes))
        unknown = [name for name in self._nodes if name not in rooms.nodes]
        if unknown:
            raise NodesMistyped(unknown, rooms.nodes)
        self._deadline_s, self._now = deadline_s, now
        self._budgets = Budgets()
        self._placement = Placement(rooms, self._nodes)

    def look(self) -> tuple[tuple[NodeForecast, ...], list[Pod]]:
        """Look at every pod in turn, then at who goes together: the nodes, and the pods that go at once."""
        pods = {name: self._pods_of(name) for name in self._nodes}
        for pod in (pod for found in pods.values() for pod in found):
            if self._has_to_go(pod):
                self._placement.leave(pod)
        reasons = {
            name: [(pod, self._reasons(self._rooms.nodes[name], pod)) for pod in found] for name, found in pods.items()
        }
        at_once = [
            pod
            for found in reasons.values()
            for pod, why in found
            if self._has_to_go(pod) and not any(each.verdict in REFUSED_AT_FIRST for each in why)
        ]
        together = self._together(at_once)
        forecasts = []
        for name, found in reasons.items():
            looked_at = []
            for pod, why in found:
                more = together.get(str(pod))
                complete = why if more is None else [*why, more]
                looked_at.append(PodForecast(pod, worst_first(complete) if complete else (_FINE,)))
            forecasts.append(NodeForecast(name, by_verdict(looked_at)))
        return tuple(forecasts), at_once

    def _pods_of(self, node: str) -> list[Pod]:
        return sorted(self._world.pods_on.get(node, ()), key=lambda pod: (pod.namespace, pod.name))

    def _has_to_go(self, pod: Pod) -> bool:
        """Whether it takes an eviction of a live pod."""
        return pod.deleting_at is None and not pod.finished and self._left_alone(pod) is None

    def _left_alone(self, pod: Pod) -> Reason | None:
        """Why a drain does not touch a pod, or that this cannot be told; None: it has to go."""
        if pod.unread:
            return Reason(PodVerdict.UNREADABLE, f"what it is cannot be read ({pod.unread}); a drain does not touch it")
        if pod.mirror:
            return Reason(PodVerdict.STATIC, "its kubelet runs it from a file on the host; a drain leaves it")
        if pod.owner is not None and pod.owner.is_daemonset and not pod.finished:
            daemonsets = self._snapshot.daemonsets
            name = pod.owner.name
            if isinstance(daemonsets, Unknown):
                return Reason(PodVerdict.UNKNOWN, f"whether DaemonSet {name} still exists: {daemonsets.reason}")
            if (pod.namespace, name) in daemonsets.value:
                return Reason(PodVerdict.DAEMONSET, f"DaemonSet {name} keeps it on its node; a drain leaves it")
        return None

    def _reasons(self, node: Node, pod: Pod) -> list[Reason]:
        alone = self._left_alone(pod)
        if alone is not None:
            return [alone]
        found = list(self._leaving(node, pod))
        if pod.finished or pod.deleting_at is not None:
            return found
        volumes, bound = self._volumes(node, pod)
        found += bound
        destination: Destination | None = None
        orphan = pod.owner is None or pod.owner.is_daemonset
        if not orphan and not bound:
            destination = self._placement.place(pod, volumes)
            if isinstance(destination, NoRoom):
                found.append(Reason(PodVerdict.FITS_NOWHERE, destination.reason))
            elif isinstance(destination, Unsure):
                found.append(Reason(PodVerdict.UNKNOWN, f"whether it fits elsewhere: {destination.reason}"))
        found += self._budget(pod, replaced=isinstance(destination, str))
        if orphan:
            found.append(_unmanaged(pod))
        elif pod.needs.tolerates(CORDON) and self._may_return(node, pod):
            text = "it tolerates node.kubernetes.io/unschedulable: its replacement may be put on this node again"
            found.append(Reason(PodVerdict.COMES_BACK, text))
        if pod.scratch or pod.memory_scratch:
            found.append(_scratch(pod))
        return found

    def _leaving(self, node: Node, pod: Pod) -> Iterable[Reason]:
        """What keeps a pod there once it is evicted."""
        held = [name for name in pod.finalizers if name not in REMOVED_IN_TIME]
        if held:
            names = ", ".join(held)
            yield Reason(PodVerdict.FINALIZER, f"it stays until someone removes its finalizer {names}", names)
        if pod.deleting_at is not None:
            late_s = (self._now - pod.deleting_at).total_seconds()
            if late_s > STUCK_AFTER_S:
                text = f"it was deleted and should have been gone {late_s:.0f} s ago"
                yield Reason(PodVerdict.STUCK, text)
            elif -late_s > self._deadline_s:
                yield Reason(
                    PodVerdict.GRACE_TOO_LONG,
                    f"it was deleted and may take another {-late_s:.0f} s, longer than the deadline of"
                    f" {self._deadline_s:.0f} s",
                )
            else:
                yield Reason(PodVerdict.GOING, "it was deleted already and is ending")
            return
        if pod.finished:
            yield Reason(PodVerdict.FINISHED, f"it has {pod.phase.lower()}; only its object is deleted")
            return
        if node.ready is not True:
            told = f": {node.ready_message}" if node.ready_message else ""
            yield Reason(PodVerdict.KUBELET_GONE, f"its node is not Ready, so its kubelet may never end it{told}")
        if pod.grace_s > self._deadline_s:
            text = (
                f"it may take {pod.grace_s} s to end (terminationGracePeriodSeconds), longer than the deadline of"
                f" {self._deadline_s:.0f} s"
            )
            yield Reason(PodVerdict.GRACE_TOO_LONG, text)

    def _volumes(self, node: Node, pod: Pod) -> tuple[Terms, list[Reason]]:
        """The node selectors of the pod's volumes; and what binds it to its node, or that this cannot be told."""
        terms: list[NodeTerms] = []
        for name in pod.claims:
            try:
                claim = known(self._snapshot.claims).get((pod.namespace, name))
                if claim is not None and claim.unread:
                    raise NotKnown(f"its claim cannot be read ({claim.unread})")
                if claim is None or not claim.volume:
                    continue
                volume = known(self._snapshot.volumes).get(claim.volume)
                if why := volume.unread if volume else "":
                    raise NotKnown(f"PersistentVolume {claim.volume} cannot be read ({why})")
            except NotKnown as error:
                return (), [Reason(PodVerdict.UNKNOWN, f"whether its volume {name} can be reached elsewhere: {error}")]
            if volume is None:
                continue
            if volume.source == "hostPath" and volume.node_terms is None:
                text = f"volume {volume.name} (claim {name}) is a folder of the host: elsewhere it is another folder"
                return (), [Reason(PodVerdict.VOLUME_BOUND, text, volume.name)]
            if volume.node_terms is None:
                continue
            if not any(other.name != node.name for other in self._rooms.reaching(volume.node_terms)):
                kind = f"{volume.source} " if volume.source else ""
                text = f"{kind}volume {volume.name} (claim {name}) can be reached from this node only"
                return (), [Reason(PodVerdict.VOLUME_BOUND, text, volume.name)]
            terms.append(volume.node_terms)
        return tuple(terms), []

    def _may_return(self, node: Node, pod: Pod) -> bool:
        return self._rooms.chosen(node, pod.needs) and not self._rooms.repelled(node, pod.needs)

    def _budget(self, pod: Pod, *, replaced: bool) -> list[Reason]:
        budgets = self._snapshot.budgets
        if isinstance(budgets, Unknown):
            if needs_budget(pod):
                return [Reason(PodVerdict.UNKNOWN, f"whether a PDB blocks it: {budgets.reason}")]
            return []
        matching = self._world.budgets_of(pod)
        if not matching:
            return []
        replicas = self._world.replicas_under(matching[0])
        reason = self._budgets.evict(pod, matching, replaced=replaced, replicas=replicas)
        return [] if reason is None else [reason]

    def _together(self, at_once: Sequence[Pod]) -> dict[str, Reason]:
        """Who is the last of its workload, or goes with all the others, by pod."""
        going: defaultdict[WorkloadKey, list[Pod]] = defaultdict(list)
        for pod in at_once:
            if pod.ready and pod.owner is not None and pod.owner.kind not in _NO_REPLICAS:
                key = self._world.workload_of(pod)
                if key is not None:
                    going[key].append(pod)
        found: dict[str, Reason] = {}
        for key, pods in going.items():
            if len(pods) < self._world.ready_of(key):
                continue
            kind, _, name = key
            if len(pods) > 1:
                text = f"all {len(pods)} Ready replicas of {kind} {name} go in this wave, and nothing keeps them apart"
                found |= {str(pod): Reason(PodVerdict.ALL_AT_ONCE, text) for pod in pods}
            elif isinstance(self._snapshot.budgets, Known) and not self._world.budgets_of(pods[0]):
                text = f"it is the only Ready replica of {kind} {name}, and no PDB guards it"
                found[str(pods[0])] = Reason(PodVerdict.LAST_READY, text)
        return found


_FINE = Reason(PodVerdict.EVICTABLE, "it can be evicted, and its replacement fits elsewhere")


def _unmanaged(pod: Pod) -> Reason:
    if pod.owner is not None:
        return Reason(PodVerdict.NO_CONTROLLER, f"its DaemonSet {pod.owner.name} is gone: nothing would replace it")
    return Reason(PodVerdict.NO_CONTROLLER, "it has no controller: nothing would replace it")


def _scratch(pod: Pod) -> Reason:
    names = ", ".join((*pod.scratch, *pod.memory_scratch))
    where = " (in memory)" if not pod.scratch else ""
    return Reason(PodVerdict.EMPTY_DIR, f"what it keeps in emptyDir {names}{where} is lost")
