"""The vendor's bill through its SDK: whole, or one sentence that says why not and what to do."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from poolkeeper.deployments.lab.bss import BssOpenApi
from poolkeeper.tasks.fees.bill.vendor_bill import BillInvalid, bill_of_items
from poolkeeper.tasks.fleet.model import SecretRef
from poolkeeper.tasks.outcomes import Secret
from poolkeeper.tasks.provider import OutcomeUnknown, ProviderThrottled
from poolkeeper.tasks.provider.bss import REGIONS_OF_SITES, Bss
from poolkeeper.tasks.provider.sdk import THROTTLED_TRIES
from tests.contract.cluster.faulty import CutsInMidAnswer, FaultyServer, LoginPage, Says, Silent, StopsInMidAnswer
from tests.contract.provider import faulty as endpoints
from tests.contract.provider import faulty_bss as bills
from tests.contract.provider.conftest import KEY_ID, KEY_ID_REF, KEY_SECRET, KEY_SECRET_REF, refused
from tests.unit.fees.billed import CLUSTER_FEE, item
from tests.unit.fees.builders import OCTOBER

Start = Callable[..., Awaitable[Bss]]

ROWS = [
    item("c1", gross=66.78, charged=66.78, usage="742", price="0.09"),
    item("n1", "ACK Hybrid Node", usage="31", price="0"),
    *(item(f"i-{number:03d}", "Instance", gross=0.1, charged=0.1, product="ecs") for number in range(700)),
    item("c1", gross=2.16, charged=2.16, usage="24", day="2026-10-05"),
    item("c1", gross=0.09, charged=0.09, usage="1", day="2026-10-06"),
]


def bss_at(endpoint: str, *, secret: str = KEY_SECRET, **changed: Any) -> Bss:
    def read(reference: SecretRef) -> Secret:
        return Secret({KEY_ID_REF: KEY_ID, KEY_SECRET_REF: secret}[reference])

    options: dict[str, Any] = {"endpoint": endpoint, "protocol": "http", "timeout_s": 10.0} | changed
    return Bss(KEY_ID_REF, KEY_SECRET_REF, read, **options)


@pytest.fixture
async def lab() -> AsyncIterator[BssOpenApi]:
    """The lab's bill."""
    server = BssOpenApi(lambda cycle: ROWS if cycle == "2026-10" else [], KEY_ID, KEY_SECRET)
    await server.start("127.0.0.1")
    yield server
    await server.stop()


@pytest.fixture
async def faulty() -> AsyncIterator[Start]:
    """Starts a misbehaving endpoint and gives a bill to be read from it."""
    running: list[FaultyServer] = []

    async def start(server: FaultyServer, **more: Any) -> Bss:
        await server.start()
        running.append(server)
        return bss_at(server.url.removeprefix("http://"), **more)

    yield start
    for server in running:
        await server.stop()


# whole bills


@pytest.mark.parametrize(
    ("page_rows", "rows"),
    [
        pytest.param(300, ROWS, id="pages, the last one short"),
        pytest.param(300, ROWS[:600], id="full pages"),
        pytest.param(1, ROWS[:20], id="one by one"),
    ],
)
async def test_every_row_once(lab: BssOpenApi, page_rows: int, rows: list[dict[str, Any]]) -> None:
    lab.rows = lambda cycle: rows
    found = await bss_at(lab.endpoint, page_rows=page_rows).instance_bill("2026-10")
    assert list(found) == [row for row in rows if not row["BillingDate"]]


async def test_what_has_no_charge_is_there(lab: BssOpenApi) -> None:
    bill = bill_of_items(await bss_at(lab.endpoint).instance_bill("2026-10"), OCTOBER, "USD", "BSS")
    assert [(row.gross, row.usage) for row in bill.rows if row.item == "ACK Hybrid Node"] == [(Decimal(0), Decimal(31))]


async def test_floats_add_up_to_the_cent(lab: BssOpenApi) -> None:
    """In binary floats, 700 times 0.1 is 70.00000000000006."""
    bill = bill_of_items(await bss_at(lab.endpoint).instance_bill("2026-10"), OCTOBER, "USD", "BSS")
    assert bill.charged == Decimal("136.78")


async def test_one_day(lab: BssOpenApi) -> None:
    (row,) = await bss_at(lab.endpoint).instance_bill("2026-10", day=date(2026, 10, 5))
    assert (row["BillingDate"], row["PretaxAmount"]) == ("2026-10-05", 2.16)


