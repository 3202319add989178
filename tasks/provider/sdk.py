"""How every API of the vendor is called through its SDK: with a deadline, some retries, and errors with a next step.

Answers are read raw, because the SDK's models drop fields that they do not know. Errors are distinguished by status and
code, not by class (a 429 without `x-acs-retry-after` is a plain client error).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from poolkeeper.tasks.fleet.model import SecretRef
from poolkeeper.tasks.outcomes import Secret, quoted
from poolkeeper.tasks.provider.interface import OutcomeUnknown, ProviderError, ProviderThrottled

THROTTLED_TRIES = 4
THROTTLED_WAIT_S = 10.0
"""The longest wait between two tries, whatever the answer asks for."""

_BAD_KEY = "Correct access_key_id and access_key_secret of the cluster in the fleet file."
_BAD_KEYS = ("InvalidAccessKey", "SignatureDoesNotMatch", "IncompleteSignature", "InvalidSecurityToken")

JsonObject = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Api:
    """One API of the vendor, and the next steps for its errors."""

    name: str
    """Its name in messages: `ACK`."""
    version: str
    style: str
    """`ROA` (paths) or `RPC` (actions)."""
    request_type: str
    """Encoding of a request's body: `json` or `formData`."""
    next_steps: Mapping[int, str]
    """Status of a refusal -> next step."""
    if_failing: str
    """Next step when the service itself fails."""
    no_right: frozenset[str] = frozenset()
    """Codes that mean the same as status 403."""
    failing: frozenset[str] = frozenset()
    """Codes that mean the same as status 500."""
    refusal: Callable[[Any], tuple[str, str] | None] = field(default=lambda answer: None)
    """Code and message of an answer with status 200 that is a refusal; None: it is not."""


