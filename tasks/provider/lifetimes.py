"""Since when the clusters exist, by their providers' word, as rows of the `lifecycle` table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.fleet.model import AckProvider, Cluster, Fleet, SecretRef
from tasks.ledger import LIFECYCLE, Spool
from tasks.outcomes import Secret
from tasks.provider.ack import Ack
from tasks.provider.interface import ProviderError


@dataclass(frozen=True, slots=True)
class ClusterLife:
    """A cluster as its provider sees it."""

    created_at: datetime
    state: str
    """By the provider's name with a capital, as tariffs have it: `Running`."""
    seen_at: datetime


def secrets_of_providers(fleet: Fleet) -> set[SecretRef]:
    """Every secret that asking the fleet's providers takes."""
    providers = [c.provider for c in fleet.clusters.values() if isinstance(c.provider, AckProvider)]
    keys = {key for provider in providers for key in (provider.access_key_id, provider.access_key_secret)}
    return {key for key in keys if key is not None}


async def record_clusters(
    fleet: Fleet, secret: Callable[[SecretRef], Secret], spool: Spool, run_id: str
) -> tuple[str, ...]:
    """Write down when each cluster was created and what state it is in; a line for the log of each.

    A cluster that no provider bills is passed over, in a line of its own. Raises ProviderError and SecretMissing.
    """
    told = []
    for cluster in fleet.clusters.values():
        if not isinstance(cluster.provider, AckProvider):
            told.append(f"cluster {cluster.name}: nobody bills it for being managed")
            continue
        life = await read_life(cluster, cluster.provider, secret)
        spool.append(LIFECYCLE, run_id, f"cluster.{cluster.name}", _rows(cluster, cluster.provider, life))
        told.append(f"cluster {cluster.name}: {life.state}, created at {life.created_at.isoformat()}")
    return tuple(told)


async def read_life(cluster: Cluster, provider: AckProvider, secret: Callable[[SecretRef], Secret]) -> ClusterLife:
    """One cluster's life so far. Raises ProviderError and SecretMissing."""
    detail = await Ack(cluster, provider, secret).cluster_detail()
    try:
        created_at = datetime.fromisoformat(str(detail.get("created"))).astimezone(UTC)
    except ValueError:
        raise ProviderError(
            f"ACK does not tell when cluster {cluster.name} was created. Give the events by hand, as a CSV file."
        ) from None
    return ClusterLife(
        created_at,
        str(detail.get("state", "")).capitalize() or "Unknown",
        datetime.now(UTC),
    )


def _rows(cluster: Cluster, provider: AckProvider, life: ClusterLife) -> list[dict[str, object]]:
    same = {"resource_id": provider.cluster_id, "kind": "cluster", "labels": {"cluster": cluster.name}}
    return [
        {**same, "event": "created", "at": life.created_at},
        {**same, "event": f"state:{life.state}", "at": life.seen_at},
    ]
