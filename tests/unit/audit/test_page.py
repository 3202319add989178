"""The night's page: what it says, that nothing on it is from elsewhere, and that it stays small."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from poolkeeper.tasks.audit.measurements import Quality
from poolkeeper.tasks.audit.nights.comparison import Comparison, FindingStatus, PastFinding
from poolkeeper.tasks.audit.places import Place
from poolkeeper.tasks.audit.report.audit_report import AuditReport
from poolkeeper.tasks.audit.report.page import SHOWN_SLOW, page
from poolkeeper.tasks.outcomes import Severity, Subject
from tests.unit.audit.reports import (
    HOSTS,
    a_bad_night,
    a_big_night,
    a_fact,
    a_finding,
    a_report,
    an_expected_night,
    change,
)
from tests.unit.pages.reading import Read

EMPTY = a_report(facts=(), hosts={}, pairs=0, earlier_nights=0)
UNKNOWN = a_report(
    facts=tuple(replace(fact, quality=Quality.UNKNOWN, duration_ms=None) for fact in a_report().facts),
    unread=dict.fromkeys(HOSTS, "no login"),
)


def test_a_quiet_night_has_its_number_of_measurements() -> None:
    read = Read(page(a_report()))
    assert "✓ Nothing is broken." in read.sections[""]
    assert "6 measured: 6 ok" in read.sections[""]
    assert "took 4 min 12 s. Compared with 5 earlier nights. Run run-1" in read.sections[""]
    assert "all 3 hosts were measured" in read.sections["hosts"]


@pytest.mark.parametrize(
    ("report", "words", "mark"),
    [
        pytest.param(EMPTY, "Nothing could be measured: whether anything is broken is unknown.", "warn", id="empty"),
        pytest.param(
            UNKNOWN, "Nothing could be measured: whether anything is broken is unknown.", "warn", id="all unknown"
        ),
        pytest.param(
            a_report(unread={"fra1-n01": "no login"}),
            "Nothing is broken in what could be measured.",
            "good",
            id="one host missing",
        ),
        pytest.param(
            a_report(facts=(a_fact(quality=Quality.FAIL),)),
            "1 measurement failed, and no finding explains them.",
            "bad",
            id="unexplained",
        ),
        pytest.param(
            a_report(compared=Comparison((change(a_finding(), FindingStatus.STILL, 4),), ())),
            "One thing is broken: still failing since 2026-11-20, 4 nights.",
            "bad",
            id="one finding",
        ),
        pytest.param(
            a_report(compared=Comparison((change(a_finding(severity=Severity.INFO)),), ())),
            "Nothing is broken.",
            "good",
            id="expected",
        ),
        pytest.param(an_expected_night(), "Nothing is broken.", "good", id="what failed is expected"),
        pytest.param(
            an_expected_night(a_fact("dns.stub", quality=Quality.FAIL)),
            "1 measurement failed, and no finding explains them.",
            "bad",
            id="one more than is expected",
        ),
    ],
)
def test_the_headline_claims_no_more_than_is_known(report: AuditReport, words: str, mark: str) -> None:
    read = Read(page(report))
    assert words in read.sections[""]
    assert ("p", {"class": f"lead {mark}"}) in read.tags


def test_an_empty_night_has_a_sentence_in_every_section() -> None:
    sections = Read(page(EMPTY)).sections
    assert set(sections) == {"", "broken", "gone", "connections", "dns", "latency", "hosts", "method"}
    for words, section in (
        ("Nothing could be measured", "broken"),
        ("no earlier night to compare with", "gone"),
        ("No connection between hosts was measured", "connections"),
        ("No DNS was measured", "dns"),
        ("Unknown: a path", "latency"),
        ("No host was chosen", "hosts"),
        ("Nothing was measured", "method"),
    ):
        assert words in sections[section]


def test_a_run_over_some_hosts_reports_what_is_out_of_its_scope() -> None:
    left = PastFinding("audit.clock", Subject("host", "fra1-n02"), "its clock is off", False)
    gone = Read(page(a_report(compared=Comparison((), (), (left,))))).sections["gone"]
    assert gone == "Gone since last night Outside the scope of this run, and kept for the next one: 1 finding."


def test_a_finding_has_evidence_history_explained_measurements_and_next_step() -> None:
    read = Read(page(a_bad_night()))
    broken = read.sections["broken"]
    for words in (
        "✗ blocker site fra1 -- ams1",
        "no connection passed from fra1 to ams1",
        "connections pass both ways",
        "1 measurement: 1 connect.host",
        "fra1-n01 → ams1-n01: timed out after 3 s",
        "still failing since 2026-11-20, 4 nights",
    ):
        assert words in broken
    assert "mtr -T -P 10250 ams1-n01" in read.code
    assert broken.index("blocker") < broken.index("! warning") < broken.index("i info")
    assert "it is cordoned" in read.folded
    assert "DNS over TCP fails" not in read.folded
    fixed, unknown = read.sections["gone"].split("unknown whether fixed")
    assert "port 10250 refuses" in fixed
    assert "its clock is 40 s off" in unknown


def test_the_matrix_keeps_directions_apart() -> None:
    rows = Read(page(a_bad_night())).rows
    sites = rows[rows.index(["from \\ to", "ams1", "fra1", "cloud"]) :]
    assert sites[1] == ["ams1", "-", "2/2 ✓", "-"]
    assert sites[2] == ["fra1", "1/2✗ 1 fail✗ big 0/1", "2/2 ✓", "-"]
    domains = rows[rows.index(["from \\ to", "ams1-a", "fra1-a", "fra1-b", "cloud"]) :]
    assert domains[2] == ["fra1-a", "0/1✗ 1 fail", "-", "1/1 ✓", "-"]


def test_an_unknown_connection_is_no_ok() -> None:
    rows = Read(page(UNKNOWN)).rows
    assert ["ams1", "-", "0/2? 2 unknown", "-"] in rows


def test_domains_of_one_name_at_two_sites_and_hosts_without_one() -> None:
    hosts = {"a1": Place("a", "rack"), "b1": Place("b", "rack"), "a2": Place("a", "")}
    facts = tuple(a_fact(source=one, target=other) for one in hosts for other in hosts if one != other)
    assert ["from \\ to", "a, no domain", "a / rack", "b / rack", "cloud"] in Read(
        page(a_report(hosts=hosts, facts=facts))
    ).rows


def test_dns_by_stage() -> None:
    read = Read(page(a_bad_night()))
    rows = read.rows
    first = rows.index(["host's own lookup", "1", "0", "14 ms", "14 ms"])
    assert rows[first + 1 : first + 5] == [
        ["node-local cache UDP", "1", "0", "3.0 ms", "3.0 ms"],
        ["CoreDNS endpoints UDP", "1", "0", "6.0 ms", "6.0 ms"],
        ["CoreDNS endpoints TCP", "1", "✗ 1", "-", "-"],
        ["1 fail; asked for 172.20.0.9 kubernetes.default tcp: 1"],
    ]
    assert read.sections["dns"].index("fra1") < read.sections["dns"].index("ams1"), "trouble first"


def test_what_left_its_baseline_most_comes_first_and_the_rest_is_counted() -> None:
    assert ["ams1-n01", "api.example:6443", "api.tls", "310 ms", "42 ms", "7.4 x"] in Read(page(a_bad_night())).rows
    slow = tuple(a_fact(target=f"t{i}", quality=Quality.SLOW) for i in range(SHOWN_SLOW + 7))
    latency = Read(page(a_report(facts=slow))).sections["latency"]
    assert "no baseline" in latency
    assert "7 more are not shown" in latency


def test_who_was_not_measured_and_why() -> None:
    read = Read(page(a_bad_night()))
    assert ["ams1", "1", "ams1-n02", "no login: connection refused (a rollout works on it)"] in read.rows
    assert ["ams1-n02", "ams1", "6"] in read.rows
    assert "Cluster edge did not answer" in read.sections[""]
    assert ["all checks", "13", "9", "1", "3", "0"] in read.rows


@pytest.mark.parametrize(
    ("sites", "domains"),
    [pytest.param(12, 10, id="many domains"), pytest.param(60, 1, id="many sites"), pytest.param(12, 1, id="wide")],
)
def test_a_big_night_is_a_small_page(sites: int, domains: int) -> None:
    report = a_big_night(sites=sites, domains=domains)
    began = time.process_time()
    text = page(report)
    assert time.process_time() - began < 5, "a slow machine is given time: it takes less than one second"
    assert len(text.encode()) < 1_000_000
    read = Read(text)
    assert "1,234 more are not shown" in read.sections["broken"]
    if sites * domains > 24:
        assert "only the directions with failures are shown" in read.sections["connections"]