class Connection:
    """One account's connection to one API."""

    def __init__(
        self,
        api: Api,
        client: Callable[[Any], Any],
        key: tuple[SecretRef | None, SecretRef | None],
        secret: Callable[[SecretRef], Secret],
        *,
        region: str,
        endpoint: str | None,
        protocol: str,
        timeout_s: float,
    ) -> None:
        """Raises SecretMissing.

        client: the SDK's class for this API
        key: id and secret; without both, the SDK's own credential chain
        endpoint: `host:port` in place of the region's own
        timeout_s: of one request, from connecting to the last byte
        """
        # it takes over a second to import, so only runs that call the vendor do
        from alibabacloud_tea_openapi.utils_models import Config

        key_id, key_secret = key
        if key_id and key_secret:
            keys: dict[str, Any] = {
                "access_key_id": secret(key_id).reveal(),
                "access_key_secret": secret(key_secret).reveal(),
            }
        else:
            from alibabacloud_credentials.client import Client as Credentials

            keys = {"credential": Credentials()}
        self._client = client(
            Config(
                **keys,
                region_id=region,
                endpoint=endpoint,
                protocol=protocol,
                connect_timeout=int(min(10.0, timeout_s) * 1000),
                read_timeout=int(timeout_s * 1000),
            )
        )
        self._api, self._protocol, self._timeout_s = api, protocol, timeout_s

    @property
    def endpoint(self) -> str:
        """`host:port` that is called."""
        return str(self._client._endpoint)

    async def call(
        self,
        action: str,
        method: str,
        path: str = "/",
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        body_type: str = "json",
    ) -> Any:
        """One call. A throttled call had no effect and is sent again, a few times. Raises ProviderError.

        body_type: of the answer, `json` or `string`
        """
        for attempt in range(1, THROTTLED_TRIES + 1):
            try:
                return await self._call_once(action, method, path, query, body, body_type)
            except ProviderThrottled as throttled:
                if attempt == THROTTLED_TRIES:
                    raise
                wait_s = float(attempt) if throttled.retry_after_s is None else throttled.retry_after_s
            await asyncio.sleep(min(wait_s, THROTTLED_WAIT_S))
        raise AssertionError("unreachable")

    async def read(
        self, action: str, method: str, path: str = "/", *, query: Mapping[str, str] | None = None
    ) -> JsonObject:
        """One call whose answer is a JSON object. Raises ProviderError."""
        answer = await self.call(action, method, path, query=query)
        if not isinstance(answer, dict):
            raise self.malformed(action, "JSON object")
        return answer

    def malformed(self, action: str, expected: str) -> OutcomeUnknown:
        """The error for an answer that does not have the API's shape."""
        return OutcomeUnknown(f"the answer to {action} is not from {self._api.name}: it has no {expected}")

    async def _call_once(
        self,
        action: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        body_type: str,
    ) -> Any:
        from alibabacloud_tea_openapi.utils_models import OpenApiRequest, Params
        from darabonba.exceptions import DaraException, UnretryableException
        from darabonba.runtime import RuntimeOptions

        name = self._api.name
        params = Params(
            action=action,
            version=self._api.version,
            protocol=self._protocol,
            pathname=path,
            method=method,
            auth_type="AK",
            style=self._api.style,
            req_body_type=self._api.request_type,
            body_type=body_type,
        )
        request = OpenApiRequest(
            headers={}, query=dict(query) if query else None, body=dict(body) if body is not None else None
        )
        try:
            # the SDK's own limits are per read: an answer that comes in small pieces would never end
            async with asyncio.timeout(self._timeout_s):
                answer = (await self._client.call_api_async(params, request, RuntimeOptions()))["body"]
        except UnretryableException as error:
            raise self._no_answer(action, error.inner_exception) from None
        except DaraException as error:
            code = str(getattr(error, "code", "") or "")
            status = getattr(error, "status_code", None)
            raise self._refused(action, code, first_line(error), status, getattr(error, "retry_after", None)) from None
        except TimeoutError:
            raise OutcomeUnknown(f"{name} did not answer {action} within {self._timeout_s:g} s") from None
        except OSError as error:
            raise OutcomeUnknown(f"{name} cannot be reached for {action}: {quoted(error)}") from None
        refusal = self._api.refusal(answer)
        if refusal is not None:
            raise self._refused(action, *refusal, None, None)
        return answer

    def _no_answer(self, action: str, inner: Exception) -> ProviderError:
        """The error of a call that the SDK gave up; it wraps every cause, also an answer that it could not read."""
        from aiohttp import ClientError
        from alibabacloud_credentials.exceptions import CredentialException
        from darabonba.exceptions import RetryError

        if isinstance(inner, CredentialException):
            return ProviderError(f"there is no credential for {action}: {first_line(inner)}", next_step=_BAD_KEY)
        if isinstance(inner, RetryError | ClientError | OSError):
            return OutcomeUnknown(f"{self._api.name} did not answer {action}: {first_line(inner, 'no answer in time')}")
        return self.malformed(action, "JSON")

    def _refused(
        self, action: str, code: str, words: str, status: int | None, retry_after_ms: float | None
    ) -> ProviderError:
        """The error of an answer that refuses. The SDK has `str(None)` where there is no code."""
        api = self._api
        observed = f"{api.name} refused {action}: {code} {words}"
        if status == 429 or code.startswith("Throttling"):
            wait_s = retry_after_ms / 1000 if retry_after_ms is not None else None
            return ProviderThrottled(observed, code=code, status=status, retry_after_s=wait_s)
        if code.startswith(_BAD_KEYS):
            return ProviderError(observed, next_step=_BAD_KEY, code=code, status=status)
        if (status is not None and status >= 500) or code in api.failing:
            return OutcomeUnknown(observed, next_step=api.if_failing, code=code, status=status)
        meant = 403 if code in api.no_right else status or 0
        next_step = api.next_steps.get(meant, f"Look the code up in {api.name}'s API reference.")
        return ProviderError(observed, next_step=next_step, code=code, status=status)


def first_line(error: Any, otherwise: str = "no reason given") -> str:
    """The message of an error, quoted for a sentence; `otherwise` where it has none."""
    return quoted(getattr(error, "message", "") or error or "") or otherwise
