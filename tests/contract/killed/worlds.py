"""A world for runs to be killed in: an API server with its controllers, and everything that ever happened there."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from poolkeeper.deployments.lab.kubernetes import Controllers, LabCA, User
from poolkeeper.deployments.lab.kubernetes.journal import Event as Stored
from poolkeeper.deployments.lab.kubernetes.journal import Key
from poolkeeper.deployments.lab.kubernetes.requests import parse_path
from poolkeeper.deployments.lab.kubernetes.resources import Resource
from poolkeeper.deployments.lab.kubernetes.store import Store
from poolkeeper.tasks.acceptance.testpod import FINISHED
from poolkeeper.tasks.fleet.model import Host
from tests.contract.cluster.conftest import SomeoneIsQuicker
from tests.contract.killed.runs import Ended, Ground, Kind, Point, Run, When, in_child
from tests.contract.kubernetes.conftest import write_kubeconfig
from tests.e2e.history import CLAIM, CORDON, POOLKEEPER, Event, History, Write

Json = dict[str, Any]

_DIFFERS = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[0-9:.]+(Z|\+00:00)|\b\d{9,}\b"
    r'|"(resourceVersion|generation|Port)":"?\d+"?'
)
"""Uids, times, generations, versions, ports."""
WRITES = ("POST", "PUT", "PATCH", "DELETE")
LEASES = "leases.coordination.k8s.io"
OURS, KUBELET = "poolkeeper-token", "kubelet-token"


class Watch:
    """Counts what one process does to the world, and kills it at one of these things."""

    def __init__(self) -> None:
        self.counted: dict[Kind, list[str]] = {}
        """Of the process that was followed last."""
        self._pid, self._point = 0, None

    def follow(self, pid: int, point: Point | None) -> None:
        """Count this process's from now on."""
        self.counted = {Kind.REQUEST: [], Kind.COMMAND: []}
        self._pid, self._point = pid, point

    def leave(self) -> None:
        """It has ended; its number may be another's soon."""
        self._pid = 0

    def count(self, kind: Kind, what: str) -> int:
        """One more; its number."""
        self.counted[kind].append(what)
        return len(self.counted[kind])

    def kills_at(self, kind: Kind, number: int, when: When) -> bool:
        """Kill the process if this is the point."""
        if self._point != Point(kind, number, when) or not self._pid:
            return False
        os.kill(self._pid, signal.SIGKILL)
        return True


