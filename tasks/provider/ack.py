"""ACK managed clusters through their OpenAPI (CS 2015-12-15).

Whatever the vendor does not document for hybrid pools is declared in the fleet file or read at run time, never assumed.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote

from poolkeeper.tasks.fleet.model import AckProvider, Cluster, Host, Pool, SecretRef
from poolkeeper.tasks.fleet.versions import numbers, same_version
from poolkeeper.tasks.outcomes import Checked, Evidence, Finding, Secret, Severity, Subject, Verdict, quoted
from poolkeeper.tasks.provider.interface import OutcomeUnknown, ProviderError
from poolkeeper.tasks.provider.sdk import Api, Connection, JsonObject
from poolkeeper.tasks.provider.upgrading import ByCall, HandOff, OnHost, UpgradeRule, Way

JOIN_TOKEN_S = 3600
"""Life of a join token; ACK Edge's default is the same hour."""

POLL_S = 5.0
"""Between two readings of a pool or a task, which send no events."""
FAILED_STATES = ("failed", "deleting", "deleted_failed")
UPGRADE_RULE = UpgradeRule(
    2,
    one_minor_steps=True,
    source="https://help.aliyun.com/zh/ack/ack-edge/user-guide/upgrade-ack-edge-cluster, for ACK Edge pools",
    # https://www.alibabacloud.com/help/en/ack/ack-managed-and-ack-dedicated/user-guide/node-pool-updates
    min_disk_free_share=0.2,
)
HAND_OFF = """\
Upgrade node %(node)s (host %(host)s) to Kubernetes %(version)s now; it is drained. Follow the vendor's steps for \
hybrid nodes (they are not published: see its console, or ask its support). For ACK Edge nodes they are published: on \
the host as root, `edgeadm upgrade --interconnect-mode=private --region=%(region)s`, with the edgeadm of version \
%(version)s, which ends with "This node has been upgraded successfully" \
(https://help.aliyun.com/zh/ack/ack-edge/user-guide/upgrade-ack-edge-cluster). poolkeeper continues by itself when \
the Node reports its new version."""
"""What a person does. %(version)s is such as `1.36.3`; %(region)s is the cluster's."""

API = Api(
    name="ACK",
    version="2015-12-15",
    style="ROA",
    request_type="json",
    next_steps={
        401: "Renew the access key that the fleet file names.",
        403: "Give the RAM user this action, or ask the account manager whether hybrid pools are allow-listed.",
        404: "Compare cluster_id and nodepool_id in the fleet file with the console.",
    },
    if_failing="Start again; if it happens again, look at ACK's status page.",
)


RESET = """\
R=${POOLKEEPER_ROOT-}
mounts=$R/proc/self/mounts
[ -r "$mounts" ] || mounts=$R/proc/mounts
if [ ! -r "$mounts" ]; then echo 'the mounts cannot be read, so nothing is removed' >&2; exit 1; fi
if [ -d "$R/var/lib/kubelet" ]; then
  # its path after following links, as the list of mounts has it
  top=$(cd -P -- "${R:-/}" && pwd -P) && at=$(cd -P -- "$R/var/lib/kubelet" && pwd -P) || exit 1
  at=${at#"${top%%/}"} held=
  while read -r _ point kind _; do
    case $point in "$at"/*) ;; *) continue;; esac
    # tmpfs holds tokens and the like of pods; any other mount may be data: a volume, or a folder of the host
    case $kind in tmpfs) ;; *) held="$held $point";; esac
  done < "$mounts"
  if [ -n "$held" ]; then
    echo "the reset was not started: it might delete what is mounted below /var/lib/kubelet:$held" >&2; exit 1
  fi
fi
%s
"""
"""The vendor's reset. Whether it unmounts before it deletes is not documented; another vendor's did not, and deleted a
host's files (https://github.com/aws/eks-hybrid/issues/664)."""


