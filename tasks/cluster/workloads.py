"""Pods as a drain meets them, and the workloads that replace them, as small rows.

Rows of one snapshot share what they have in common (labels, needs, owners): 30,000 pods are some 2,000 distinct ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from poolkeeper.tasks.cluster.api import Json
from poolkeeper.tasks.cluster.fields import (
    Unread,
    moment,
    pairs,
    required,
    section,
    sections,
    text,
    texts,
    total,
    truth,
    whole,
)
from poolkeeper.tasks.cluster.scheduling import Needs, NeedsKey, parse_needs
from poolkeeper.tasks.cluster.selectors import NOTHING, Labels, Selector, parse_selector

T = TypeVar("T")

MIRROR = "kubernetes.io/config.mirror"
"""Annotation of a pod that only shows what a kubelet runs from its own files."""
TEMPLATE_HASH = "pod-template-hash"
"""Label by which a Deployment tells its ReplicaSets apart; it ends the ReplicaSet's name too."""
FINISHED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Owner:
    """The controller of an object, as its ownerReferences name it."""

    api_version: str
    kind: str
    name: str
    uid: str = ""

    @property
    def is_daemonset(self) -> bool:
        """Whether it is Kubernetes' own DaemonSet: kubectl knows no other one, such as OpenKruise's."""
        return self.kind == "DaemonSet" and self.api_version == "apps/v1"


@dataclass(frozen=True, slots=True)
class Pod:
    """What a forecast uses of a Pod."""

    namespace: str
    name: str
    node: str
    """Empty: none yet."""
    labels: Labels
    needs: Needs
    phase: str = "Running"
    ready: bool = True
    owner: Owner | None = None
    """Its controller; other owners do not replace it."""
    deleting_at: datetime | None = None
    """When it should be gone at the latest: its deletion was asked for, the grace period included."""
    grace_s: int = 30
    finalizers: tuple[str, ...] = ()
    mirror: bool = False
    priority: int = 0
    scratch: tuple[str, ...] = ()
    """Its emptyDir volumes on disk, by name."""
    memory_scratch: tuple[str, ...] = ()
    """Those in memory."""
    claims: tuple[str, ...] = ()
    """The PersistentVolumeClaims that it uses, by name."""
    unread: str = ""
    """Why its object cannot be read: then nothing is known of it but that it is there. Empty: it can."""

    @property
    def finished(self) -> bool:
        """Whether it has ended and only its object is left."""
        return self.phase in FINISHED

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment or StatefulSet, as far as it says how many pods there should be."""

    kind: str
    namespace: str
    name: str
    replicas: int
    selector: Selector
    unread: str = ""
    """Why its object cannot be read; empty: it can."""


@dataclass(slots=True)
class Shared:
    """What rows of one snapshot have in common, each kept once."""

    needs: dict[NeedsKey, Needs] = field(default_factory=dict)
    values: dict[object, object] = field(default_factory=dict)
    labels: dict[tuple[tuple[str, str], ...], Labels] = field(default_factory=dict)

    def one(self, value: T) -> T:
        """An equal value that is there already, else this one."""
        return self.values.setdefault(value, value)  # type: ignore[return-value]

    def labels_of(self, metadata: Json) -> Labels:
        """The labels of an object, as a map that equal ones share."""
        labels = pairs(metadata, "labels")
        return self.labels.setdefault(tuple(labels.items()), labels)


def _unread(pod: Unread, shared: Shared) -> Pod:
    return Pod(pod.namespace, pod.name, pod.text("spec", "nodeName"), {}, Needs(), ready=False, unread=pod.why)


@total(_unread)
def parse_pod(pod: Json, shared: Shared) -> Pod:
    """A Pod object as a row."""
    metadata, spec, status = section(pod, "metadata"), section(pod, "spec"), section(pod, "status")
    labels = shared.labels_of(metadata)
    namespace, name = shared.one(required(metadata, "namespace")), required(metadata, "name")
    disk: list[str] = []
    memory: list[str] = []
    claims: list[str] = []
    for volume in sections(spec, "volumes"):
        if "emptyDir" in volume:
            in_memory = text(section(volume, "emptyDir"), "medium") == "Memory"
            (memory if in_memory else disk).append(text(volume, "name"))
        elif "persistentVolumeClaim" in volume:
            claims.append(required(section(volume, "persistentVolumeClaim"), "claimName"))
        elif "ephemeral" in volume:
            claims.append(f"{name}-{required(volume, 'name')}")
    return Pod(
        namespace,
        name,
        shared.one(text(spec, "nodeName")),
        labels,
        parse_needs(spec, namespace, labels, shared.needs),
        phase=shared.one(text(status, "phase")),
        ready=any(text(c, "type") == "Ready" and text(c, "status") == "True" for c in sections(status, "conditions")),
        owner=_controller(metadata, shared),
        deleting_at=moment(metadata, "deletionTimestamp"),
        grace_s=whole(spec, "terminationGracePeriodSeconds", 30),
        finalizers=shared.one(tuple(texts(metadata, "finalizers"))),
        mirror=MIRROR in section(metadata, "annotations"),
        priority=whole(spec, "priority"),
        scratch=shared.one(tuple(disk)),
        memory_scratch=shared.one(tuple(memory)),
        claims=tuple(claims),
    )


def _controller(metadata: Json, shared: Shared) -> Owner | None:
    for reference in sections(metadata, "ownerReferences"):
        if truth(reference, "controller"):
            kind, name = required(reference, "kind"), required(reference, "name")
            return shared.one(Owner(text(reference, "apiVersion"), kind, name, text(reference, "uid")))
    return None


def _unread_workload(item: Unread, kind: str) -> Workload:
    return Workload(kind, item.namespace, item.name, 0, NOTHING, unread=item.why)


@total(_unread_workload)
def parse_workload(item: Json, kind: str) -> Workload:
    """A Deployment or StatefulSet object as a row."""
    spec, metadata = section(item, "spec"), section(item, "metadata")
    return Workload(
        kind,
        required(metadata, "namespace"),
        required(metadata, "name"),
        whole(spec, "replicas", 1),
        parse_selector(spec.get("selector")),
    )


def deployment_of(pod: Pod) -> str | None:
    """The Deployment that a pod's ReplicaSet is named after, or None where it is named after none.

    Rule: a Deployment names its ReplicaSets `<its own name>-<pod-template-hash>` and labels their pods with the hash
    (pkg/controller/deployment/sync.go), so that ReplicaSets, of which there are ten times as many, need not be read.
    """
    template = pod.labels.get(TEMPLATE_HASH)
    owner = pod.owner
    if not template or owner is None or owner.kind != "ReplicaSet" or not owner.name.endswith(f"-{template}"):
        return None
    return owner.name[: -len(template) - 1] or None
