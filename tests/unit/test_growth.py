"""Texts from outside, as hostile as we can make them: what looks through them takes a time that grows as they do."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest

from poolkeeper.tasks.acceptance.testpod import _ANSWER
from poolkeeper.tasks.audit.planning.questions import Kind, Question, RequestBatch
from poolkeeper.tasks.audit.remote import probe
from poolkeeper.tasks.audit.remote.protocol import _FIELDS, BEGIN, read_answers
from poolkeeper.tasks.audit.report.dns_stages import transport
from poolkeeper.tasks.fees.bill.bill_export import _plain
from poolkeeper.tasks.fees.bill.vendor_bill import _NUMBER as BILLED
from poolkeeper.tasks.fees.bill.vendor_bill import amount
from poolkeeper.tasks.fees.closing.closed_months import _RESOURCE
from poolkeeper.tasks.fees.csv_records import csv_records
from poolkeeper.tasks.fees.metering.allocation import ShareKey
from poolkeeper.tasks.fees.metering.month_forecast import ForecastRequest, PlannedChange
from poolkeeper.tasks.fees.periods import Period
from poolkeeper.tasks.fees.tariff.tariff_values import _NUMBER as PRICED
from poolkeeper.tasks.fees.usage.events import EVENT_COLUMNS, EventReader
from poolkeeper.tasks.fleet import SelectionInvalid, select
from poolkeeper.tasks.fleet.pasted import pasted_secrets, secrets_in_comments
from poolkeeper.tasks.fleet.rules import NODE_NAME
from poolkeeper.tasks.fleet.source import TextInvalid, _refuse_depth
from poolkeeper.tasks.fleet.text import _DECIMAL
from poolkeeper.tasks.fleet.values import _DNS_NAME, _TAINT, _VERSION
from poolkeeper.tasks.fleet.versions import numbers
from poolkeeper.tasks.hosts.commands import _PROMPT, _PROMPT_BYTES
from poolkeeper.tasks.outcomes import Invalid, on_one_line, redact
from poolkeeper.tasks.pages.markdown import with_commands
from poolkeeper.tasks.pages.plots import _FROM_ELSEWHERE
from poolkeeper.tasks.pages.spreadsheet import _no_formula
from poolkeeper.tasks.upgrade.goal import _PACKAGE, _PACKAGE_VERSION
from tests.unit.onboard.builders import a_fleet, a_host

FLEET = a_fleet(a_host("n1"))
SMALL, TIMES = 2_000, 4
MOST = 10.0
"""How much longer four times the text may take: a quadratic look takes sixteen times as long."""
QUICK_S = 0.02
"""What took no longer is not quadratic: the larger text has sixty million pairs of letters."""


def whole(pattern: str | re.Pattern[str]) -> Callable[[str], Any]:
    return re.compile(pattern).fullmatch


def chosen(text: str) -> None:
    with suppress(SelectionInvalid):
        select(FLEET, text)


def refused(read: Callable[[str], Any]) -> Callable[[str], None]:
    def look(text: str) -> None:
        with suppress(Invalid, ValueError):
            read(text)

    return look


def nested(text: str) -> None:
    with suppress(TextInvalid):
        _refuse_depth(text)


BATCH = RequestBatch((Question(Kind.TCP, "n1", 22),))


LOOKS: dict[str, Callable[[str], Any]] = {
    "redacted": redact,
    "made visible": on_one_line,
    "pasted secrets": lambda text: pasted_secrets({"a": text, "b": [text]}),
    "secrets in comments": lambda text: list(secrets_in_comments(text)),
    "nested how deep": nested,
    "names of nodes": whole(NODE_NAME),
    "names for DNS": whole(_DNS_NAME),
    "versions": whole(_VERSION),
    "leading numbers": numbers,
    "taints": whole(_TAINT),
    "numbers": whole(_DECIMAL),
    "prices": whole(PRICED),
    "bills": whole(BILLED),
    "amounts of a bill": refused(amount),
    "headings of a bill": _plain,
    "a bill's lines": lambda text: list(csv_records(text, "")),
    "events of a CSV file": lambda text: EventReader(0).read(dict.fromkeys(EVENT_COLUMNS, text), "", 1),
    "periods": refused(Period.of),
    "shares": refused(ShareKey.of),
    "hypothetical prices": refused(lambda text: ForecastRequest.of(text, "per_vcpu_day")),
    "planned joins": refused(PlannedChange.joining),
    "planned leaves": refused(PlannedChange.leaving),
    "rows of a closed month": lambda text: _RESOURCE.search(b'{"resource_id":"' + text.encode()),
    "packages": whole(_PACKAGE),
    "versions of packages": whole(_PACKAGE_VERSION),
    "chosen hosts": chosen,
    "prompts": lambda text: _PROMPT.search(text.encode()[-_PROMPT_BYTES:]),
    "answers of test pods": _ANSWER.match,
    "attributes of plots": lambda text: _FROM_ELSEWHERE.sub("", text),
    "questions to hosts": lambda text: [re.fullmatch(pattern, text) for pattern in _FIELDS],
    "answers of hosts": lambda text: read_answers(f"{BEGIN}\n0\tok\t1\t\t{text}", BATCH),
    "transports": transport,
    "metrics of caches": lambda text: probe.metrics(bytearray(text, "ascii")),
    "resolver settings": probe.settings,
    "no formula": _no_formula,
    "commands in a sentence": with_commands,
}
PIECES = (
    "-", "a", "a-", "eyJ", "eyJ-", "eyJa.", "token: ", "--token", "--token ", "-----BEGIN ", "-----BEGIN A ",
    "PRIVATE KEY-----", "://", "://a:", "a@", "Bearer ", " ", "\t", "A1a", "A1a ", "LTAI", "# ", "# LTAI5tAbcdefghijklmn\n",
    "[", "- ", "? ", "1", "1.", ".1", "1e", "0-", "a.", "password:", "password: ", "%", "a|", "a=", "*", "n1|",
    "poolkeeper: ", "/", "=", "\x1b[", "\n",
    ' xmlns="', ' xmlns:xlink="', '"', "coredns_a{", "coredns_a", "} 1", "\n", "a=%0A", "\t", " udp/1", "udp", "search a\n",
    "options ndots:1 ", "\n",
)  # fmt: skip


def hostile(size: int) -> Iterator[tuple[str, str]]:
    """Every piece and every two of them, over and over, after a good beginning, with something at the end that spoils it."""
    for piece in (*PIECES, *("".join(two) for two in pairwise(PIECES))):
        for begin, end in (("", ""), ("", "!"), ("A1a" * 20, "!")):
            yield f"{begin!r} {piece!r} {end!r}", begin + piece * (size // len(piece)) + end


def spent_s(look: Callable[[str], Any], text: str) -> float:
    """The least of some tries: whatever else the machine does only makes one longer."""
    tries = []
    for _ in range(5):
        began = time.process_time()
        look(text)
        tries.append(time.process_time() - began)
        if tries[-1] < QUICK_S or tries[-1] > 1:
            break
    return min(tries)


@pytest.mark.parametrize("what", LOOKS)
def test_four_times_the_text_takes_some_four_times_as_long(what: str) -> None:
    for (named, small), (_, large) in zip(hostile(SMALL), hostile(SMALL * TIMES), strict=True):
        took_s = spent_s(LOOKS[what], large)
        assert took_s <= QUICK_S or took_s <= MOST * spent_s(LOOKS[what], small), named