class Ack:
    """One ACK cluster's OpenAPI."""

    def __init__(
        self,
        cluster: Cluster,
        settings: AckProvider,
        secret: Callable[[SecretRef], Secret],
        *,
        timeout_s: float = 30.0,
        poll_s: float = POLL_S,
    ) -> None:
        """Raises SecretMissing.

        timeout_s: of one request, from connecting to the last byte
        poll_s: between two readings of a pool or a task
        """
        # it takes over a second to import, so only runs that call ACK do
        from alibabacloud_cs20151215.client import Client

        self._connection = Connection(
            API,
            Client,
            (settings.access_key_id, settings.access_key_secret),
            secret,
            region=settings.region,
            endpoint=settings.endpoint,
            protocol=settings.protocol,
            timeout_s=timeout_s,
        )
        self._cluster = cluster
        self._settings = settings
        self._poll_s = poll_s
        self._calls: dict[str, asyncio.Lock] = {}
        """By node pool: this run makes one call at a time in each."""

    @property
    def _path(self) -> str:
        return f"/clusters/{quote(self._settings.cluster_id, safe='')}"

    async def cluster_detail(self) -> JsonObject:
        """The answer of DescribeClusterDetail. Raises ProviderError."""
        return await self._connection.read("DescribeClusterDetail", "GET", self._path)

    async def cluster_resources(self) -> tuple[JsonObject, ...]:
        """The answer of DescribeClusterResources, with resources made by add-ons. Raises ProviderError."""
        action = "DescribeClusterResources"
        answer = await self._connection.call(
            action, "GET", f"{self._path}/resources", query={"with_addon_resources": "true"}
        )
        if not isinstance(answer, list) or not all(isinstance(one, dict) for one in answer):
            raise self._connection.malformed(action, "JSON list of objects")
        return tuple(answer)

    async def check_pool(self, pool: Pool) -> tuple[Checked, ...]:
        """Whether the cluster is running, and the pool is active and hybrid. Raises ProviderError."""
        cluster = await self.cluster_detail()
        path = f"{self._path}/nodepools/{quote(pool.nodepool_id, safe='')}"
        found = await self._connection.read("DescribeClusterNodePoolDetail", "GET", path)
        pool_state = (found.get("status") or {}).get("state", "")
        pool_type = (found.get("nodepool_info") or {}).get("type", "")
        here = Subject("pool", pool.name)
        return (
            _expect(
                "provider.cluster.state",
                Subject("cluster", pool.cluster.name),
                cluster.get("state", ""),
                "running",
                "Wait until ACK has finished what it does to the cluster, then start again.",
            ),
            _expect(
                "provider.pool.state",
                here,
                pool_state,
                "active",
                "Wait until ACK has finished what it does to the node pool, then start again.",
            ),
            _expect(
                "provider.pool.type",
                here,
                pool_type,
                "hybrid",
                "Put the id of a hybrid node pool into nodepool_id.",
            ),
        )

    async def join_script(self, host: Host, arch: str) -> Secret:
        """The pool's attach command for one architecture, valid for an hour."""
        script = await self._connection.call(
            "DescribeClusterAttachScripts",
            "POST",
            f"{self._path}/attachscript",
            body={
                "nodepool_id": host.pool.nodepool_id,  # without it the host lands in the default pool
                "arch": arch,
                "expired": int(time.time()) + JOIN_TOKEN_S,
            },
            body_type="string",
        )
        script = script.removeprefix("\ufeff") if isinstance(script, str) else ""
        if not script.strip():
            raise ProviderError("ACK's attach script is empty", next_step="Start again; if it happens again, ask ACK.")
        if script.lstrip()[0] in "<{[":
            # a host would run it as root, and a login page or an error object must not run
            raise ProviderError(
                "the answer in place of the attach script is not a shell command", next_step=OutcomeUnknown.next_step
            )
        return Secret(script)

    async def join_ended(self, host: Host) -> None:
        """Nothing: ACK has no call that revokes a join token; it expires."""

    def leave_script(self, host: Host) -> Secret:
        """The reset command of the fleet file, after a check of what is mounted."""
        return Secret(RESET % self._settings.reset_command)

    async def lists_node(self, host: Host) -> bool:
        """Whether ACK lists the node; never where the fleet file has `removal: none`. Raises ProviderError."""
        return self._settings.removal != "none" and await self._listed(host) is not None

    async def _listed(self, host: Host) -> JsonObject | None:
        """A node's row of DescribeClusterNodes, None without one. Raises ProviderError."""
        action = "DescribeClusterNodes"
        query = {"nodeNames": json.dumps([host.node_name]), "pageSize": "100"}
        found = await self._connection.read(action, "GET", f"{self._path}/nodes", query=query)
        nodes = found.get("nodes")
        if not isinstance(nodes, list):
            raise self._connection.malformed(action, "list of nodes")
        # a filter that ACK ignores would return other nodes
        return next((row for row in nodes if row.get("node_name") == host.node_name), None)

    async def remove_node(self, host: Host) -> str:
        """The call that the fleet file names (`removal`), followed to the end of its task. Raises ProviderError.

        Never with `drain_node` (poolkeeper drains by its own rules) nor `release_node` (the machine is not ECS's). A
        removal that an earlier run has started is waited for and not called again.
        """
        async with self._calls.setdefault(host.pool.nodepool_id, asyncio.Lock()):
            row = await self._listed(host)
            while row is not None and row.get("state") == "removing":
                await asyncio.sleep(self._poll_s)
                row = await self._listed(host)
            if row is None or self._settings.removal == "none":
                return ""
            action, method, path, query, body = removal_call(self._settings.removal, self._path, host, row)
            answer = await self._connection.call(action, method, path, query=query, body=body)
            task = str(answer.get("task_id") or "") if isinstance(answer, dict) else ""
            if not task:
                raise self._connection.malformed(action, "task_id")
            return await self._task_ended(task)

    @property
    def upgrade_rule(self) -> UpgradeRule:
        """The vendor's strictest rule: it is documented for ACK Edge pools, not for hybrid ones."""
        return UPGRADE_RULE

    @property
    def upgrades_one_by_one(self) -> bool:
        """True for upgrades by a call: ACK upgrades one node of a pool at a time."""
        return self._settings.upgrade == "call"

    @property
    def upgrade_packages(self) -> tuple[str, ...]:
        """None: the vendor's tool installs its own programs."""
        return ()

    async def newest_patch(self, minor: str) -> str | None:
        """The cluster's own version, the only one that nodes are upgraded to. Raises ProviderError."""
        served = await self._served()
        if not same_version(served, minor):
            raise ProviderError(
                f"the cluster has {served or 'no known version'}, not {minor}, and ACK does not report the newest patch"
                " of another minor",
                next_step="Write a whole version, such as 1.35.4, or choose the cluster's.",
            )
        return ".".join(map(str, numbers(served)))

    def upgrade_way(self, host: Host, version: str, packages: Mapping[str, str]) -> Way:
        """What the fleet file declares (`upgrade`)."""
        version = version.removeprefix("v")
        match self._settings.upgrade:
            case "call":
                return ByCall(lambda done: self._upgrade_node(host, version, done), lambda: self._refuses(version))
            case "command":
                command = (self._settings.upgrade_command or "false").replace("{version}", shlex.quote(version))
                return OnHost(Secret(command, secret_words=()))
            case _:
                here = {"host": host.name, "node": host.node_name, "region": self._settings.region}
                return HandOff(HAND_OFF % {**here, "version": version})

    async def _served(self) -> str:
        return str((await self.cluster_detail()).get("current_version", ""))

    async def _refuses(self, version: str) -> str:
        """Why nodes cannot have that version: ACK upgrades them only to the cluster's own."""
        served = await self._served()
        return "" if same_version(served, version) else f"the cluster has {served or 'no known version'}"

    async def _upgrade_node(self, host: Host, version: str, done: Callable[[], Awaitable[bool]]) -> str:
        """UpgradeClusterNodepool for one node, to the end of its task. Raises ProviderError.

        An upgrade that an earlier run has started is waited for and not called again. Only that run knew its task, so
        the pool's state is waited for.
        """
        path = f"{self._path}/nodepools/{quote(host.pool.nodepool_id, safe='')}"
        async with self._calls.setdefault(host.pool.nodepool_id, asyncio.Lock()):
            while (state := await self._pool_state(path)) != "active":
                if state in FAILED_STATES:
                    return f"the node pool is {state}"
                await asyncio.sleep(self._poll_s)
            if await done():
                return ""
            served = await self._served()
            answer = await self._connection.call(
                "UpgradeClusterNodepool",
                "POST",
                f"{path}/upgrade",
                body={
                    # ACK's own version has a build after the patch
                    "kubernetes_version": served if same_version(served, version) else version,
                    "node_names": [host.node_name],
                    "rolling_policy": {"max_parallelism": 1},
                },
            )
            task = str(answer.get("task_id") or "") if isinstance(answer, dict) else ""
            if not task:
                raise self._connection.malformed("UpgradeClusterNodepool", "task_id")
            return await self._task_ended(task)

    async def _pool_state(self, path: str) -> str:
        found = await self._connection.read("DescribeClusterNodePoolDetail", "GET", path)
        return str((found.get("status") or {}).get("state", ""))

    async def _task_ended(self, task: str) -> str:
        """Why a task failed; empty: it succeeded. Has no deadline of its own.

        Undocumented states and an API that does not answer are waited out, because the task continues.
        """
        while True:
            try:
                found = await self._connection.read("DescribeTaskInfo", "GET", f"/tasks/{quote(task, safe='')}")
            except OutcomeUnknown:
                found = {}
            state, error = str(found.get("state", "")), found.get("error") or {}
            if state == "success":
                return ""
            if state in ("fail", "failed", "canceled", "cancelled"):
                words = quoted(f"{error.get('code', '')} {error.get('message', '')}")
                return f"task {task} ended as {state}: {words or 'no reason given'}"
            await asyncio.sleep(self._poll_s)


def removal_call(
    removal: str, cluster_path: str, host: Host, row: JsonObject
) -> tuple[str, str, str, dict[str, str] | None, JsonObject | None]:
    """The call by which a node leaves: action, method, path, query and body. Pure.

    row: the node's of DescribeClusterNodes
    """
    if removal == "pool":
        ids = json.dumps([str(row.get("instance_id") or host.node_name)])
        query = {"instance_ids": ids, "drain_node": "false", "release_node": "false"}
        path = f"{cluster_path}/nodepools/{quote(host.pool.nodepool_id, safe='')}/nodes"
        return "RemoveNodePoolNodes", "DELETE", path, query, None
    body = {"nodes": [host.node_name], "drain_node": False, "release_node": False}
    return "DeleteClusterNodes", "POST", f"{cluster_path}/nodes", None, body


def _expect(check: str, subject: Subject, observed: str, expected: str, next_step: str) -> Checked:
    if observed == expected:
        return Checked(check, Verdict.OK, subject)
    evidence = Evidence(f"it is {observed or 'not reported'}", expected, "ACK OpenAPI")
    return Checked(check, Verdict.FAIL, subject, Finding(check, Severity.BLOCKER, subject, evidence, next_step))
