"""One onboarding run: what it works with, and its stages as plain async functions.

The flow in `flows/onboard.py` calls them in order; the command line's `probe` uses the first two.
"""

from __future__ import annotations

import asyncio
import logging
import statistics
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from poolkeeper.tasks.cluster import connect
from poolkeeper.tasks.cluster.nodes import NodeRow, list_nodes
from poolkeeper.tasks.fleet.model import Cluster, Fleet, Host, SecretRef
from poolkeeper.tasks.hosts import FactsRequest, HostError, HostFacts, Sessions
from poolkeeper.tasks.onboard.admission import Admission
from poolkeeper.tasks.onboard.context import Context, Look
from poolkeeper.tasks.onboard.next_action import NextAction, Step, is_uncordoned
from poolkeeper.tasks.onboard.preflight import REGISTRY, Batch, HostView, run_check, run_checks
from poolkeeper.tasks.onboard.report import ADMISSION
from poolkeeper.tasks.outcomes import (
    Checked,
    Evidence,
    Finding,
    HostOutcome,
    HostState,
    Known,
    Observed,
    Secret,
    Severity,
    Subject,
    Unknown,
    blockers,
    by_severity,
    named,
)
from poolkeeper.tasks.provider import open_provider
from poolkeeper.tasks.runs.durations import measured_s
from poolkeeper.tasks.runs.gate import gate_of
from poolkeeper.tasks.runs.recording import Recorder
from poolkeeper.tasks.runs.watching import watcher

_log = logging.getLogger(__name__)

DESTROYED_BY_A_JOIN = ("hosts.leftovers.none", "hosts.runtime.known")
"""Checks that run again right before a host is joined."""

Reading = Look | Finding
"""A host as it was read, or why it could not be read."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """The result of preflight for one host."""

    host: Host
    action: NextAction
    checked: tuple[Checked, ...]
    outside: tuple[Finding, ...] = ()
    """What excludes its whole pool."""
    uncordoned: bool = False
    """Whether it has joined and takes workloads, although it is not proven."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Findings of its pool, of the decision about the host, and of its checks."""
        own = (self.action.finding,) if self.action.finding else ()
        return (*self.outside, *own, *(c.finding for c in self.checked if c.finding is not None))

    @property
    def has_work(self) -> bool:
        """Whether the run goes on with it: it is not accepted yet, and nothing excludes it."""
        return self.action.step is not Step.NOTHING and not blockers(self.findings)

    @property
    def to_quarantine(self) -> bool:
        """Whether it is excluded although it has joined: an earlier run was killed before the cordon."""
        return self.uncordoned and not self.has_work


