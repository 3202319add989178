"""The Kubernetes API as raw JSON, by the official client.

Lists are read page by page and never turned into generated models (they cost ten times the memory).
Every call has a deadline. What goes wrong is in `tasks.cluster.errors`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
import orjson
from kubernetes.aio.client import ApiClient, Configuration
from yarl import URL

from poolkeeper.tasks.cluster.access import Access, open_access
from poolkeeper.tasks.cluster.errors import ApiError, ApiThrottled, ClusterUnreachable, Gone, api_error
from poolkeeper.tasks.cluster.fields import at, text_at
from poolkeeper.tasks.cluster.plugin import Credential
from poolkeeper.tasks.fleet.model import Cluster
from poolkeeper.tasks.outcomes import Evidence, Finding, Secret, Severity, Subject, quoted

_log = logging.getLogger(__name__)

Json = dict[str, Any]
T = TypeVar("T")

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"

PAGE_SIZE = 500
THROTTLED_TRIES = 5
"""How often a request is sent that the API server answers with 429: such a request had no effect."""
THROTTLED_WAIT_S = 10.0
"""The longest pause between two of them, whatever Retry-After says."""
_PARSED_AT_ONCE = 100
"""Items of a page that are parsed before other tasks of the event loop get a turn."""
_LONGEST_EVENT = 2**21
"""Bytes of a watch's line that are held in memory."""
_LONGEST_ERROR = 2**16
"""Bytes of an error's body that are read: a Status is far shorter."""
_PATH = "/:@!$&'()*+,;=~"
"""Characters that are not escaped in a path, beside letters and digits."""
RELIST_PAUSE_S = 0.5
"""Pause between the end of a watch and the next list, so that a failing server gets few requests."""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change of a watched list."""

    type: str
    """ADDED, MODIFIED, DELETED or BOOKMARK."""
    object: Json


class ClusterApi:
    """One API server. Make it with `connect`."""

    def __init__(self, access: Access, client: ApiClient, *, timeout_s: float = 30.0) -> None:
        self._access, self._client = access, client
        self.timeout_s = timeout_s

    @property
    def url(self) -> str:
        """The server's base URL, as the kubeconfig has it."""
        return self._access.url

    @property
    def server_name(self) -> str:
        """Whom its certificate is for, where that is not the URL's host."""
        return self._access.server_name

    @property
    def ca_pem(self) -> str | None:
        """The certificate authorities that the kubeconfig trusts, PEM and nothing else; None: those of the system."""
        return self._access.ca_pem

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with the connection to it."""
        if not (warning := self._access.warning):
            return ()
        observed, _, next_step = warning.rpartition(". ")
        evidence = Evidence(observed, "a verified connection", "kubeconfig", datetime.now(UTC))
        subject = Subject("cluster", self._access.cluster.name)
        return (Finding("cluster.connection.unverified", Severity.WARNING, subject, evidence, next_step),)

    def log_findings(self) -> None:
        """Log what is wrong with the connection to it; for commands that keep no record of a run."""
        for finding in self.findings:
            _log.warning("%s", finding)

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Any,
        content_type: str,
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> aiohttp.ClientResponse:
        """One request, sent again while the server throttles it. Raises ApiError and ClusterUnreachable."""
        for attempt in range(1, THROTTLED_TRIES + 1):
            response = await self._send_once(method, path, query, body, content_type, timeout)
            if response.status < 300:
                return response
            if response.status < 400:
                response.release()
                raise self._no_api_server(f"{method} {path} is redirected")
            error = await _error(response, f"{method} {path}", timeout_s=self.timeout_s)
            if not isinstance(error, ApiThrottled) or attempt == THROTTLED_TRIES:
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
    ) -> aiohttp.ClientResponse:
        """One request; a second one if the server does not accept the credential and another one can be had.

        Both end within `timeout_s`, of a watch up to its first byte: a later answer could outlast a lease.
        """
        wanted = {key: value for key, value in (query or {}).items() if value not in (None, "")}
        text = f"{self.url}{quote(path, safe=_PATH)}{'?' if wanted else ''}{urlencode(wanted, quote_via=quote)}"
        url, limit = URL(text, encoded=True), timeout or aiohttp.ClientTimeout(total=self.timeout_s)
        ends_at = asyncio.get_running_loop().time() + self.timeout_s
        refused: Credential | None = None
        try:
            while True:
                credential = await self._credential(ends_at, refused)
                headers = self._access.headers(credential)
                headers.extend({"Accept": "application/json", "Content-Type": content_type})
                async with asyncio.timeout_at(ends_at if timeout is None else None):
                    answer = await self._client.call_api(method, url, headers, body, _request_timeout=limit)
                response: aiohttp.ClientResponse = answer.response
                if response.status != 401 or refused is not None or not self._access.renews:
                    return response
                response.release()
                refused = credential
        except TimeoutError:
            raise ClusterUnreachable(
                f"the API server at {self.url} did not answer within {self.timeout_s:g} s"
            ) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._not_reached(error) from None

    async def _credential(self, ends_at: float, refused: Credential | None) -> Credential:
        """The credential to use now. refused: the one that the server does not accept. Raises ClusterUnreachable."""
        try:
            async with asyncio.timeout_at(ends_at):
                return await self._access.credential(refused)
        except TimeoutError:
            raise ClusterUnreachable(
                f"the kubeconfig's exec plugin gave no credential within {self.timeout_s:g} s",
                next_step="Run the plugin by hand.",
            ) from None

    def _not_reached(self, error: Exception) -> ClusterUnreachable:
        """Why there is no answer. The error's own text is quoted redacted."""
        server, proxy = f"the API server at {self.url}", self._access.proxy
        through = f"the proxy {proxy.url} ({proxy.source})" if proxy else ""
        words = quoted(error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error)
        if isinstance(error, aiohttp.ClientHttpProxyError):
            answer = f"HTTP {error.status} {quoted(error.message, most=100)}".rstrip()
            login = "Correct its user and password" if error.status == 407 else "Allow connections to that server in it"
            exempt = ", or exempt the server ($NO_PROXY)" if proxy and proxy.source.startswith("$") else ""
            return ClusterUnreachable(
                f"{through} on the way to {server} answers {answer}", next_step=f"{login}{exempt}."
            )
        if isinstance(error, aiohttp.ClientProxyConnectionError):
            return ClusterUnreachable(f"{through} on the way to {server} cannot be reached: {words}")
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            inner = error.certificate_error
            words = quoted(getattr(inner, "verify_message", "") or inner)
            if proxy and proxy.url == f"https://{error.host}:{error.port}":
                return ClusterUnreachable(
                    f"the certificate of {through} is not trusted by the kubeconfig's authority: {words}"
                )
            return ClusterUnreachable(
                f"the certificate of {server} is not trusted: {words}",
                next_step="Get a fresh kubeconfig; if it is up to date, another server or a proxy answers there.",
            )
        by = f", asked through {through}," if through else ""
        return ClusterUnreachable(f"{server}{by} cannot be reached: {words or type(error).__name__}")

    def _no_api_server(self, why: str) -> ClusterUnreachable:
        return ClusterUnreachable(
            f"the server at {self.url} is no API server: {why}",
            next_step="Compare the server in the kubeconfig, and look for a proxy's login page.",
        )

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

        Raises ApiError (NotFound, Conflict, Gone, ApiThrottled) and ClusterUnreachable.
        """
        response = await self._send(method, path, query, body, content_type)
        text = await self._read(response)
        with suppress(ValueError):
            answer = orjson.loads(text)
            if isinstance(answer, dict):
                return answer
        raise self._no_api_server(f"{method} {path} gave no JSON object")

    async def text(self, path: str, *, query: Mapping[str, Any] | None = None) -> str:
        """A GET whose answer is text, such as a pod's log."""
        response = await self._send("GET", path, query, None, "application/json")
        return (await self._read(response)).decode("utf-8", "replace")

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        try:
            return await response.read()
        except TimeoutError:
            raise ClusterUnreachable(f"the API server at {self.url} stopped in the middle of its answer") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ClusterUnreachable(
                f"the answer of the API server at {self.url} was cut off: {quoted(error)}"
            ) from None

    async def server_time(self) -> datetime:
        """The API server's own clock, to the second: the Date header of `/version`."""
        response = await self._send("GET", "/version", None, None, "application/json")
        await self._read(response)
        try:
            return parsedate_to_datetime(response.headers.get("Date", "")).astimezone(UTC)
        except ValueError:
            raise ClusterUnreachable(
                f"the API server at {self.url} sends no Date header, so its time is unknown",
                next_step="Look for a proxy on the way to it.",
            ) from None

    async def list_all(self, path: str, *, query: Mapping[str, Any] | None = None) -> tuple[list[Json], str]:
        """All items of a list, page by page, and the list's resourceVersion to watch from.

        An expired continue token (410) starts the list anew, once.
        """
        return await self._listed(path, lambda item: item, query)

    async def list_rows(
        self, path: str, parse: Callable[[Json], T], *, query: Mapping[str, Any] | None = None
    ) -> list[T]:
        """All items of a list as rows: the JSON of a page is gone before the page after the next is asked for.

        parse: one that is `tasks.cluster.fields.total`, so that an odd object costs the others nothing
        """
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
                    items, metadata = page.get("items") or (), page["metadata"]
                    token = text_at(metadata, "continue") or None
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
        page = await self.request("GET", path, query={**(query or {}), "limit": PAGE_SIZE, "continue": token})
        if not isinstance(page.get("items"), list | None) or not text_at(page, "metadata", "resourceVersion"):
            raise self._no_api_server(f"GET {path} gave no list")
        return page

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
            async for line in response.content:
                event = orjson.loads(line)
                kind, item = text_at(event, "type"), at(event, "object")
                if not isinstance(item, dict):
                    return  # the next list has what this event was about
                if kind == "ERROR":
                    code = item.get("code")
                    raise api_error(code if isinstance(code, int) else 500, f"watch {path}", item)
                yield WatchEvent(kind, item)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return  # the connection broke, perhaps within an event: the next list has what was missed
        finally:
            response.close()

    async def changes(self, path: str, *, query: Mapping[str, Any] | None = None) -> AsyncIterator[list[Json]]:
        """The list as it is, and again after every change, whatever happens to the watch below.

        Never ends; put it under a deadline. A server that is unreachable, restarts or fails is asked again. Raises
        ApiError for an error that does not pass by itself, such as 403.
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


def _key(item: Json) -> tuple[str, str]:
    return text_at(item, "metadata", "namespace"), text_at(item, "metadata", "name")


async def _error(response: aiohttp.ClientResponse, what: str, *, timeout_s: float) -> ApiError:
    """The answer as an error. A body that is too long or too slow counts as none."""
    try:
        async with asyncio.timeout(timeout_s):
            body = orjson.loads(await _bounded(response))
    except (ValueError, aiohttp.ClientError, TimeoutError):
        response.close()
        body = None
    after = response.headers.get("Retry-After")
    retry_after_s = float(after) if after and after.isdecimal() and len(after) < 10 else None
    return api_error(response.status, what, body if isinstance(body, dict) else None, retry_after_s)


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """A whole body. Raises ValueError if it is longer than an API server's Status is."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _LONGEST_ERROR:
            raise ValueError(f"an error of more than {_LONGEST_ERROR} bytes")
    return bytes(body)


@asynccontextmanager
async def connect(cluster: Cluster, kubeconfig: Secret, *, timeout_s: float = 30.0) -> AsyncIterator[ClusterApi]:
    """A connection to a cluster by its kubeconfig.

    timeout_s: of one request, from connecting to the last byte
    Raises ClusterUnreachable when the kubeconfig is no kubeconfig.
    """
    access = await open_access(cluster, kubeconfig)
    client = ApiClient(Configuration(host=access.url))
    client.rest_client.pool_manager = _Session(access)
    async with client:
        yield ClusterApi(access, client, timeout_s=timeout_s)


class _Session:
    """The official client's HTTP session, with the proxy and TLS that the kubeconfig asks for, as in kubectl."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=_LONGEST_EVENT)

    async def request(self, **arguments: Any) -> aiohttp.ClientResponse:
        """One request."""
        return await self._session.request(**arguments, **self._access.way)

    async def close(self) -> None:
        """No more are sent."""
        await self._session.close()
