"""The Kubernetes API: connection, nodes, pods, and the stops that a person can put on every run."""

from tasks.cluster.api import ApiError, ClusterApi, ClusterUnreachable, Conflict, Gone, NotFound, connect

__all__ = ["ApiError", "ClusterApi", "ClusterUnreachable", "Conflict", "Gone", "NotFound", "connect"]
