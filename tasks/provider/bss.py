"""The vendor's bill through its BSS OpenAPI (2017-12-14), with the vendor's own SDK.

Facts: https://www.alibabacloud.com/help/en/user-center/developer-reference/api-bssopenapi-2017-12-14-describeinstancebill
Rows come as JSON gives them: the SDK's models cannot tell a list that is empty from one that is missing, and drop what
they do not know. An answer is whole or an error: every page once, as many rows as the answer itself counts.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from tasks.fleet.model import AckProvider, SecretRef
from tasks.outcomes import Secret
from tasks.provider.interface import OutcomeUnknown, ProviderError, Throttled

ACTION = "DescribeInstanceBill"
VERSION = "2017-12-14"

PAGE_ROWS = 300
"""The most that the API gives at once."""
MAX_PAGES = 10_000
"""Three million rows; a bill of more is read by product."""

THROTTLED_TRIES = 4
THROTTLED_WAIT_S = 10.0
"""At most so long between two tries, whatever the answer asks for."""

REGIONS_OF_SITES = {"international": "ap-southeast-1", "china": "cn-hangzhou"}
"""Where an account's bill is kept goes by the site that it was opened on, not by the region of its clusters."""

_THROTTLED = "Wait a minute and start again; other automation uses up the API's quota."
_BAD_KEY = "Correct access_key_id and access_key_secret of the cluster in the fleet file."
_RIGHT = "Give the RAM user the right bss:DescribeBillList (AliyunBSSReadOnlyAccess has it)."
_UNWELL = "Start again; if it stays so, export the bill in the console and read it with --bill."
_WAY = "Check the way to its endpoint (route, proxy settings), then start again."
_AGAIN = "Start again; the bill of a running month changes while it is read."

JsonRow = Mapping[str, Any]


