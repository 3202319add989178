"""Hosts that have joined before anybody looks: one of each pool by the vendor's tool, the others as copies of it.

What differs from host to host is what the cluster tells each as it lets it in: its credential and its pod range.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import defaultdict
from collections.abc import Iterable

from poolkeeper.deployments.lab.control_plane import ControlPlane
from poolkeeper.deployments.lab.host_folder import HostFolder
from poolkeeper.deployments.lab.layout import POOLS
from poolkeeper.deployments.lab.ssh_hosts import SshHost
from poolkeeper.deployments.lab.tokens import JoinTokens

COPIED = (
    "root/etc/containerd",
    "root/etc/default/kubelet",
    "root/etc/kubernetes",
    "root/etc/systemd/system",
    "root/opt/cni",
    "root/usr/bin/containerd",
    "root/usr/bin/kubelet",
    "root/var/lib/kubelet",
    "state/packages/containerd",
    "state/units/containerd.service",
    "state/units/kubelet.service",
)
KUBECONFIG, CONFIG = "root/etc/kubernetes/kubelet.conf", "root/var/lib/kubelet/config.yaml"


async def join_all(plane: ControlPlane, tokens: JoinTokens, hosts: Iterable[SshHost]) -> None:
    """Make every host a node; their kubelets are to be started afterwards. Raises OSError, JoinRefused."""
    pools: defaultdict[str, list[SshHost]] = defaultdict(list)
    for host in hosts:
        host.folder.prepare()
        pools[host.folder.host.pool].append(host)
    for pool, (first, *others) in pools.items():
        await _join(first, tokens.issue(POOLS[pool]))
        for other in others:
            _copy(first.folder, other.folder, plane, POOLS[pool])


async def _join(host: SshHost, token: str) -> None:
    folder = host.folder
    running = await asyncio.create_subprocess_exec(
        str(folder.lab.folder.programs / "edgeadm"),
        "join",
        f"--openapi-token={token}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**folder.environment(host.port), "POOLKEEPER_LAB_AS": "root"},
        cwd=folder.root,
    )
    told = (await running.communicate())[0].decode(errors="replace").strip()
    if running.returncode != 0:
        raise OSError(f"{folder.host.name} did not join: {told}")


def _copy(first: HostFolder, other: HostFolder, plane: ControlPlane, pool_id: str) -> None:
    for path in COPIED:
        source, target = first.path / path, other.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)
    told = plane.admit(other.host.name, other.machine_id, pool_id)
    kubeconfig, config = (json.loads((other.path / path).read_text()) for path in (KUBECONFIG, CONFIG))
    kubeconfig["users"][0]["user"]["token"] = told["kubelet_token"]
    config["podCIDR"] = told["pod_cidr"]
    for path, document in ((KUBECONFIG, kubeconfig), (CONFIG, config)):
        (other.path / path).write_text(json.dumps(document, indent=2) + "\n")
