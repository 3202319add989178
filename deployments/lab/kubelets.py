"""All kubelets of a lab: each runs while its host's folder says so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp

from poolkeeper.deployments.lab.control_plane import VERSION, ControlPlane
from poolkeeper.deployments.lab.host_folder import HostFolder, LabSettings
from poolkeeper.deployments.lab.kubelet import Kubelet
from poolkeeper.deployments.lab.layout import CLOUD_NODE, REGION, LabHost, Network
from poolkeeper.deployments.lab.node_object import KubeletSettings, read_settings


class Kubelets:
    """Starts and stops kubelets as units start and stop on hosts; runs the cloud node's always."""

    def __init__(
        self, plane: ControlPlane, network: Network, lab: LabSettings, folders: Mapping[str, HostFolder]
    ) -> None:
        self._plane, self._network, self._lab, self._folders = plane, network, lab, folders
        self._running: dict[str, Kubelet] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Bring the cloud node up, without waiting until it is Ready."""
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        host = LabHost(-1, CLOUD_NODE, self._network.cloud_node, "cloud", "", "", str(self._network.cloud_pods))
        folder = HostFolder(self._lab, host)
        folder.prepare()
        settings = KubeletSettings(
            server=self._plane.api.url,
            token=self._plane.kubelet_token(CLOUD_NODE),
            labels={"node.kubernetes.io/instance-type": "ecs.g7.2xlarge", "topology.kubernetes.io/region": REGION},
            taints=[],
            pod_cidr=host.pod_cidr,
            dns=[self._network.dns],
            version=VERSION,
            provider_id=f"{REGION}.i-lab-{CLOUD_NODE}",
        )
        await self._run(folder, settings)

    async def stop(self) -> None:
        """End all of them, and all pods."""
        await asyncio.gather(*(kubelet.stop() for kubelet in self._running.values()))
        self._running.clear()
        if self._session is not None:
            await self._session.close()

    async def look(self, name: str) -> None:
        """Bring a host's kubelet in line with what its folder says now."""
        folder = self._folders[name]
        async with self._locks.setdefault(name, asyncio.Lock()):
            wanted = read_settings(folder) if folder.unit_active("kubelet") else None
            running = self._running.get(name)
            if running is not None and running.settings != wanted:
                await self._running.pop(name).stop()
                running = None
            if running is not None:
                running.poke()
            elif wanted is not None:
                await self._run(folder, wanted)

    async def power_off(self, name: str) -> None:
        """The host has lost power: its kubelet and pods are gone at once."""
        async with self._locks.setdefault(name, asyncio.Lock()):
            if name in self._running:
                await self._running.pop(name).stop()

    async def _run(self, folder: HostFolder, settings: KubeletSettings) -> None:
        assert self._session is not None
        kubelet = Kubelet(folder, settings, self._plane.ca, self._session, self._lab.folder)
        self._running[folder.host.name] = kubelet
        await kubelet.start()
