"""The Kubernetes API as raw JSON, over the official client's asyncio half.

Lists are read page by page and never turned into generated models (they cost ten times the memory).
Every call has a deadline. What goes wrong is in `tasks.cluster.errors`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import aiohttp
import orjson
from kubernetes.aio import client

from tasks.cluster.errors import ApiError, ClusterUnreachable, Gone, Throttled, api_error
from tasks.cluster.kubeconfig import client_settings
from tasks.fleet.model import Cluster
from tasks.outcomes import Secret

Json = dict[str, Any]
T = TypeVar("T")

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"

PAGE_SIZE = 500
THROTTLED_TRIES = 5
"""How often a request is sent that the API server turns away with 429: nothing of it was carried out."""
THROTTLED_WAIT_S = 10.0
"""At most so long between two of them, whatever Retry-After says."""
_PARSED_AT_ONCE = 100
"""Items of a page between two looks at the rest of the loop."""
RELIST_PAUSE_S = 0.5
"""Between the end of a watch and the next list, so that a server in trouble is not hammered."""
_WAY = "Check the way there (route, firewall, proxy settings, the load balancer's access list)."


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change of a watched list."""

    type: str
    """ADDED, MODIFIED, DELETED or BOOKMARK."""
    object: Json


class ClusterApi:
    """One API server. Make it with `connect`."""

    def __init__(self, api_client: Any, *, timeout_s: float = 30.0) -> None:
        self._client = api_client
        self.timeout_s = timeout_s

    @property
    def url(self) -> str:
        """The server's base URL, as the kubeconfig has it."""
        return str(self._client.configuration.host)

    @property
    def ca_pem(self) -> str | None:
        """The certificate authority that the kubeconfig trusts, PEM."""
        settings = self._client.configuration
        if settings.ca_cert_data:
            return str(settings.ca_cert_data)
        if settings.ssl_ca_cert:
            with open(settings.ssl_ca_cert, encoding="ascii") as file:
                return file.read()
        return None

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Any,
        content_type: str,
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> Any:
        """One request, sent again while the server throttles it. Raises ApiError and ClusterUnreachable."""
        for attempt in range(1, THROTTLED_TRIES + 1):
            response = await self._send_once(method, path, query, body, content_type, timeout)
            if response.status < 400:
                return response
            error = await _error(response, f"{method} {path}")
            if not isinstance(error, Throttled) or attempt == THROTTLED_TRIES:
                raise error
            wait_s = 1.0 if error.retry_after_s is None else error.retry_after_s
            await asyncio.sleep(min(wait_s, THROTTLED_WAIT_S))
        raise AssertionError("unreachable")

    async def _send_once(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Any,
        content_type: str,
        timeout: aiohttp.ClientTimeout | None,
    ) -> Any:
        _, url, headers, body, _ = await self._client.param_serialize(
            method=method,
            resource_path=path,
            query_params=[(key, value) for key, value in (query or {}).items() if value not in (None, "")],
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            return await self._client.call_api(
                method, url, headers, body, _request_timeout=timeout or aiohttp.ClientTimeout(total=self.timeout_s)
            )
        except TimeoutError:
            raise ClusterUnreachable(
                f"the API server at {self.url} did not answer within {self.timeout_s:g} s. {_WAY}"
            ) from None
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
            raise ClusterUnreachable(
                f"the certificate of the API server at {self.url} is not trusted: {_last_words(error)}. Get a"
                " fresh kubeconfig; if it is up to date, something in between answers in the server's place."
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise ClusterUnreachable(f"the API server at {self.url} cannot be reached: {error}. {_WAY}") from None

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Json:
        """One call, answered with its JSON.

        Raises ApiError (NotFound, Conflict, Gone, Throttled) and ClusterUnreachable.
        """
        response = await self._send(method, path, query, body, content_type)
        text = await self._read(response)
        with suppress(ValueError):
            answer = orjson.loads(text)
            if isinstance(answer, dict):
                return answer
        raise ClusterUnreachable(
            f"what answers at {self.url} is no API server: {method} {path} gave no JSON object."
            " Compare the server in the kubeconfig, and look for a proxy's login page."
        )

    async def text(self, path: str, *, query: Mapping[str, Any] | None = None) -> str:
        """A GET whose answer is text, such as a pod's log."""
        response = await self._send("GET", path, query, None, "application/json")
        return (await self._read(response)).decode("utf-8", "replace")

    async def _read(self, response: Any) -> bytes:
        try:
            answer: bytes = await response.read()
        except TimeoutError:
            raise ClusterUnreachable(f"the API server at {self.url} stopped in mid-answer. {_WAY}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ClusterUnreachable(f"the API server at {self.url} broke off: {error}. {_WAY}") from None
        return answer

    async def server_time(self) -> datetime:
        """The API server's own clock, to the second: the Date header of `/version`."""
        response = await self._send("GET", "/version", None, None, "application/json")
        await self._read(response)
        try:
            return parsedate_to_datetime(response.getheader("Date") or "").astimezone(UTC)
        except ValueError:
            raise ClusterUnreachable(
                f"the API server at {self.url} does not tell the time: no Date header. Look for a proxy in between."
            ) from None

    async def list_all(self, path: str, *, query: Mapping[str, Any] | None = None) -> tuple[list[Json], str]:
        """All items of a list, page by page, and the list's resourceVersion to watch from.

        An expired continue token (410) starts the list anew, once.
        """
        return await self._listed(path, lambda item: item, query)

    async def list_rows(
        self, path: str, parse: Callable[[Json], T], *, query: Mapping[str, Any] | None = None
    ) -> list[T]:
        """All items of a list as rows: the JSON of a page is gone before the page after the next is asked for."""
        rows, _ = await self._listed(path, parse, query)
        return rows

    async def _listed(
        self, path: str, parse: Callable[[Json], T], query: Mapping[str, Any] | None
    ) -> tuple[list[T], str]:
        for attempt in (1, 2):
            rows: list[T] = []
            coming: asyncio.Future[Json] | None = None
            token: str | None = None
            try:
                while True:
                    page = await (coming or self._page(path, query, token))
                    items, metadata = page["items"] or (), page["metadata"]
                    token = metadata.get("continue")
                    # the server makes the next page while this one is parsed
                    coming = asyncio.ensure_future(self._page(path, query, token)) if token else None
                    for start in range(0, len(items), _PARSED_AT_ONCE):
                        await asyncio.sleep(0)
                        rows += map(parse, items[start : start + _PARSED_AT_ONCE])
                    if coming is None:
                        return rows, metadata["resourceVersion"]
            except Gone:
                if attempt == 2:
                    raise
            finally:
                if coming is not None:
                    coming.cancel()
        raise AssertionError("unreachable")

    async def _page(self, path: str, query: Mapping[str, Any] | None, token: str | None) -> Json:
        return await self.request("GET", path, query={**(query or {}), "limit": PAGE_SIZE, "continue": token})

    async def watch(
        self, path: str, resource_version: str, *, query: Mapping[str, Any] | None = None
    ) -> AsyncIterator[WatchEvent]:
        """Changes since `resource_version`, until the server ends the watch; Gone when that is too old."""
        query = {
            **(query or {}),
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": 60,
        }
        timeout = aiohttp.ClientTimeout(total=None, connect=self.timeout_s, sock_read=90)
        response = await self._send("GET", path, query, None, "application/json", timeout)
        try:
            async for line in response.response.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise api_error(status.get("code", 500), f"watch {path}", status)
                yield WatchEvent(event["type"], event["object"])
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return  # the line broke, perhaps in mid-event: the list tells what was missed
        finally:
            response.response.close()

    async def changes(self, path: str, *, query: Mapping[str, Any] | None = None) -> AsyncIterator[list[Json]]:
        """The list as it is, and again after every change, whatever happens to the watch below.

        Ends never; put it under a deadline. A server that is away, restarts or is unwell is asked again. Raises
        ApiError for what will not mend itself, such as 403.
        """
        while True:
            try:
                items, version = await self.list_all(path, query=query)
                state = {_key(item): item for item in items}
                yield list(state.values())
                async for event in self.watch(path, version, query=query):
                    if event.type == "BOOKMARK":
                        continue
                    if event.type == "DELETED":
                        state.pop(_key(event.object), None)
                    else:
                        state[_key(event.object)] = event.object
                    yield list(state.values())
            except ClusterUnreachable:
                pass
            except ApiError as error:
                if not error.temporary and not isinstance(error, Gone):
                    raise
            await asyncio.sleep(RELIST_PAUSE_S)


def _last_words(error: aiohttp.ClientError) -> str:
    """What OpenSSL said, without aiohttp's wrapping."""
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    return getattr(inner, "verify_message", "") or str(inner)


def _key(item: Json) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


async def _error(response: Any, what: str) -> ApiError:
    try:
        body = json.loads(await response.read())
    except (ValueError, aiohttp.ClientError, TimeoutError):
        body = None
    after = response.getheader("Retry-After")
    retry_after_s = float(after) if after and after.isdigit() else None
    return api_error(response.status, what, body if isinstance(body, dict) else None, retry_after_s)


@asynccontextmanager
async def connect(cluster: Cluster, kubeconfig: Secret, *, timeout_s: float = 30.0) -> AsyncIterator[ClusterApi]:
    """A connection to a cluster by its kubeconfig.

    timeout_s: of one request, from connecting to the last byte
    Raises ClusterUnreachable when the kubeconfig is no kubeconfig.
    """
    settings = await client_settings(cluster, kubeconfig)
    try:
        api_client = client.ApiClient(settings)
    except (OSError, ValueError):
        raise ClusterUnreachable(
            f"the kubeconfig of cluster {cluster.name} cannot be used: its certificates or key cannot be read."
            " Try `kubectl --kubeconfig FILE version` on this machine."
        ) from None
    async with api_client:
        yield ClusterApi(api_client, timeout_s=timeout_s)
