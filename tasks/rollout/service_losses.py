"""Which Services have fewer endpoints while a wave is drained, and down to how many."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from poolkeeper.tasks.cluster.services import Service
from poolkeeper.tasks.cluster.workloads import Pod
from poolkeeper.tasks.outcomes import Known, Observed, Unknown
from poolkeeper.tasks.rollout.snapshot_index import SnapshotIndex
from poolkeeper.tasks.rollout.verdicts import ServiceLoss


def service_losses(world: SnapshotIndex, at_once: Sequence[Pod]) -> Observed[tuple[ServiceLoss, ...]]:
    """The Services that lose endpoints when these pods go at once, fewest left first.

    at_once: pods that are evicted without waiting for a replacement
    Unknown where Services could not be read, or EndpointSlices and some Service depends on them.
    """
    snapshot = world.snapshot
    if isinstance(snapshot.services, Unknown):
        return snapshot.services
    leaving: defaultdict[str, list[Pod]] = defaultdict(list)
    for pod in at_once:
        leaving[pod.namespace].append(pod)
    found = []
    for service in (each for namespace in leaving for each in world.services_in.get(namespace, ())):
        if not service.selects:
            if isinstance(snapshot.slices, Unknown):
                return Unknown(
                    f"the endpoints of Service {service.namespace}/{service.name}, which has no selector:"
                    f" {snapshot.slices.reason}",
                    snapshot.slices.seen_at,
                )
            continue
        lost = [pod for pod in leaving[service.namespace] if _serves(service, pod)]
        if lost:
            ready = sum(1 for pod in world.selected(service.namespace, service.selector) if _serves(service, pod))
            found.append(_loss(service.namespace, service.name, ready, lost))
    found += _by_hand(world, leaving)
    return Known(tuple(sorted(found, key=lambda loss: (loss.left, loss.namespace, loss.name))), snapshot.seen_at)


def _serves(service: Service, pod: Pod) -> bool:
    """Whether a pod is one of the endpoints that traffic is sent to."""
    if pod.finished or pod.deleting_at is not None or not pod.node:
        return False
    return (pod.ready or service.publishes_not_ready) and service.selector.matches(pod.labels)


def _by_hand(world: SnapshotIndex, leaving: dict[str, list[Pod]]) -> list[ServiceLoss]:
    """Losses of Services whose endpoints someone else writes."""
    if isinstance(world.snapshot.slices, Unknown):
        return []
    inside = (each for namespace in leaving for each in world.services_in.get(namespace, ()))
    written = {(service.namespace, service.name) for service in inside if not service.selects}
    pods: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    others: defaultdict[tuple[str, str], int] = defaultdict(int)
    for each in world.snapshot.slices.value:
        key = each.namespace, each.service
        if key in written:
            pods[key].update(each.pods)
            others[key] += each.others
    found = []
    for (namespace, name), names in pods.items():
        lost = [pod for pod in leaving[namespace] if pod.name in names]
        if lost:
            found.append(_loss(namespace, name, len(names) + others[namespace, name], lost))
    return found


def _loss(namespace: str, name: str, ready: int, lost: Sequence[Pod]) -> ServiceLoss:
    nodes = tuple(dict.fromkeys(pod.node for pod in lost))
    return ServiceLoss(namespace, name, ready, ready - len(lost), nodes)
