"""What is billed for the fleet's clusters beside their fees: ids that their providers list, and those declared.

The provider lists what was made with a cluster and by its add-ons (`DescribeClusterResources`). What it does not know
of, such as the dedicated line, is declared in the fleet file (`billed_resources`), whose word stands.
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
    """Which ids on a bill are the fleet's own."""

    clusters: frozenset[str] | None
    """Ids of the clusters themselves, as their providers have them; None: nobody said."""
    resources: Mapping[str, str]
    """Instance id -> what it is to which cluster."""
    notes: tuple[str, ...]
    """Clusters whose provider did not tell, each as a sentence."""


async def billed_of(fleet: Fleet, secret: Callable[[SecretRef], Secret]) -> Billed:
    """Ask each provider, and add what is declared. One that cannot be asked is a note."""
    listed: dict[str, Mapping[str, str]] = {}
    notes = []
    for cluster in fleet.clusters.values():
        if not isinstance(cluster.provider, AckProvider):
            continue
        try:
            rows = await Ack(cluster, cluster.provider, secret).cluster_resources()
        except (ProviderError, SecretMissing) as error:
            notes.append(
                f"The resources of cluster {cluster.name} are not known, only those that are declared: {error}"
            )
        else:
            listed[cluster.name] = named(rows)
    return belonging(fleet.clusters.values(), listed, notes)


def belonging(
    clusters: Iterable[Cluster], listed: Mapping[str, Mapping[str, str]], notes: Iterable[str] = ()
) -> Billed:
    """Both sources together. Pure. What is shared by clusters says so: a line may serve several."""
    found: dict[str, dict[str, None]] = {}
    ids = []
    for cluster in clusters:
        if isinstance(cluster.provider, AckProvider):
            ids.append(cluster.provider.cluster_id)
        for instance_id, words in {**listed.get(cluster.name, {}), **cluster.billed_resources}.items():
            found.setdefault(instance_id, {})[f"{words} ({cluster.name})"] = None
    return Billed(frozenset(ids), {id_: "; ".join(words) for id_, words in sorted(found.items())}, tuple(notes))


def named(rows: Iterable[Mapping[str, Any]]) -> Mapping[str, str]:
    """Rows of `DescribeClusterResources`: instance id -> its type, and for what and by whom it was made. Pure.

    A row without an instance id is of something that is not billed by itself, and passed over.
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
