"""Since when the clusters exist, and until when, by their providers' word, as rows of the `lifecycle` table.

A provider tells when a cluster was created. That one is gone is noticed: it is not listed any more, or told as deleted.
The row says so with the last time at which it was seen (`not_before`), because when it went nobody told.
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
"""What ACK answers for an id that it does not list, or lists no more."""
GONE_STATE = "Deleted"


@dataclass(frozen=True, slots=True)
class ClusterLife:
    """A cluster as its provider sees it."""

    created_at: datetime
    state: str
    """By the provider's name with a capital, as tariffs have it: `Running`."""
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """What earlier runs wrote down of a cluster."""

    last_at: datetime
    """When it was surely there."""
    is_released: bool


def secrets_of_providers(fleet: Fleet) -> set[SecretRef]:
    """Every secret that asking the fleet's providers takes."""
    providers = [c.provider for c in fleet.clusters.values() if isinstance(c.provider, AckProvider)]
    keys = {key for provider in providers for key in (provider.access_key_id, provider.access_key_secret)}
    return {key for key in keys if key is not None}


async def record_clusters(fleet: Fleet, secret: Callable[[SecretRef], Secret], recorder: Recorder) -> tuple[str, ...]:
    """Write down when each cluster was created, what state it is in, or that it is gone; a line for the log of each.

    A cluster that no provider bills is passed over, in a line of its own, and so is one that earlier runs saw and the
    fleet file has no more. Raises ProviderError, also for a cluster that is not there and never was, and SecretMissing.
    """
    before = seen_before(recorder.spool.rows(LIFECYCLE))
    told = []
    asked = set()
    for cluster in fleet.clusters.values():
        if not isinstance(cluster.provider, AckProvider):
            told.append(f"cluster {cluster.name}: nobody bills it for being managed")
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
        told.append(f"cluster {cluster.name}: {line}")
    for cluster_id in sorted(before.keys() - asked):
        if not before[cluster_id].is_released:
            told.append(
                f"cluster {cluster_id} is in the fleet file no more, so that nobody asks for it: its fee runs on until"
                " an event says that it was released"
            )
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


def seen_before(rows: Iterator[Mapping[str, Any]]) -> Mapping[str, Seen]:
    """Cluster id -> what rows of the `lifecycle` table say of it. Pure."""
    found: dict[str, Seen] = {}
    # a release that nobody saw is overruled by a later look that found the cluster
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
    """The rows to write, and what they say in words. Pure.

    life: None for a cluster that its provider does not list; seen: what earlier runs wrote down of it
    """
    same = {"resource_id": provider.cluster_id, "kind": "cluster", "labels": {"cluster": cluster.name}}
    if life is not None and life.state != GONE_STATE:
        rows: list[dict[str, object]] = [
            {**same, "event": "created", "at": life.created_at},
            {**same, "event": f"state:{life.state}", "at": life.seen_at},
        ]
        return rows, f"{life.state}, created at {life.created_at.isoformat()}"
    how = "its provider lists it no more" if life is None else "its provider tells it as deleted"
    if seen is not None and seen.is_released:
        return [], f"{how}; that was written down before"
    last_at = seen.last_at if seen else life.created_at if life else now
    created: list[dict[str, object]] = [{**same, "event": "created", "at": life.created_at}] if life else []
    released = {**same, "event": "released", "at": now, "not_before": last_at}
    return [*created, released], f"{how}; it was there at {last_at.isoformat()}, and went at some time since"