class OnboardRun:
    """A run over chosen hosts of one cluster. Make it with `open_run`."""

    def __init__(
        self,
        hosts: Sequence[Host],
        admission: Admission,
        nodes: Mapping[str, NodeRow],
        api_version: str,
        api_ahead_s: float,
        members: Collection[str] = (),
    ) -> None:
        self.hosts = {host.name: host for host in hosts}
        self.admission = admission
        self.gate = admission.context.gate
        self.recorder = admission.context.recorder
        self.nodes = nodes
        self._api_version = api_version
        self._api_ahead_s = api_ahead_s
        self._members = members
        """Names of all hosts of the run's pools: earlier runs measured how long some of them took."""
        self._slots = {host.pool.name: asyncio.Semaphore(host.pool.join.parallel) for host in hosts}

    @property
    def cluster(self) -> Cluster:
        """The one cluster of the run."""
        return next(iter(self.hosts.values())).pool.cluster

    @property
    def expected_host_s(self) -> float | None:
        """How long one host took in earlier runs, in seconds; None: too few were measured."""
        return measured_s(self.recorder.spool, "onboard", self._members, ADMISSION)

    def slot(self, name: str) -> asyncio.Semaphore:
        """The slots of a host's pool: at most `join.parallel` hosts are admitted at once."""
        return self._slots[self.hosts[name].pool.name]

    async def ineligible_pools(self) -> dict[str, tuple[Finding, ...]]:
        """Pool -> the provider's findings that exclude all of its hosts. Raises ProviderError."""
        pools = {host.pool.name: host.pool for host in self.hosts.values()}
        return {
            name: tuple(c.finding for c in await self.admission.context.provider.check_pool(pool) if c.finding)
            for name, pool in pools.items()
        }

    async def observe(self, names: Sequence[str]) -> dict[str, Reading]:
        """Read hosts concurrently; a host that cannot be read does not affect the others."""

        async def read(name: str) -> Reading:
            host = self.hosts[name]
            try:
                look = await self.admission.look(host, self.nodes.get(host.node_name))
            except HostError as error:
                return error.finding(Subject("host", name))
            except Exception as error:  # an error of one host: the others go on
                return HostError(f"the read was aborted: {type(error).__name__}: {error}"[:300]).finding(
                    Subject("host", name)
                )
            self._record_facts(host, look.facts)
            return look

        return dict(zip(names, await asyncio.gather(*map(read, names)), strict=True))

    def _record_facts(self, host: Host, facts: HostFacts) -> None:
        known: dict[str, Any] = {}
        unknown: dict[str, str] = {}
        for field in fields(facts):
            fact = getattr(facts, field.name)
            if isinstance(fact, Known):
                known[field.name] = _plain(fact.value)
            elif isinstance(fact, Unknown):
                unknown[field.name] = fact.reason
        self.recorder.facts(host, facts.seen_at, known, unknown)

    def preflight(
        self,
        readings: Mapping[str, Reading],
        skip: Mapping[str, str],
        ineligible: Mapping[str, tuple[Finding, ...]],
    ) -> list[Preflight]:
        """Judge every host against its pool, the cluster and the others. Reads nothing."""
        views = {
            name: HostView(self.hosts[name], look.facts, look.node, look.join)
            for name, look in readings.items()
            if isinstance(look, Look)
        }
        batch = make_batch(
            views,
            self.nodes,
            api_version=self._api_version,
            api_host=urlsplit(self.admission.context.api.url).hostname or "",
            api_ahead_s=self._api_ahead_s,
        )
        self.admission.ineligible_now = lambda host, look: _ineligible_now(host, look, batch, skip)
        results = []
        for name, host in self.hosts.items():
            look, outside = readings[name], ineligible.get(host.pool.name, ())
            if isinstance(look, Finding):
                unread = NextAction(Step.STOP, look.evidence.observed, look)
                results.append(Preflight(host, unread, (), outside))
            else:
                checked = run_checks(views[name], batch, skip)
                uncordoned = is_uncordoned(look.action, look.node, look.facts.machine_id)
                results.append(Preflight(host, look.action, checked, outside, uncordoned))
        excluded = {result.host.name: result.findings for result in results if result.to_quarantine}
        self.admission.excluded = lambda host: excluded.get(host.name, ())
        return results

    async def admit(self, name: str) -> HostOutcome:
        """Bring one host to acceptance; see `Admission.admit`."""
        return await self.admission.admit(self.hosts[name])

    def ended_in_preflight(self, result: Preflight) -> HostOutcome:
        """The outcome of a host that is accepted already, or that preflight stops."""
        name = result.host.name
        if result.action.step is Step.NOTHING:
            findings = tuple(map(_in_service, result.findings))
            self.recorder.findings(name, "preflight", findings)
            watcher().ended(name, HostState.ACCEPTED, result.action.reason)
            return HostOutcome(name, HostState.ACCEPTED, result.action.reason, findings)
        worst = blockers(by_severity(result.findings))[0]
        summary = f"{worst.id}: {worst.evidence.observed}"
        _log.info("%s: stopped: %s", name, summary)
        self.recorder.findings(name, "preflight", result.findings)
        watcher().ended(name, HostState.STOPPED, summary)
        return HostOutcome(name, HostState.STOPPED, summary, result.findings)

    def aborted(self, name: str, error: Exception) -> HostOutcome:
        """The outcome of a host whose admission raised an error, after all retries."""
        subject = Subject("host", name)
        if isinstance(error, HostError):
            finding = error.finding(subject)
        else:
            evidence = Evidence(named(error), "an admission that ends without an error", "onboarding")
            finding = Finding(
                "onboard.host.aborted",
                Severity.BLOCKER,
                subject,
                evidence,
                "Run this again: it continues with the host as it is. A node that has joined stays cordoned.",
            )
        self.recorder.findings(name, "outcome", [finding])
        _log.warning("%s: failed: %s", name, finding.evidence.observed)
        watcher().ended(name, HostState.FAILED, finding.evidence.observed)
        spent = dict(self.recorder.phase_s.get(name, {}))
        return HostOutcome(name, HostState.FAILED, finding.evidence.observed, (finding,), spent)


