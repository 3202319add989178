"""One container of a pod: its command really runs, in a shell on the host, with the pod's files and address."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from poolkeeper.deployments.lab.node_object import iso_now
from poolkeeper.deployments.lab.processes import ended, exited, signal_group, spawn

Json = dict[str, Any]


class CannotStart(Exception):
    """The container is not one that the lab can run; `reason` is what its status says."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Container:
    """Starts, watches and ends one container.

    spec: as in the pod
    environment: what it starts with, its own variables included
    """

    def __init__(self, spec: Json, environment: Mapping[str, str], folder: Path, log: Path) -> None:
        self.spec, self.name = spec, spec["name"]
        self.log = log
        self.restarts = 0
        self.ready = False
        self.state: Json = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state: Json = {}
        self._environment, self._folder = environment, folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run its command. Raises CannotStart."""
        command = [*(self.spec.get("command") or ()), *(self.spec.get("args") or ())]
        if not self.spec.get("command"):
            raise CannotStart(
                "CreateContainerError",
                "the lab has no images, so it cannot know what this one starts: give the container a command",
            )
        self.log.parent.mkdir(parents=True, exist_ok=True)
        # names without a slash are looked up on the container's own PATH
        command = ["/bin/sh", "-c", 'exec "$@"', "sh", *command]
        with self.log.open("ab") as output:
            self._process = spawn(
                command,
                environment=self._environment,
                folder=self._folder,
                output=output,
                stdin=subprocess.DEVNULL,
            )
        self.state = {"running": {"startedAt": iso_now()}}
        self.ready = "readinessProbe" not in self.spec

    async def ended(self) -> int:
        """Wait until it ends, and take all that it started with it; answers its exit status."""
        assert self._process is not None
        await exited(self._process)
        self.kill()
        status = await ended(self._process)
        started = self.state.get("running", {}).get("startedAt", iso_now())
        self.ready = False
        reason = "Completed" if status == 0 else "Error"
        self.state = {
            "terminated": {"exitCode": status, "reason": reason, "startedAt": started, "finishedAt": iso_now()}
        }
        return status

    async def run_beside(self, command: list[str]) -> int:
        """Run a command in the container, as an exec probe does; answers its exit status."""
        process = spawn(
            ["/bin/sh", "-c", 'exec "$@"', "sh", *command],
            environment=self._environment,
            folder=self._folder,
            output=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        try:
            await exited(process)
        finally:
            signal_group(process, signal.SIGKILL)
        return await ended(process)

    @property
    def running(self) -> bool:
        return "running" in self.state

    def term(self) -> None:
        """Ask it to end."""
        if self._process is not None:
            signal_group(self._process, signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, with all that it has started."""
        if self._process is not None:
            signal_group(self._process, signal.SIGKILL)

    def waits(self, reason: str, message: str = "") -> None:
        """Say why it does not run; what it was before becomes its last state."""
        if "terminated" in self.state:
            self.last_state = self.state
        self.state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        self.ready = False

    def status(self) -> Json:
        """Its part of `status.containerStatuses`."""
        return {
            "name": self.name,
            "image": self.spec["image"],
            "imageID": "",
            "containerID": f"containerd://{self._process.pid}" if self._process else "",
            "ready": self.ready,
            "started": self.running,
            "restartCount": self.restarts,
            "state": self.state,
            "lastState": self.last_state,
        }


async def probe(container: Container, address: str, session: aiohttp.ClientSession) -> bool:
    """One try of the readiness probe: httpGet, tcpSocket or exec."""
    wanted = container.spec["readinessProbe"]
    timeout_s = float(wanted.get("timeoutSeconds", 1))
    try:
        async with asyncio.timeout(timeout_s):
            if "httpGet" in wanted:
                port = _port(container.spec, wanted["httpGet"]["port"])
                url = f"http://{address}:{port}{wanted['httpGet'].get('path', '/')}"
                async with session.get(url) as answer:
                    return 200 <= answer.status < 400
            if "tcpSocket" in wanted:
                _, writer = await asyncio.open_connection(address, _port(container.spec, wanted["tcpSocket"]["port"]))
                writer.close()
                return True
            return await container.run_beside(wanted["exec"]["command"]) == 0 if "exec" in wanted else False
    except (TimeoutError, OSError, aiohttp.ClientError):
        return False


def _port(spec: Json, port: int | str) -> int:
    if isinstance(port, int) or port.isdigit():
        return int(port)
    return next((int(p["containerPort"]) for p in spec.get("ports") or () if p.get("name") == port), 0)
