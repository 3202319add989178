"""From the responses of hosts to the report of a night: judge, compare with other nights, group by root cause. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from poolkeeper.tasks.acceptance.pod_probe import Probed
from poolkeeper.tasks.audit.causes.candidates import candidates_from_here, candidates_of_login
from poolkeeper.tasks.audit.causes.findings import finding_of, key_of
from poolkeeper.tasks.audit.causes.grouping import Cause, group_by_cause
from poolkeeper.tasks.audit.judging.cluster_facts import node_facts, place_of, pod_facts, unread_node
from poolkeeper.tasks.audit.judging.verdicts import agree, judge
from poolkeeper.tasks.audit.measurements import CandidateCause, FailureMode, Measurement, Part, Quality
from poolkeeper.tasks.audit.nights.comparison import (
    Baseline,
    Key,
    PastRun,
    PathKey,
    Seen,
    against_baseline,
    compare,
    first_night,
    night_of,
    silent,
)
from poolkeeper.tasks.audit.places import CLOUD
from poolkeeper.tasks.audit.planning.plan import ClusterView, NightPlan
from poolkeeper.tasks.audit.planning.questions import Answer, Kind, Outcome
from poolkeeper.tasks.audit.remote.worker import WorkerAway
from poolkeeper.tasks.audit.report.audit_report import AuditReport
from poolkeeper.tasks.audit.report.cache_savings import cache_savings
from poolkeeper.tasks.cluster.nodes import NodeRow
from poolkeeper.tasks.fleet.model import Fleet, Host
from poolkeeper.tasks.hosts import HostError
from poolkeeper.tasks.hosts.errors import ConnectRefused, ConnectTimeout, Unreachable
from poolkeeper.tasks.outcomes import Evidence, Finding, Severity, Subject, by_severity

SILENT = "audit.host.silent"
SLOW_TOGETHER = 3
"""Slow measurements with one cause are a finding from this number on."""
HERE = "poolkeeper"
"""Source of what poolkeeper itself measures."""
_SYMPTOMS_OF_LOGIN = {ConnectTimeout: "timeout", ConnectRefused: "refused", Unreachable: "unreachable"}
"""Errors that may share a cause with other measurements; every other error concerns its host alone."""
_NOT_OF_ONE_HOST = frozenset({*_SYMPTOMS_OF_LOGIN, WorkerAway})
_NOT_ASKED = Answer(Outcome.UNKNOWN, reason="the host could not be probed")


@dataclass(frozen=True, slots=True)
class Response:
    """What one host answered, or why it could not be probed."""

    answers: tuple[Answer, ...] = ()
    error: HostError | None = None
    by: str = HERE
    """Who probed it: poolkeeper itself, or a worker in the host's site."""


@dataclass(frozen=True, slots=True)
class AuditInput:
    """Everything that a run has gathered."""

    fleet: Fleet
    hosts: Mapping[str, Host]
    plan: NightPlan
    views: Mapping[str, ClusterView]
    responses: Mapping[str, Response]
    tested: Mapping[str, Probed]
    """By host, for each node on which a test pod was to run."""
    before: Sequence[PastRun]
    """The newest first."""
    usual: Mapping[PathKey, Baseline]
    run_id: str
    started_at: datetime
    notes: tuple[str, ...] = ()
    unread_clusters: Mapping[str, str] = field(default_factory=dict)
    """Cluster -> why poolkeeper could not read it."""
    unreached_clusters: Collection[str] = ()
    """The unread clusters whose API server does not answer poolkeeper."""
    workers: Mapping[str, str] = field(default_factory=dict)
    """Work pool of a site -> why no worker there has probed its hosts; empty: a worker has."""