def _in_service(finding: Finding) -> Finding:
    """A finding on a node in service: a blocker is only a warning there, for nothing is left to exclude."""
    return replace(finding, severity=Severity.WARNING) if finding.severity is Severity.BLOCKER else finding


def _ineligible_now(host: Host, look: Look, batch: Batch, skip: Mapping[str, str]) -> list[Finding]:
    """What a join would destroy: containers of another runtime, parts of another cluster."""
    view = HostView(host, look.facts, look.node, look.join)
    checked = (run_check(REGISTRY[name], view, batch) for name in DESTROYED_BY_A_JOIN if name not in skip)
    return [c.finding for c in checked if c.finding is not None and c.finding.severity is Severity.BLOCKER]


def make_batch(
    views: Mapping[str, HostView],
    nodes: Mapping[str, NodeRow],
    *,
    api_version: str,
    api_host: str,
    api_ahead_s: float,
) -> Batch:
    """What all hosts of a run are compared with.

    api_ahead_s: the API server's clock minus ours, in seconds
    """
    skew = {name: _skew(view.facts, api_ahead_s) for name, view in views.items()}
    known_skews = [value.value for value in skew.values() if isinstance(value, Known)]
    medians = (statistics.median_low(known_skews), statistics.median_high(known_skews)) if known_skews else None
    return Batch(
        views=views,
        nodes=nodes,
        clock_skew_s=skew,
        median_skews_s=medians,
        api_version=api_version,
        api_host=api_host,
        shared={fact: _shared(views, fact) for fact in ("machine_id", "product_uuid", "hostname", "boot_id")},
        seen_at=datetime.now(UTC),
    )


def _skew(facts: HostFacts, api_ahead_s: float) -> Observed[float]:
    """A host's clock against the API server's; both were compared with ours."""
    if isinstance(facts.clock_offset_s, Unknown):
        return facts.clock_offset_s
    return Known(facts.clock_offset_s.value - api_ahead_s, facts.clock_offset_s.seen_at)


def _shared(views: Mapping[str, HostView], fact: str) -> dict[str, tuple[str, ...]]:
    holders: defaultdict[str, list[str]] = defaultdict(list)
    for name, view in views.items():
        observed = getattr(view.facts, fact)
        if isinstance(observed, Known) and observed.value:
            holders[str(observed.value)].append(name)
    return {value: tuple(names) for value, names in holders.items() if len(names) > 1}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list | frozenset | set):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)
    return value


@asynccontextmanager
async def open_run(
    fleet: Fleet,
    hosts: Sequence[Host],
    secret: Callable[[SecretRef], Secret],
    recorder: Recorder,
    *,
    dry_run: bool,
) -> AsyncIterator[OnboardRun]:
    """Everything a run over hosts of one cluster works with, closed at the end.

    Raises ClusterUnreachable, ApiError, ProviderError and SecretMissing.
    """
    cluster = hosts[0].pool.cluster
    async with open_provider(cluster, secret) as provider, connect(cluster, secret(cluster.kubeconfig)) as api:
        asked_at = datetime.now(UTC)
        api_time = await api.server_time()
        version = (await api.request("GET", "/version")).get("gitVersion", "")
        nodes = await list_nodes(api)
        for node in nodes.values():
            if node.unread:
                _log.warning("node %s: %s", node.name, node.ready_message)
        gate = gate_of(api, hosts, recorder, dry_run=dry_run)
        recorder.add_run_findings(api.findings)
        request = FactsRequest(api.url, api.ca_pem, api.server_name)
        async with Sessions(fleet.ssh_limits, secret) as sessions:
            admission = Admission(Context(api, sessions, provider, gate, recorder, request))
            # the Date header has whole seconds: take the middle of that second
            ahead_s = (api_time - asked_at).total_seconds() + 0.5
            pools = {host.pool.name for host in hosts}
            members = {host.name for host in fleet.hosts.values() if host.pool.name in pools}
            yield OnboardRun(hosts, admission, nodes, version, ahead_s, members)
