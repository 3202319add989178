"""The kubelet stand-in: one node's registration, heartbeats and pods, over HTTPS with its own token."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import aiohttp

from poolkeeper.deployments.lab.containers import Container
from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.deployments.lab.host_folder import HostFolder
from poolkeeper.deployments.lab.kube_client import ApiRefused, KubeClient
from poolkeeper.deployments.lab.kubelet_logs import LogServer
from poolkeeper.deployments.lab.kubernetes import LabCA
from poolkeeper.deployments.lab.layout import LabFolder
from poolkeeper.deployments.lab.node_object import KubeletSettings, iso_micro_now, node_object, node_status, readiness
from poolkeeper.deployments.lab.pod_worker import PodWorker

Json = dict[str, Any]

HEARTBEAT_S = 10.0
LEASE_S = 40
"""Kubelet's own figures."""
RETRY_S = 1.0


class Kubelet:
    """One running kubelet. Implements `pod_worker.NodeOfPod`."""

    def __init__(
        self, folder: HostFolder, settings: KubeletSettings, ca: LabCA, session: aiohttp.ClientSession, lab: LabFolder
    ) -> None:
        self.folder, self.settings, self.session = folder, settings, session
        self.name = folder.host.name
        self.nameservers = settings.dns
        tls = ca.client_context()
        self.client = KubeClient(session, tls, settings.server, settings.token, self._is_cut)
        self.workers: dict[str, PodWorker] = {}
        self._lab = lab
        self._logs = LogServer(ca, self._log_of)
        self._port = 0
        self._addresses: dict[str, str] = {}
        self._status: Json | None = None
        self._poked = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; everything else happens in the background and is tried until it works."""
        self._port = await self._logs.start(self.folder.host.address)
        self._tasks = [asyncio.create_task(self._heartbeat()), asyncio.create_task(self._follow_pods())]

    async def stop(self) -> None:
        """End at once, and all pods with it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(worker.stop() for worker in self.workers.values()), return_exceptions=True)
        self.workers.clear()
        await self._logs.stop()

    def poke(self) -> None:
        """Something on the host has changed: look at it now instead of at the next heartbeat."""
        self._poked.set()
        if self._is_cut() and self._watching is not None:
            self._watching.cancel()

    def _is_cut(self) -> bool:
        return self.folder.has(Fault.API_UNREACHABLE)

    def take_address(self, uid: str) -> str:
        """A free address of the node's pod range; `.1` is the node's own there."""
        taken = set(self._addresses.values())
        hosts = list(IPv4Network(self.settings.pod_cidr).hosts())[1:]
        self._addresses[uid] = next(str(address) for address in hosts if str(address) not in taken)
        return self._addresses[uid]

    def give_address_back(self, uid: str) -> None:
        """It is free again."""
        self._addresses.pop(uid, None)

    def pod_environment(self, pod_root: Path, address: str) -> dict[str, str]:
        """The host's environment, with the pod's own files and address, and busybox's programs first."""
        host = self.folder.environment(0)
        programs = [str(self._lab.path / "pod-bin"), str(self._lab.programs), str(self._lab.path / "tools")]
        return host | {
            "PATH": ":".join(programs),
            "POOLKEEPER_ROOT": str(pod_root),
            "POOLKEEPER_HOST_ROOT": str(self.folder.root),
            "POOLKEEPER_LAB_ADDRESS": address,
            "HOME": str(pod_root),
            "TMPDIR": str(pod_root / "tmp"),
        }

    async def _heartbeat(self) -> None:
        registered = False
        while True:
            self._poked.clear()
            try:
                if not registered:
                    await self._register()
                    registered = True
                await self._write_lease()
                status = node_status(self.folder, self.settings, self._port, self._status)
                await self.client.request("PATCH", f"/api/v1/nodes/{self.name}/status", {"status": status})
                self._status = status
                wait_s = HEARTBEAT_S
            except (ApiRefused, OSError, TimeoutError, aiohttp.ClientError):
                wait_s = RETRY_S
            await self._pause(wait_s)

    async def _pause(self, wait_s: float) -> None:
        """Until the next heartbeat, or until the host's readiness is another: terway has just come up."""
        known = readiness(self.folder)
        deadline = asyncio.get_running_loop().time() + wait_s
        while (left_s := deadline - asyncio.get_running_loop().time()) > 0:
            try:
                async with asyncio.timeout(min(0.3 if not known[0] else left_s, left_s)):
                    await self._poked.wait()
                return
            except TimeoutError:
                if readiness(self.folder) != known:
                    return

    async def _register(self) -> None:
        """Create the Node, or take up the one of that name."""
        try:
            await self.client.request("POST", "/api/v1/nodes", node_object(self.folder, self.settings))
        except ApiRefused as error:
            if error.status != 409:
                raise

    async def _write_lease(self) -> None:
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        spec = {"holderIdentity": self.name, "leaseDurationSeconds": LEASE_S, "renewTime": iso_micro_now()}
        try:
            await self.client.request("PATCH", f"{path}/{self.name}", {"spec": spec})
        except ApiRefused as error:
            if error.status != 404:
                raise
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self.name},
                "spec": spec,
            }
            await self.client.request("POST", path, lease)

    async def _follow_pods(self) -> None:
        while True:
            self._watching = asyncio.create_task(self._watch_pods())
            try:
                await self._watching
            except asyncio.CancelledError:
                if not self._watching.done() or (task := asyncio.current_task()) is None or task.cancelling():
                    self._watching.cancel()
                    raise
            except (ApiRefused, OSError, TimeoutError, ValueError, aiohttp.ClientError):
                pass
            await asyncio.sleep(RETRY_S if self._is_cut() else 0.2)

    async def _watch_pods(self) -> None:
        mine = f"spec.nodeName={self.name}"
        listed = await self.client.request("GET", "/api/v1/pods", fieldSelector=mine)
        present = {pod["metadata"]["uid"] for pod in listed["items"]}
        for uid in set(self.workers) - present:
            await self._drop(uid)
        for pod in listed["items"]:
            self._see(pod)
        async for kind, pod in self.client.watch(
            "/api/v1/pods", listed["metadata"]["resourceVersion"], fieldSelector=mine
        ):
            if kind == "DELETED":
                await self._drop(pod["metadata"]["uid"])
            elif kind in ("ADDED", "MODIFIED"):
                self._see(pod)

    def _see(self, pod: Json) -> None:
        worker = self.workers.get(pod["metadata"]["uid"])
        if worker is None:
            self.workers[pod["metadata"]["uid"]] = PodWorker(self, pod)
        else:
            worker.changed(pod)

    async def _drop(self, uid: str) -> None:
        worker = self.workers.pop(uid, None)
        if worker is not None:
            await worker.stop()

    def _log_of(self, namespace: str, name: str, container: str) -> Container | None:
        """A container that has a log here."""
        for worker in self.workers.values():
            metadata = worker.pod["metadata"]
            if (metadata["namespace"], metadata["name"]) == (namespace, name):
                return worker.containers.get(container)
        return None
