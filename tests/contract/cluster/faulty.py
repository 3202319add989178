"""API servers that misbehave, one class a way to do so, on loopback."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

from aiohttp import web


class FaultyServer:
    """Plain HTTP on a free port; remembers what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[tuple[str, str]] = []
        self._gone = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        self._gone.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path))
        return await self.answer(request)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        raise NotImplementedError


class Silent(FaultyServer):
    """Takes the request and never answers."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        await self._gone.wait()
        return web.Response()


class TellsHeaders(FaultyServer):
    """Answers what it was sent."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(dict(request.headers))


class SendsElsewhere(FaultyServer):
    """A login page at another address."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "/login"})


class StopsInMidAnswer(FaultyServer):
    """Sends half a list and then nothing more."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"items": [')
        await self._gone.wait()
        return response


class CutsInMidAnswer(FaultyServer):
    """Sends half a list and cuts the connection."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"items": [')
        assert request.transport is not None
        request.transport.close()
        return response


class LoginPage(FaultyServer):
    """A proxy that answers everything with a page for people."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>Please log in</html>", content_type="text/html")


class Says(FaultyServer):
    """Answers everything with one text that claims to be JSON."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    async def answer(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text=self._text, content_type="application/json")


class Refuses(FaultyServer):
    """Answers everything with one error; as a Status, or as whatever else stands in front of an API server."""

    def __init__(self, status: int, *, reason: str = "", headers: dict[str, str] | None = None, raw: str = "") -> None:
        super().__init__()
        self._status, self._reason, self._headers, self._raw = status, reason, headers or {}, raw

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = {"kind": "Status", "status": "Failure", "code": self._status, "reason": self._reason, "message": "no."}
        return web.Response(
            status=self._status,
            text=self._raw or json.dumps(body),
            headers=self._headers,
            content_type="text/html" if self._raw else "application/json",
        )


class FailsWithoutEnd(FaultyServer):
    """Answers with an error whose body never ends."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=503)
        await response.prepare(request)
        with suppress(ConnectionError):
            while not self._gone.is_set():
                await response.write(b"x" * 2**14)
                self.sent += 2**14
        return response


class Throttles(FaultyServer):
    """Turns away so many requests with 429, then answers an empty list."""

    def __init__(
        self, times: int, *, retry_after: str | None = "0", causes: list[dict[str, str]] | None = None
    ) -> None:
        super().__init__()
        self._times, self._retry_after, self._causes = times, retry_after, causes

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if len(self.asked) > self._times:
            return web.json_response({"items": None, "metadata": {"resourceVersion": "1"}})
        details: dict[str, Any] = {"causes": self._causes} if self._causes else {}
        body = {"kind": "Status", "code": 429, "reason": "TooManyRequests", "message": "slow down", "details": details}
        headers = {"Retry-After": self._retry_after} if self._retry_after is not None else {}
        return web.json_response(body, status=429, headers=headers)


class LosesAnswers(FaultyServer):
    """Creates the pods that it is sent, and its word of that does not come: `never`, `cut` or `504` from in front."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.pods: set[str] = set()
        self.created = asyncio.Event()
        self._how = how

    async def answer(self, request: web.Request) -> web.Response:
        if request.method == "DELETE":
            self.pods.discard(request.path.rpartition("/")[2])
            return web.json_response({"kind": "Status", "status": "Success"})
        self.pods.add((await request.json())["metadata"]["name"])
        self.created.set()
        if self._how == "never":
            await self._gone.wait()
        if self._how == "cut":
            assert request.transport is not None
            request.transport.close()
        return web.Response(status=504, text="Gateway Time-out")


class KeepsPods(FaultyServer):
    """Has every pod that one asks for, and deletes none: their kubelet is dead."""

    async def answer(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            body = {"kind": "Status", "code": 409, "reason": "AlreadyExists", "message": "there is one"}
            return web.json_response(body, status=409)
        if "watch" in request.query:
            await self._gone.wait()
        pod = {"metadata": {"name": "p", "namespace": "poolkeeper", "uid": "u"}}
        return web.json_response({"items": [pod], "metadata": {"resourceVersion": "1"}})


class ForgetsPages(FaultyServer):
    """Its continue tokens have always expired by the time they are used, as under constant compaction."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "continue" in request.query:
            body = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
            return web.json_response(body, status=410)
        return web.json_response({"items": [], "metadata": {"resourceVersion": "1", "continue": "t"}})


class GarblesWatches(FaultyServer):
    """Its first watch ends in half an event; the second one works."""

    def __init__(self) -> None:
        super().__init__()
        self._watches = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"items": [], "metadata": {"resourceVersion": "1"}})
        self._watches += 1
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        if self._watches == 1:
            await response.write(b'{"type": "ADDED", "object": {"meta')
            return response
        event = {"type": "ADDED", "object": {"metadata": {"name": "seen at last"}}}
        await response.write(json.dumps(event).encode() + b"\n")
        await self._gone.wait()
        return response


class TellsNoTime(FaultyServer):
    """Answers without a Date header."""

    async def start(self) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            await writer.drain()
            writer.close()

        self._server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()


class Lists(FaultyServer):
    """Has these objects, path -> items; nothing ever changes, and every write is refused. Any other list is empty."""

    def __init__(self, lists: dict[str, list[Any]]) -> None:
        super().__init__()
        self._lists = lists

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method != "GET":
            body = {"kind": "Status", "code": 405, "reason": "MethodNotAllowed", "message": "nothing changes here"}
            return web.json_response(body, status=405)
        if "watch" in request.query:
            await self._gone.wait()
        folder, _, name = request.path.rpartition("/")
        named = [i for i in self._lists.get(folder, ()) if isinstance(i, dict) and i["metadata"]["name"] == name]
        if named:
            return web.json_response(named[0])
        return web.json_response({"items": self._lists.get(request.path), "metadata": {"resourceVersion": "1"}})


class WantsQuota(FaultyServer):
    """Its quota is used up for the first requests to create a pod."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._times = times

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if len(self.asked) > self._times:
            return web.json_response({"metadata": {"name": "p"}}, status=201)
        why = 'pods "p" is forbidden: exceeded quota: few, requested: pods=1, used: pods=2, limited: pods=2'
        body = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": why}
        return web.json_response(body, status=403)


class Denies(FaultyServer):
    """Its webhook lets nothing be created."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        why = 'admission webhook "guard.example.com" denied the request: not tonight'
        body = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": why}
        return web.json_response(body, status=403)