class Bss:
    """One account's bill."""

    def __init__(
        self,
        access_key_id: SecretRef | None,
        access_key_secret: SecretRef | None,
        secret: Callable[[SecretRef], Secret],
        *,
        region: str = REGIONS_OF_SITES["international"],
        endpoint: str | None = None,
        protocol: str = "https",
        timeout_s: float = 30.0,
        page_rows: int = PAGE_ROWS,
    ) -> None:
        """Raises SecretMissing.

        access_key_id, access_key_secret: without both, the SDK's own credential chain
        region: of the account's site, see REGIONS_OF_SITES
        endpoint: `host:port` in place of the site's own
        timeout_s: of one page, from connecting to the last byte
        """
        # over a second to import: only who asks for a bill pays
        from alibabacloud_bssopenapi20171214.client import Client
        from alibabacloud_tea_openapi.utils_models import Config

        keys: dict[str, Any]
        if access_key_id and access_key_secret:
            keys = {
                "access_key_id": secret(access_key_id).reveal(),
                "access_key_secret": secret(access_key_secret).reveal(),
            }
        else:
            from alibabacloud_credentials.client import Client as Credentials

            keys = {"credential": Credentials()}
        self._client = Client(
            Config(
                **keys,
                region_id=region,
                endpoint=endpoint,
                protocol=protocol,
                connect_timeout=int(min(10.0, timeout_s) * 1000),
                read_timeout=int(timeout_s * 1000),
            )
        )
        self._protocol = protocol
        self._timeout_s = timeout_s
        self._page_rows = page_rows

    async def instance_bill(self, cycle: str, *, day: date | None = None) -> tuple[JsonRow, ...]:
        """Every row of a month, by billing item, charged or not.

        cycle: `2026-10`; the API keeps 18 of them
        day: this day of the month alone, in UTC+8
        Raises ProviderError; ValueError for a day of another month, which the API would pass over in silence.
        """
        if day is not None and f"{day:%Y-%m}" != cycle:
            raise ValueError(f"{day} is not in {cycle}")
        pages = _Pages(cycle)
        token = None
        for _ in range(MAX_PAGES):
            token = pages.add(await self._page(cycle, day, token))
            if not token:
                return pages.whole()
        raise OutcomeUnknown(f"{ACTION} for {cycle} has more than {MAX_PAGES} pages. {_UNWELL}")

    async def _page(self, cycle: str, day: date | None, token: str | None) -> JsonRow:
        """One page; one that was throttled is asked for again, a few times. Raises ProviderError."""
        from alibabacloud_bssopenapi20171214.models import DescribeInstanceBillRequest

        request = DescribeInstanceBillRequest(
            billing_cycle=cycle,
            billing_date=day.isoformat() if day else None,
            granularity="DAILY" if day else "MONTHLY",
            is_billing_item=True,  # usage and list price are told per item only
            is_hide_zero_charge=False,  # a waived fee has no charge, and its line tells when that ends
            max_results=self._page_rows,
            next_token=token,
        )
        for attempt in range(1, THROTTLED_TRIES + 1):
            try:
                return await self._page_once(request)
            except Throttled as throttled:
                if attempt == THROTTLED_TRIES:
                    raise
                wait_s = float(attempt) if throttled.retry_after_s is None else throttled.retry_after_s
            await asyncio.sleep(min(wait_s, THROTTLED_WAIT_S))
        raise AssertionError("unreachable")

    async def _page_once(self, request: Any) -> JsonRow:
        from alibabacloud_tea_openapi.utils import Utils
        from alibabacloud_tea_openapi.utils_models import OpenApiRequest, Params
        from darabonba.exceptions import DaraException, UnretryableException
        from darabonba.runtime import RuntimeOptions

        params = Params(
            action=ACTION,
            version=VERSION,
            protocol=self._protocol,
            pathname="/",
            method="POST",
            auth_type="AK",
            style="RPC",
            req_body_type="formData",
            body_type="json",
        )
        asked = OpenApiRequest(query=Utils.query(request.to_map()))
        try:
            # the SDK's own limits are per read: an answer that drips would never end
            async with asyncio.timeout(self._timeout_s):
                answer = (await self._client.call_api_async(params, asked, RuntimeOptions()))["body"]
        except UnretryableException as error:
            raise _no_answer(error.inner_exception) from None
        except DaraException as error:
            raise _refusal(
                str(getattr(error, "code", "") or ""),
                _first_line(error),
                getattr(error, "status_code", None),
                getattr(error, "retry_after", None),
            ) from None
        except TimeoutError:
            raise OutcomeUnknown(f"BSS did not answer {ACTION} within {self._timeout_s:g} s. {_WAY}") from None
        except OSError as error:
            raise OutcomeUnknown(f"BSS cannot be reached for {ACTION}: {error}. {_WAY}") from None
        if not isinstance(answer, dict):
            raise OutcomeUnknown(f"what answered {ACTION} is not BSS: it gave no JSON object. {_WAY}")
        # this API refuses with status 200
        if answer.get("Success") is False:
            raise _refusal(str(answer.get("Code") or ""), _first_line(answer.get("Message")), None, None)
        return answer


def bill_of_account(
    settings: AckProvider, secret: Callable[[SecretRef], Secret], *, site: str, endpoint: str | None = None
) -> Bss:
    """The bill of the account that a cluster is read with. Raises SecretMissing, KeyError for an unknown site.

    site: where the account was opened, see REGIONS_OF_SITES
    endpoint: `host:port` in place of the site's own, spoken to as the cluster's is
    """
    return Bss(
        settings.access_key_id,
        settings.access_key_secret,
        secret,
        region=REGIONS_OF_SITES[site],
        endpoint=endpoint,
        protocol=settings.protocol if endpoint else "https",
    )


