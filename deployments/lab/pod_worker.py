"""One pod on one node: from its binding to its end, with its status kept up to date in the API."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from poolkeeper.deployments.lab.containers import CannotStart, Container, probe
from poolkeeper.deployments.lab.faults import Fault
from poolkeeper.deployments.lab.host_folder import HostFolder
from poolkeeper.deployments.lab.kube_client import ApiRefused, KubeClient
from poolkeeper.deployments.lab.node_object import has_network, iso_now
from poolkeeper.deployments.lab.seeds import TERWAY_IMAGE

Json = dict[str, Any]

LOOK_AGAIN_S = 0.3
FIRST_BACKOFF_S, MAX_BACKOFF_S = 1.0, 10.0
"""Shorter than kubelet's ten seconds and five minutes: a lab is watched by a person."""


class NodeOfPod(Protocol):
    """What a pod needs of its kubelet."""

    folder: HostFolder
    client: KubeClient
    session: aiohttp.ClientSession
    nameservers: list[str]

    def take_address(self, uid: str) -> str:
        """A free address of the node's pod range."""

    def give_address_back(self, uid: str) -> None:
        """It is free again."""

    def pod_environment(self, pod_root: Path, address: str) -> dict[str, str]:
        """What every container of a pod starts with."""


class PodWorker:
    """Runs a pod to its end. One task; `changed` hands it each newer version of the Pod object."""

    def __init__(self, node: NodeOfPod, pod: Json) -> None:
        self.pod = pod
        self.containers: dict[str, Container] = {}
        self._node = node
        self._address = ""
        self._phase = "Pending"
        self._reason: dict[str, str] = {}
        self._conditions: dict[str, Json] = {}
        self._told: Json | None = None
        self._deleted = asyncio.Event()
        self._started_at = (pod.get("status") or {}).get("startTime") or iso_now()
        self._task = asyncio.create_task(self._live())

    @property
    def uid(self) -> str:
        return str(self.pod["metadata"]["uid"])

    @property
    def log_folder(self) -> Path:
        """Where kubelet keeps the logs of this pod on its host."""
        metadata = self.pod["metadata"]
        return self._node.folder.root / "var/log/pods" / f"{metadata['namespace']}_{metadata['name']}_{self.uid}"

    @property
    def done(self) -> bool:
        """Whether nothing of it runs any more."""
        return self._task.done()

    def changed(self, pod: Json) -> None:
        """The API server has a newer version."""
        self.pod = pod
        if "deletionTimestamp" in pod["metadata"]:
            self._deleted.set()

    async def stop(self) -> None:
        """End all of it at once and say nothing: the node has lost power, or the Pod object is gone."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _live(self) -> None:
        self.changed(self.pod)
        before = self.pod.get("status") or {}
        try:
            if before.get("phase") in ("Succeeded", "Failed"):
                await self._deleted.wait()
            elif before.get("phase") == "Running" and self._policy != "Always":
                await self._end_with("Failed", "NodeRebooted", "its containers ended with the node")
            else:
                await self._until_deleted(self._run())
            if self._deleted.is_set():
                await self._shut_down()
        finally:
            for container in self.containers.values():
                container.kill()
            self._node.give_address_back(self.uid)

    async def _until_deleted(self, work: Any) -> None:
        """Do the work until it is done or the pod is to go."""
        tasks = {asyncio.create_task(work), asyncio.create_task(self._deleted.wait())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            if not self._deleted.is_set():
                await self._deleted.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def _policy(self) -> str:
        return str(self.pod["spec"].get("restartPolicy", "Always"))

    async def _run(self) -> None:
        deadline_s = self.pod["spec"].get("activeDeadlineSeconds")
        try:
            async with asyncio.timeout(deadline_s):
                await self._prepare()
                await self._tell()
                async with asyncio.TaskGroup() as group:
                    runs = [group.create_task(self._keep_running(each)) for each in self.containers.values()]
        except TimeoutError:
            for container in self.containers.values():
                container.kill()
            await self._end_with(
                "Failed", "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
            )
            return
        await self._end_with("Succeeded" if all(run.result() == 0 for run in runs) else "Failed")

    async def _prepare(self) -> None:
        """Wait for image and network, then lay out the pod's files."""
        spec = self.pod["spec"]
        images = [container["image"] for container in spec["containers"]]
        while self._node.folder.has(Fault.CNI_MISSING) and TERWAY_IMAGE in images:
            await self._wait_for("ImagePullBackOff", f'Back-off pulling image "{TERWAY_IMAGE}"')
        while not spec.get("hostNetwork") and not has_network(self._node.folder):
            await self._wait_for("ContainerCreating", "network is not ready: cni plugin not initialized")
        own_host = self._node.folder.host.address
        self._address = own_host if spec.get("hostNetwork") else self._node.take_address(self.uid)
        root = self._node.folder.root / "var/lib/kubelet/pods" / self.uid / "rootfs"
        name = self.pod["metadata"]["name"]
        for folder in ("etc", "tmp", "proc"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "etc/hostname").write_text(f"{name}\n")
        (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{self._address} {name}\n")
        servers = "".join(f"nameserver {address}\n" for address in self._node.nameservers)
        search = f"search {self.pod['metadata']['namespace']}.svc.cluster.local svc.cluster.local cluster.local\n"
        (root / "etc/resolv.conf").write_text(servers + search)
        environment = self._node.pod_environment(root, self._address)
        for each in spec["containers"]:
            own = environment | {"HOSTNAME": name} | _variables(each, self._field)
            self.containers[each["name"]] = Container(each, own, root, self.log_folder / each["name"] / "0.log")

    async def _wait_for(self, reason: str, message: str) -> None:
        waiting = [
            {
                "name": each["name"], "image": each["image"], "imageID": "", "ready": False, "started": False,
                "restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}}, "lastState": {},
            }
            for each in self.pod["spec"]["containers"]
        ]  # fmt: skip
        await self._tell(waiting)
        await asyncio.sleep(LOOK_AGAIN_S)

    def _field(self, path: str) -> str:
        """A field that an environment variable refers to. Raises KeyError."""
        metadata, spec = self.pod["metadata"], self.pod["spec"]
        fields: dict[str, str] = {
            "metadata.name": metadata["name"],
            "metadata.namespace": metadata["namespace"],
            "metadata.uid": metadata["uid"],
            "spec.nodeName": spec["nodeName"],
            "status.podIP": self._address,
            "status.hostIP": self._node.folder.host.address,
        }
        return fields[path]

    async def _keep_running(self, container: Container) -> int:
        """Run a container as often as the restart policy says; answers its last exit status."""
        backoff_s = FIRST_BACKOFF_S
        while True:
            try:
                container.start()
            except CannotStart as error:
                container.waits(error.reason, str(error))
                await self._tell()
                await asyncio.sleep(MAX_BACKOFF_S)
                continue
            self._phase = "Running"
            await self._tell()
            probing = asyncio.create_task(self._probe(container))
            try:
                status = await container.ended()
            finally:
                probing.cancel()
            if self._policy == "Never" or (self._policy == "OnFailure" and status == 0):
                await self._tell()
                return status
            container.waits("CrashLoopBackOff", f"back-off {backoff_s:.0f}s restarting failed container")
            await self._tell()
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)
            container.restarts += 1

    async def _probe(self, container: Container) -> None:
        wanted = container.spec.get("readinessProbe")
        if wanted is None:
            return
        await asyncio.sleep(float(wanted.get("initialDelaySeconds", 0)))
        while True:
            ready = await probe(container, self._address, self._node.session)
            if ready != container.ready:
                container.ready = ready
                await self._tell()
            # upstream asks again at once while a container that has just started is not ready yet
            await asyncio.sleep(float(wanted.get("periodSeconds", 10)) if ready else LOOK_AGAIN_S)

    async def _end_with(self, phase: str, reason: str = "", message: str = "") -> None:
        self._phase = phase
        self._reason = {"reason": reason, "message": message} if reason else {}
        await self._tell()

    async def _shut_down(self) -> None:
        """SIGTERM, the grace period, SIGKILL; then the API server may drop the object."""
        grace_s = float(self.pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        living = [container for container in self.containers.values() if container.running]
        for container in living:
            container.term()
        waits = [asyncio.create_task(container.ended()) for container in living]
        if waits:
            _, still = await asyncio.wait(waits, timeout=grace_s)
            for container in living:
                container.kill()
            if still:
                await asyncio.wait(still)
        metadata = self.pod["metadata"]
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
        await self._insist("DELETE", f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}", options)

    async def _tell(self, containers: list[Json] | None = None) -> None:
        """Write the status, if it says anything new."""
        statuses = containers if containers is not None else [each.status() for each in self.containers.values()]
        ready = self._phase == "Running" and bool(statuses) and all(status["ready"] for status in statuses)
        for kind, holds in (
            ("Initialized", True), ("PodScheduled", True), ("ContainersReady", ready), ("Ready", ready)
        ):  # fmt: skip
            if self._conditions.get(kind, {}).get("status") != str(holds):
                reason = (
                    {} if holds else {"reason": "PodCompleted" if self._phase == "Succeeded" else "ContainersNotReady"}
                )
                self._conditions[kind] = {"type": kind, "status": str(holds), "lastTransitionTime": iso_now(), **reason}
        status = {
            "phase": self._phase,
            "conditions": [dict(condition) for condition in self._conditions.values()],
            "containerStatuses": statuses,
            "hostIP": self._node.folder.host.address,
            "startTime": self._started_at,
            **self._reason,
        }
        if self._address:
            status |= {"podIP": self._address, "podIPs": [{"ip": self._address}]}
        if status == self._told:
            return
        self._told = status
        metadata = self.pod["metadata"]
        body = {"metadata": {"uid": self.uid}, "status": status}
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status"
        await self._insist("PATCH", path, body)

    async def _insist(self, method: str, path: str, body: Json) -> None:
        """Ask until there is an answer; one that the object is gone or another's is good as well."""
        while True:
            try:
                await self._node.client.request(method, path, body)
                return
            except ApiRefused as error:
                if error.status < 500 and error.status not in (401, 429):
                    return
            except (OSError, TimeoutError, aiohttp.ClientError):
                pass
            await asyncio.sleep(LOOK_AGAIN_S)


def _variables(container: Json, field: Callable[[str], str]) -> dict[str, str]:
    """The container's own environment; a reference that the lab cannot follow is left out of it."""
    found = {}
    for each in container.get("env") or ():
        path = ((each.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath")
        if path is not None:
            with contextlib.suppress(KeyError):
                found[each["name"]] = field(path)
        elif "valueFrom" not in each:
            found[each["name"]] = str(each.get("value", ""))
    return found