class Counting(SomeoneIsQuicker):
    """Counts the writing requests of the runs."""

    def __init__(self, watch: Watch, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._follower = watch

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            return await super()._answer(request)
        except ConnectionResetError:
            return web.Response()  # whoever watched was killed

    async def _answer_now(self, request: web.Request) -> web.StreamResponse:
        if request.method not in WRITES or self._user(request).name != POOLKEEPER or "/reviews" in request.path:
            return await super()._answer_now(request)
        number = self._follower.count(Kind.REQUEST, named(request.method, request.path, await request.read()))
        if self._follower.kills_at(Kind.REQUEST, number, When.BEFORE):
            raise web.HTTPServiceUnavailable
        answer = await super()._answer_now(request)
        self._follower.kills_at(Kind.REQUEST, number, When.AFTER)
        return answer


def named(method: str, path: str, body: bytes) -> str:
    """A writing request in words that are the same in every run: what it is about, and what of ours it writes."""
    target = parse_path(path)
    assert target is not None
    sent: Json = orjson.loads(body) if body else {}
    metadata, spec = sent.get("metadata") or {}, sent.get("spec") or {}
    what = "/".join(
        filter(None, (target.plural, target.namespace, target.name or metadata.get("name"), target.subresource))
    )
    annotations = metadata.get("annotations") or {}
    words = []
    if CLAIM in annotations:
        claim = orjson.loads(annotations[CLAIM] or b"{}")
        words.append(f"claim {claim['phase']}" if "phase" in claim else "note" if claim else "without claim or note")
        words += [f"spent on {', '.join(one['spent'])}" for one in claim.get("unfinished", {}).values() if one["spent"]]
    if CORDON in annotations:
        words.append("our cordon" if annotations[CORDON] else "without our cordon")
    if "holderIdentity" in spec:
        words.append(f"held by {spec['holderIdentity'].partition('/')[0] or 'nobody'}")
    elif "renewTime" in spec and not words:
        words.append("renewed")
    return f"{method} {what}" + (f" ({', '.join(words)})" if words else "")


class World:
    """An API server of its own, and a folder for what hosts and runs have on disk."""

    def __init__(self, folder: Path, server: Counting, watch: Watch, kubelets: Kubelets) -> None:
        self.folder, self.store, self.watch, self.kubelets = folder, server.store, watch, kubelets
        self.hosts: list[Host] = []
        """Those that stand on machines."""
        self.at_ns: dict[int, int] = {}
        """Version -> when it came to be, by the clock that hosts' files tell."""
        self._events: list[Event] = []
        self._writes: list[Write] = []
        server.store.journal.listeners.append(self._hear)

    def _hear(self, resource: Resource, event: Stored) -> None:
        self.at_ns[event.version] = time.monotonic_ns()
        self._events.append(Event(event.version, resource.plural, event.key, event.after))
        self.kubelets.hear(resource, event)

    def audited(self, line: Json) -> None:
        """One line of the server's audit log."""
        self._writes.append(Write.of({**line, "version": self.store.journal.version, "at": ""}))

    @property
    def history(self) -> History:
        """Everything, from the first object on."""
        return History(list(self._events), list(self._writes))

    @property
    def everything(self) -> str:
        """All objects and the hosts' disks as one text, which is the same where nothing but times and ids differs."""
        objects = {(event.resource, event.key): event.object for event in self._events}
        told = sorted(orjson.dumps([key, obj]).decode() for key, obj in objects.items() if obj is not None)
        kept = [*self.folder.glob("disk-*"), *self.folder.glob("state/*/**/*")]  # nobody goes on by rows of the spool
        kept += self.folder.glob("machine/root/**/*")
        kept = [path for path in kept if path.is_file() and not path.is_relative_to(self.folder / "state/spool")]
        told += [f"{path.relative_to(self.folder)}: {path.read_text()}" for path in sorted(kept)]
        return _DIFFERS.sub("-", "\n".join(told))

    async def run(self, run: Run, run_id: str, point: Point | None = None) -> Ended:
        """One run, in a child."""
        ground = Ground(self.folder, run_id, point, tuple(self.hosts))
        try:
            return await in_child(run, ground, lambda pid: self.watch.follow(pid, point))
        finally:
            self.watch.leave()

    def free_leases(self, *, lapse: bool = False) -> None:
        """What a person does who knows that the run is dead, and does not want to wait until its leases lapse.

        lapse: they do lapse, but soon
        """
        words = {"leaseDurationSeconds": 1} if lapse else {"holderIdentity": ""}
        for lease in self.store.list(LEASES, "poolkeeper"):
            self.store.update(LEASES, {**lease, "spec": {**lease["spec"], **words}})


class Kubelets:
    """What kubelets do about pods, at once: those that have a node run, those that are deleted go, and all have a log.

    A pod whose name begins with one of `ENDS` has ended by the time that it runs.
    """

    ENDS = ("back-",)
    LOG = (
        "poolkeeper: dns-internal ok\npoolkeeper: dns-external ok\npoolkeeper: to-cloud ok\n"
        f"poolkeeper: from-cloud ok\npoolkeeper: cloud-to-host ok\n{FINISHED}\n"
    )

    def __init__(self, store: Store, ca: LabCA) -> None:
        self._store, self._ca = store, ca
        self.port = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Give logs to the API server."""

        async def log(request: web.Request) -> web.Response:
            return web.Response(text=self.LOG)

        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", log)
        runner = web.AppRunner(app, shutdown_timeout=0.5)
        await runner.setup()
        context = self._ca.server_context(["127.0.0.1"])
        context.verify_mode = ssl.CERT_NONE  # whoever asks is the API server
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        self.port = runner.addresses[0][1]
        yield
        await runner.cleanup()

    def status(self, version: str, **more: Any) -> Json:
        """Of a Node that is Ready, whose kubelet is one of these."""
        return {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
            "nodeInfo": {"kubeletVersion": version, **more},
        }

    def hear(self, resource: Resource, event: Stored) -> None:
        """Act on an event, once whoever caused it is done."""
        pod = event.after
        if resource.plural != "pods" or pod is None or not pod["spec"].get("nodeName"):
            return
        act = None
        if "deletionTimestamp" in pod["metadata"]:
            act = self._remove
        elif pod["status"].get("phase") == "Pending":
            act = self._start
        if act is not None:
            asyncio.get_running_loop().call_soon(act, event.key, pod["metadata"]["uid"])

    def _there(self, key: Key, uid: str) -> bool:
        pod = self._store.find("pods", key[1], key[0])
        return pod is not None and pod["metadata"]["uid"] == uid

    def _remove(self, key: Key, uid: str) -> None:
        if self._there(key, uid):
            self._store.delete("pods", key[1], key[0], grace_s=0)

    def _start(self, key: Key, uid: str) -> None:
        if self._there(key, uid):
            ready = {"type": "Ready", "status": "True"}
            phase = "Succeeded" if key[1].startswith(self.ENDS) else "Running"
            status = {"phase": phase, "podIP": "127.0.0.9", "conditions": [ready]}
            self._store.modify("pods", key[1], key[0], lambda pod: {**pod, "status": status}, subresource="status")


@asynccontextmanager
async def a_world(folder: Path, ca: LabCA, seed: Callable[[World], None]) -> AsyncIterator[World]:
    """A new world, as `seed` makes it."""
    users = {OURS: User(POOLKEEPER, ("system:masters",)), KUBELET: User("system:node", ("system:masters",))}
    world: World
    watch = Watch()
    server = Counting(watch, ca, users, audit=lambda line: world.audited(line))
    world = World(folder, server, watch, Kubelets(server.store, ca))
    await server.start("127.0.0.1")
    for name, token in (("kubeconfig", OURS), ("kubelet", KUBELET)):
        write_kubeconfig(folder / name, server.url, ca.certificate_pem.decode(), token)
    controllers = Controllers(server.store, node_grace_s=None, pod_grace_s=0.1, toleration_second_s=0.05)
    world.store.create("namespaces", {"metadata": {"name": "poolkeeper"}})
    async with world.kubelets.serving():
        seed(world)
        await controllers.start()
        try:
            yield world
        finally:
            await controllers.stop()
            await server.stop()
