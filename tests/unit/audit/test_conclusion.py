"""The conclusion of a night: what is reported, what is fixed, what is unknown."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from poolkeeper.tasks.audit.conclusion import SILENT, AuditInput, Response, conclude
from poolkeeper.tasks.audit.measurements import Quality
from poolkeeper.tasks.audit.nights.comparison import PastFinding, PastRun, Seen
from poolkeeper.tasks.audit.planning.plan import ClusterView, plan_night
from poolkeeper.tasks.audit.planning.questions import Answer, Kind, Outcome
from poolkeeper.tasks.audit.remote.worker import WorkerAway
from poolkeeper.tasks.audit.report.audit_report import AuditReport
from poolkeeper.tasks.audit.report.messages import run_state
from poolkeeper.tasks.cluster.claims import Claim, Phase, claim_text
from poolkeeper.tasks.cluster.nodes import ROLLOUT
from poolkeeper.tasks.fleet.model import SiteDns
from poolkeeper.tasks.hosts.errors import AuthRefused, ConnectTimeout, HostError, HostKeyChanged
from poolkeeper.tasks.outcomes import RunState, Severity, Subject
from tests.unit.audit.test_plan import fleet
from tests.unit.onboard.builders import CLUSTER, a_host, a_node

NOW = datetime(2026, 11, 24, 2, tzinfo=UTC)
DNS = {"dns": SiteDns(("10.1.0.2",))}
HOSTS = [a_host(name, site=DNS, address=f"10.1.0.{n}") for n, name in enumerate(("n1", "n2", "n3"), 11)]
GOOD = {
    Kind.TCP: {},
    Kind.STUB: {"addresses": "10.1.9.9"},
    Kind.DNS: {"addresses": "10.1.9.9", "rcode": "NOERROR"},
    Kind.MTU: {"largest": "1500"},
    Kind.SETTINGS: {"servers": "10.1.0.2", "search": "", "ndots": "1"},
}


def inputs(responses: dict[str, Any], before: tuple[PastRun, ...] = ()) -> AuditInput:
    """A night of three hosts. responses: host -> an error, or `{index of a question: answer}` that differs from a good one."""
    declared = fleet(HOSTS)
    plan = plan_night(declared, HOSTS, {}, 740_000, {})
    answers = {}
    for host in HOSTS:
        given = responses.get(host.name, {})
        if isinstance(given, HostError):
            answers[host.name] = Response(error=given)
            continue
        good = [
            Answer(Outcome.OK, 1.0, {} if asked.expected.absent else GOOD[asked.question.kind])
            for asked in plan.asked[host.name]
        ]
        answers[host.name] = Response(
            tuple(given.get(asked.check, one) for asked, one in zip(plan.asked[host.name], good, strict=True))
        )
    views = {CLUSTER.name: ClusterView("https://api.example.com:6443", "CA")}
    return AuditInput(declared, {h.name: h for h in HOSTS}, plan, views, answers, {}, before, {}, "r", NOW)


def told(report: AuditReport) -> list[tuple[str, str]]:
    return [(one.finding.id, str(one.finding.subject)) for one in report.compared.changes]


def last_night(*found: tuple[str, Subject]) -> PastRun:
    seen = dict.fromkeys(found, Seen("was broken", NOW - timedelta(days=9), 8))
    return PastRun("r", NOW - timedelta(days=1), frozenset({"n1", "n2", "n3"}), found=seen)


def test_nothing_is_wrong() -> None:
    report = conclude(inputs({}), NOW)
    assert (told(report), report.unread) == ([], {})
    assert run_state(report, "blockers") is RunState.COMPLETED


def test_a_host_that_is_away_is_one_finding() -> None:
    away = Answer(Outcome.TIMEOUT, 3000)
    report = conclude(inputs({"n1": ConnectTimeout("no answer"), "n2": {}, "n3": {}}), NOW)
    assert told(report) == [("audit.path.cut", "path poolkeeper -> n1")], "the others reach it"
    everyone = {"n1": ConnectTimeout("no answer"), "n2": {"connect.host": away, "mtu.host": away}}
    report = conclude(inputs({**everyone, "n3": {"connect.host": away, "mtu.host": away}}), NOW)
    assert ("audit.host.cut", "host n1") in told(report)
    assert report.unread == {"n1": "no answer"}
    assert run_state(report, "nothing") is RunState.UNFINISHED_HOSTS


def test_a_host_that_answers_nothing_is_not_measured() -> None:
    mute = Answer(Outcome.UNKNOWN, reason="the probe program did not start")
    checks = ("settings.search", "dns.stub", "dns.resolver", "mtu.host", "connect.host")
    report = conclude(inputs({"n1": dict.fromkeys(checks, mute)}), NOW)
    assert report.unread == {"n1": "the probe program did not start"}


@pytest.mark.parametrize("silent", [False, True], ids=["it answers, and may not be read", "it does not answer"])
def test_a_cluster_that_could_not_be_read_is_reported_and_unknown(silent: bool) -> None:
    unread = {CLUSTER.name: "HTTP 403"}
    report = conclude(replace(inputs({}), unread_clusters=unread, unreached_clusters=unread if silent else ()), NOW)
    assert told(report) == ([("audit.path.cut", "path poolkeeper -> api.example.com:6443")] if silent else [])
    ready = {fact.target: fact.quality for fact in report.facts if fact.check == "node.ready"}
    assert ready == dict.fromkeys(("n1", "n2", "n3"), Quality.UNKNOWN)
    assert run_state(report, "nothing") is RunState.UNFINISHED_HOSTS
    assert "1 cluster not read" in report.summary
    assert any("HTTP 403" in note for note in report.notes)


def test_a_cluster_without_a_kubeconfig_costs_its_own_half() -> None:
    report = conclude(replace(inputs({}), views={}, unread_clusters={CLUSTER.name: "no such file"}), NOW)
    assert (told(report), report.unread) == ([], {})
    assert run_state(report, "nothing") is RunState.UNFINISHED_HOSTS


def test_a_site_without_a_worker_is_one_finding_and_no_hosts_fault() -> None:
    away = inputs({name: WorkerAway("nobody took the run") for name in ("n1", "n2", "n3")})
    report = conclude(replace(away, workers={"fra1": "nobody took the run"}), NOW)
    assert told(report) == [("audit.target.cut", "target worker of fra1")]
    assert "ask-site/" in report.compared.changes[0].finding.next_step
    assert report.unread.keys() == {"n1", "n2", "n3"}
    before = last_night(("audit.target.cut", Subject("target", "worker of fra1")))
    back = replace(inputs({}, (before,)), workers={"fra1": ""})
    assert [gone.subject.name for gone in conclude(back, NOW).compared.fixed] == ["worker of fra1"]


def test_a_site_that_has_been_without_a_worker_for_long_is_one_finding_still() -> None:
    before = tuple(
        PastRun(f"r{ago}", NOW - timedelta(days=ago), frozenset({"n1", "n2", "n3"}), frozenset({"n1", "n2", "n3"}))
        for ago in range(1, 9)
    )
    lost = WorkerAway("nobody took it")
    away = inputs({"n1": lost, "n2": lost, "n3": AuthRefused("publickey")}, before)
    report = conclude(replace(away, workers={"fra1": "nobody took it"}), NOW)
    assert [about for id, about in told(report) if id == SILENT] == ["host n3"], "it was asked"
    assert report.silent == {"n1": 9, "n2": 9, "n3": 9}, "the list of hosts has them all"


@pytest.mark.parametrize(
    ("node", "severities", "note"),
    [
        pytest.param({}, {Severity.BLOCKER, Severity.WARNING}, "", id="nothing is going on with it"),
        pytest.param({"unschedulable": True}, {Severity.INFO}, "; the node is cordoned", id="it is cordoned"),
        pytest.param(
            {"annotations": {ROLLOUT: claim_text(Claim("r", "upgrade", {}, "run-1", 1, Phase.CHANGING, "now"))}},
            {Severity.INFO},
            "; upgrade works on the node (changing)",
            id="an upgrade works on it",
        ),
    ],
)
def test_no_login_to_a_host_that_is_worked_on_is_no_surprise(
    node: dict[str, Any], severities: set[Severity], note: str
) -> None:
    missed = frozenset({"n1"})
    before = tuple(PastRun(f"r{ago}", NOW - timedelta(days=ago), missed, missed) for ago in range(1, 9))
    night = inputs({"n1": HostKeyChanged("another key")}, before)
    view = replace(night.views[CLUSTER.name], nodes={"n1": a_node("n1", **node)})
    findings = [one.finding for one in conclude(replace(night, views={CLUSTER.name: view}), NOW).compared.changes]
    assert {one.id: one.evidence.observed for one in findings} == {
        "hosts.ssh.host-key-changed": f"another key{note}",
        SILENT: f"the host was not measured for 9 nights: another key{note}",
    }
    assert {one.severity for one in findings} == severities


API = {"name_ms": "0.2", "connect_ms": "1.0", "tls_ms": "4.0", "http_ms": "2.0", "status": "200"}


@pytest.mark.parametrize(
    ("off", "found", "severity"),
    [
        pytest.param([], [], None, id="no host"),
        pytest.param(["n1"], [("audit.host.clock", "host n1")], Severity.BLOCKER, id="one host"),
        pytest.param(["n2"], [("audit.host.clock", "host n2")], Severity.INFO, id="one host, which is cordoned"),
        pytest.param(
            ["n1", "n2", "n3"],
            [("audit.endpoint.clock", "endpoint api.example.com:6443")],
            Severity.BLOCKER,
            id="every host",
        ),
    ],
)
def test_whose_clock_is_wrong(off: list[str], found: list[tuple[str, str]], severity: Severity | None) -> None:
    night = inputs({})
    view = replace(night.views[CLUSTER.name], nodes={"n2": a_node("n2", unschedulable=True)})
    plan = plan_night(night.fleet, HOSTS, {CLUSTER.name: view}, 740_000, {})
    response = {}
    for name, asked in plan.asked.items():
        good = {**GOOD, Kind.API: {**API, "clock_offset_s": "600" if name in off else "0.4"}}
        answers = [Answer(Outcome.OK, 1.0, {} if one.expected.absent else good[one.question.kind]) for one in asked]
        response[name] = Response(tuple(answers))
    report = conclude(replace(night, plan=plan, views={CLUSTER.name: view}, responses=response), NOW)
    assert told(report) == found
    for one in report.compared.changes:
        assert one.finding.severity is severity
        assert "time synchronisation" in one.finding.next_step
        assert ("; the node is cordoned" in one.finding.evidence.observed) == (severity is Severity.INFO)


def test_the_source_of_a_login_is_its_caller() -> None:
    asked = inputs({})
    response = {name: replace(one, by="worker of fra1") for name, one in asked.responses.items()}
    facts = [fact for fact in conclude(replace(asked, responses=response), NOW).facts if fact.check == "ssh"]
    assert {(fact.source, fact.quality) for fact in facts} == {("worker of fra1", Quality.OK)}


HERE = Subject("host", "n1")
SLOW = Answer(Outcome.OK, 3000.0, {"addresses": "10.1.9.9"})


@pytest.mark.parametrize(
    ("id", "responses", "fixed"),
    [
        pytest.param("audit.stub.cut", {}, True, id="it was shown to work"),
        pytest.param("audit.stub.cut", {"n1": ConnectTimeout("x")}, False, id="the host is away: nobody knows"),
        pytest.param("audit.kubelet.cut", {}, False, id="no pod was tried on it"),
        pytest.param("audit.host.big-packets", {}, True, id="big packets pass"),
        pytest.param(
            "audit.host.big-packets",
            {name: {"mtu.host": Answer(Outcome.TIMEOUT, 1)} for name in ("n1", "n2", "n3")},
            False,
            id="no echo, while connects pass",
        ),
        pytest.param("audit.stub.slow", {}, True, id="it is fast"),
        pytest.param("audit.stub.slow", {"n1": {"dns.stub": SLOW}}, False, id="slow still, too little to tell of"),
        pytest.param("audit.stub.cut", {"n1": {"dns.stub": SLOW}}, True, id="slow, and so not cut"),
        pytest.param("hosts.ssh.auth-refused", {}, True, id="it lets us in"),
        pytest.param("hosts.ssh.auth-refused", {"n1": ConnectTimeout("x")}, False, id="it cannot be reached to try"),
        pytest.param(SILENT, {}, True, id="it answers again"),
    ],
)
def test_only_what_was_shown_to_work_is_fixed(id: str, responses: dict[str, Any], fixed: bool) -> None:
    report = conclude(inputs(responses, (last_night((id, HERE)),)), NOW)
    gone = {one.id: one.measured for one in report.compared.gone}
    assert gone == {id: fixed}


@pytest.mark.parametrize(
    ("responses", "fixed"),
    [
        pytest.param({}, True, id="it is answered fast"),
        pytest.param(
            {name: {"dns.stub": SLOW, "dns.resolver": SLOW} for name in ("n1", "n2", "n3")},
            False,
            id="slow whoever is asked",
        ),
    ],
)
def test_a_name_that_was_slow_is_fixed_once_it_is_fast(responses: dict[str, Any], fixed: bool) -> None:
    slow = ("audit.name.slow", Subject("name", "aliyun.com"))
    compared = conclude(inputs(responses, (last_night(slow),)), NOW).compared
    assert (slow in [(one.id, one.subject) for one in compared.fixed]) == fixed


def test_a_run_over_some_hosts_reports_nothing_about_the_rest() -> None:
    other, portal = Subject("host", "n2"), Subject("target", "portal")
    before = last_night(
        ("audit.stub.cut", HERE), (SILENT, HERE), ("audit.target.cut", portal),
        ("audit.stub.cut", other), ("audit.kubelet.cut", other),
    )  # fmt: skip
    compared = conclude(only("n2", inputs({}, (before,))), NOW).compared
    assert [(one.id, one.subject) for one in compared.fixed] == [("audit.stub.cut", other)]
    assert [(one.id, one.subject) for one in compared.not_measured] == [("audit.kubelet.cut", other)]
    assert [(one.id, one.subject) for one in compared.elsewhere] == [
        (SILENT, HERE), ("audit.stub.cut", HERE), ("audit.target.cut", portal),
    ]  # fmt: skip


def test_a_login_that_is_refused_is_the_hosts_own() -> None:
    report = conclude(inputs({"n1": AuthRefused("publickey")}), NOW)
    assert told(report) == [("hosts.ssh.auth-refused", "host n1")]


def test_a_malformed_answer_affects_its_host_only() -> None:
    odd = Answer(Outcome.OK, 1.0, {"ndots": "inf", "search": "a,b,c", "addresses": "", "rcode": "?", "largest": "nan"})
    checks = ("settings.search", "dns.stub", "dns.resolver", "mtu.host")
    report = conclude(inputs({"n1": dict.fromkeys(checks, odd)}), NOW)
    assert all(one.finding.severity in Severity for one in report.compared.changes)
    assert report.counts.total() == conclude(inputs({}), NOW).counts.total()


def test_a_name_that_left_the_fleet_is_not_kept_for_ever() -> None:
    before = last_night(("audit.host.cut", Subject("host", "sold")), ("audit.host.cut", HERE))
    assert told_of(conclude(inputs({}, (before,)), NOW).compared.gone) == ["host n1"]
    carried = replace(before, found={}, carried=before.found)
    assert told_of(conclude(inputs({"n1": ConnectTimeout("x")}, (carried,)), NOW).compared.gone) == ["host n1"]


@pytest.mark.parametrize(
    ("subject", "unknown_for", "kept"),
    [
        pytest.param(Subject("resolver", "172.20.0.9"), 30, True, id="nobody could tell for 30 nights"),
        pytest.param(Subject("resolver", "172.20.0.9"), 31, False, id="it is longer than that: gone for good, perhaps"),
        pytest.param(Subject("host", "n1"), 90, True, id="a host is there for as long as it is declared"),
    ],
)
def test_what_may_be_gone_for_good_is_kept_for_so_long(subject: Subject, unknown_for: int, kept: bool) -> None:
    last = NOW - timedelta(days=unknown_for)
    seen = {("audit.x.cut", subject): Seen("was broken", last, 1, last)}
    before = [
        PastRun(f"r{ago}", NOW - timedelta(days=ago), frozenset(), carried=seen if ago < unknown_for else {})
        for ago in range(1, 100)
    ]
    report = conclude(inputs({"n1": ConnectTimeout("x")}, tuple(before)), NOW)
    assert told_of(report.compared.not_measured) == ([str(subject)] if kept else [])


def told_of(gone: tuple[PastFinding, ...]) -> list[str]:
    return [str(one.subject) for one in gone]


def only(name: str, night: AuditInput) -> AuditInput:
    """The same night for one host, that connects to the others as on that night."""
    plan = plan_night(night.fleet, HOSTS, {}, 740_000, {}, only={name})
    return replace(night, plan=plan, hosts={name: night.hosts[name]}, responses={name: night.responses[name]})
