"""Who owns the control plane: today ACK."""

from __future__ import annotations

from collections.abc import Callable

from tasks.fleet.model import AckProvider, Cluster, SecretRef
from tasks.outcomes import Secret
from tasks.provider.interface import OutcomeUnknown, Provider, ProviderError, Throttled


def open_provider(cluster: Cluster, secret: Callable[[SecretRef], Secret]) -> Provider:
    """The provider that the fleet file names. Raises ProviderError for one that is not built yet."""
    if isinstance(cluster.provider, AckProvider):
        from tasks.provider.ack import Ack

        return Ack(cluster, cluster.provider, secret)
    raise ProviderError(f"cluster {cluster.name}: joining by kubeadm is not built yet; use provider ack")


__all__ = ["OutcomeUnknown", "Provider", "ProviderError", "Throttled", "open_provider"]
