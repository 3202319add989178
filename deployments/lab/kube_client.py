"""The few requests that a kubelet makes of the API server, over HTTPS with its own token."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp

Json = dict[str, Any]
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_WATCH_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=10, sock_read=360)


class ApiRefused(Exception):
    """The API server answered with an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class KubeClient:
    """One kubelet's way to the API server.

    is_cut: whether the way is cut right now; then every request fails as on a dead line
    """

    def __init__(
        self, session: aiohttp.ClientSession, tls: ssl.SSLContext, server: str, token: str, is_cut: Callable[[], bool]
    ) -> None:
        self._session, self._tls, self._server, self._is_cut = session, tls, server, is_cut
        self._headers = {"Authorization": f"Bearer {token}", "User-Agent": "kubelet/v1.36.3 (lab)"}

    async def request(self, method: str, path: str, body: Json | None = None, **query: str) -> Json:
        """One request; a PATCH is a merge patch. Raises ApiRefused, aiohttp.ClientError, OSError, TimeoutError."""
        self._check()
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        async with self._session.request(
            method,
            self._server + path,
            params=query,
            data=json.dumps(body) if body is not None else None,
            headers={**self._headers, "Content-Type": kind},
            ssl=self._tls,
            timeout=_TIMEOUT,
        ) as answer:
            told: Json = await answer.json(content_type=None)
            if answer.status >= 400:
                raise ApiRefused(answer.status, str(told.get("message", "")))
            return told

    async def watch(self, path: str, version: str, **query: str) -> AsyncIterator[tuple[str, Json]]:
        """Changes since a version until the server ends the watch. Raises as `request`."""
        self._check()
        asked = {**query, "watch": "true", "resourceVersion": version, "timeoutSeconds": "300"}
        async with self._session.get(
            self._server + path, params=asked, headers=self._headers, ssl=self._tls, timeout=_WATCH_TIMEOUT
        ) as answer:
            if answer.status >= 400:
                raise ApiRefused(answer.status, await answer.text())
            pending = b""
            async for chunk in answer.content.iter_any():
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiRefused(event["object"].get("code", 500), event["object"].get("message", ""))
                    yield event["type"], event["object"]

    def _check(self) -> None:
        if self._is_cut():
            raise ConnectionError("the API server cannot be reached")
