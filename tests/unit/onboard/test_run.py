"""What a run makes of what it has read: who goes on, who stays out and why, who is finished."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from poolkeeper.tasks.cluster import ApiError, ClusterApi
from poolkeeper.tasks.cluster.access import Access
from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.fleet.guards import freeze_guard, observe_guard
from poolkeeper.tasks.fleet.model import Freeze, Host, Mode
from poolkeeper.tasks.hosts import FactsRequest, HostError
from poolkeeper.tasks.ledger import FINDINGS, Spool
from poolkeeper.tasks.onboard.admission import Admission
from poolkeeper.tasks.onboard.context import Context, Look
from poolkeeper.tasks.onboard.next_action import JoinState, NextAction, Step, next_action
from poolkeeper.tasks.onboard.preflight import REGISTRY
from poolkeeper.tasks.onboard.run import OnboardRun, Preflight, make_batch
from poolkeeper.tasks.outcomes import Change, Checked, Finding, Gate, HostState, Severity, Subject, Unknown, Verdict
from poolkeeper.tasks.runs.recording import Recorder
from tests.unit.onboard.builders import CLUSTER, NOW, a_finding, a_host, a_view, some_facts, unread

STOPPED = NextAction(Step.STOP, "another machine", a_finding("onboard.identity.other-machine"))
JOINING = NextAction(Step.JOIN, "not in the cluster yet")
DONE = NextAction(Step.NOTHING, "accepted already")


@pytest.fixture
async def run(tmp_path: Path, said: list[str]) -> OnboardRun:
    """A run that has read everything that it is going to read: nothing is asked of a host or a provider any more."""
    admission = Admission(
        Context(
            api=ClusterApi(Access(CLUSTER, "https://10.0.0.1:6443"), cast(Any, None)),
            sessions=cast(Any, None),
            provider=cast(Any, None),
            gate=Gate(),
            recorder=Recorder(Spool(tmp_path), "run-1"),
            request=FactsRequest(),
        )
    )
    return OnboardRun([a_host("a"), a_host("b")], admission, {}, "v1.36.3", 0.0)


def look(name: str, action: NextAction | None = None, **facts: Any) -> Look:
    read = some_facts(
        **{"hostname": name, "machine_id": f"m-{name}", "boot_id": f"b-{name}", "product_uuid": name, **facts}
    )
    own = action or next_action(a_host(name), read.machine_id, None, JoinState.NONE, NOW)
    return Look(read, None, JoinState.NONE, own)


def result(action: NextAction, *findings: Finding, outside: tuple[Finding, ...] = ()) -> Preflight:
    checked = tuple(Checked(f.id, Verdict.FAIL, f.subject, f) for f in findings)
    return Preflight(a_host("a"), action, checked, outside)


# who goes on


@pytest.mark.parametrize(
    ("preflight", "goes_on"),
    [
        pytest.param(result(JOINING), True, id="nothing wrong"),
        pytest.param(result(JOINING, a_finding(severity=Severity.WARNING)), True, id="a warning"),
        pytest.param(result(JOINING, a_finding()), False, id="a blocker"),
        pytest.param(result(JOINING, outside=(a_finding("provider.pool.state"),)), False, id="its pool is ineligible"),
        pytest.param(result(STOPPED), False, id="for the operator to decide"),
        pytest.param(result(DONE), False, id="accepted"),
        pytest.param(result(DONE, a_finding()), False, id="accepted, and something is wrong"),
    ],
)
def test_who_goes_on(preflight: Preflight, goes_on: bool) -> None:
    assert preflight.has_work is goes_on


# those who do not


def test_a_stopped_host_says_its_worst_and_keeps_every_finding(run: OnboardRun, said: list[str]) -> None:
    warning = a_finding("hosts.aaa", Severity.WARNING)
    outcome = run.ended_in_preflight(result(JOINING, warning, a_finding("hosts.zzz"), a_finding()))
    assert (outcome.state, outcome.summary) == (HostState.STOPPED, "hosts.swap.off: 1.0 GiB of swap")
    assert {finding.id for finding in outcome.findings} == {"hosts.aaa", "hosts.swap.off", "hosts.zzz"}
    assert said == ["a: stopped: hosts.swap.off: 1.0 GiB of swap"]
    assert {row["id"] for row in run.recorder.spool.rows(FINDINGS)} == {"hosts.aaa", "hosts.swap.off", "hosts.zzz"}


def test_an_accepted_host_is_accepted(run: OnboardRun) -> None:
    outcome = run.ended_in_preflight(result(DONE))
    assert (outcome.state, outcome.summary, outcome.findings) == (HostState.ACCEPTED, "accepted already", ())


def test_findings_on_an_accepted_host_are_warnings(run: OnboardRun) -> None:
    outcome = run.ended_in_preflight(
        result(DONE, a_finding("hosts.clock.api"), a_finding("hosts.mtu.enough", Severity.INFO))
    )
    assert outcome.state is HostState.ACCEPTED
    assert [(f.id, f.severity) for f in outcome.findings] == [
        ("hosts.clock.api", Severity.WARNING),
        ("hosts.mtu.enough", Severity.INFO),
    ]
    assert len(list(run.recorder.spool.rows(FINDINGS))) == 2


@pytest.mark.parametrize(
    ("error", "id", "observed", "next_step"),
    [
        pytest.param(HostError("the line broke"), "hosts.ssh.failed", "the line broke", "Try it by hand", id="host"),
        pytest.param(
            ApiError(403, "GET /x", None, None),
            "onboard.host.aborted",
            "ApiError: GET /x: HTTP 403. Give the kubeconfig's user this right",
            "Run this again",
            id="cluster",
        ),
        pytest.param(
            ValueError("surprise"), "onboard.host.aborted", "ValueError: surprise", "Run this again", id="ours"
        ),
    ],
)
def test_a_host_whose_admission_was_aborted_has_an_outcome(
    run: OnboardRun, error: Exception, id: str, observed: str, next_step: str
) -> None:
    outcome = run.aborted("a", error)
    (finding,) = outcome.findings
    assert outcome.state is HostState.FAILED
    assert (finding.id, finding.severity, str(finding.subject)) == (id, Severity.BLOCKER, "host a")
    assert finding.evidence.observed.startswith(observed)
    assert finding.next_step.startswith(next_step)


def test_a_full_disk_costs_the_other_hosts_nothing(run: OnboardRun, tmp_path: Path) -> None:
    run.recorder.spool.root = tmp_path / "spool"
    run.recorder.spool.root.write_text("no folder can be made here")
    outcome = run.aborted("a", OSError(28, "No space left on device"))
    assert (outcome.state, outcome.findings[0].id) == (HostState.FAILED, "onboard.host.aborted")


# judging a batch


async def test_a_host_that_cannot_be_read_costs_the_others_nothing(run: OnboardRun) -> None:
    async def read(host: Host, node: NodeRow | None) -> Look:
        if host.name == "a":
            raise RecursionError("too deep")
        return look(host.name)

    run.admission.look = read  # type: ignore[method-assign]  # there is no host to read
    readings = await run.observe(["a", "b"])
    assert isinstance(readings["b"], Look)
    assert isinstance(readings["a"], Finding)
    assert readings["a"].evidence.observed == "the read was aborted: RecursionError: too deep"
    assert [r.has_work for r in run.preflight(readings, {}, {})] == [False, True]


def test_every_host_that_was_asked_for_is_judged(run: OnboardRun) -> None:
    unreadable = a_finding("hosts.ssh.refused", subject=Subject("host", "b"))
    judged = run.preflight({"a": look("a"), "b": unreadable}, {}, {})
    assert [(r.host.name, r.has_work, len(r.checked)) for r in judged] == [("a", True, len(REGISTRY)), ("b", False, 0)]
    assert judged[1].findings == (unreadable,)
    assert run.ended_in_preflight(judged[1]).summary == "hosts.ssh.refused: 1.0 GiB of swap"


def test_hosts_are_compared_with_each_other(run: OnboardRun) -> None:
    judged = run.preflight({"a": look("a", machine_id="m-9"), "b": look("b", machine_id="m-9")}, {}, {})
    for one in judged:
        assert [f.id for f in one.findings if f.severity is Severity.BLOCKER] == ["hosts.machine-id.unique"]


def test_an_ineligible_pool_excludes_its_hosts(run: OnboardRun) -> None:
    ineligible = {"general": (a_finding("provider.pool.state"),)}
    judged = run.preflight({"a": look("a"), "b": look("b")}, {}, ineligible)
    assert [r.has_work for r in judged] == [False, False]


def test_skips_reach_every_host(run: OnboardRun) -> None:
    readings = {"a": look("a", swap_bytes=1), "b": look("b", swap_bytes=1)}
    assert not any(r.has_work for r in run.preflight(readings, {}, {}))
    assert all(r.has_work for r in run.preflight(readings, {"hosts.swap.off": "zram"}, {}))


def test_a_batch_knows_which_hosts_share_a_value() -> None:
    views = [a_view("a"), a_view("b"), a_view("c", machine_id=unread(), boot_id="b-2")]
    batch = make_batch({v.host.name: v for v in views}, {}, api_version="v1.36.3", api_host="h", api_ahead_s=10.0)
    assert batch.shared["machine_id"] == {"m-1": ("a", "b")}
    assert batch.shared["boot_id"] == {"b-1": ("a", "b")}
    assert batch.shared["hostname"] == {}


def test_clocks_are_compared_with_the_api_servers() -> None:
    views = [a_view("a", clock_offset_s=10.0), a_view("b", clock_offset_s=12.0), a_view("c", clock_offset_s=unread())]
    batch = make_batch({v.host.name: v for v in views}, {}, api_version="v1.36.3", api_host="h", api_ahead_s=10.0)
    skews = {name: "?" if isinstance(s, Unknown) else s.value for name, s in batch.clock_skew_s.items()}
    assert skews == {"a": 0.0, "b": 2.0, "c": "?"}
    assert batch.median_skews_s == (0.0, 2.0)


def test_without_any_clock_there_is_no_median() -> None:
    view = a_view("a", clock_offset_s=unread())
    batch = make_batch({"a": view}, {}, api_version="", api_host="", api_ahead_s=0.0)
    assert batch.median_skews_s is None


# observe mode


OBSERVED = a_host("a", pool={"mode": Mode.OBSERVE})


@pytest.mark.parametrize(
    ("hosts", "subject", "refused"),
    [
        pytest.param([OBSERVED, a_host("b")], Subject("host", "a"), True, id="a host in observe mode"),
        pytest.param([OBSERVED, a_host("b")], Subject("node", "a"), True, id="its node"),
        pytest.param([OBSERVED, a_host("b", pool={"name": "batch"})], Subject("host", "b"), False, id="not the others"),
        pytest.param([OBSERVED], Subject("node", "cloud-1"), True, id="nothing else either when all are"),
        pytest.param([OBSERVED, a_host("b")], Subject("node", "cloud-1"), False, id="the peer of those that are not"),
        pytest.param([a_host("a", site={"mode": Mode.OBSERVE})], Subject("host", "a"), True, id="by its site"),
        pytest.param([a_host("a")], Subject("host", "a"), False, id="nobody"),
    ],
)
async def test_observe_mode_refuses(hosts: list[Any], subject: Subject, refused: bool) -> None:
    refusal = await observe_guard(hosts)(Change(subject, "do it"))
    assert (refusal is not None) is refused
    if refusal is not None:
        assert refusal.guard == "observe"
        assert refusal.next_step.endswith(".")


# freezes of the fleet file


YEAR_END = Freeze(NOW - timedelta(days=1), NOW + timedelta(days=1), "year end")


@pytest.mark.parametrize(
    ("site", "subject", "refused"),
    [
        pytest.param({"freezes": (YEAR_END,)}, Subject("host", "a"), True, id="its host"),
        pytest.param({"freezes": (YEAR_END,)}, Subject("node", "a"), True, id="its node"),
        pytest.param({"freezes": (YEAR_END,)}, Subject("node", "b"), False, id="what is at no site of ours"),
        pytest.param({"freezes": (replace(YEAR_END, end=NOW),)}, Subject("host", "a"), False, id="over by now"),
        pytest.param({"freezes": (replace(YEAR_END, start=NOW),)}, Subject("host", "a"), True, id="from now on"),
        pytest.param({"freeze_calendars": (Path("/nowhere.ics"),)}, Subject("host", "a"), True, id="unreadable"),
        pytest.param({}, Subject("host", "a"), False, id="no freeze"),
    ],
)
async def test_a_declared_freeze_refuses(site: dict[str, Any], subject: Subject, refused: bool) -> None:
    refusal = await freeze_guard([a_host("a", site=site)], now=lambda: NOW)(Change(subject, "do it"))
    assert (refusal is not None) is refused
    if refusal is not None:
        assert refusal.guard == "freeze"
