"""Hollow nodes: kubemark, a real kubelet over a pretended container runtime.

Its Node is Ready within seconds and its pods "run" without a container, so that controllers, budgets,
evictions, leases and heartbeats are real, without root. About 80 MB each. What is not real: it serves no logs; its
pods call themselves Ready while they are still Pending, when no budget counts for them; and its kubelet listens on
all addresses of this machine (kubemark has no setting for that), on a free port, with nothing behind it.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from poolkeeper.deployments.lab.real.control_plane import RealControlPlane
from poolkeeper.deployments.lab.real.daemons import Daemon


class HollowNode:
    """One node of a real control plane; `stop` is a power loss: the Node stays and falls silent."""

    def __init__(
        self,
        plane: RealControlPlane,
        kubemark: Path,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        taints: Sequence[str] = (),
    ) -> None:
        folder = plane.folder / "nodes" / name
        folder.mkdir(parents=True)
        kubeconfig = plane.credentials.kubeconfig(plane.api_url, f"system:node:{name}", ["system:nodes"])
        command = [
            str(kubemark),
            "--morph=kubelet",
            f"--name={name}",
            f"--kubeconfig={kubeconfig}",
            f"--kubelet-port={_free_port()}",
            "--kubelet-read-only-port=0",
            "--use-host-image-service=false",
            f"--node-labels={','.join(f'{key}={value}' for key, value in (labels or {}).items())}",
            f"--register-with-taints={','.join(taints)}",
        ]
        self.name = name
        self._daemon = Daemon("kubemark", command, folder, {**plane.environment, "TMPDIR": str(folder)})

    @property
    def log(self) -> Path:
        return self._daemon.log

    def stop(self) -> None:
        """End its kubelet."""
        self._daemon.stop()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
