"""The controllers of kube-controller-manager and kube-scheduler that a rollout meets, over the store."""

from __future__ import annotations

import asyncio

from poolkeeper.deployments.lab.kubernetes.controllers.daemonsets import DaemonSets
from poolkeeper.deployments.lab.kubernetes.controllers.deployments import Deployments
from poolkeeper.deployments.lab.kubernetes.controllers.disruption import Disruption
from poolkeeper.deployments.lab.kubernetes.controllers.endpoints import ServiceEndpoints
from poolkeeper.deployments.lab.kubernetes.controllers.garbage import OwnerGarbage, PodGarbage
from poolkeeper.deployments.lab.kubernetes.controllers.indexes import Indexes
from poolkeeper.deployments.lab.kubernetes.controllers.loop import ControlLoop
from poolkeeper.deployments.lab.kubernetes.controllers.namespaces import Namespaces
from poolkeeper.deployments.lab.kubernetes.controllers.node_lifecycle import NodeLifecycle
from poolkeeper.deployments.lab.kubernetes.controllers.replicasets import ReplicaSets
from poolkeeper.deployments.lab.kubernetes.controllers.scheduler import Scheduler
from poolkeeper.deployments.lab.kubernetes.controllers.taint_eviction import TaintEviction
from poolkeeper.deployments.lab.kubernetes.store import Store

__all__ = ["Controllers"]


class Controllers:
    """All controllers of one cluster.

    node_grace_s: a node without a report for so long is lost (upstream's default); None: never
    pod_grace_s: pods outlive their deleted Node by so long (upstream's default)
    toleration_second_s: how long one second of a pod's tolerationSeconds lasts
    ca_pem: published to every namespace as ConfigMap `kube-root-ca.crt`; None: it is not
    """

    def __init__(
        self,
        store: Store,
        *,
        node_grace_s: float | None = 50.0,
        pod_grace_s: float = 40.0,
        toleration_second_s: float = 1.0,
        ca_pem: str | None = None,
    ) -> None:
        self._indexes = indexes = Indexes(store)
        self._loops: list[ControlLoop] = [
            Namespaces(store, ca_pem=ca_pem).loop,
            Deployments(store, indexes).loop,
            ReplicaSets(store, indexes).loop,
            DaemonSets(store, indexes).loop,
            Scheduler(store, indexes).loop,
            Disruption(store).loop,
            NodeLifecycle(store, indexes, grace_s=node_grace_s).loop,
            TaintEviction(store, indexes, second_s=toleration_second_s).loop,
            OwnerGarbage(store, indexes).loop,
            PodGarbage(store, indexes, grace_s=pod_grace_s).loop,
            ServiceEndpoints(store).loop,
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Look at everything there is, and follow it from now on."""
        for loop in self._loops:
            loop.start()
            self._tasks.append(asyncio.create_task(loop.run(), name=f"lab-{loop.name}"))

    async def stop(self) -> None:
        """Stop following; the objects stay as they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for loop in self._loops:
            loop.stop()
        self._indexes.close()
        self._tasks.clear()
