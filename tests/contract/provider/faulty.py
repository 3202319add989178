"""Endpoints in ACK's place that misbehave, one class a way to do so."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from tests.contract.cluster.faulty import FaultyServer


class Throttled(FaultyServer):
    """Turns away so many requests as ACK does, then answers a script."""

    def __init__(self, times: int, *, status: int = 429, code: str = "Throttling.User", after_ms: str = "1") -> None:
        super().__init__()
        self._times, self._status, self._code, self._after_ms = times, status, code, after_ms

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if len(self.asked) > self._times:
            return web.Response(text="edgeadm join")
        headers = {"x-acs-retry-after": self._after_ms} if self._after_ms else {}
        body = {"code": self._code, "message": "Request was denied due to user flow control.", "requestId": "R"}
        return web.json_response(body, status=self._status, headers=headers)


class Error(FaultyServer):
    """Answers everything with one error of ACK's shape, or with a page of whatever stands before ACK."""

    def __init__(self, status: int, code: str = "", page: str = "") -> None:
        super().__init__()
        self._status, self._code, self._page = status, code, page

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self._page:
            return web.Response(status=self._status, text=self._page, content_type="text/html")
        body = {"code": self._code, "message": "It is so.", "requestId": "R-1"}
        return web.json_response(body, status=self._status)


class Drips(FaultyServer):
    """Sends a byte now and then, for ever: no single read takes long."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while not self._gone.is_set():
            await response.write(b" ")
            if await self._gone_within(0.02):
                break
        return response

    async def _gone_within(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self._gone.wait()
        except TimeoutError:
            return False
        return True


class Pools(FaultyServer):
    """Answers as ACK for a cluster and a pool, each in some state."""

    def __init__(self, cluster: Any, pool: Any) -> None:
        super().__init__()
        self._cluster, self._pool = cluster, pool

    async def answer(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._pool if "nodepools" in request.path else self._cluster)


class Scripts(FaultyServer):
    """Answers one text in place of an attach script, and remembers what it was asked for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text
        self.bodies: list[Any] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        return web.Response(text=self._text)
