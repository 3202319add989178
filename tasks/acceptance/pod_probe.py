"""Test pods of a node: created, their answers read, removed again."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from poolkeeper.tasks.acceptance import testpod
from poolkeeper.tasks.acceptance.testpod import NAMESPACE, PodAnswers
from poolkeeper.tasks.cluster import AdmissionDenied, ApiError, ClusterApi, ClusterUnreachable
from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.cluster.pods import PodRow, create_pod, delete_pod, pod_log, wait_pod, wait_pod_log
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.outcomes import Gate, Subject

Json = dict[str, Any]

SOME_ADDRESS = "0.0.0.0"  # noqa: S104 - nothing listens there
"""The address of a pod that a dry run does not create."""
POD_TIMEOUT_S = 90.0
"""From creating a test pod to its last answer, image pull included."""


@dataclass(frozen=True, slots=True)
class Probed:
    """The results of a node's test pods."""

    answers: PodAnswers
    log_error: str = ""
    """Why the log of the pod on the node could not be read; empty: it was read."""
    ran: bool = False
    """Whether the pod on the node ran, so that its kubelet had a log."""
    cloud_error: str = ""
    """Why there was no pod on the cloud node; empty: there was, or none was needed."""
    refused: str = ""
    """Why the API server refused a test pod on the node; empty: it did not."""
    next_step: str = ""
    """What to do about that."""
    may_pass: bool = False
    """The API server may accept it a little later."""


def choose_cloud_node(nodes: Mapping[str, NodeRow], node: str) -> str | None:
    """A Ready cloud machine for a node to talk to, uncordoned if possible; None: there is none.

    Nodes are spread over them by name, so that one bad cloud node does not fail every node. A virtual node is not a
    machine: a pod there is billed, and does not test the route to the other nodes.
    """
    ready = [row for row in nodes.values() if row.ready and _runs_pods(row)]
    candidates = sorted(row.name for row in ready if not row.unschedulable) or sorted(row.name for row in ready)
    return candidates[zlib.crc32(node.encode()) % len(candidates)] if candidates else None


def _runs_pods(row: NodeRow) -> bool:
    return row.is_cloud_machine and row.labels.get("kubernetes.io/os", "linux") == "linux"


def probe_sentence(node: str) -> str:
    """The gate's sentence of a test pod."""
    return f"run a test pod on node {node} and remove it"


async def probe_node(
    api: ClusterApi,
    gate: Gate,
    host: Host,
    node: NodeRow,
    cloud_node: str | None,
    *,
    timeout_s: float = POD_TIMEOUT_S,
    prefix: str = "",
) -> Probed:
    """Run a test pod on a host's node, and one on a cloud node for both directions between them; read their answers.

    The pods are removed whatever happens.
    timeout_s: for each pod, from its creation to its last answer
    prefix: of the pods' names, so that two flows that test one node at the same time have different pods
    Raises GateRefused.
    """
    name, image = node.name, host.pool.cluster.test_image
    test_pods = _TestPods(api, gate, name, timeout_s)
    async with AsyncExitStack() as pods:
        peer_ip, cloud_error = None, ""
        if cloud_node is not None:
            try:
                address = next(iter(node.internal_ips), "")  # the cloud node connects to it
                peer = testpod.peer_pod(cloud_node, name, image, address, prefix)
                peer_ip = await test_pods.serve(peer, pods)
            except (ApiError, ClusterUnreachable, TimeoutError) as error:
                cloud_error = str(error) or f"the pod on {cloud_node} was not Ready within {timeout_s:.0f} s"
        probed, ip = await test_pods.ask(testpod.probe_pod(name, image, host.site.dns, peer_ip, prefix), pods)
        if cloud_node is not None and peer_ip and ip and not probed.log_error:
            back, cloud_error = await test_pods.fetch(testpod.way_back_pod(cloud_node, name, image, ip, prefix), pods)
            probed = replace(probed, answers=replace(probed.answers, from_cloud=back.from_cloud))
        if cloud_node is not None and peer_ip:
            seen = await test_pods.read(peer, whole=True)
            to_host = seen.cloud_to_host if seen else None
            probed = replace(probed, answers=replace(probed.answers, cloud_to_host=to_host))
    return replace(probed, cloud_error=cloud_error)


