"""Endpoints in BSS's place that misbehave, one class a way to do so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from tests.contract.cluster.faulty import FaultyServer


class Pages(FaultyServer):
    """Answers the given pages in turn, whatever token is asked for; each is what differs from a sound page."""

    def __init__(self, *pages: dict[str, Any]) -> None:
        super().__init__()
        self._pages = pages
        self.queries: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.queries.append(dict(request.query))
        number = min(len(self.asked), len(self._pages))
        data = {"BillingCycle": "2026-10", "Items": [], "NextToken": "", **self._pages[number - 1]}
        return web.json_response({"Code": "Success", "Success": True, "RequestId": "R", "Data": data})


class Refuses(FaultyServer):
    """Refuses as BSS does: with status 200."""

    def __init__(self, code: str, message: str = "It is so.") -> None:
        super().__init__()
        self._body = {"Code": code, "Message": message, "Success": False, "RequestId": "R"}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._body)


class ThrottledBill(FaultyServer):
    """Turns away so many requests, then answers rows."""

    def __init__(self, times: int, rows: Sequence[dict[str, Any]] = (), *, status: int = 429) -> None:
        super().__init__()
        self._times, self._rows, self._status = times, rows, status

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if len(self.asked) > self._times:
            data = {"Items": list(self._rows), "NextToken": "", "TotalCount": len(self._rows)}
            return web.json_response({"Code": "Success", "Success": True, "Data": data})
        body = {"Code": "Throttling.User", "Message": "Request was denied due to user flow control.", "RequestId": "R"}
        return web.json_response(body, status=self._status, headers={"x-acs-retry-after": "1"})
