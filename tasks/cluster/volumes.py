"""PersistentVolumeClaims and the volumes they are bound to, as rows: which nodes can reach the data."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.cluster.api import Json
from tasks.cluster.selectors import NodeTerms, parse_node_terms


@dataclass(frozen=True, slots=True)
class Claim:
    """A PersistentVolumeClaim."""

    namespace: str
    name: str
    volume: str
    """Name of the PersistentVolume; empty: not bound yet, so that it binds nobody to a node."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A PersistentVolume."""

    name: str
    node_terms: NodeTerms | None
    """The nodes from which it can be reached; None: all, or nothing is said."""
    source: str = ""
    """`local`, `hostPath`, `csi`, ...: the key of its spec that says what it is."""


_SOURCES = ("local", "hostPath", "csi", "nfs", "iscsi", "fc", "cephfs", "rbd")


def parse_claim(item: Json) -> Claim:
    """A PersistentVolumeClaim object as a row."""
    metadata = item["metadata"]
    return Claim(metadata["namespace"], metadata["name"], (item.get("spec") or {}).get("volumeName") or "")


def parse_volume(item: Json) -> Volume:
    """A PersistentVolume object as a row."""
    spec = item.get("spec") or {}
    required = (spec.get("nodeAffinity") or {}).get("required")
    return Volume(
        item["metadata"]["name"],
        parse_node_terms(required),
        next((source for source in _SOURCES if source in spec), ""),
    )