@dataclass(frozen=True, slots=True)
class _TestPods:
    """The test pods of one node."""

    api: ClusterApi
    gate: Gate
    node: str
    timeout_s: float

    async def serve(self, pod: Json, pods: AsyncExitStack) -> str:
        """The address of a pod that serves. Raises TimeoutError, and the errors of its creation."""
        await pods.enter_async_context(self._pod(pod))

        async def address() -> str:
            async with asyncio.timeout(self.timeout_s):
                row = await wait_pod(self.api, NAMESPACE, pod["metadata"]["name"], lambda p: p.ready and p.ip != "")
            return row.ip

        return await self.gate.unless_dry_run(address, if_dry_run=SOME_ADDRESS)

    async def read(self, pod: Json, *, whole: bool) -> PodAnswers | None:
        """The answers of a pod, all of them or so far; None: its log cannot be read."""
        return await self.gate.unless_dry_run(lambda: self._read(pod, whole=whole), if_dry_run=None)

    async def _read(self, pod: Json, *, whole: bool) -> PodAnswers | None:
        name = pod["metadata"]["name"]
        try:
            async with asyncio.timeout(self.timeout_s if whole else 5):
                if whole:
                    return testpod.parse_log(await wait_pod_log(self.api, NAMESPACE, name, testpod.FINISHED))
                return testpod.parse_log(await pod_log(self.api, NAMESPACE, name))
        except (ApiError, ClusterUnreachable, TimeoutError):
            return None

    async def ask(self, pod: Json, pods: AsyncExitStack) -> tuple[Probed, str]:
        """The results of the pod on the node, and its address. Raises GateRefused."""
        try:
            await pods.enter_async_context(self._pod(pod))
        except ApiError as error:
            if not isinstance(error, AdmissionDenied) and not error.missing_right:
                raise
            may_pass = isinstance(error, AdmissionDenied) and error.may_pass
            return Probed(
                PodAnswers(), str(error), refused=error.message, next_step=error.next_step, may_pass=may_pass
            ), ""
        name = pod["metadata"]["name"]
        probed = Probed(PodAnswers(), ran=True), SOME_ADDRESS
        return await self.gate.unless_dry_run(lambda: self._answers(name, pod), if_dry_run=probed)

    async def _answers(self, name: str, pod: Json) -> tuple[Probed, str]:
        waited_for, ran = _Started(), False
        try:
            async with asyncio.timeout(self.timeout_s):
                row = await wait_pod(self.api, NAMESPACE, name, waited_for)
                if row.phase == "Failed":
                    error = f"the test pod failed: {await pod_log(self.api, NAMESPACE, name)}"[:500]
                    return Probed(PodAnswers(), error), ""
                ran = True
                log = await wait_pod_log(self.api, NAMESPACE, name, testpod.FINISHED)
        except TimeoutError:
            if ran and (so_far := await self.read(pod, whole=False)) is not None:
                return Probed(so_far, ran=True), ""  # its log can be read: only the tests of the pod are slow
            error = f"the test pod did not finish within {self.timeout_s:.0f} s{waited_for.so_far}"
            return Probed(PodAnswers(), error, ran), ""
        except ApiError as refused:
            # a missing right, or a pod that someone has deleted, says nothing about the kubelet
            return Probed(PodAnswers(), str(refused), ran and refused.status >= 500), ""
        except ClusterUnreachable as error_here:
            return Probed(PodAnswers(), str(error_here)), ""
        return Probed(testpod.parse_log(log), ran=True), row.ip

    async def fetch(self, pod: Json, pods: AsyncExitStack) -> tuple[PodAnswers, str]:
        """The answers of a pod that ends by itself, and why there are none."""
        name = pod["metadata"]["name"]

        async def log_of() -> str:
            async with asyncio.timeout(self.timeout_s):
                await wait_pod(self.api, NAMESPACE, name, lambda p: p.phase in ("Succeeded", "Failed"))
                return await wait_pod_log(self.api, NAMESPACE, name, testpod.FINISHED)

        try:
            await pods.enter_async_context(self._pod(pod))
            log = await self.gate.unless_dry_run(log_of, if_dry_run="")
        except TimeoutError:
            return PodAnswers(), f"the pod {name} did not finish within {self.timeout_s:.0f} s"
        except (ApiError, ClusterUnreachable) as error:
            return PodAnswers(), str(error)
        return testpod.parse_log(log), ""

    @asynccontextmanager
    async def _pod(self, pod: Json) -> AsyncIterator[None]:
        """A test pod, created through the gate and removed at the end.

        The gate is asked about the node under test, also for pods on a cloud node: nothing starts for a held node.
        The removal is part of that change, and is not asked again.
        """
        node, place, name = self.node, pod["spec"]["nodeName"], pod["metadata"]["name"]
        sentence = (
            probe_sentence(node)
            if place == node
            else f"run a test pod on node {place} to talk to {node}, and remove it"
        )
        created = await self.gate.change(Subject("node", node), sentence, lambda: self._create(pod), if_dry_run=False)
        try:
            yield
        finally:
            if created:
                await self._remove(name)

    async def _create(self, pod: Json) -> bool:
        try:
            await create_pod(self.api, pod, timeout_s=self.timeout_s)
            return True
        except BaseException as error:
            if not isinstance(error, ApiError) or error.temporary:
                await self._remove(pod["metadata"]["name"])  # the pod may exist although the answer was lost
            raise

    async def _remove(self, name: str) -> None:
        try:
            async with asyncio.timeout(10):
                await delete_pod(self.api, NAMESPACE, name)
        except (TimeoutError, ApiError, ClusterUnreachable):
            return  # its activeDeadlineSeconds ends it, and the next run removes it first


class _Started:
    """Whether a pod runs and has an address, or has failed; keeps its last state for the message."""

    def __init__(self) -> None:
        self.so_far = ""

    def __call__(self, pod: PodRow) -> bool:
        self.so_far = f": it is {pod.phase}, {pod.waiting or 'without a status from its kubelet'}"
        return pod.phase == "Failed" or (pod.phase == "Running" and pod.ip != "")
