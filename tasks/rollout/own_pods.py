"""Which nodes run this rollout itself, or the Prefect server or worker that it needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from poolkeeper.tasks.cluster.workloads import Pod

PREFECT = frozenset({"prefect-server", "prefect-worker"})
"""`app.kubernetes.io/name` of the pods that Prefect's Helm charts make."""
_NAME = "app.kubernetes.io/name"


def own_pods_by_node(pods: Iterable[Pod], own_name: str) -> dict[str, str]:
    """By node: the pod on it without which this run ends. own_name: the host name of this process."""
    found: dict[str, str] = {}
    for pod in pods:
        ours = pod.labels.get(_NAME) in PREFECT or pod.name == own_name
        if pod.node and ours and not pod.finished:
            found.setdefault(pod.node, f"{pod.namespace}/{pod.name}")
    return found
