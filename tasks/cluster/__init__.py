"""The Kubernetes API: connection, nodes, pods, and the stops that a person can put on every run."""

from poolkeeper.tasks.cluster.api import ClusterApi, connect
from poolkeeper.tasks.cluster.errors import (
    AdmissionDenied,
    ApiError,
    ApiThrottled,
    ClusterUnreachable,
    Conflict,
    Gone,
    NotFound,
)

__all__ = [
    "ApiError",
    "ClusterApi",
    "ClusterUnreachable",
    "Conflict",
    "AdmissionDenied",
    "Gone",
    "NotFound",
    "ApiThrottled",
    "connect",
]
