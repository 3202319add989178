"""The vendor's bill (BSS OpenAPI 2017-12-14) as far as poolkeeper asks for it, for the vendor's own SDK.

Requests must be signed. Refusals that the real API answers with status 200 are answered so here. What is not here
answers 501 with a code that names it, never a wrong success.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from poolkeeper.deployments.lab.ack_signature import SignatureRefused, verify
from poolkeeper.deployments.lab.layout import BSS_PORT, listening_socket

VERSION = "2017-12-14"
DEFAULT_RESULTS, MAX_RESULTS = 20, 300

_PER_ITEM = ("BillingItem", "Usage", "UsageUnit", "ListPrice", "ListPriceUnit", "DeductedByResourcePackage")
"""What is told only when the bill is asked for by billing item."""

Json = dict[str, Any]


class _Refused(Exception):
    """Answered with status 200 and Success false."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class BssOpenApi:
    """The server. `key_id` and `secret` are the key pair that requests must be signed with."""

    def __init__(self, rows: Callable[[str], Sequence[Json]], key_id: str, secret: str) -> None:
        """rows: gives those of a month like `2026-10`, with the names of `DescribeInstanceBill`; one with a BillingDate
        is of a bill by day, one without of a bill by month"""
        self.rows = rows
        self._key_id, self._secret = key_id, secret
        self._runner: web.AppRunner | None = None
        self.endpoint = ""
        """`host:port`, once started."""

    async def start(self, address: str) -> None:
        """Serve plain HTTP on an address."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        sock = listening_socket(address, BSS_PORT)
        self.endpoint = f"{address}:{sock.getsockname()[1]}"
        await web.SockSite(self._runner, sock).start()

    async def stop(self) -> None:
        """End the server."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        request_id = secrets.token_hex(16).upper()
        action = request.headers.get("x-acs-action", f"{request.method} {request.path}")
        try:
            verify(
                request.method, request.rel_url.raw_path, request.query, request.headers, await request.read(),
                self._key_id, self._secret,
            )  # fmt: skip
            if action != "DescribeInstanceBill" or request.headers.get("x-acs-version") != VERSION:
                return _error(501, f"NotInTheLab.{action}", f"The practice world does not have {action}.", request_id)
            data = self._bill(request.query)
        except SignatureRefused as error:
            return _error(403, error.code, str(error), request_id)
        except _Refused as error:
            body = {"Code": error.code, "Message": str(error), "RequestId": request_id, "Success": False}
            return web.json_response(body)
        return web.json_response(
            {"Code": "Success", "Message": "Successful!", "RequestId": request_id, "Success": True, "Data": data}
        )

    def _bill(self, query: Mapping[str, str]) -> Json:
        cycle = query.get("BillingCycle", "")
        if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", cycle):
            raise _Refused("InvalidParameter.BillingCycle", "The specified BillingCycle is invalid.")
        is_daily = query.get("Granularity") == "DAILY"
        day = query.get("BillingDate", "")
        if is_daily and not day:
            raise _Refused("MissingParameter.BillingDate", "BillingDate is required when Granularity is DAILY.")
        # a date of another month is passed over in silence, as the real API does
        day = day if is_daily and day.startswith(cycle) else ""
        size = int(query.get("MaxResults") or DEFAULT_RESULTS)
        if not 1 <= size <= MAX_RESULTS:
            raise _Refused("InvalidParameter.MaxResults", f"MaxResults must be between 1 and {MAX_RESULTS}.")
        by_item = query.get("IsBillingItem", "").lower() == "true"
        rows = [
            row if by_item else {name: value for name, value in row.items() if name not in _PER_ITEM}
            for row in self.rows(cycle)
            if bool(row.get("BillingDate")) == is_daily
            and (not day or row.get("BillingDate") == day)
            and _is_asked_for(row, query)
        ]
        start = _start(query.get("NextToken", ""))
        after = start + size
        return {
            "AccountID": "1000000000000001",
            "BillingCycle": cycle,
            "Items": rows[start:after],
            "MaxResults": size,
            "NextToken": _token(after) if after < len(rows) else "",
            "TotalCount": len(rows),
        }


def _is_asked_for(row: Json, query: Mapping[str, str]) -> bool:
    if query.get("IsHideZeroCharge", "").lower() == "true" and not row["PretaxGrossAmount"] and not row["PretaxAmount"]:
        return False
    return all(query.get(name) in (None, "", row.get(name)) for name in ("InstanceID", "ProductCode"))


def _token(start: int) -> str:
    return base64.urlsafe_b64encode(f"row {start}".encode()).decode()


def _start(token: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(token).removeprefix(b"row ")) if token else 0
    except (ValueError, binascii.Error):
        raise _Refused("InvalidParameter.NextToken", "The specified NextToken is invalid.") from None


def _error(status: int, code: str, message: str, request_id: str) -> web.Response:
    body = {"Code": code, "Message": message, "RequestId": request_id}
    return web.json_response(body, status=status, headers={"x-acs-request-id": request_id})
