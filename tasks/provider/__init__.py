"""The owner of the control plane: ACK, or an operator whose hosts join by kubeadm."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from poolkeeper.tasks.fleet.model import AckProvider, Cluster, SecretRef
from poolkeeper.tasks.outcomes import Secret
from poolkeeper.tasks.provider.interface import OutcomeUnknown, Provider, ProviderError, ProviderThrottled


@asynccontextmanager
async def open_provider(cluster: Cluster, secret: Callable[[SecretRef], Secret]) -> AsyncIterator[Provider]:
    """The provider that the fleet file names, closed at the end. Raises SecretMissing and ClusterUnreachable."""
    if isinstance(cluster.provider, AckProvider):
        from poolkeeper.tasks.provider.ack import Ack

        yield Ack(cluster, cluster.provider, secret)
    else:
        from poolkeeper.tasks.provider.kubeadm import open_kubeadm

        async with open_kubeadm(cluster, cluster.provider, secret(cluster.kubeconfig)) as provider:
            yield provider


__all__ = ["OutcomeUnknown", "Provider", "ProviderError", "ProviderThrottled", "open_provider"]
