"""ACK managed clusters through their OpenAPI (CS 2015-12-15).

What the vendor does not document for hybrid pools is said in the fleet file or read at run time, never assumed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import quote

from tasks.fleet.model import AckProvider, Cluster, Host, Pool, SecretRef
from tasks.outcomes import Checked, Evidence, Finding, Secret, Severity, Subject, Verdict
from tasks.provider.interface import ProviderError
from tasks.provider.sdk import WAY, Api, Connection, JsonObject

JOIN_TOKEN_S = 3600
"""Life of a join token; ACK Edge's default is the same hour."""

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
    unwell="Start again; if it stays so, look at ACK's status page.",
)


class Ack:
    """One ACK cluster's OpenAPI."""

    def __init__(
        self,
        cluster: Cluster,
        settings: AckProvider,
        secret: Callable[[SecretRef], Secret],
        *,
        timeout_s: float = 30.0,
    ) -> None:
        """timeout_s: of one request, from connecting to the last byte. Raises SecretMissing."""
        # over a second to import: only flows that talk to ACK pay
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

    @property
    def _path(self) -> str:
        return f"/clusters/{quote(self._settings.cluster_id, safe='')}"

    async def cluster_detail(self) -> JsonObject:
        """DescribeClusterDetail as it was answered. Raises ProviderError."""
        return await self._connection.read("DescribeClusterDetail", "GET", self._path)

    async def cluster_resources(self) -> tuple[JsonObject, ...]:
        """DescribeClusterResources as it was answered, with what add-ons have made. Raises ProviderError."""
        action = "DescribeClusterResources"
        answer = await self._connection.call(
            action, "GET", f"{self._path}/resources", query={"with_addon_resources": "true"}
        )
        if not isinstance(answer, list) or not all(isinstance(one, dict) for one in answer):
            raise self._connection.strange(action, "JSON list of objects")
        return tuple(answer)

    async def check_pool(self, pool: Pool) -> tuple[Checked, ...]:
        """Cluster running, pool there, of type hybrid and active. Raises ProviderError."""
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
        """The pool's attach command for one architecture, good for an hour."""
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
            raise ProviderError("ACK answered an empty attach script. Start again; if it persists, ask ACK.")
        if script.lstrip()[0] in "<{[":
            # it will run as root on a host: a login page or an error object must not
            raise ProviderError(f"what came in place of the attach script is no shell command. {WAY}")
        return Secret(script)

    async def join_ended(self, host: Host) -> None:
        """Nothing: ACK has no call that takes a join token back, it expires."""

    def leave_script(self, host: Host) -> Secret:
        """The reset command that the fleet file names for the provider."""
        return Secret(self._settings.reset_command)


def _expect(check: str, subject: Subject, observed: str, expected: str, next_step: str) -> Checked:
    if observed == expected:
        return Checked(check, Verdict.OK, subject)
    evidence = Evidence(f"it is {observed or 'not told'}", expected, "ACK OpenAPI")
    return Checked(check, Verdict.FAIL, subject, Finding(check, Severity.BLOCKER, subject, evidence, next_step))
