"""Next steps that differ by who owns the control plane."""

from __future__ import annotations

from poolkeeper.tasks.fleet.model import Cluster


def removing(cluster: Cluster, node: str, *, called: str = "") -> str:
    """How a person removes a Node from the cluster, as an imperative clause.

    called: what the sentence calls the Node; empty: its name
    """
    if cluster.by_kubeadm:
        return f"remove {called or f'node {node}'} (`kubectl delete node {node}`)"
    return f"remove {called or f'node {node}'} in ACK's console"
