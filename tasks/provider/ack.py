"""ACK managed clusters through their OpenAPI, with the vendor's own SDK.

Answers are read raw: the SDK's models drop every field that they do not know. Errors are told apart by
status and code, not by class (a 429 without `x-acs-retry-after` is a plain client error). What the
vendor does not document for hybrid pools is said in the fleet file or read at run time, never assumed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from tasks.fleet.model import AckProvider, Cluster, Host, Pool, SecretRef
from tasks.outcomes import Checked, Evidence, Finding, Secret, Severity, Subject, Verdict
from tasks.provider.interface import OutcomeUnknown, ProviderError, Throttled

JOIN_TOKEN_S = 3600
"""Life of a join token; ACK Edge's default is the same hour."""

THROTTLED_TRIES = 4
THROTTLED_WAIT_S = 10.0
"""At most so long between two tries, whatever the answer asks for."""

_HINTS = {
    401: "Renew the access key that the fleet file names.",
    403: "Give the RAM user this action, or ask the account manager whether hybrid pools are allow-listed.",
    404: "Compare cluster_id and nodepool_id in the fleet file with the console.",
}
_THROTTLED = "Wait a minute and start again; other automation uses up the API's quota."
_BAD_KEY = "Correct access_key_id and access_key_secret of the cluster in the fleet file."
_UNWELL = "Start again; if it stays so, look at ACK's status page."
_WAY = "Check the way to its endpoint (route, proxy settings), then start again."


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
                connect_timeout=int(min(10.0, timeout_s) * 1000),
                read_timeout=int(timeout_s * 1000),
            )
        )
        self._timeout_s = timeout_s
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
        """One call; one that was throttled was not carried out and is sent again, a few times. Raises ProviderError."""
        for attempt in range(1, THROTTLED_TRIES + 1):
            try:
                return await self._call_once(action, method, path, body, body_type)
            except Throttled as throttled:
                if attempt == THROTTLED_TRIES:
                    raise
                wait_s = float(attempt) if throttled.retry_after_s is None else throttled.retry_after_s
            await asyncio.sleep(min(wait_s, THROTTLED_WAIT_S))
        raise AssertionError("unreachable")

    async def _call_once(
        self, action: str, method: str, path: str, body: Mapping[str, Any] | None, body_type: str
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
            # the SDK's own limits are per read: an answer that drips would never end
            async with asyncio.timeout(self._timeout_s):
                answer = await self._client.call_api_async(params, request, RuntimeOptions())
        except UnretryableException as error:
            raise _no_answer(action, error.inner_exception) from None
        except DaraException as error:
            raise _refusal(action, error) from None
        except TimeoutError:
            raise OutcomeUnknown(f"ACK did not answer {action} within {self._timeout_s:g} s. {_WAY}") from None
        except OSError as error:
            raise OutcomeUnknown(f"ACK cannot be reached for {action}: {error}. {_WAY}") from None
        return answer["body"]

    async def _read(self, action: str, path: str) -> dict[str, Any]:
        answer = await self._call(action, "GET", path)
        if not isinstance(answer, dict):
            raise OutcomeUnknown(f"what answered {action} is not ACK: it gave no JSON object. {_WAY}")
        return answer

    @property
    def _path(self) -> str:
        return f"/clusters/{quote(self._settings.cluster_id, safe='')}"

    async def cluster_detail(self) -> Mapping[str, Any]:
        """DescribeClusterDetail as it was answered. Raises ProviderError."""
        return await self._read("DescribeClusterDetail", self._path)

    async def check_pool(self, pool: Pool) -> tuple[Checked, ...]:
        """Cluster running, pool there, of type hybrid and active. Raises ProviderError."""
        cluster = await self.cluster_detail()
        path = f"{self._path}/nodepools/{quote(pool.nodepool_id, safe='')}"
        found = await self._read("DescribeClusterNodePoolDetail", path)
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
        script = await self._call(
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
            raise ProviderError(f"what came in place of the attach script is no shell command. {_WAY}")
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


def _no_answer(action: str, inner: Exception) -> ProviderError:
    """Why the SDK gave up: it wraps whatever went wrong, also an answer that it could not read, text and all."""
    from aiohttp import ClientError
    from alibabacloud_credentials.exceptions import CredentialException
    from darabonba.exceptions import RetryError

    if isinstance(inner, CredentialException):
        return ProviderError(f"there is no credential for {action}: {_first_line(inner)}. {_BAD_KEY}")
    if isinstance(inner, RetryError | ClientError | OSError):
        words = str(getattr(inner, "message", "")) or str(inner) or "no answer in time"
        return OutcomeUnknown(f"ACK did not answer {action}: {words[:300].rstrip('.')}. {_WAY}")
    return OutcomeUnknown(f"what answered {action} is not ACK: it gave no JSON. {_WAY}")


def _refusal(action: str, error: Any) -> ProviderError:
    """An answer that is an error, told apart by status and code. The SDK has `str(None)` where there is no code."""
    status: int | None = getattr(error, "status_code", None)
    code = str(getattr(error, "code", "") or "")
    told = f"ACK refused {action}: {code} {_first_line(error)}"
    if status == 429 or code.startswith("Throttling"):
        retry_after_ms = getattr(error, "retry_after", None)
        wait_s = retry_after_ms / 1000 if retry_after_ms is not None else None
        return Throttled(f"{told}. {_THROTTLED}", code=code, status=status, retry_after_s=wait_s)
    if code.startswith(("InvalidAccessKey", "SignatureDoesNotMatch", "IncompleteSignature", "InvalidSecurityToken")):
        return ProviderError(f"{told}. {_BAD_KEY}", code=code, status=status)
    if status is not None and status >= 500:
        return OutcomeUnknown(f"{told}. {_UNWELL}", code=code, status=status)
    hint = _HINTS.get(status or 0, "Look the code up in ACK's API reference.")
    return ProviderError(f"{told}. {hint}", code=code, status=status)


def _first_line(error: Any) -> str:
    """The error's own words, cut short, without a full stop at the end."""
    words = (str(getattr(error, "message", "") or "") or str(error)).strip() or type(error).__name__
    return words.splitlines()[0][:300].rstrip(".")
