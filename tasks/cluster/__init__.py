"""The Kubernetes API: connection, nodes, pods, and the freezes and holds that an operator sets."""

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
