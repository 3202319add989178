"""A kubelet's own HTTPS server on the node's address: `/containerLogs`, from which `kubectl logs` is answered.

As the lab's API server shows no client certificate, anyone on this machine may read here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from poolkeeper.deployments.lab.containers import Container
from poolkeeper.deployments.lab.kubernetes import LabCA
from poolkeeper.deployments.lab.layout import KUBELET_PORT, listening_socket

FindContainer = Callable[[str, str, str], Container | None]
_KNOWN = {"follow", "tailLines", "limitBytes"}
_LOOK_AGAIN_S = 0.1


class LogServer:
    """Serves the logs of one node's containers."""

    def __init__(self, ca: LabCA, find: FindContainer) -> None:
        self._ca, self._find = ca, find
        self._runner: web.AppRunner | None = None

    async def start(self, address: str) -> int:
        """Listen on the node's address; answers the port."""
        app = web.Application()
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, handler_cancellation=True)
        await self._runner.setup()
        sock = listening_socket(address, KUBELET_PORT)
        await web.SockSite(self._runner, sock, ssl_context=self._ca.server_context([address])).start()
        return int(sock.getsockname()[1])

    async def stop(self) -> None:
        """Stop listening; who follows a log is cut off."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        names, query = request.match_info, request.query
        if unknown := set(query) - _KNOWN:
            return web.Response(status=501, text=f"the lab's kubelet does not know {', '.join(sorted(unknown))}\n")
        found = self._find(names["namespace"], names["pod"], names["container"])
        if found is None or not found.log.exists():
            text = f'container "{names["container"]}" in pod "{names["pod"]}" is waiting to start\n'
            return web.Response(status=400, text=text)
        left = int(query["limitBytes"]) if "limitBytes" in query else None
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        with found.log.open("rb") as stream:
            if "tailLines" in query:
                stream.seek(_tail_start(found.log.read_bytes(), int(query["tailLines"])))
            while left is None or left > 0:
                growing = query.get("follow") in ("true", "1") and "terminated" not in found.state
                chunk = stream.read(65536 if left is None else min(left, 65536))
                if chunk:
                    left = None if left is None else left - len(chunk)
                    await response.write(chunk)
                elif growing:
                    await asyncio.sleep(_LOOK_AGAIN_S)
                else:
                    break
        return response


def _tail_start(text: bytes, lines: int) -> int:
    """Where the last lines begin."""
    at = len(text.rstrip(b"\n")) if lines else len(text)
    for _ in range(lines):
        at = text.rfind(b"\n", 0, at)
        if at < 0:
            return 0
    return at + 1 if lines else at