async def test_a_day_of_another_month_is_never_asked_for(lab: BssOpenApi) -> None:
    """The API would answer the month's rows in silence."""
    with pytest.raises(ValueError, match="2026-09-05 is not in 2026-10"):
        await bss_at(lab.endpoint).instance_bill("2026-10", day=date(2026, 9, 5))


async def test_a_month_without_rows(lab: BssOpenApi) -> None:
    assert await bss_at(lab.endpoint).instance_bill("2026-09") == ()


async def test_what_is_asked_for(faulty: Start) -> None:
    server = bills.Pages({"Items": ROWS[:1], "NextToken": "t1"}, {"Items": ROWS[1:2]})
    await (await faulty(server)).instance_bill("2026-10")
    first, second = server.queries
    assert first == {
        "BillingCycle": "2026-10",
        "Granularity": "MONTHLY",
        "IsBillingItem": "True",
        "IsHideZeroCharge": "False",
        "MaxResults": "300",
    }
    assert second == first | {"NextToken": "t1"}


async def test_another_currency_is_refused_whole(faulty: Start) -> None:
    server = bills.Pages({"Items": [ROWS[0], item("c2", currency="CNY"), item("c3", currency="CNY")]})
    rows = await (await faulty(server)).instance_bill("2026-10")
    with pytest.raises(
        BillInvalid, match=r"2:1: Currency: 2 rows, beginning with this one, are in CNY, but the tariff is in USD"
    ):
        bill_of_items(rows, OCTOBER, "USD", "DescribeInstanceBill 2026-10")


@pytest.mark.parametrize(
    ("site", "endpoint"),
    [("international", "business.ap-southeast-1.aliyuncs.com"), ("china", "business.aliyuncs.com")],
)
def test_where_an_accounts_bill_is(site: str, endpoint: str) -> None:
    bss = Bss(KEY_ID_REF, KEY_SECRET_REF, lambda _: Secret("x"), region=REGIONS_OF_SITES[site])
    assert bss.endpoint == endpoint


# bills that are not whole


@pytest.mark.parametrize(
    ("pages", "told"),
    [
        pytest.param(
            [{"Items": ROWS[:2], "NextToken": "a"}, {"Items": ROWS[:2], "NextToken": "b"}],
            "page 2 repeats page 1",
            id="repeated page with another token",
        ),
        pytest.param(
            [{"Items": ROWS[:1], "NextToken": "a"}, {"Items": ROWS[1:2], "NextToken": "a"}],
            "page 2 refers to a page that was read before",
            id="tokens in a ring",
        ),
        pytest.param(
            [{"Items": ROWS[:2], "NextToken": "a", "TotalCount": 5}, {"Items": ROWS[2:4], "TotalCount": 5}],
            "it has 5 rows, and 4 were read",
            id="cut short",
        ),
        pytest.param(
            [{"Items": ROWS[:2], "NextToken": "a", "TotalCount": 4}, {"Items": ROWS[2:5], "TotalCount": 5}],
            "page 1 counts 4 rows and page 2 counts 5",
            id="grew while it was read",
        ),
        pytest.param([{"Items": [], "NextToken": "a"}], "page 1 is empty and not the last one", id="empty page amidst"),
        pytest.param([{"BillingCycle": "2026-09"}], "page 1 is of 2026-09", id="another month"),
        pytest.param([{"Items": None}], "an answer has no list of Items", id="no list"),
        pytest.param([{"Items": ["x"]}], "an answer has no list of Items", id="a list of something else"),
    ],
)
async def test_pages_that_do_not_fit_together(faulty: Start, pages: list[dict[str, Any]], told: str) -> None:
    error = await refused((await faulty(bills.Pages(*pages))).instance_bill("2026-10"))
    assert isinstance(error, OutcomeUnknown)
    assert error.summary.startswith(f"the bill of 2026-10 is incomplete, and none of it is used: {told}. ")


@pytest.mark.parametrize(("status", "times"), [(429, THROTTLED_TRIES - 1), (400, 1)])
async def test_throttled_for_a_while(faulty: Start, status: int, times: int) -> None:
    """Other than with 429 the SDK tells no time to wait, and ours is a second more with each try."""
    server = bills.ThrottledBill(times, ROWS[:2], status=status)
    assert len(await (await faulty(server)).instance_bill("2026-10")) == 2


