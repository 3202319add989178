"""The Kubernetes API: connection, nodes, pods, and the stops that a person can put on every run."""

from poolkeeper.tasks.cluster.api import ClusterApi, connect
from poolkeeper.tasks.cluster.errors import ApiError, ClusterUnreachable, Conflict, Denied, Gone, NotFound, Throttled

__all__ = [
    "ApiError",
    "ClusterApi",
    "ClusterUnreachable",
    "Conflict",
    "Denied",
    "Gone",
    "NotFound",
    "Throttled",
    "connect",
]