def conclude(inputs: AuditInput, now: datetime) -> AuditReport:
    """The report of a run."""
    facts = against_baseline((*_from_hosts(inputs, now), *_from_clusters(inputs), *_from_workers(inputs)), inputs.usual)
    places = {name: place_of(host, _node(inputs, host)) for name, host in inputs.hosts.items()}
    errors = {name: response.error for name, response in inputs.responses.items() if response.error is not None}
    unread = {name: error.observed for name, error in errors.items()} | _answered_nothing(inputs)
    answered = inputs.responses.keys() - unread.keys()
    silent_nights = inputs.fleet.audit.silent_nights
    long_silent = silent(inputs.hosts, answered, inputs.started_at, inputs.before, silent_nights)
    causes = [(finding_of(cause, places, now), cause) for cause in _worth_reporting(group_by_cause(facts))]
    findings = [finding for finding, _ in causes]
    of_hosts = [e.finding(Subject("host", name)) for name, e in errors.items() if type(e) not in _NOT_OF_ONE_HOST]
    of_hosts += [
        _silent(name, nights, unread.get(name, ""), now)
        for name, nights in long_silent.items()
        if not isinstance(errors.get(name), WorkerAway)  # this is a finding of its own, about the worker
    ]
    findings += [_with_note(finding, places[finding.subject.name].note) for finding in of_hosts]
    return AuditReport(
        fleet=inputs.fleet.name,
        run_id=inputs.run_id,
        started_at=inputs.started_at,
        ended_at=now,
        compared=compare(
            by_severity(findings),
            _known(facts, answered),
            _looked_at(inputs, facts),
            inputs.started_at,
            _of_fleet(inputs),
        ),
        facts=facts,
        hosts=places,
        unread=unread,
        silent=long_silent,
        explains={(finding.id, finding.subject): cause.explains for finding, cause in causes},
        usual=inputs.usual,
        pairs=inputs.plan.mesh.pairs,
        nights_to_cover=inputs.plan.mesh.nights_to_cover,
        earlier_nights=len({run.night for run in inputs.before}),
        caches=_caches(inputs),
        notes=(
            *inputs.notes,
            *(f"Cluster {name} could not be read: {why}" for name, why in inputs.unread_clusters.items()),
        ),
        unread_clusters=inputs.unread_clusters,
    )


def _answered_nothing(inputs: AuditInput) -> dict[str, str]:
    """Hosts that accepted the login and answered nothing, each with its most frequent reason."""
    found = {}
    for name, response in inputs.responses.items():
        reasons = [answer.reason for answer in response.answers if answer.outcome is Outcome.UNKNOWN]
        if reasons and len(reasons) == len(response.answers):
            found[name] = Counter(reasons).most_common(1)[0][0] or "the host answered nothing"
    return found


def _of_fleet(inputs: AuditInput) -> list[PastRun]:
    """Earlier runs, without findings about hosts that are no longer declared.

    Other subjects, such as a server of the cluster's DNS, are not declared: a finding about them is dropped when no run
    of the last `NIGHTS` nights could measure it.
    """
    declared, begin = _declared(inputs.fleet), first_night(inputs.before)

    def kept(findings: Mapping[Key, Seen]) -> dict[Key, Seen]:
        return {key: seen for key, seen in findings.items() if is_there(key[1], seen)}

    def is_there(subject: Subject, seen: Seen) -> bool:
        if subject.kind == "host":
            return subject.name in declared
        return seen.last is None or night_of(seen.last) >= begin

    return [replace(run, found=kept(run.found), carried=kept(run.carried)) for run in inputs.before]


def _declared(fleet: Fleet) -> set[str]:
    return {host.name for host in fleet.hosts.values() if host.active}


def _worth_reporting(causes: Sequence[Cause]) -> Iterator[Cause]:
    """Causes that become findings: not a few slow answers, and not slowness of a part that also fails."""
    failing = {(cause.candidate.part, cause.candidate.name) for cause in causes if cause.quality is Quality.FAIL}
    for cause in causes:
        known = (cause.candidate.part, cause.candidate.name) in failing
        if cause.quality is Quality.FAIL or (len(cause.explains) >= SLOW_TOGETHER and not known):
            yield cause


def _from_hosts(inputs: AuditInput, now: datetime) -> Iterator[Measurement]:
    asked = inputs.plan.asked
    agreed = agree(
        pair
        for name, response in inputs.responses.items()
        if response.error is None
        for pair in zip(asked[name], response.answers, strict=True)
    )
    for name, response in inputs.responses.items():
        yield _login(inputs.hosts[name], response)
        answers = response.answers if response.error is None else [_NOT_ASKED] * len(asked[name])
        yield from judge(name, asked[name], answers, agreed, now)


def _from_clusters(inputs: AuditInput) -> Iterator[Measurement]:
    for name, view in inputs.views.items():
        quality, symptom = (Quality.FAIL, "timeout") if name in inputs.unreached_clusters else (Quality.OK, "")
        candidates, why = candidates_from_here(view.endpoint), inputs.unread_clusters.get(name, "read")
        yield Measurement("ready.api", HERE, view.endpoint.name, quality, why, candidates, symptom=symptom)
    for name, host in inputs.hosts.items():
        cluster = host.pool.cluster.name
        of_host = inputs.views.get(cluster)
        if of_host is None or cluster in inputs.unread_clusters:
            yield unread_node(host, inputs.unread_clusters.get(cluster, "the cluster was not read"))
            continue
        yield from node_facts(host, of_host)
        if name in inputs.tested:
            yield from pod_facts(host, of_host, inputs.tested[name])


