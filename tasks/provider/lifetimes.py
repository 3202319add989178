"""Since when clusters exist and until when, as their providers report it, in rows of the `lifecycle` table.

A provider reports when a cluster was created. A cluster is released when its provider no longer lists it or reports it
as deleted. The row then has the last time at which the cluster was seen (`not_before`), because no provider reports the
time of the release.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from poolkeeper.tasks.fleet.model import AckProvider, Cluster, Fleet, SecretRef
from poolkeeper.tasks.ledger import LIFECYCLE
from poolkeeper.tasks.outcomes import Secret
from poolkeeper.tasks.provider.ack import Ack
from poolkeeper.tasks.provider.interface import ProviderError
from poolkeeper.tasks.runs.recording import Recorder

GONE_CODES = frozenset({"ErrorClusterNotFound"})
"""ACK's codes for an id that it does not list."""
GONE_STATE = "Deleted"


@dataclass(frozen=True, slots=True)
class ClusterLife:
    """A cluster as its provider reports it."""

    created_at: datetime
    state: str
    """The provider's name for it with a capital, as in tariffs: `Running`."""
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """What earlier runs have recorded about a cluster."""

    last_at: datetime
    """When it was last known to exist."""
    is_released: bool


def secrets_of_providers(fleet: Fleet) -> set[SecretRef]:
    """Every secret that is needed to ask the fleet's providers."""
    providers = [c.provider for c in fleet.clusters.values() if isinstance(c.provider, AckProvider)]
    keys = {key for provider in providers for key in (provider.access_key_id, provider.access_key_secret)}
    return {key for key in keys if key is not None}


async def record_clusters(fleet: Fleet, secret: Callable[[SecretRef], Secret], recorder: Recorder) -> tuple[str, ...]:
    """Record when each cluster was created and its state, or that it was released; a line for the log about each.

    A cluster without a bill, and one that is no longer in the fleet file, have a line and no row. Raises SecretMissing,
    and ProviderError, also for a cluster that the provider has never listed.
    """
    before = seen_before(recorder.spool.rows(LIFECYCLE))
    lines = []
    asked = set()
    for cluster in fleet.clusters.values():
        if not isinstance(cluster.provider, AckProvider):
            lines.append(f"cluster {cluster.name}: its provider has no fee for managing it")
            continue
        asked.add(cluster.provider.cluster_id)
        seen = before.get(cluster.provider.cluster_id)
        try:
            life = await read_life(cluster, cluster.provider, secret)
        except ProviderError as error:
            if error.code not in GONE_CODES or seen is None:
                raise
            life = None
        rows, line = life_rows(cluster, cluster.provider, life, seen, datetime.now(UTC))
        if rows:
            recorder.write(LIFECYCLE, f"cluster.{cluster.name}", rows)
        lines.append(f"cluster {cluster.name}: {line}")
    for cluster_id in sorted(before.keys() - asked):
        if not before[cluster_id].is_released:
            lines.append(
                f"cluster {cluster_id} is no longer in the fleet file and is not read: its fee continues until an event"
                " reports its release"
            )
    return tuple(lines)


async def read_life(cluster: Cluster, provider: AckProvider, secret: Callable[[SecretRef], Secret]) -> ClusterLife:
    """One cluster's life so far. Raises ProviderError and SecretMissing."""
    detail = await Ack(cluster, provider, secret).cluster_detail()
    try:
        created_at = datetime.fromisoformat(str(detail.get("created"))).astimezone(UTC)
    except ValueError:
        raise ProviderError(
            f"ACK does not report when cluster {cluster.name} was created",
            next_step="Give the events by hand, as a CSV file.",
        ) from None
    return ClusterLife(
        created_at,
        str(detail.get("state", "")).capitalize() or "Unknown",
        datetime.now(UTC),
    )


def seen_before(rows: Iterator[Mapping[str, Any]]) -> Mapping[str, Seen]:
    """Cluster id -> what rows of the `lifecycle` table have about it. Pure."""
    found: dict[str, Seen] = {}
    # a recorded release is void if a later run has found the cluster
    for row in sorted((row for row in rows if row["kind"] == "cluster"), key=lambda row: row["at"]):
        earlier = found.get(row["resource_id"])
        if row["event"] != "released":
            found[row["resource_id"]] = Seen(row["at"], False)
        elif earlier:
            found[row["resource_id"]] = Seen(earlier.last_at, True)
    return found


def life_rows(
    cluster: Cluster, provider: AckProvider, life: ClusterLife | None, seen: Seen | None, now: datetime
) -> tuple[list[dict[str, object]], str]:
    """The rows to write, and the same in words. Pure.

    life: None for a cluster that its provider does not list; seen: what earlier runs have recorded about it
    """
    same = {"resource_id": provider.cluster_id, "kind": "cluster", "labels": {"cluster": cluster.name}}
    if life is not None and life.state != GONE_STATE:
        rows: list[dict[str, object]] = [
            {**same, "event": "created", "at": life.created_at},
            {**same, "event": f"state:{life.state}", "at": life.seen_at},
        ]
        return rows, f"{life.state}, created at {life.created_at.isoformat()}"
    how = "its provider no longer lists it" if life is None else "its provider reports it as deleted"
    if seen is not None and seen.is_released:
        return [], f"{how}; an earlier run has recorded that"
    last_at = seen.last_at if seen else life.created_at if life else now
    created: list[dict[str, object]] = [{**same, "event": "created", "at": life.created_at}] if life else []
    released = {**same, "event": "released", "at": now, "not_before": last_at}
    return [*created, released], f"{how}; it existed at {last_at.isoformat()} and was released after that"
