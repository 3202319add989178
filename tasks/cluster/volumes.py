"""PersistentVolumeClaims and the volumes they are bound to, as rows: which nodes can reach the data."""

from __future__ import annotations

from dataclasses import dataclass

from poolkeeper.tasks.cluster.api import Json
from poolkeeper.tasks.cluster.fields import Unread, required, section, text, total
from poolkeeper.tasks.cluster.selectors import NodeTerms, parse_node_terms


@dataclass(frozen=True, slots=True)
class VolumeClaim:
    """A PersistentVolumeClaim."""

    namespace: str
    name: str
    volume: str
    """Name of the PersistentVolume; empty: not bound yet, so that it binds nobody to a node."""
    unread: str = ""
    """Why its object cannot be read; empty: it can."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A PersistentVolume."""

    name: str
    node_terms: NodeTerms | None
    """The nodes from which it can be reached; None: all, or nothing is said."""
    source: str = ""
    """`local`, `hostPath`, `csi`, ...: the key of its spec that says what it is."""
    unread: str = ""
    """Why its object cannot be read; empty: it can."""


_SOURCES = ("local", "hostPath", "csi", "nfs", "iscsi", "fc", "cephfs", "rbd")


def _unread_claim(claim: Unread) -> VolumeClaim:
    return VolumeClaim(claim.namespace, claim.name, "", unread=claim.why)


@total(_unread_claim)
def parse_claim(item: Json) -> VolumeClaim:
    """A PersistentVolumeClaim object as a row."""
    metadata = section(item, "metadata")
    return VolumeClaim(
        required(metadata, "namespace"), required(metadata, "name"), text(section(item, "spec"), "volumeName")
    )


def _unread_volume(volume: Unread) -> Volume:
    return Volume(volume.name, None, unread=volume.why)


@total(_unread_volume)
def parse_volume(item: Json) -> Volume:
    """A PersistentVolume object as a row."""
    spec = section(item, "spec")
    return Volume(
        required(section(item, "metadata"), "name"),
        parse_node_terms(section(spec, "nodeAffinity").get("required")),
        next((source for source in _SOURCES if source in spec), ""),
    )