def _caches(inputs: AuditInput) -> str:
    counters = [
        answer.values
        for name, response in inputs.responses.items()
        for asked, answer in zip(inputs.plan.asked[name], response.answers, strict=False)
        if asked.question.kind is Kind.METRICS and answer.outcome is Outcome.OK
    ]
    site_of = {host.node_name: host.site.name for host in inputs.fleet.hosts.values()}
    servers = [site_of.get(pod.node, CLOUD) for view in inputs.views.values() for pod in view.dns.servers]
    return str(cache_savings(counters, servers) or "")


def _login(host: Host, response: Response) -> Measurement:
    """Whether a host accepts the login: a measurement like any other."""
    candidates, error = candidates_of_login(host, response.by), response.error
    if error is None:
        return Measurement("ssh", response.by, host.name, Quality.OK, "logged in", candidates)
    symptom = _SYMPTOMS_OF_LOGIN.get(type(error))
    quality = Quality.UNKNOWN if symptom is None else Quality.FAIL
    return Measurement("ssh", response.by, host.name, quality, error.observed, candidates, symptom=symptom or "")


def _from_workers(inputs: AuditInput) -> Iterator[Measurement]:
    for pool, why in inputs.workers.items():
        quality, symptom = (Quality.FAIL, "timeout") if why else (Quality.OK, "")
        candidates = frozenset({CandidateCause(Part.TARGET, f"worker of {pool}")})
        yield Measurement(
            "worker", HERE, f"work pool {pool}", quality, why or "it probed the hosts", candidates, symptom=symptom
        )


def _node(inputs: AuditInput, host: Host) -> NodeRow | None:
    view = inputs.views.get(host.pool.cluster.name)
    return view.nodes.get(host.node_name) if view else None


def _known(facts: Sequence[Measurement], answered: Collection[str]) -> Callable[[Key], bool]:
    """Whether tonight shows that a finding is gone: its subject was measured to work.

    answered: hosts that could be probed
    """
    # a union of frozensets keeps the hashes that they have
    of_ok = frozenset[CandidateCause]().union(*(fact.candidates for fact in facts if fact.quality is Quality.OK))
    of_slow = (fact.candidates for fact in facts if fact.quality is Quality.SLOW)
    cleared = (fact.cleared for fact in facts if fact.quality is Quality.FAIL)
    keys = {key_of(candidate, Quality.FAIL) for candidate in of_ok.union(*of_slow, *cleared)}
    # a slow answer does not show that a part is fast, nor do settings, which are read without using the part; a name is
    # never cut, and a measurement that shows it to be right has looked it up
    passed = (candidate for candidate in of_ok if candidate.mode is FailureMode.CUT or candidate.part is Part.NAME)
    keys |= {key_of(candidate, Quality.SLOW) for candidate in passed}

    def known(key: Key) -> bool:
        id, subject = key
        of_login = id == SILENT or not id.startswith("audit.")
        return subject.name in answered if of_login else key in keys

    return known


def _looked_at(inputs: AuditInput, facts: Sequence[Measurement]) -> Callable[[Key], bool]:
    """Whether a finding is in tonight's scope: any, for a run over all hosts; else what this run's hosts depend on."""
    if _declared(inputs.fleet) <= inputs.hosts.keys():
        return lambda key: True
    candidates = frozenset[CandidateCause]().union(*(fact.candidates for fact in facts))
    keys = {key_of(candidate, quality) for candidate in candidates for quality in (Quality.FAIL, Quality.SLOW)}

    def looked_at(key: Key) -> bool:
        _, subject = key
        return subject.name in inputs.hosts if subject.kind == "host" else key in keys

    return looked_at


def _silent(name: str, nights: int, why: str, now: datetime) -> Finding:
    evidence = Evidence(
        f"the host was not measured for {nights} nights{f': {why}' if why else ''}",
        "measurements every night",
        "audit",
        now,
    )
    step = "Find out why the host cannot be probed; declare it `active: false` if it is meant to be away."
    return Finding(SILENT, Severity.WARNING, Subject("host", name), evidence, step)


def _with_note(finding: Finding, note: str) -> Finding:
    """A finding about a host; if known work on the host explains it, it is an expected one (info)."""
    if not note:
        return finding
    evidence = replace(finding.evidence, observed=f"{finding.evidence.observed}; {note}")
    return replace(finding, severity=Severity.INFO, evidence=evidence)
