"""The Kubernetes API as raw JSON, over the official client's asyncio half.

Lists are read page by page and never turned into generated models (they cost ten times the memory).
Every call has a deadline. Errors keep the Status that the server sent, cut short.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import yaml
from kubernetes.aio import client, config

from tasks.fleet.model import Cluster
from tasks.outcomes import Secret

Json = dict[str, Any]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"

PAGE_SIZE = 500


class ClusterUnreachable(Exception):
    """The API server could not be asked: no answer, no connection, or a kubeconfig that does not work."""


class ApiError(Exception):
    """The API server answered with an error."""

    def __init__(self, status: int, what: str, body: Json | None, retry_after_s: float | None) -> None:
        body = body if body and body.get("kind") == "Status" else {}
        self.status = status
        self.reason: str = body.get("reason", "")
        self.message: str = str(body.get("message", ""))[:500]
        self.causes: tuple[str, ...] = tuple(
            cause.get("reason", "") for cause in (body.get("details") or {}).get("causes") or ()
        )
        self.retry_after_s = retry_after_s
        super().__init__(f"{what}: HTTP {status} {self.reason} {self.message}".rstrip())


class NotFound(ApiError):
    """404: there is no such object."""


class Conflict(ApiError):
    """409: it exists already, or has changed since it was read."""


class Gone(ApiError):
    """410: a watch or a list must start anew."""


_ERRORS = {404: NotFound, 409: Conflict, 410: Gone}


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
        timeout: Any,
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
            response = await self._client.call_api(method, url, headers, body, _request_timeout=timeout)
        except TimeoutError:
            raise ClusterUnreachable(f"the API server at {self.url} did not answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ClusterUnreachable(f"the API server at {self.url} cannot be reached: {error}") from None
        if response.status >= 400:
            raise await _error(response, f"{method} {path}")
        return response

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

        Raises ApiError (NotFound, Conflict, Gone) and ClusterUnreachable.
        """
        response = await self._send(method, path, query, body, content_type, self.timeout_s)
        answer: Json = json.loads(await self._read(response))
        return answer

    async def text(self, path: str, *, query: Mapping[str, Any] | None = None) -> str:
        """A GET whose answer is text, such as a pod's log."""
        response = await self._send("GET", path, query, None, "application/json", self.timeout_s)
        return (await self._read(response)).decode("utf-8", "replace")

    async def _read(self, response: Any) -> bytes:
        try:
            answer: bytes = await response.read()
        except TimeoutError:
            raise ClusterUnreachable(f"the API server at {self.url} stopped in mid-answer") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ClusterUnreachable(f"the API server at {self.url} broke off: {error}") from None
        return answer

    async def server_time(self) -> datetime:
        """The API server's own clock, to the second: the Date header of `/version`."""
        response = await self._send("GET", "/version", None, None, "application/json", self.timeout_s)
        await self._read(response)
        return parsedate_to_datetime(response.getheader("Date")).astimezone(UTC)

    async def list_all(self, path: str, *, query: Mapping[str, Any] | None = None) -> tuple[list[Json], str]:
        """All items of a list, page by page, and the list's resourceVersion to watch from.

        An expired continue token (410) starts the list anew, once.
        """
        for attempt in (1, 2):
            items: list[Json] = []
            token: str | None = None
            try:
                while True:
                    page = await self.request(
                        "GET", path, query={**(query or {}), "limit": PAGE_SIZE, "continue": token}
                    )
                    items += page["items"]
                    token = page["metadata"].get("continue")
                    if not token:
                        return items, page["metadata"]["resourceVersion"]
            except Gone:
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")

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
                    raise _ERRORS.get(status.get("code"), ApiError)(
                        status.get("code", 500), f"watch {path}", status, None
                    )
                yield WatchEvent(event["type"], event["object"])
        except (aiohttp.ClientError, TimeoutError, OSError):
            return
        finally:
            response.response.close()

    async def changes(self, path: str, *, query: Mapping[str, Any] | None = None) -> AsyncIterator[list[Json]]:
        """The list as it is, and again after every change, whatever happens to the watch below.

        Ends never; put it under a deadline. A server that is away is asked again every second.
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
            except Gone:
                continue
            except ClusterUnreachable:
                await asyncio.sleep(1)


def _key(item: Json) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


async def _error(response: Any, what: str) -> ApiError:
    try:
        body = json.loads(await response.read())
    except (ValueError, aiohttp.ClientError, TimeoutError):
        body = None
    after = response.getheader("Retry-After")
    retry_after_s = float(after) if after and after.isdigit() else None
    kind = _ERRORS.get(response.status, ApiError)
    return kind(response.status, what, body, retry_after_s)


@asynccontextmanager
async def connect(cluster: Cluster, kubeconfig: Secret) -> AsyncIterator[ClusterApi]:
    """A connection to a cluster by its kubeconfig; relative paths in it start at the kubeconfig's folder.

    Raises ClusterUnreachable when the kubeconfig is no kubeconfig.
    """
    settings = client.Configuration()
    try:
        await config.load_kube_config_from_dict(
            _absolute(yaml.safe_load(kubeconfig.reveal()), cluster),
            context=cluster.context,
            client_configuration=settings,
        )
        settings.retries = None
        api_client = client.ApiClient(settings)
    except (config.ConfigException, yaml.YAMLError, TypeError, AttributeError, OSError) as error:
        raise ClusterUnreachable(
            f"the kubeconfig of cluster {cluster.name} cannot be used: {type(error).__name__}"
        ) from None
    async with api_client:
        yield ClusterApi(api_client)


_PATHS = {"cluster": ("certificate-authority",), "user": ("client-certificate", "client-key", "tokenFile")}


def _absolute(kubeconfig: Json, cluster: Cluster) -> Json:
    """The kubeconfig with its relative file names made absolute, as kubectl reads them."""
    if cluster.kubeconfig.file is None:
        return kubeconfig
    folder = cluster.kubeconfig.file.parent
    for kind, names in _PATHS.items():
        for entry in kubeconfig.get(f"{kind}s") or ():
            for name in names:
                if entry[kind].get(name):
                    entry[kind][name] = str(folder / entry[kind][name])
    return kubeconfig
