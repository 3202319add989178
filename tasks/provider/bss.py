"""The vendor's bill, read through its BSS OpenAPI (2017-12-14).

Facts: https://www.alibabacloud.com/help/en/user-center/developer-reference/api-bssopenapi-2017-12-14-describeinstancebill
Rows are raw JSON: the SDK's models do not distinguish an empty list from a missing one. The invariant: a bill is
complete or an error, with every page once and as many rows as the answer itself counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any

from poolkeeper.tasks.fleet.model import AckProvider, Fleet, SecretRef
from poolkeeper.tasks.outcomes import Secret
from poolkeeper.tasks.provider.interface import OutcomeUnknown, ProviderError
from poolkeeper.tasks.provider.sdk import Api, Connection, JsonObject, first_line

ACTION = "DescribeInstanceBill"

PAGE_ROWS = 300
"""The largest page of the API."""
MAX_PAGES = 10_000
"""Three million rows; a larger bill has to be read by product."""

REGIONS_OF_SITES = {"international": "ap-southeast-1", "china": "cn-hangzhou"}
"""The site on which an account was opened -> the region of its bill; the region of its clusters does not matter."""

_IF_FAILING = "Start again; if it happens again, export the bill in the console and read it with --bill."
_AGAIN = "Start again; the bill of a running month changes while it is read."


def _refusal(answer: Any) -> tuple[str, str] | None:
    """Code and message of a refusal: this API refuses with status 200."""
    if isinstance(answer, dict) and answer.get("Success") is False:
        return str(answer.get("Code") or ""), first_line(answer.get("Message"))
    return None


API = Api(
    name="BSS",
    version="2017-12-14",
    style="RPC",
    request_type="formData",
    next_steps={403: "Give the RAM user the right bss:DescribeBillList (AliyunBSSReadOnlyAccess has it)."},
    if_failing=_IF_FAILING,
    no_right=frozenset({"NotAuthorized", "NoPermission", "Forbidden.RAM"}),
    failing=frozenset({"InternalError", "UndefinedError"}),
    refusal=_refusal,
)


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
        # it takes over a second to import, so only runs that read a bill do
        from alibabacloud_bssopenapi20171214.client import Client

        self._connection = Connection(
            API,
            Client,
            (access_key_id, access_key_secret),
            secret,
            region=region,
            endpoint=endpoint,
            protocol=protocol,
            timeout_s=timeout_s,
        )
        self._page_rows = page_rows

    @property
    def endpoint(self) -> str:
        """`host:port` that is called."""
        return self._connection.endpoint

    async def instance_bill(self, cycle: str, *, day: date | None = None) -> tuple[JsonObject, ...]:
        """Every row of a month, by billing item, charged or not.

        cycle: `2026-10`; the API keeps 18 of them
        day: this day of the month alone, in UTC+8
        Raises ProviderError; ValueError for a day of another month, which the API would ignore.
        """
        if day is not None and f"{day:%Y-%m}" != cycle:
            raise ValueError(f"{day} is not in {cycle}")
        pages = _Pages(cycle)
        token = ""
        for _ in range(MAX_PAGES):
            answer = await self._connection.read(ACTION, "POST", query=self._query(cycle, day, token))
            token = pages.add(answer)
            if not token:
                return pages.whole()
        raise OutcomeUnknown(f"{ACTION} for {cycle} has more than {MAX_PAGES} pages", next_step=_IF_FAILING)

    def _query(self, cycle: str, day: date | None, token: str) -> dict[str, str]:
        """Booleans are written as the SDK writes them."""
        query = {
            "BillingCycle": cycle,
            "Granularity": "DAILY" if day else "MONTHLY",
            "IsBillingItem": "True",  # only items have usage and list price
            "IsHideZeroCharge": "False",  # a waived fee has no charge, and its line has the end of the waiver
            "MaxResults": str(self._page_rows),
        }
        query |= {"BillingDate": day.isoformat()} if day else {}
        return query | ({"NextToken": token} if token else {})


def bill_of_fleet(fleet: Fleet, secret: Callable[[SecretRef], Secret], *, site: str = "", endpoint: str = "") -> Bss:
    """The bill of the account of the fleet's first ACK cluster. Raises ProviderError and SecretMissing.

    site: where the account was opened, see REGIONS_OF_SITES; empty: as the fleet file says
    endpoint: `host:port` in place of the site's own; empty: as the fleet file says
    """
    settings = next((c.provider for c in fleet.clusters.values() if isinstance(c.provider, AckProvider)), None)
    if settings is None:
        raise ProviderError(
            "no cluster of the fleet file has provider ack, so there is no account whose bill can be read",
            next_step="Name an export of the console.",
        )
    asked_at = endpoint or settings.billing_endpoint
    return Bss(
        settings.access_key_id,
        settings.access_key_secret,
        secret,
        region=REGIONS_OF_SITES[site or settings.account_site],
        endpoint=asked_at,
        protocol=settings.protocol if asked_at else "https",
    )


class _Pages:
    """The pages of one bill as they come; pages that contradict each other are refused."""

    def __init__(self, cycle: str) -> None:
        self._cycle = cycle
        self._rows: list[JsonObject] = []
        self._tokens: set[str] = set()
        self._seen: dict[str, int] = {}
        """The rows of a page, as JSON -> the number of the first page that has them."""
        self._count: int | None = None
        """The number of rows, by the first page."""

    def add(self, answer: JsonObject) -> str:
        """Add a page; the token of the next page, empty: it was the last. Raises OutcomeUnknown."""
        data = answer.get("Data")
        if not isinstance(data, dict):
            raise self._broken("an answer has no Data")
        items = data.get("Items")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise self._broken("an answer has no list of Items")
        number = len(self._seen) + 1
        cycle = data.get("BillingCycle")
        if cycle not in (None, "", self._cycle):
            raise self._broken(f"page {number} is of {str(cycle)[:20]}", _IF_FAILING)
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
            raise self._broken(f"page {number} refers to a page that was read before", _AGAIN)
        if token and not items:
            raise self._broken(f"page {number} is empty and not the last one", _AGAIN)
        self._tokens.add(token)
        return token

    def whole(self) -> tuple[JsonObject, ...]:
        """All rows. Raises OutcomeUnknown if their number is not the one that the API has counted."""
        if self._count is not None and len(self._rows) != self._count:
            raise self._broken(f"it has {self._count} rows, and {len(self._rows)} were read", _AGAIN)
        return tuple(self._rows)

    def _broken(self, what: str, next_step: str | None = None) -> OutcomeUnknown:
        return OutcomeUnknown(
            f"the bill of {self._cycle} is incomplete, and none of it is used: {what}", next_step=next_step
        )
