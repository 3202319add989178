"""Resources that are billed beside the clusters' fees: those that providers list, and those that are declared.

The provider lists what was made with a cluster and by its add-ons (`DescribeClusterResources`). Other resources, such
as the dedicated line, are declared in the fleet file (`billed_resources`), which takes precedence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from poolkeeper.tasks.fleet.model import AckProvider, Cluster, Fleet, SecretRef
from poolkeeper.tasks.outcomes import Secret
from poolkeeper.tasks.provider.ack import Ack
from poolkeeper.tasks.provider.interface import ProviderError
from poolkeeper.tasks.settings import SecretMissing


@dataclass(frozen=True, slots=True)
class Billed:
    """Which ids on a bill belong to the fleet."""

    clusters: frozenset[str] | None
    """Ids of the clusters themselves, as their providers have them; None: not known."""
    resources: Mapping[str, str]
    """Instance id -> what it is, and of which cluster."""
    notes: tuple[str, ...]
    """A sentence for each cluster whose resources could not be listed."""


async def billed_of(fleet: Fleet, secret: Callable[[SecretRef], Secret]) -> Billed:
    """Ask each provider, and add the declared resources. A provider that cannot be asked becomes a note."""
    listed: dict[str, Mapping[str, str]] = {}
    notes = []
    for cluster in fleet.clusters.values():
        if not isinstance(cluster.provider, AckProvider):
            continue
        try:
            rows = await Ack(cluster, cluster.provider, secret).cluster_resources()
        except (ProviderError, SecretMissing) as error:
            notes.append(f"Only the declared resources of cluster {cluster.name} are known: {error.summary}")
        else:
            listed[cluster.name] = named(rows)
    return belonging(fleet.clusters.values(), listed, notes)


def belonging(
    clusters: Iterable[Cluster], listed: Mapping[str, Mapping[str, str]], notes: Iterable[str] = ()
) -> Billed:
    """Both sources together. Pure. A resource may belong to several clusters, such as a dedicated line."""
    found: dict[str, dict[str, None]] = {}
    ids = []
    for cluster in clusters:
        if isinstance(cluster.provider, AckProvider):
            ids.append(cluster.provider.cluster_id)
        for instance_id, words in {**listed.get(cluster.name, {}), **cluster.billed_resources}.items():
            found.setdefault(instance_id, {})[f"{words} ({cluster.name})"] = None
    return Billed(frozenset(ids), {id_: "; ".join(words) for id_, words in sorted(found.items())}, tuple(notes))


def named(rows: Iterable[Mapping[str, Any]]) -> Mapping[str, str]:
    """Rows of `DescribeClusterResources`: instance id -> its type, for what it was made, and by which creator. Pure.

    A row without an instance id is skipped: what it is about is not billed by itself.
    """
    found = {}
    for row in rows:
        instance_id = str(row.get("instance_id") or "").strip()
        if not instance_id:
            continue
        kind = str(row.get("resource_type") or "resource").removeprefix("ALIYUN::").replace("::", " ")
        target = row.get("associated_object")
        if isinstance(target, Mapping):
            target = "/".join(str(target[key]) for key in ("kind", "namespace", "name") if target.get(key))
        maker = str(row.get("creator_type") or "")
        words = [kind, f"for {target}" if target else "", f"made by {maker}" if maker else ""]
        found[instance_id] = ", ".join(filter(None, words))
    return found