async def test_throttled_for_good(faulty: Start) -> None:
    server = bills.ThrottledBill(1000)
    error = await refused((await faulty(server)).instance_bill("2026-10"))
    assert isinstance(error, ProviderThrottled)
    assert len(server.asked) == THROTTLED_TRIES
    assert error.summary.endswith("other automation uses up the API's quota.")


@pytest.mark.parametrize(
    ("server", "told"),
    [
        pytest.param(Silent, "within 0.3 s", id="never answers"),
        pytest.param(StopsInMidAnswer, "within 0.3 s", id="stops in mid-answer"),
        pytest.param(endpoints.Drips, "within 0.3 s", id="drips"),
    ],
)
async def test_hanging(faulty: Start, server: type[FaultyServer], told: str) -> None:
    bss = await faulty(server(), timeout_s=0.3)
    started = time.monotonic()
    error = await refused(bss.instance_bill("2026-10"))
    assert time.monotonic() - started < 3
    assert isinstance(error, OutcomeUnknown)
    assert told in error.summary or "did not answer DescribeInstanceBill" in error.summary


@pytest.mark.parametrize(
    ("server", "told"),
    [
        pytest.param(LoginPage(), "is not from BSS: it has no JSON", id="login page"),
        pytest.param(Says("[]"), "is not from BSS: it has no JSON object", id="a list"),
        pytest.param(Says('{"Success": true}'), "an answer has no Data", id="nothing in it"),
        pytest.param(CutsInMidAnswer(), "DescribeInstanceBill", id="cut in mid-answer"),
        pytest.param(endpoints.Error(503, "ServiceUnavailable"), "ServiceUnavailable", id="down"),
        pytest.param(bills.Refuses("InternalError"), "InternalError", id="an error of its own"),
    ],
)
async def test_answers_that_are_none(faulty: Start, server: FaultyServer, told: str) -> None:
    error = await refused((await faulty(server)).instance_bill("2026-10"))
    assert isinstance(error, OutcomeUnknown)
    assert told in error.summary


async def test_nobody_there(faulty: Start) -> None:
    server = Silent()
    bss = await faulty(server)
    await server.stop()
    assert "DescribeInstanceBill" in str(await refused(bss.instance_bill("2026-10")))


@pytest.mark.parametrize(
    ("server", "next_step"),
    [
        pytest.param(
            bills.Refuses("NotAuthorized"), "Give the RAM user the right bss:DescribeBillList", id="status 200"
        ),
        pytest.param(endpoints.Error(403, "Forbidden.RAM"), "Give the RAM user the right", id="status 403"),
        pytest.param(endpoints.Error(404, "InvalidAccessKeyId.NotFound"), "Correct access_key_id", id="unknown key"),
        pytest.param(bills.Refuses("InvalidParameter.X"), "Look the code up", id="anything else"),
    ],
)
async def test_refusals_have_a_next_step(faulty: Start, server: FaultyServer, next_step: str) -> None:
    error = await refused((await faulty(server)).instance_bill("2026-10"))
    assert not isinstance(error, OutcomeUnknown)
    assert next_step in error.summary


# the lab's server


async def test_a_wrong_secret(lab: BssOpenApi) -> None:
    error = await refused(bss_at(lab.endpoint, secret="another").instance_bill("2026-10"))
    assert (error.status, error.code) == (403, "SignatureDoesNotMatch")


async def test_a_month_that_is_none(lab: BssOpenApi) -> None:
    error = await refused(bss_at(lab.endpoint).instance_bill("2026-13"))
    assert (error.status, error.code) == (None, "InvalidParameter.BillingCycle")


async def test_more_rows_than_a_page_can_have(lab: BssOpenApi) -> None:
    assert (
        await refused(bss_at(lab.endpoint, page_rows=301).instance_bill("2026-10"))
    ).code == "InvalidParameter.MaxResults"


async def test_the_fee_is_on_the_labs_bill(lab: BssOpenApi) -> None:
    bill = bill_of_items(await bss_at(lab.endpoint).instance_bill("2026-10"), OCTOBER, "USD", "BSS")
    assert [row.instance_id for row in bill.rows if row.item == CLUSTER_FEE] == ["c1"]
