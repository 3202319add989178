"""The API server: HTTPS, authentication, authorization, dispatch, audit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp import web

from poolkeeper.deployments.lab.kubernetes import discovery, handlers, logs, reviews, statuses
from poolkeeper.deployments.lab.kubernetes.certificates import LabCA
from poolkeeper.deployments.lab.kubernetes.faults import Faults
from poolkeeper.deployments.lab.kubernetes.handlers import Call, json_response
from poolkeeper.deployments.lab.kubernetes.identity import User, authenticate
from poolkeeper.deployments.lab.kubernetes.rbac import Attributes, allowed, refusal
from poolkeeper.deployments.lab.kubernetes.requests import Target, parse_path, verb_of
from poolkeeper.deployments.lab.kubernetes.resources import Resource
from poolkeeper.deployments.lab.kubernetes.statuses import StatusError
from poolkeeper.deployments.lab.kubernetes.store import Store

Json = dict[str, Any]
Audit = Callable[[Json], None]

MUTATING = ("create", "update", "patch", "delete", "deletecollection")
_MAX_BODY_BYTES = 3 * 1024 * 1024
"""As kube-apiserver limits it."""
_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_READS_WITH_POST = ("authorization.k8s.io",)


class ApiServer:
    """A Kubernetes API server for one cluster, in memory.

    ca: signs its certificate, and the client certificates and kubelets that it accepts
    tokens: bearer tokens and whose they are; may be changed while it runs
    version: what `/version` answers as gitVersion
    audit: hears of each mutating request after it was answered
    faults: what it does wrong on purpose
    store: the objects to serve; a new, empty cluster if absent
    """

    def __init__(
        self,
        ca: LabCA,
        tokens: dict[str, User],
        *,
        version: str = "v1.36.3+lab",
        audit: Audit | None = None,
        faults: Faults | None = None,
        store: Store | None = None,
    ) -> None:
        self.tokens = tokens
        self.faults = faults or Faults()
        self.store = store or Store()
        self.version = version
        self.url = ""
        self.port = 0
        self._ca = ca
        self._audit = audit
        self._runner: web.AppRunner | None = None
        self._kubelets: aiohttp.ClientSession | None = None
        self._streams: set[asyncio.Task[Any]] = set()
        for name in _NAMESPACES:
            if self.store.find("namespaces", name) is None:
                self.store.create("namespaces", {"metadata": {"name": name}})

    async def start(self, address: str, port: int = 0) -> None:
        """Serve on an address; afterwards `url` and `port` say where. Port 0: any free one."""
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        tls = self._ca.server_context((address, "localhost", "kubernetes", "kubernetes.default.svc"))
        site = web.TCPSite(self._runner, address, port, ssl_context=tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.url = f"https://{address}:{self.port}"
        self._kubelets = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))

    async def stop(self) -> None:
        """End all watches and connections, and the server."""
        for stream in list(self._streams):
            stream.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._kubelets is not None:
            await self._kubelets.close()

    def away(self, away: bool) -> None:
        """Cut every connection, watches too, and any later one until it is told to be back."""
        self.faults.down = away
        for stream in list(self._streams) if away else ():
            stream.cancel()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        faults, path = self.faults, request.path
        if faults.down:
            return _cut(request)
        try:
            if faults.spend("throttled", request.method, path):
                return _throttled()
            if faults.spend("unavailable", request.method, path):
                raise statuses.unavailable("the server is currently unable to handle the request")
            lost = faults.spend("unanswered", request.method, path)
            response = await self._answer(request)
        except StatusError as error:
            return _error_response(error)
        return _cut(request) if lost else response

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        user = self._user(request)
        target = parse_path(request.path)
        if target is None:
            attributes = Attributes(request.method.lower(), path=request.path)
            self._authorize(user, attributes, None)
            return self._answer_path(request)
        verb = verb_of(request.method, target, request.query)
        attributes = target.attributes(verb, request.path, request.query.get("fieldSelector", ""))
        if target.group == "authorization.k8s.io":
            self._authorize(user, attributes, None)
            return await reviews.serve_review(request, self.store, user, target)
        resource = target.resource()
        self._authorize(user, attributes, resource)
        call = Call(request, target, resource, request.query, user)
        code = 500
        try:
            response = await self._dispatch(call, verb)
            code = response.status
        except StatusError as error:
            code = error.code
            raise
        finally:
            if verb in MUTATING and self._audit is not None:
                self._audit(_audit_event(call, verb, code))
        return response

    def _user(self, request: web.Request) -> User:
        certificate = request.get_extra_info("peercert")
        user = authenticate(request.headers.get("Authorization"), certificate, self.tokens)
        if user is None:
            raise statuses.unauthorized()
        return user

    def _authorize(self, user: User, asked: Attributes, resource: Resource | None) -> None:
        """Raises StatusError 403, for `system:anonymous` as for everybody."""
        if allowed(self.store, user, asked):
            return
        if resource is None:
            raise StatusError(403, "Forbidden", f"forbidden: {refusal(user, asked)}")
        raise statuses.forbidden(resource, asked.name, refusal(user, asked))

    def _answer_path(self, request: web.Request) -> web.StreamResponse:
        path = request.path.rstrip("/")
        parts = path.split("/")[1:]
        if path in ("/healthz", "/livez", "/readyz"):
            return web.Response(text="ok")
        body: Json | None = None
        if path == "/version":
            body = discovery.version_info(self.version)
        elif path == "/api":
            body = discovery.core_versions(self.url.removeprefix("https://"))
        elif path == "/apis":
            body = discovery.group_list()
        elif path == "/openapi/v3":
            body = discovery.openapi_index()
        elif parts[:2] == ["openapi", "v3"]:
            body = discovery.openapi_document(*_group_version(parts[2:]), self.version)
        elif len(parts) == 2 and parts[0] == "apis":
            body = discovery.one_group(parts[1])
        else:
            body = discovery.resource_list(*_group_version(parts))
        if body is None:
            return web.Response(status=404, text="404 page not found\n")
        return json_response(body)

    async def _dispatch(self, call: Call, verb: str) -> web.StreamResponse:
        target, resource, store = call.target, call.resource, self.store
        if target.subresource and target.subresource not in resource.subresources:
            raise statuses.not_implemented(f"the subresource {resource.qualified}/{target.subresource}")
        if target.subresource == "log":
            return await self._log(call)
        if verb in MUTATING and not resource.writable:
            raise statuses.not_implemented(f"anything that acts on {resource.qualified}, so it takes none")
        if verb == "watch":
            return await self._watch(call)
        if verb == "create":
            if not target.subresource and target.name:
                raise statuses.method_not_allowed()
            return await handlers.create(store, self.tokens, call)
        if verb in ("update", "patch") and not target.name:
            raise statuses.method_not_allowed()
        if resource.namespaced and not target.namespace and verb not in ("list", "watch"):
            raise statuses.method_not_allowed()
        verbs = {
            "get": handlers.get,
            "list": handlers.list_,
            "update": handlers.update,
            "patch": handlers.patch,
            "delete": handlers.delete,
            "deletecollection": handlers.delete_collection,
        }
        return await verbs[verb](store, call)

    async def _watch(self, call: Call) -> web.StreamResponse:
        with self._stream():
            return await handlers.watch(self.store, call)

    async def _log(self, call: Call) -> web.StreamResponse:
        assert self._kubelets is not None
        pod = self.store.get(call.resource, call.target.name, call.namespace)
        address = logs.log_address(self.store, pod, call.query.get("container", ""))
        tls = self._ca.client_context()
        with self._stream():
            return await logs.serve_log(call.request, self._kubelets, tls, address, call.query)

    def _stream(self) -> _Registered:
        return _Registered(self._streams)


class _Registered:
    """Keeps the current task in a set, so that stopping the server can end it."""

    def __init__(self, tasks: set[asyncio.Task[Any]]) -> None:
        self._tasks = tasks
        self._task = asyncio.current_task()

    def __enter__(self) -> None:
        if self._task is not None:
            self._tasks.add(self._task)

    def __exit__(self, *_: object) -> None:
        if self._task is not None:
            self._tasks.discard(self._task)


def _group_version(parts: list[str]) -> tuple[str, str]:
    if parts[:1] == ["api"] and len(parts) == 2:
        return "", parts[1]
    if parts[:1] == ["apis"] and len(parts) == 3:
        return parts[1], parts[2]
    return "", ""


def _cut(request: web.Request) -> web.StreamResponse:
    """End the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _throttled() -> web.Response:
    """As API priority and fairness refuses: no Status, so that only Retry-After tells when to come back."""
    return web.Response(status=429, text="Too many requests, please try again later.\n", headers={"Retry-After": "1"})


def _error_response(error: StatusError) -> web.Response:
    headers = {}
    if retry := error.details.get("retryAfterSeconds"):
        headers["Retry-After"] = str(retry)
    return json_response(error.body, error.code, headers)


def _audit_event(call: Call, verb: str, code: int) -> Json:
    target: Target = call.target
    sent = call.body.get("metadata", {}) if isinstance(call.body, dict) else {}
    return {
        "user": call.user.name,
        "groups": sorted(call.user.all_groups),
        "verb": verb,
        "group": target.group,
        "resource": target.plural,
        "subresource": target.subresource,
        "namespace": call.namespace,
        "name": target.name or sent.get("name", ""),
        "query": dict(call.query),
        "code": code,
        "object": call.body,
    }
