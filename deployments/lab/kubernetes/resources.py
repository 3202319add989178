"""Which resources the server has: one row each, from which paths, discovery and behaviour follow.

What differs per resource beyond this table is in `strategies`. Flags are those of the resource's upstream
strategy in https://github.com/kubernetes/kubernetes/tree/v1.36.3/pkg/registry.
"""

from __future__ import annotations

from dataclasses import dataclass

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource that is stored, by the names that paths and messages use."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    subresources: tuple[str, ...] = ()
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    counts_generation: bool = False
    """metadata.generation starts at 1 and grows with each change of the spec."""
    returns_deleted: bool = False
    """DELETE answers the object rather than a Status."""
    update_needs_version: bool = False
    """A PUT must name the resourceVersion it was read at."""
    put_creates: bool = False
    """A PUT of an absent object creates it."""
    writable: bool = True
    """False: there are never any, since the lab would not act on them; clients look for them all the same."""

    @property
    def qualified(self) -> str:
        """`nodes`, `deployments.apps`: how messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """`v1`, `apps/v1`: what objects carry."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def has_status(self) -> bool:
        """Whether spec and status are written apart."""
        return "status" in self.subresources


_ALL = ("all",)
_STATUS = ("status",)
_SCALE = ("scale", "status")

RESOURCES = (
    Resource("", "v1", "namespaces", "Namespace", False, ("finalize", "status"), ("ns",)),
    Resource("", "v1", "nodes", "Node", False, _STATUS, ("no",)),
    Resource(
        "",
        "v1",
        "pods",
        "Pod",
        subresources=("binding", "eviction", "log", "status"),
        short_names=("po",),
        categories=_ALL,
        counts_generation=True,
        returns_deleted=True,
    ),
    Resource(
        "",
        "v1",
        "services",
        "Service",
        subresources=_STATUS,
        short_names=("svc",),
        categories=_ALL,
        returns_deleted=True,
    ),
    Resource("", "v1", "endpoints", "Endpoints", short_names=("ep",), put_creates=True),
    Resource("", "v1", "configmaps", "ConfigMap", short_names=("cm",)),
    Resource("", "v1", "secrets", "Secret"),
    Resource(
        "",
        "v1",
        "serviceaccounts",
        "ServiceAccount",
        subresources=("token",),
        short_names=("sa",),
        returns_deleted=True,
    ),
    Resource("", "v1", "events", "Event", short_names=("ev",), put_creates=True),
    Resource(
        "",
        "v1",
        "persistentvolumes",
        "PersistentVolume",
        False,
        _STATUS,
        ("pv",),
        returns_deleted=True,
    ),
    Resource(
        "",
        "v1",
        "persistentvolumeclaims",
        "PersistentVolumeClaim",
        subresources=_STATUS,
        short_names=("pvc",),
        returns_deleted=True,
    ),
    Resource(
        "",
        "v1",
        "replicationcontrollers",
        "ReplicationController",
        subresources=_SCALE,
        short_names=("rc",),
        categories=_ALL,
        counts_generation=True,
    ),
    Resource("", "v1", "resourcequotas", "ResourceQuota", short_names=("quota",), writable=False),
    Resource("", "v1", "limitranges", "LimitRange", short_names=("limits",), writable=False),
    Resource("apps", "v1", "deployments", "Deployment", True, _SCALE, ("deploy",), _ALL, True),
    Resource("apps", "v1", "replicasets", "ReplicaSet", True, _SCALE, ("rs",), _ALL, True),
    Resource("apps", "v1", "daemonsets", "DaemonSet", True, _STATUS, ("ds",), _ALL, True),
    Resource("apps", "v1", "statefulsets", "StatefulSet", True, _SCALE, ("sts",), _ALL, True),
    Resource("batch", "v1", "jobs", "Job", True, _STATUS, (), _ALL, True),
    Resource(
        "policy",
        "v1",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        True,
        _STATUS,
        ("pdb",),
        counts_generation=True,
        update_needs_version=True,
    ),
    Resource("coordination.k8s.io", "v1", "leases", "Lease", update_needs_version=True, put_creates=True),
    Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", counts_generation=True),
    Resource("events.k8s.io", "v1", "events", "Event", short_names=("ev",), put_creates=True),
    Resource("rbac.authorization.k8s.io", "v1", "roles", "Role", put_creates=True),
    Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", put_creates=True),
    Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", False, put_creates=True),
    Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", False, put_creates=True),
    Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", False, short_names=("sc",)),
    Resource("storage.k8s.io", "v1", "csinodes", "CSINode", False),
)

_BY_PATH = {(r.group, r.version, r.plural): r for r in RESOURCES}
_BY_NAME = {r.qualified: r for r in RESOURCES}
_BY_KIND = {(r.api_version, r.kind): r for r in RESOURCES}

UNSERVED_GROUPS = frozenset(
    {
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "autoscaling",
        "certificates.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storagemigration.k8s.io",
    }
)
"""Groups that a kube-apiserver has and this one, but for single resources, has not: answered 501, never 404."""


def by_path(group: str, version: str, plural: str) -> Resource | None:
    """The resource of `/apis/<group>/<version>/<plural>` (core: group is empty)."""
    return _BY_PATH.get((group, version, plural))


def by_name(qualified: str) -> Resource:
    """The resource that messages call `qualified`, such as `pods` or `leases.coordination.k8s.io`."""
    return _BY_NAME[qualified]


def by_kind(api_version: str, kind: str) -> Resource | None:
    """The resource whose objects carry this apiVersion and kind."""
    return _BY_KIND.get((api_version, kind))