class _Pages:
    """The pages of one bill as they come in; what does not fit together is refused."""

    def __init__(self, cycle: str) -> None:
        self._cycle = cycle
        self._rows: list[JsonRow] = []
        self._tokens: set[str] = set()
        self._seen: dict[str, int] = {}
        """What a page's rows say -> the number of the page that said it first."""
        self._count: int | None = None
        """How many rows there are, as the first page counts them."""

    def add(self, answer: JsonRow) -> str:
        """Take a page; the token of the next one, or nothing. Raises OutcomeUnknown."""
        data = answer.get("Data")
        if not isinstance(data, dict):
            raise self._broken("an answer has no Data", _WAY)
        items = data.get("Items")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise self._broken("an answer has no list of Items", _WAY)
        number = len(self._seen) + 1
        cycle = data.get("BillingCycle")
        if cycle not in (None, "", self._cycle):
            raise self._broken(f"page {number} is of {str(cycle)[:20]}", _UNWELL)
        same = self._seen.setdefault(json.dumps(items, sort_keys=True), number)
        if same != number:
            raise self._broken(f"page {number} repeats page {same}", _AGAIN)
        count = data.get("TotalCount")
        if isinstance(count, int):
            if self._count not in (None, count):
                raise self._broken(f"page 1 counts {self._count} rows and page {number} counts {count}", _AGAIN)
            self._count = count
        self._rows += items
        token = str(data.get("NextToken") or "")
        if token in self._tokens:
            raise self._broken(f"page {number} points back to a page that was read", _AGAIN)
        if token and not items:
            raise self._broken(f"page {number} is empty and more are said to follow", _AGAIN)
        self._tokens.add(token)
        return token

    def whole(self) -> tuple[JsonRow, ...]:
        """All rows. Raises OutcomeUnknown when they are not as many as there are said to be."""
        if self._count is not None and len(self._rows) != self._count:
            raise self._broken(f"{len(self._rows)} rows came of the {self._count} that there are", _AGAIN)
        return tuple(self._rows)

    def _broken(self, what: str, next_step: str) -> OutcomeUnknown:
        return OutcomeUnknown(f"the bill of {self._cycle} is not whole: {what}. Nothing of it is used. {next_step}")


def _no_answer(inner: Exception) -> ProviderError:
    """Why the SDK gave up: it wraps whatever went wrong, also an answer that it could not read, text and all."""
    from aiohttp import ClientError
    from alibabacloud_credentials.exceptions import CredentialException
    from darabonba.exceptions import RetryError

    if isinstance(inner, CredentialException):
        return ProviderError(f"there is no credential for {ACTION}: {_first_line(inner)}. {_BAD_KEY}")
    if isinstance(inner, RetryError | ClientError | OSError):
        words = str(getattr(inner, "message", "")) or str(inner) or "no answer in time"
        return OutcomeUnknown(f"BSS did not answer {ACTION}: {words[:300].rstrip('.')}. {_WAY}")
    return OutcomeUnknown(f"what answered {ACTION} is not BSS: it gave no JSON. {_WAY}")


def _refusal(code: str, words: str, status: int | None, retry_after_ms: float | None) -> ProviderError:
    """An answer that is an error, told apart by code and status, not by class."""
    told = f"BSS refused {ACTION}: {code} {words}"
    if status == 429 or code.startswith("Throttling"):
        wait_s = retry_after_ms / 1000 if retry_after_ms is not None else None
        return Throttled(f"{told}. {_THROTTLED}", code=code, status=status, retry_after_s=wait_s)
    if code.startswith(("InvalidAccessKey", "SignatureDoesNotMatch", "IncompleteSignature", "InvalidSecurityToken")):
        return ProviderError(f"{told}. {_BAD_KEY}", code=code, status=status)
    if status == 403 or code in ("NotAuthorized", "NoPermission", "Forbidden.RAM"):
        return ProviderError(f"{told}. {_RIGHT}", code=code, status=status)
    if (status is not None and status >= 500) or code in ("InternalError", "UndefinedError"):
        return OutcomeUnknown(f"{told}. {_UNWELL}", code=code, status=status)
    return ProviderError(f"{told}. Look the code up in the API reference of {ACTION}.", code=code, status=status)


def _first_line(error: Any) -> str:
    """The error's own words, cut short, without a full stop at the end."""
    words = (str(getattr(error, "message", "") or "") or str(error or "")).strip() or "no reason told"
    return words.splitlines()[0][:300].rstrip(".")
