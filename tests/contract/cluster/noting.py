"""An HTTPS server and a proxy on loopback that note how they were asked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from poolkeeper.deployments.lab.kubernetes import LabCA

HOST = "0.0.0.0"  # this machine to whoever connects, and no loopback address to those who exempt these from proxies
KNOWN = "known-token"
NAMES = ("127.0.0.1", HOST, "api.example")


@dataclass(frozen=True)
class Asked:
    """One request, as far as a kubeconfig decides on it."""

    path: str
    authorization: str
    impersonation: tuple[tuple[str, str], ...]
    """Headers and values, in small letters and sorted."""
    server_name: str
    """Which it was asked for in the handshake."""
    certificate: str
    """Common name of the client's."""
    is_compressed: bool


class NotingServer:
    """Answers every GET as an API server answers /version; knows every token but those that it is told not to."""

    def __init__(self, ca: LabCA, names: Iterable[str] = NAMES) -> None:
        self.asked: list[Asked] = []
        self.refuses: set[str] = set()
        """What it answers 401: an Authorization header, or a client's common name."""
        self.context = ca.server_context(names)
        self.context.sni_callback = _note_name
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, 0, ssl_context=self.context).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        tls = request.transport.get_extra_info("ssl_object")
        shown = dict(pair for part in (tls.getpeercert() or {}).get("subject", ()) for pair in part)
        asked = Asked(
            request.rel_url.raw_path,
            request.headers.get("Authorization", ""),
            tuple(sorted((k.lower(), v) for k, v in request.headers.items() if k.lower().startswith("impersonate"))),
            getattr(tls, "asked_name", None) or "",
            shown.get("commonName", ""),
            "gzip" in request.headers.get("Accept-Encoding", ""),
        )
        self.asked.append(asked)
        if {asked.authorization, asked.certificate} & self.refuses:
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Unauthorized", "code": 401}
            return web.json_response(status, status=401)
        return web.json_response({"gitVersion": "v1.36.3+noted"})


def _note_name(tls: Any, name: str | None, context: ssl.SSLContext) -> None:
    tls.asked_name = name


class NotingProxy:
    """Passes connections on, or refuses them; speaks CONNECT and nothing else."""

    def __init__(self, status: int = 200, reason: str = "as it likes", tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[tuple[str, str]] = []
        """Target and Proxy-Authorization."""
        self._status, self._reason, self._tls = status, reason, tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        target = first.split(" ")[1]
        self.asked.append((target, headers.get("proxy-authorization", "")))
        writer.write(f"HTTP/1.1 {self._status} {self._reason}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        if self._status != 200:
            return
        beyond, onwards = await asyncio.open_connection("127.0.0.1", int(target.rpartition(":")[2]))
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pass(reader, onwards))
                both.create_task(_pass(beyond, writer))
        finally:
            onwards.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()


def plain_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without anybody's proxies or kubeconfigs."""
    return {
        name: value
        for name, value in environment.items()
        if not name.lower().endswith("_proxy") and name != "KUBECONFIG"
    }
