"""Making a control plane one that machines join: what `kubeadm init` leaves in a cluster, by its own phases.

The configuration that joining machines read, the rights by which they read it and ask for certificates, and the
signed `cluster-info` by which they know the cluster.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from poolkeeper.deployments.lab.real.control_plane import RealControlPlane
from poolkeeper.deployments.lab.real.daemons import NotStarted
from poolkeeper.deployments.lab.real.pins import KUBERNETES

PHASE_TIMEOUT_S = 60.0
_NOBODY = "192.0.2.1"
"""TEST-NET-1 of RFC 5737."""


def make_joinable(plane: RealControlPlane, kubeadm: Path, kubelet: Mapping[str, Any] | None = None) -> None:
    """Upload kubeadm's and the kubelets' configuration, and let bootstrap tokens join. Raises NotStarted.

    kubelet: fields of every kubelet's KubeletConfiguration
    """
    path = plane.folder / "kubeadm.yaml"
    path.write_text(yaml.safe_dump_all(_configuration(plane, kubelet or {})))
    for phase in (("upload-config", "all"), ("bootstrap-token", "--skip-token-print")):
        command = [
            str(kubeadm), "init", "phase", *phase, "--config", str(path), "--kubeconfig", str(plane.admin_kubeconfig),
        ]  # fmt: skip
        told = subprocess.run(
            command, capture_output=True, text=True, timeout=PHASE_TIMEOUT_S, env=plane.environment, cwd=plane.folder
        )
        if told.returncode != 0:
            raise NotStarted(f"`kubeadm init phase {' '.join(phase)}` failed: {told.stderr.strip()[-600:]}")


def _configuration(plane: RealControlPlane, kubelet: Mapping[str, Any]) -> list[dict[str, Any]]:
    endpoint = plane.api_url.removeprefix("https://")
    version = "kubeadm.k8s.io/v1beta4"
    return [
        {
            "apiVersion": version,
            "kind": "ClusterConfiguration",
            "kubernetesVersion": KUBERNETES.version,
            "controlPlaneEndpoint": endpoint,
            "networking": {"serviceSubnet": str(plane.network.services), "dnsDomain": "cluster.local"},
        },
        {
            "apiVersion": version,
            "kind": "InitConfiguration",
            # machines go by the endpoint above; here kubeadm wants an address, and takes none of loopback
            "localAPIEndpoint": {"advertiseAddress": _NOBODY},
            # the phase makes a token in any case: one that is worth nothing the moment it is there
            "bootstrapTokens": [{"ttl": "1s"}],
            "nodeRegistration": {"criSocket": "unix:///run/containerd/containerd.sock", "name": "none"},
        },
        {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", **kubelet},
    ]
