"""Both pages with one text wherever a host, the cluster, a file or a person could have written it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

from poolkeeper.tasks.audit.measurements import Quality
from poolkeeper.tasks.audit.nights.comparison import Comparison
from poolkeeper.tasks.audit.places import Place
from poolkeeper.tasks.audit.report.audit_report import AuditReport
from poolkeeper.tasks.audit.report.page import page as audit_page
from poolkeeper.tasks.fees.bill.reconciliation import Reconciliation, reconcile
from poolkeeper.tasks.fees.metering.allocation import Allocation, Share, ShareKey
from poolkeeper.tasks.fees.metering.month_forecast import ChangeCost, MonthForecast
from poolkeeper.tasks.fees.metering.statement import Unpriced
from poolkeeper.tasks.fees.reports.fees_page import page as fees_page
from poolkeeper.tasks.fees.reports.month import Month
from poolkeeper.tasks.outcomes import Severity
from tests.unit.audit.reports import a_bad_night, a_fact, a_finding, change
from tests.unit.fees.billed import billed, item
from tests.unit.fees.builders import ACK_PRO, OCTOBER, metered

TEXTS = {
    "a script": "<script>alert(1)</script>",
    "a picture": '"><img src=x onerror=alert(1)>',
    "an attribute in double quotes": '" onmouseover="alert(1)',
    "an attribute in single quotes": "' onmouseover='alert(1)",
    "an attribute without quotes": "x onmouseover=alert(1)",
    "the end of a style": "</style><style>*{display:none}</style>",
    "a comment": "<!-- --><b>--!>",
    "a command with markup": "`<i>`",
    "a backtick that is left over": "`<i>",
    "markup that is escaped already": "&lt;script&gt; &#x3c;b&gt;",
    "a template": "{{ 7 * 7 }}{% raw %}{# #}",
    "text that turns around": "\u202eevil\u2066\u200b",
    "a terminal's commands": "\x1b]0;owned\x07\x1b[2J\x00\r",
    "half a letter": "\ud800",
    "lines": "one\ntwo\u2028three",
    "mathematics": "$x^{$ \\frac",
    "a formula": '=HYPERLINK("http://evil","x")',
}
HUGE = "<b>&`" * 50_000


def a_hostile_night(text: str) -> AuditReport:
    """It is a name, an id, a check, a target, evidence, a reason, a note and a command."""
    night = a_bad_night()
    facts = tuple(
        a_fact(check, text, f"{text} tcp", quality, evidence=text)
        for check in ("connect.host", "dns.stub", f"dns.{text}", text)
        for quality in (Quality.FAIL, Quality.SLOW)
    )
    finding = a_finding(text, text, Severity.BLOCKER, text, text, text)
    expected = a_finding(text, text, Severity.INFO, "host", text, f"`{text}`")
    gone = tuple(replace(one, id=text, observed=text) for one in night.compared.gone)
    return replace(
        night,
        fleet=text,
        run_id=text,
        hosts={text: Place(text, text, text), "b": Place("b", "b")},
        facts=facts,
        compared=Comparison((change(finding), change(expected)), gone),
        explains={(finding.id, finding.subject): facts},
        unread={text: text},
        silent={text: 9},
        caches=text,
        notes=(text,),
    )


def a_hostile_month(text: str) -> Month:
    """It is a tariff's words, a resource, a label, a reason, a bill's item, a finding and a note."""
    day = "2026-10-05T15:00:00+08:00"
    s = metered([("c1", "cluster", "created", day), ("n1", "node", "joined", day, 64, 0, "site=a")], ACK_PRO)
    tariff = replace(
        s.tariff,
        title=text,
        region=text,
        currency=text,
        comparator=True,
        rules=tuple(replace(rule, title=text) for rule in s.tariff.rules),
    )
    lines = tuple(
        replace(line, id=text, resource_id=text, waiver=text, corrects=text, because=text) for line in s.lines
    )
    unpriced = (Unpriced(text, text, 1, "", OCTOBER.first, OCTOBER.first, text),)
    hostile = replace(s, tariff=tariff, lines=lines, unpriced=unpriced)
    found = reconcile(s, billed(item("c1", gross=9.0, charged=9.0), item("d1", "Disk", charged=1.0, product="ecs")),
                      read_at=datetime(2026, 12, 1, tzinfo=UTC))  # fmt: skip
    return Month(
        hostile,
        is_closed=False,
        allocations={
            "team": Allocation(
                "team", ShareKey("weights", {"a": Fraction(1)}), (Share(text, text, Decimal(1), is_shared=False),)
            )
        },
        trend=[(text, Decimal(1)), ("2026-10", Decimal(2))],
        forecast=(
            MonthForecast(hostile, text, (ChangeCost(OCTOBER, Decimal(1), Decimal(2)),)),
            MonthForecast(hostile, "", ()),
        ),
        reconciliation=_hostile_bill(found, text),
    )


def _hostile_bill(found: Reconciliation, text: str) -> Reconciliation:
    (resource, *_) = found.resources
    return replace(
        found,
        bill=replace(found.bill, source=text, currency=text),
        compared=tuple(replace(one, resource_id=text, item=text, rule="", reason=text) for one in found.compared),
        resources=(
            replace(resource, instance_id=text, product=text, item=text),
            replace(resource, instance_id=text, belongs_as=text, item=text),
        ),
        findings=(a_finding(text, text, Severity.WARNING, text, text, text),),
        not_on_bill=(text,),
        notes=(text,),
    )


def all_pages() -> Iterator[tuple[str, Callable[[str], str]]]:
    """Each page that the product makes, of one text."""
    yield "audit", lambda text: audit_page(a_hostile_night(text))
    yield "fees", lambda text: fees_page(a_hostile_month(text))
