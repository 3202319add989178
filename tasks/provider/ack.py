"""ACK managed clusters through their OpenAPI, with the vendor's own SDK.

Answers are read raw: the SDK's models drop every field that they do not know. Errors are told apart by
status and code, not by class (a 429 without `x-acs-retry-after` is a plain client error). What the
vendor does not document for hybrid pools is said in the fleet file or read at run time, never assumed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from tasks.fleet.model import AckProvider, Cluster, Pool, SecretRef
from tasks.outcomes import Checked, Evidence, Finding, Secret, Severity, Subject, Verdict
from tasks.provider.interface import OutcomeUnknown, ProviderError

JOIN_TOKEN_S = 3600
"""Life of a join token; ACK Edge's default is the same hour."""

_HINTS = {
    403: "Give the RAM user this action, or ask the account manager whether hybrid pools are allow-listed.",
    404: "Compare cluster_id and nodepool_id in the fleet file with the console.",
    429: "Wait a minute and start again; other automation uses up the API's quota.",
}


class Ack:
    """One ACK cluster's OpenAPI."""

    def __init__(self, cluster: Cluster, settings: AckProvider, secret: Callable[[SecretRef], Secret]) -> None:
        # over a second to import: only flows that talk to ACK pay
        from alibabacloud_cs20151215.client import Client
        from alibabacloud_tea_openapi.utils_models import Config

        keys = {}
        if settings.access_key_id and settings.access_key_secret:
            keys = {
                "access_key_id": secret(settings.access_key_id).reveal(),
                "access_key_secret": secret(settings.access_key_secret).reveal(),
            }
        else:
            from alibabacloud_credentials.client import Client as Credentials

            keys = {"credential": Credentials()}
        self._client = Client(
            Config(
                **keys,
                region_id=settings.region,
                endpoint=settings.endpoint,
                protocol=settings.protocol,
                connect_timeout=10_000,
                read_timeout=30_000,
            )
        )
        self._cluster = cluster
        self._settings = settings

    async def _call(
        self,
        action: str,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        body_type: str = "json",
    ) -> Any:
        from alibabacloud_tea_openapi.utils_models import OpenApiRequest, Params
        from darabonba.exceptions import DaraException, UnretryableException
        from darabonba.runtime import RuntimeOptions

        params = Params(
            action=action,
            version="2015-12-15",
            protocol=self._settings.protocol,
            pathname=path,
            method=method,
            auth_type="AK",
            style="ROA",
            req_body_type="json",
            body_type=body_type,
        )
        request = OpenApiRequest(headers={}, body=dict(body) if body is not None else None)
        try:
            answer = await self._client.call_api_async(params, request, RuntimeOptions())
        except UnretryableException as error:
            raise OutcomeUnknown(
                f"ACK did not answer {action} ({_first_line(error)}). Check the way to its endpoint."
            ) from None
        except DaraException as error:
            status = getattr(error, "status_code", None)
            hint = _HINTS.get(status or 0, "Look the code up in ACK's API reference.")
            code = str(getattr(error, "code", ""))
            raise ProviderError(
                f"ACK refused {action}: {code} {_first_line(error)}. {hint}", code=code, status=status
            ) from None
        except OSError as error:
            raise OutcomeUnknown(f"ACK cannot be reached for {action}: {error}") from None
        return answer["body"]

    @property
    def _path(self) -> str:
        return f"/clusters/{quote(self._settings.cluster_id, safe='')}"

    async def check_pool(self, pool: Pool) -> tuple[Checked, ...]:
        """Cluster running, pool there, of type hybrid and active. Raises ProviderError."""
        cluster = await self._call("DescribeClusterDetail", "GET", self._path)
        path = f"{self._path}/nodepools/{quote(pool.nodepool_id, safe='')}"
        found = await self._call("DescribeClusterNodePoolDetail", "GET", path)
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

    async def join_script(self, pool: Pool, arch: str) -> Secret:
        """The pool's attach command for one architecture, good for an hour."""
        script = await self._call(
            "DescribeClusterAttachScripts",
            "POST",
            f"{self._path}/attachscript",
            body={
                "nodepool_id": pool.nodepool_id,  # without it the host lands in the default pool
                "arch": arch,
                "expired": int(time.time()) + JOIN_TOKEN_S,
            },
            body_type="string",
        )
        if not isinstance(script, str) or not script.strip():
            raise ProviderError("ACK answered an empty attach script. Start again; if it persists, ask ACK.")
        return Secret(script)

    def leave_script(self, pool: Pool) -> Secret:
        """The reset command that the fleet file names for the provider."""
        return Secret(self._settings.reset_command)


def _expect(check: str, subject: Subject, observed: str, expected: str, next_step: str) -> Checked:
    if observed == expected:
        return Checked(check, Verdict.OK, subject)
    evidence = Evidence(f"it is {observed or 'not told'}", expected, "ACK OpenAPI")
    return Checked(check, Verdict.FAIL, subject, Finding(check, Severity.BLOCKER, subject, evidence, next_step))


def _first_line(error: Exception) -> str:
    return (str(getattr(error, "message", "")) or str(error)).strip().splitlines()[0][:300]
