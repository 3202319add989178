"""ACK's OpenAPI (CS 2015-12-15) as far as poolkeeper speaks it, for the vendor's own SDK, and the join endpoint.

Requests must be signed. What is not here answers 501 with a code that names it, never a wrong success.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shlex
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from aiohttp import web

from poolkeeper.deployments.lab.ack_signature import SignatureRefused, verify
from poolkeeper.deployments.lab.billing import CLOUD_RESOURCES
from poolkeeper.deployments.lab.layout import ACK_PORT, CLUSTER_ID, POOLS, REGION, listening_socket
from poolkeeper.deployments.lab.tokens import JoinTokens, TokenRefused

Json = dict[str, Any]
JOIN_PATH = "/edge/join"

_ROUTES = (
    ("GET", "/clusters/{cluster}", "DescribeClusterDetail"),
    ("GET", "/clusters/{cluster}/resources", "DescribeClusterResources"),
    ("GET", "/clusters/{cluster}/nodepools", "DescribeClusterNodePools"),
    ("GET", "/clusters/{cluster}/nodepools/{pool}", "DescribeClusterNodePoolDetail"),
    ("POST", "/clusters/{cluster}/attachscript", "DescribeClusterAttachScripts"),
    ("GET", "/clusters/{cluster}/nodes", "DescribeClusterNodes"),
    ("POST", "/clusters/{cluster}/nodes", "DeleteClusterNodes"),
    ("DELETE", "/clusters/{cluster}/nodepools/{pool}/nodes", "RemoveNodePoolNodes"),
    ("POST", "/clusters/{cluster}/nodepools/{pool}/upgrade", "UpgradeClusterNodepool"),
    ("GET", "/tasks/{task}", "DescribeTaskInfo"),
    ("GET", "/k8s/{cluster}/user_config", "DescribeClusterUserKubeconfig"),
)


class JoinRefused(Exception):
    """The cluster does not take this host; `code` is what the joiner prints."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Control(Protocol):
    """What the OpenAPI knows of the cluster behind it."""

    def details(self) -> Json:
        """Versions, ranges and addresses of the cluster."""

    def nodes(self) -> list[Json]:
        """Every Node object."""

    def remove_node(self, name: str) -> bool:
        """Delete a Node; False if there is none."""

    async def upgrade_node(self, name: str, version: str) -> str:
        """Upgrade a Node's host to a version (`1.36.3`); why it failed, empty when it did not."""

    def admit(self, node_name: str, machine_id: str, pool_id: str) -> Json:
        """A kubelet's credential and settings. Raises JoinRefused."""

    def admin_kubeconfig(self) -> str:
        """For DescribeClusterUserKubeconfig."""


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class AckOpenApi:
    """The server. `key_id` and `secret` are the key pair that requests must be signed with."""

    def __init__(
        self, control: Control, key_id: str, secret: str, tokens: JoinTokens, created_at: datetime | None = None
    ) -> None:
        """created_at: when the cluster was created; None: now"""
        self._control, self._key_id, self._secret, self._tokens = control, key_id, secret, tokens
        self._tasks: dict[str, Json] = {}
        self._upgrading: dict[asyncio.Task[None], str] = {}
        """What runs, by the node pool it runs in."""
        self._created = _iso(created_at or datetime.now(UTC))
        self._runner: web.AppRunner | None = None
        self.endpoint = ""
        """`host:port`, once started."""

    async def start(self, address: str) -> None:
        """Serve plain HTTP on an address."""
        app = web.Application()
        app.router.add_post(JOIN_PATH, self._join)
        for method, path, action in _ROUTES:
            app.router.add_route(method, path, self._signed(getattr(self, f"_{_snake(action)}")))
        app.router.add_route("*", "/{path:.*}", self._signed(self._missing))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        sock = listening_socket(address, ACK_PORT)
        self.endpoint = f"{address}:{sock.getsockname()[1]}"
        await web.SockSite(self._runner, sock).start()

    async def stop(self) -> None:
        """End the server."""
        for task in self._upgrading:
            task.cancel()
        await asyncio.gather(*self._upgrading, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    def _signed(
        self, handler: Callable[[web.Request, Mapping[str, str]], Awaitable[Any]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def serve(request: web.Request) -> web.Response:
            request_id = secrets.token_hex(16).upper()
            try:
                body = await request.read()
                verify(
                    request.method, request.rel_url.raw_path, request.query, request.headers, body,
                    self._key_id, self._secret,
                )  # fmt: skip
                cluster = request.match_info.get("cluster", CLUSTER_ID)
                if cluster != CLUSTER_ID:
                    raise _Refused(404, "ErrorClusterNotFound", f"Cluster {cluster} not found.")
                answer = await handler(request, request.match_info)
            except SignatureRefused as error:
                return _error(403, error.code, str(error), request_id)
            except _Refused as error:
                return _error(error.status, error.code, str(error), request_id)
            if isinstance(answer, str):
                return web.Response(text=answer)
            return web.json_response(answer, headers={"x-acs-request-id": request_id})

        return serve

    async def _missing(self, request: web.Request, _: Mapping[str, str]) -> Json:
        action = request.headers.get("x-acs-action", f"{request.method} {request.path}")
        raise _Refused(501, f"NotInTheLab.{action}", f"The practice world does not have {action}.")

    async def _describe_cluster_detail(self, request: web.Request, _: Mapping[str, str]) -> Json:
        return {
            "cluster_id": CLUSTER_ID,
            "name": "poolkeeper-lab",
            "state": "running",
            "cluster_type": "ManagedKubernetes",
            "cluster_spec": "ack.pro.small",
            "profile": "Default",
            "region_id": REGION,
            "size": len(self._control.nodes()),
            "created": self._created,
            "updated": self._created,
            "deletion_protection": False,
            **self._control.details(),
        }

    def _pool(self, pool_id: str) -> Json:
        names = {id: name for name, id in POOLS.items()}
        if pool_id not in names:
            raise _Refused(404, "ErrorNodePoolNotFound", f"Node pool {pool_id} not found.")
        nodes = [node for node in self._control.nodes() if _pool_of(node) == pool_id]
        ready = sum(_is_ready(node) for node in nodes)
        state = "upgrading" if pool_id in self._upgrading.values() else "active"
        return {
            "nodepool_info": {
                "nodepool_id": pool_id, "name": names[pool_id], "type": "hybrid", "region_id": REGION,
                "is_default": False, "created": self._created, "updated": self._created,
            },
            "status": {
                "state": state, "total_nodes": len(nodes), "serving_nodes": len(nodes), "healthy_nodes": ready,
                "offline_nodes": len(nodes) - ready, "failed_nodes": 0, "initial_nodes": 0, "removing_nodes": 0,
            },
            "kubernetes_config": {
                "runtime": "containerd", "runtime_version": "1.6.20",
                "taints": [{"key": "nodepool-type", "value": "hybridcloud", "effect": "NoSchedule"}],
            },
            "auto_scaling": {"enable": False},
            "management": {"enable": False},
        }  # fmt: skip

    async def _describe_cluster_resources(self, request: web.Request, _: Mapping[str, str]) -> list[Json]:
        with_addons = request.query.get("with_addon_resources", "").lower() == "true"
        return [
            {
                "cluster_id": CLUSTER_ID, "instance_id": one.instance_id, "resource_type": one.resource_type,
                "resource_info": "", "state": "CREATE_COMPLETE", "created": self._created, "auto_create": 1,
                "dependencies": None, "creator_type": one.creator,
                **({"associated_object": dict(one.serves)} if one.serves else {}),
            }
            for one in CLOUD_RESOURCES
            if with_addons or one.creator != "addon"
        ]  # fmt: skip

    async def _describe_cluster_node_pools(self, request: web.Request, _: Mapping[str, str]) -> Json:
        wanted = request.query.get("NodepoolName")
        return {"nodepools": [self._pool(id) for name, id in POOLS.items() if wanted in (None, "", name)]}

    async def _describe_cluster_node_pool_detail(self, request: web.Request, names: Mapping[str, str]) -> Json:
        return self._pool(names["pool"])

    async def _describe_cluster_attach_scripts(self, request: web.Request, _: Mapping[str, str]) -> str:
        body = await _object(request)
        pool_id = body.get("nodepool_id")
        if not pool_id:
            raise _Refused(400, "InvalidParam.NodepoolId", "nodepool_id is required: the lab has no default pool.")
        self._pool(pool_id)
        arch = body.get("arch") or "amd64"
        if arch not in ("amd64", "arm", "arm64"):
            raise _Refused(400, "InvalidParam.Arch", f"arch {arch} is none of amd64, arm, arm64.")
        token = self._tokens.issue(pool_id, body.get("expired"), once=bool(body.get("one_time_token")))
        spec = shlex.quote(json.dumps({"quiet": True, "manageRuntime": True, "nodeNameOverride": ""}))
        return f"edgeadm join --openapi-token={token} --region={REGION} --arch={arch} --node-spec={spec}"

    async def _describe_cluster_nodes(self, request: web.Request, _: Mapping[str, str]) -> Json:
        query = request.query
        page, size = int(query.get("pageNumber", "1")), int(query.get("pageSize", "10"))
        if not 1 <= size <= 100:
            raise _Refused(400, "InvalidParam.PageSize", "pageSize must be between 1 and 100.")
        wanted = query.get("nodepool_id")
        names = _strings(query.get("nodeNames", ""))
        nodes = [n for n in self._control.nodes() if not wanted or _pool_of(n) == wanted]
        nodes = [n for n in nodes if not names or n["metadata"]["name"] in names]
        shown = nodes[(page - 1) * size : page * size]
        return {
            "nodes": [_node(node) for node in shown],
            "page": {"page_number": page, "page_size": size, "total_count": len(nodes)},
        }

    async def _delete_cluster_nodes(self, request: web.Request, _: Mapping[str, str]) -> Json:
        body = await _object(request)
        _only_plain_removal(body)
        return {"cluster_id": CLUSTER_ID, **self._remove(body.get("nodes") or [], "remove_nodes")}

    async def _remove_node_pool_nodes(self, request: web.Request, names: Mapping[str, str]) -> Json:
        self._pool(names["pool"])
        _only_plain_removal(request.query)
        ids = _strings(request.query.get("instance_ids", "")) + _strings(request.query.get("nodes", ""))
        return self._remove(ids, "remove_nodepool_nodes")

    async def _upgrade_cluster_nodepool(self, request: web.Request, names: Mapping[str, str]) -> Json:
        """Whether the real one takes hybrid pools is not documented; this one does, one task a pool."""
        body, pool_id = await _object(request), names["pool"]
        self._pool(pool_id)
        version, served = str(body.get("kubernetes_version", "")), str(self._control.details()["current_version"])
        if body.get("use_replace") or body.get("image_id"):
            raise _Refused(400, "NotSupported.use_replace", "disks of nodes outside of ECS cannot be replaced.")
        if version.partition("-")[0] != served.partition("-")[0]:
            raise _Refused(400, "InvalidKubernetesVersion", f"{version} is not the cluster's version {served}.")
        known = {node["metadata"]["name"] for node in self._control.nodes() if _pool_of(node) == pool_id}
        chosen = [str(name) for name in body.get("node_names") or sorted(known)]
        if unknown := set(chosen) - known:
            raise _Refused(400, "InvalidParam.NodeNames", f"{', '.join(sorted(unknown))} is not in pool {pool_id}.")
        if pool_id in self._upgrading.values():
            raise _Refused(400, "ErrorNodePoolState", f"Node pool {pool_id} is upgrading.")
        task = self._new_task("nodepool_upgrade", [{"data": name, "status": "initial"} for name in chosen])
        running = asyncio.create_task(self._upgrade(task, version.partition("-")[0]))
        self._upgrading[running] = pool_id
        running.add_done_callback(self._upgrading.pop)
        return {"request_id": secrets.token_hex(16).upper(), "task_id": task["task_id"]}

    async def _upgrade(self, task: Json, version: str) -> None:
        """One node after the other; the first failure ends it, as `max_failed_nodes: 0` has it."""
        for result in task["task_result"]:
            why = await self._control.upgrade_node(result["data"], version)
            result["status"], task["updated"] = "failed" if why else "success", _iso(datetime.now(UTC))
            if why:
                task |= {"state": "fail", "error": {"code": "NodeUpgradeFailed", "message": f"{result['data']}: {why}"}}
                return
        task["state"] = "success"

    def _new_task(self, kind: str, results: list[Json]) -> Json:
        task_id, now = f"T-{secrets.token_hex(12)}", _iso(datetime.now(UTC))
        self._tasks[task_id] = {
            "task_id": task_id, "cluster_id": CLUSTER_ID, "task_type": kind, "created": now, "updated": now,
            "state": "running", "task_result": results, "stages": [], "events": [],
        }  # fmt: skip
        return self._tasks[task_id]

    def _remove(self, names: list[str], kind: str) -> Json:
        """Take Nodes out of the cluster; an on-prem node's instance id is its name here."""
        if not names:
            raise _Refused(400, "InvalidParam.Nodes", "no node is named.")
        results = [
            {"data": name, "status": "success" if self._control.remove_node(name) else "failed"} for name in names
        ]
        task = self._new_task(kind, results)
        failed = any(result["status"] == "failed" for result in results)
        task["state"] = "fail" if failed else "success"
        if failed:
            task["error"] = {"code": "NodeNotFound", "message": "a node is not in the cluster"}
        return {"request_id": secrets.token_hex(16).upper(), "task_id": task["task_id"]}

    async def _describe_task_info(self, request: web.Request, names: Mapping[str, str]) -> Json:
        task = self._tasks.get(names["task"])
        if task is None:
            raise _Refused(404, "ErrorTaskNotFound", f"Task {names['task']} not found.")
        return task

    async def _describe_cluster_user_kubeconfig(self, request: web.Request, _: Mapping[str, str]) -> Json:
        return {"config": self._control.admin_kubeconfig(), "expiration": "2099-01-01T00:00:00Z"}

    async def _join(self, request: web.Request) -> web.Response:
        """The joiner's exchange of its token; the token is the only credential."""
        body = await request.json()
        try:
            pool_id = self._tokens.redeem(str(body.get("token")), float(body.get("now", 0)))
            answer = self._control.admit(str(body["node_name"]), str(body["machine_id"]), pool_id)
        except TokenRefused as error:
            return web.json_response({"code": "TOKEN_EXPIRED", "message": str(error)}, status=401)
        except JoinRefused as error:
            return web.json_response({"code": error.code, "message": str(error)}, status=409)
        return web.json_response(answer)


def _snake(action: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in action).lstrip("_")


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")


def _error(status: int, code: str, message: str, request_id: str) -> web.Response:
    body = {"code": code, "message": message, "requestId": request_id, "status": status}
    return web.json_response(body, status=status, headers={"x-acs-request-id": request_id})


async def _object(request: web.Request) -> Json:
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _Refused(400, "InvalidBody", "the body is not a JSON object.")
    return body


def _strings(text: str) -> list[str]:
    """A list in a query: JSON as the SDK sends it, else words between commas."""
    if not text:
        return []
    return [str(word) for word in json.loads(text)] if text.startswith("[") else text.split(",")


def _only_plain_removal(given: Mapping[str, Any]) -> None:
    for name in ("drain_node", "release_node"):
        if str(given.get(name, False)).lower() == "true":
            raise _Refused(400, f"NotSupported.{name}", f"{name} is not possible for nodes outside of ECS.")


def _pool_of(node: Json) -> str:
    return str((node["metadata"].get("labels") or {}).get("alibabacloud.com/nodepool-id", ""))


def _is_ready(node: Json) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _node(node: Json) -> Json:
    metadata, status = node["metadata"], node.get("status") or {}
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
    words = {"True": "Ready", "False": "NotReady"}
    return {
        "node_name": metadata["name"],
        "instance_id": metadata["name"],
        "nodepool_id": _pool_of(node),
        "state": "running",
        "node_status": words.get(conditions.get("Ready", ""), "Unknown"),
        "is_aliyun_node": not _pool_of(node),
        "ip_address": [a["address"] for a in status.get("addresses") or () if a["type"] == "InternalIP"],
        "creation_time": metadata.get("creationTimestamp", ""),
    }
