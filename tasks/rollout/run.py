"""One run over hosts of one pool: its parts, and its stages as plain async functions.

The flows call the stages in order: assess, forecast, plan, and, under the pool's lease, prepare and run the waves.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from poolkeeper.tasks.acceptance.proof import Clients, NodeGone, Wanted, prove_node
from poolkeeper.tasks.cluster import ApiError, ClusterApi, ClusterUnreachable, connect
from poolkeeper.tasks.cluster.approvals import Approval, forget_approval, read_approvals, write_approval
from poolkeeper.tasks.cluster.claims import claim_of, now_text
from poolkeeper.tasks.cluster.eviction import must_go
from poolkeeper.tasks.cluster.leases import (
    DryRunLease,
    HeldLease,
    LeaseRow,
    Note,
    get_lease,
    hold_lease,
    lease_guard,
    list_leases,
)
from poolkeeper.tasks.cluster.nodes import NodeRow, list_nodes
from poolkeeper.tasks.cluster.pods import pods_on
from poolkeeper.tasks.cluster.snapshot import read_snapshot
from poolkeeper.tasks.cluster.stops import forget_run, read_stops
from poolkeeper.tasks.fleet.model import Cluster, Fleet, Host, Pool, SecretRef
from poolkeeper.tasks.hosts import FactsRequest, HostError, Sessions
from poolkeeper.tasks.hosts.fence import HostIntent, fence_earlier_runs, forget_intent, read_intent
from poolkeeper.tasks.outcomes import (
    Evidence,
    Finding,
    Gate,
    GateRefused,
    HostOutcome,
    HostState,
    Observed,
    Secret,
    Severity,
    Subject,
    Unknown,
    blockers,
    in_slots,
    named,
)
from poolkeeper.tasks.provider import Provider, ProviderError, open_provider
from poolkeeper.tasks.rollout.between_waves import BetweenWaves
from poolkeeper.tasks.rollout.durations import OUT_OF_SERVICE
from poolkeeper.tasks.rollout.forecast import forecast_each
from poolkeeper.tasks.rollout.forecast_findings import findings as forecast_findings
from poolkeeper.tasks.rollout.goal import Goal, Limits
from poolkeeper.tasks.rollout.headroom import headroom_for, in_service
from poolkeeper.tasks.rollout.host_drain import NodeLost
from poolkeeper.tasks.rollout.host_runner import HostRunner
from poolkeeper.tasks.rollout.host_work import HostWork
from poolkeeper.tasks.rollout.live_view import LiveView
from poolkeeper.tasks.rollout.next_action import NextAction, Step, next_action
from poolkeeper.tasks.rollout.own_pods import own_pods_by_node
from poolkeeper.tasks.rollout.plan import Candidate, Plan, PlannedHost, plan_rollout
from poolkeeper.tasks.rollout.plan_approval import narrowed, plan_row
from poolkeeper.tasks.rollout.plan_preview import preview_plan
from poolkeeper.tasks.rollout.remedies import Found, Hosts, intended, leftovers
from poolkeeper.tasks.rollout.rollout_state import (
    begun,
    ended,
    intent_for,
    intents_by,
    members_of,
    others_unfinished,
    shared_by,
    unreadable_parts,
    with_intent,
    with_shared,
)
from poolkeeper.tasks.rollout.start_windows import start_refusal
from poolkeeper.tasks.rollout.verdicts import NodeForecast, risk
from poolkeeper.tasks.rollout.waves import Waves
from poolkeeper.tasks.runs.choosing import ChoiceInvalid
from poolkeeper.tasks.runs.durations import measured_s
from poolkeeper.tasks.runs.gate import gate_of
from poolkeeper.tasks.runs.recording import Recorder
from poolkeeper.tasks.runs.watching import watcher
from poolkeeper.tasks.settings import lease_duration_s

_log = logging.getLogger(__name__)

API_TIMEOUT_S = 10.0
"""Of one request: well below a lease's duration, so that no request can land after the lease has ended."""
PREPARED_AT_ONCE = 10
UNREAD_LOGGED = 20
"""At most so many unreadable objects are logged."""


@dataclass(frozen=True, slots=True)
class Assessed:
    """A host before the rollout, and what the rollout does with it next."""

    host: Host
    action: NextAction


@dataclass(frozen=True, slots=True)
class DrainForecasts:
    """The forecasts of the drains, made before the first one."""

    drains: Mapping[str, NodeForecast]
    """By node: what draining it alone would do."""
    own_pods: Mapping[str, str]
    """By node: the pod on it that this run needs."""


class RolloutRun:
    """A run over chosen hosts of one pool. Make it with `open_rollout`."""

    def __init__(
        self,
        fleet: Fleet,
        hosts: Sequence[Host],
        flow: str,
        *,
        api: ClusterApi,
        sessions: Sessions,
        provider: Provider,
        gate: Gate,
        recorder: Recorder,
        nodes: Mapping[str, NodeRow],
        api_version: str,
    ) -> None:
        self.fleet = fleet
        self.hosts = {host.name: host for host in hosts}
        self.api, self.sessions, self.provider = api, sessions, provider
        self.gate, self.recorder = gate, recorder
        self.live = LiveView(flow, hosts[0].pool.name, recorder.run_id)
        self.nodes, self.api_version = nodes, api_version
        names = {host.name for host in self._pool_hosts}
        self.expected_s = measured_s(recorder.spool, flow, names, OUT_OF_SERVICE) or self.pool.rollout.host_duration_s
        """How long one host is expected to take, from drain to proof."""
        self.may_continue = True
        """Whether a later run may continue the rollout, and must find the spent failure budget on the Lease.

        True until the run's end is known.
        """
        self.note: Note = {}
        """What the pool's Lease said as this run began."""
        self.lease_holder = ""
        """Who held the Lease then; empty: nobody."""
        self._waves: Waves | None = None
        self._members: frozenset[str] = frozenset()
        """Names of Nodes that existed when this run began, or an earlier run of any pool."""
        self._warnings: dict[str, tuple[Finding, ...]] = {}
        """By host: what its preparation has found that does not exclude it."""
        self._approval = ""
        """Key of the approval that this run uses."""
        self.request = FactsRequest(api.url, api.ca_pem, api.server_name)

    @property
    def pool(self) -> Pool:
        """The one pool of the run."""
        return next(iter(self.hosts.values())).pool

    @property
    def _pool_hosts(self) -> list[Host]:
        """All hosts that the fleet file declares in the pool, also those that are not selected."""
        return [host for host in self.fleet.hosts.values() if host.pool.name == self.pool.name]

    @property
    def _unavailable(self) -> int:
        """How many of the pool may be out of service at once."""
        return self.pool.max_unavailable.of(sum(host.active for host in self._pool_hosts))

    def report(self, text: str) -> None:
        """Write a message to the log and to the live view."""
        _log.info("%s", text)
        self.live.show(text)

    # observing and planning

    async def assess(self, names: Sequence[str], goal: Goal, limits: Limits, work: HostWork) -> dict[str, Assessed]:
        """What to do with each host next. A host that cannot be read is skipped, and no other host is affected."""
        await self.read_note()

        async def one(name: str) -> Assessed:
            host, node = self.hosts[name], self.nodes.get(self.hosts[name].node_name)
            try:
                at_goal = await work.at_goal(host, node)
            except HostError as error:
                return self.excluded(name, error.finding(Subject("host", name)))
            except GateRefused as refused:
                return self.excluded(name, refused.refusal.finding(Subject("host", host.name)))
            except ProviderError as error:
                return self.excluded(name, _no_answer(host, error))
            action = next_action(
                host,
                node,
                goal,
                intent=intent_for(self.note, goal.id, name),
                at_goal=at_goal,
                works_on_cordoned=limits.works_on_cordoned,
                works_on_not_ready=work.works_on_not_ready,
                works_without_node=work.works_without_node,
                now=datetime.now(UTC),
            )
            return Assessed(host, action)

        return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))

    async def read_note(self) -> None:
        """Read the state that is on the pool's Lease now."""
        self.note = (await self._lease_row()).note

    async def read_again(self) -> None:
        """Read the Nodes as they are now, and which there were, before the first wave."""
        self.nodes = await list_nodes(self.api)
        earlier = [members_of(lease.note) for lease in (await list_leases(self.api)).values()]
        self._members = in_service(self.nodes).union(*earlier)

    def excluded(self, name: str, finding: Finding | None) -> Assessed:
        """A host that is excluded, with why; None: a host without work in this step."""
        if finding is None:
            return Assessed(self.hosts[name], NextAction(Step.NOTHING, "this step does not concern it"))
        return Assessed(self.hosts[name], NextAction(Step.SKIP, finding.evidence.observed, finding))

    async def forecast_drains(self, assessed: Iterable[Assessed], limits: Limits) -> DrainForecasts:
        """Forecast the drain of each node that is to be drained."""
        nodes = [one.host.node_name for one in assessed if one.action.step in (Step.CLAIM, Step.DRAIN)]
        if not nodes:
            return DrainForecasts({}, {})
        snapshot = await read_snapshot(self.api)
        for unread in snapshot.unread[:UNREAD_LOGGED]:
            _log.warning("object cannot be read, the worst case is assumed: %s", unread)
        there = [name for name in nodes if name in snapshot.nodes]
        # some seconds of work for a thousand nodes: beside the loop that renews leases
        drains = await asyncio.to_thread(
            forecast_each, snapshot, there, deadline_s=limits.drain_timeout_s, now=datetime.now(UTC)
        )
        return DrainForecasts(drains, own_pods_by_node(snapshot.pods, socket.gethostname()))

    def skip_own_nodes(self, assessed: Mapping[str, Assessed], forecasts: DrainForecasts) -> dict[str, Assessed]:
        """Skip hosts whose drain would end this run itself, or the Prefect that it needs."""
        refused = {}
        for name, one in assessed.items():
            pod = forecasts.own_pods.get(one.host.node_name)
            if pod is None or one.action.step not in (Step.CLAIM, Step.DRAIN):
                continue
            evidence = Evidence(f"its node runs {pod}, which this run needs", "the pod runs on another node", "pods")
            next_step = (
                f"Move the pod first (`kubectl cordon {one.host.node_name}`, delete the pod), and run this again."
            )
            here = Subject("host", name)
            refused[name] = self.excluded(
                name, Finding("rollout.node.runs-poolkeeper", Severity.BLOCKER, here, evidence, next_step)
            )
        return refused

    def plan(self, goal: Goal, limits: Limits, assessed: Iterable[Assessed], forecasts: DrainForecasts) -> Plan:
        """The waves of hosts that have work, the riskiest drains last."""
        candidates = [
            Candidate(
                one.host,
                half_done=one.action.claim is not None,
                risk=_risk(forecasts.drains.get(one.host.node_name)),
                reason=one.action.reason,
            )
            for one in assessed
            if one.action.step not in (Step.NOTHING, Step.SKIP)
        ]
        plan = plan_rollout(goal, limits, candidates)
        self.live.show_plan(planned.host.name for planned in plan.hosts)
        watcher().planned(
            preview_plan(
                plan,
                self.nodes,
                forecasts.drains,
                at_once=self._unavailable,
                host_s=self.expected_s,
                now=datetime.now(UTC),
            )
        )
        return plan

    def without_work(self, one: Assessed) -> HostOutcome:
        """The outcome of a host that has no work, or that is skipped."""
        name, action = one.host.name, one.action
        state = HostState.DONE if action.step is Step.NOTHING else HostState.STOPPED
        findings = () if action.finding is None else (action.finding,)
        self.recorder.findings(name, "assess", findings)
        self.live.end_host(name, state, action.reason)
        return HostOutcome(name, state, action.reason, findings)

    def planned(
        self, planned: PlannedHost, outcome: HostOutcome, limits: Limits, forecasts: DrainForecasts
    ) -> HostOutcome:
        """A host's outcome in a dry run: with what would block its steps now, and what its drain would meet."""
        host = planned.host
        here = Subject("host", host.name)
        findings = list(outcome.findings)
        for refusal in self.gate.objections(here, Subject("node", host.node_name)):
            findings.append(refusal.finding(here, Severity.WARNING))
        if (forecast := forecasts.drains.get(host.node_name)) is not None:
            findings += forecast_findings([forecast], datetime.now(UTC))
        if why := self.may_start(host, limits):
            evidence = Evidence(why, "a window that is long enough", "fleet file")
            next_step = "Nothing to do: a run in that window starts it."
            findings.append(Finding("rollout.window", Severity.INFO, here, evidence, next_step))
        if outcome.state is not HostState.PLANNED:
            return replace(outcome, findings=tuple(findings))
        return HostOutcome(host.name, HostState.PLANNED, f"wave {planned.wave}: {planned.reason}", tuple(findings))

    async def forget_finished(self, plan: Plan, done: Collection[str]) -> None:
        """Remove a killed run's intents for hosts that are at the goal. Raises LeaseHeld."""
        if intents_by(self.note, plan.goal.id).keys() & set(done):
            async with self.pool_lease(plan) as lease:
                await self.resumed(plan, lease, done)
                self.may_continue = False

    async def resumed(
        self, plan: Plan, lease: HeldLease, done: Collection[str] = (), *, nodes_go: bool = False
    ) -> Plan:
        """The plan by the claims as they are now: the lease's holder before may have left some.

        done: hosts that were at the goal; their intents are removed where their Nodes have no claim now
        nodes_go: the rollout removes the plan's Nodes
        """
        await self.read_again()
        self._members -= _going(plan, nodes_go=nodes_go)
        claims = {
            name: claim_of(self.nodes[h.node_name]) for name, h in self.hosts.items() if h.node_name in self.nodes
        }
        for name in sorted(intents_by(lease.note, plan.goal.id).keys() & set(done)):
            if claims.get(name) is None:
                await self._forget_intent(self.hosts[name], lease, plan.goal)
        mine = {name for name, claim in claims.items() if claim is not None and claim.rollout == plan.goal.id}
        return plan.half_done_first(mine)

    async def _forget_intent(self, host: Host, lease: HeldLease, goal: Goal) -> None:
        if intents_by(lease.note, goal.id)[host.name].asks_host:
            try:
                await self.gate.unless_dry_run(lambda: self.forget(host, goal.id), if_dry_run=None)
            except HostError as error:  # the record stays on the host, and does no harm
                _log.warning("%s: %s", host.name, error.summary)
        await lease.change(lambda note: with_intent(note, goal.id, host.name, None))

    async def prepare(self, plan: Plan, work: HostWork, lease: HeldLease) -> list[HostOutcome]:
        """Do everything that can be done before the first cordon; the outcomes of hosts that it excludes.

        What hosts share is written to the Lease, so that the next run of the rollout continues with the same.
        """
        self.live.show("prepares hosts; nothing is disturbed yet")
        work.remember(shared_by(lease.note, plan.goal.id))
        slots = asyncio.Semaphore(PREPARED_AT_ONCE)
        excluded = [o for o in await in_slots(plan.hosts, lambda _: slots, partial(self._prepared, work)) if o]
        if (shared := dict(work.remembered())) != shared_by(lease.note, plan.goal.id):
            await lease.change(lambda note: with_shared(note, plan.goal.id, shared))
        return excluded

    async def _prepared(self, work: HostWork, planned: PlannedHost) -> HostOutcome | None:
        host = planned.host
        try:
            async with self.recorder.phase(host.name, "prepare"):
                found = await work.prepare(host)
        except HostError as error:
            found = (error.finding(Subject("host", host.name)),)
        except GateRefused as refused:
            found = (refused.refusal.finding(Subject("host", host.name)),)
        except (ClusterUnreachable, ApiError) as error:
            evidence = Evidence(error.observed[:500], "an answer of the API server", "rollout", datetime.now(UTC))
            next_step = f"{error.next_step or 'Run this again.'} Nothing on the host was changed."
            found = (
                Finding("rollout.not-prepared", Severity.BLOCKER, Subject("host", host.name), evidence, next_step),
            )
        blocking = blockers(found)
        warnings = tuple(finding for finding in found if finding not in blocking)
        if not blocking or planned.half_done:
            self._warnings[host.name] = warnings
            self.recorder.findings(host.name, "prepare", warnings)
            return None
        self.recorder.findings(host.name, "prepare", (*blocking, *warnings))
        summary = f"{blocking[0].id}: {blocking[0].evidence.observed}"
        self.live.end_host(host.name, HostState.STOPPED, summary)
        return HostOutcome(host.name, HostState.STOPPED, summary, (*blocking, *warnings))

    async def approved(self, plan: Plan, why: str) -> Plan | None:
        """The plan as a person has approved it; None: it is stored and waits for approval.

        Raises ChoiceInvalid where a person has rejected it.
        """
        approvals = await read_approvals(self.api)
        found = narrowed(plan, approvals.values(), datetime.now(UTC))
        if found is not None:
            self._approval = found[1].key
            _log.info("approved by %s at %s: %s", found[1].by, found[1].at, found[1].reason or "no reason given")
            return found[0]
        key = plan.digest[:12]
        if key in approvals and approvals[key].word == "rejected":
            rejection = approvals[key]
            raise ChoiceInvalid(
                f"plan {key} was rejected by {rejection.by} at {rejection.at}: {rejection.reason or 'no reason given'}"
            )
        asked = Approval(key, self.recorder.run_id, {**plan_row(plan), "why": why}, now_text())
        await write_approval(self.api, asked)
        return None

    # under the pool's lease

    def pool_lease(self, plan: Plan, *, nodes_go: bool = False) -> AbstractAsyncContextManager[HeldLease]:
        """The pool's lease for a plan; the rollout's state stays on it while it may continue. Raises LeaseHeld.

        nodes_go: the rollout removes the plan's Nodes, which do not count as missing from now on
        """
        goal = plan.goal
        self.may_continue = True
        about = {"goal": dict(goal.wanted), "plan": plan.digest, "run": self.recorder.run_id}
        mine = {host.node_name for host in self._pool_hosts if host.active} - _going(plan, nodes_go=nodes_go)

        def members(before: Note) -> dict[str, str]:
            """By Node the uid that was proven; a Node that is seen for the first time counts as proven."""
            there = {name: self.nodes[name].uid for name in in_service(self.nodes)} | dict(members_of(before))
            accepted = {name: node.uid for name, node in self.nodes.items() if node.accepted_as == node.uid}
            return {name: uid for name, uid in (there | accepted).items() if name in mine}

        return self._leased(
            note=lambda before: begun(before, goal, about, datetime.now(UTC), members(before)),
            left=lambda note: note if self.may_continue else ended(note, goal.id),
            others=lambda note: others_unfinished(note, goal.id),
        )

    @property
    def holder(self) -> str:
        """Our identity on leases: each process has its own, also of the same run."""
        return f"{self.recorder.run_id}/{_PROCESS}"

    def host_runner(self, goal: Goal, limits: Limits, work: HostWork, lease: HeldLease) -> HostRunner:
        """What runs one host."""
        return HostRunner(
            api=self.api,
            gate=self.gate,
            recorder=self.recorder,
            lease=lease,
            goal=goal,
            limits=limits,
            work=work,
            declared=tuple(self.fleet.hosts.values()),
            members=self._members,
            live=self.live,
            may_start=lambda host: self.may_start(host, limits),
            stopped=self.stopped,
            halted=lambda: self._waves.halted if self._waves is not None else "recovery starts nothing new",
            records=self,
            prove_works=self.prove_works,
        )

    async def prove_works(self, host: Host) -> tuple[Finding, ...]:
        """Prove a Node as onboarding does: Ready, its pods, traffic both ways, DNS; blockers say what does not work."""
        clients = Clients(self.api, self.sessions, self.gate, self.request)
        try:
            return await prove_node(clients, host, Wanted(None, host.pool.join.timeout_s))
        except NodeGone:
            return (NodeLost(f"there is no Node {host.node_name}").finding(Subject("host", host.name)),)

    async def begun_on(self, host: Host) -> Observed[HostIntent | None]:
        """What a host was changed for last, by its own record."""
        try:
            return await read_intent(self.sessions, host)
        except HostError as error:
            return Unknown(str(error), datetime.now(UTC))

    async def fence_off(self, host: Host, fencing_token: int) -> Observed[HostIntent | None]:
        """The same, once the host refuses every earlier run. Raises HostError."""
        return await fence_earlier_runs(self.sessions, host, fencing_token)

    async def forget(self, host: Host, rollout: str) -> None:
        """Remove the record of that rollout from the host. Raises HostError."""
        await forget_intent(self.sessions, host, rollout)

    async def run_waves(
        self,
        plan: Plan,
        lease: HeldLease,
        run_host: Callable[[PlannedHost], Awaitable[HostOutcome]],
        *,
        nodes_go: bool = False,
        one_by_one: bool = False,
    ) -> tuple[list[HostOutcome], str]:
        """Run the plan: every host's outcome, and why at some point nothing new was started; empty: everything was.

        nodes_go: the rollout removes the plan's Nodes, so that a missing one is no loss
        one_by_one: hosts are changed one after the other, however many may be unavailable
        """
        between = BetweenWaves(
            self.api,
            self.provider,
            self.pool,
            names={host.node_name for host in self._pool_hosts},
            nodes=self.nodes,
            going={planned.host.node_name for planned in plan.hosts} if nodes_go else (),
            timeout_s=plan.limits.gate_timeout_s,
            stopped=self.stopped,
        )
        await between.begin()
        waves = self._waves = Waves(
            plan,
            lease,
            self.gate,
            self.live,
            at_once=1 if one_by_one else self._unavailable,
            run_host=run_host,
            look_around=between.before,
            gates=between.after,
            stopped=self.stopped,
        )
        outcomes = [
            replace(outcome, findings=(*outcome.findings, *self._warnings.get(outcome.name, ())))
            for outcome in await waves.run()
        ]
        halted = waves.halted or await self.stopped()  # the stop may have come while the last host was running
        self.may_continue = (
            any(outcome.state is HostState.POSTPONED for outcome in outcomes) and not waves.budget.is_spent
        )
        await self.gate.unless_dry_run(self._forget_instructions, if_dry_run=None)
        return outcomes, halted

    async def _forget_instructions(self) -> None:
        """Remove the stop of this run, and the approval that it has used up."""
        with suppress(ApiError, ClusterUnreachable):
            await forget_run(self.api, self.recorder.run_id)
            if self._approval and not self.may_continue:
                await forget_approval(self.api, self._approval)

    def may_start(self, host: Host, limits: Limits) -> str:
        """Why a host may not start now; empty when it may."""
        if limits.outside_windows:
            return ""
        return start_refusal(host.site, datetime.now(UTC), self.expected_s)

    async def stopped(self) -> str:
        """Why a person wants nothing new to start; empty: go on.

        A stop that cannot be read is none: the gate refuses changes then.
        """
        return await self.gate.unless_dry_run(self._stopped, if_dry_run="")

    async def _stopped(self) -> str:
        try:
            stop = (await read_stops(self.api)).runs.get(self.recorder.run_id)
        except (ApiError, ClusterUnreachable):
            return ""
        return f"stopped {stop}" if stop else ""

    # recovery

    async def leftovers(self, finishes: Mapping[str, bool]) -> tuple[Found, ...]:
        """What killed rollouts have left in this pool, by the Nodes as they were read.

        finishes: flows whose changes can be finished -> whether that needs no Node
        """
        note = (await self._lease_row()).note
        asked = intended(note, self.hosts.values())
        slots = asyncio.Semaphore(PREPARED_AT_ONCE)
        answers = await in_slots(list(asked.values()), lambda _: slots, self.begun_on)
        hosts: Hosts = dict(zip(asked, answers, strict=True))
        return leftovers(self.hosts.values(), self.nodes, note, hosts, finishes, datetime.now(UTC))

    async def postponed(self, host: Host) -> str:
        """Why a half changed host may not be finished now; empty: it may.

        It needs an open window. It needs headroom only while pods are on it: an empty node serves nobody already.
        """
        if why := (await self.stopped() or self.may_start(host, Limits())):
            return why
        if not any(map(must_go, await pods_on(self.api, host.node_name))):
            return ""
        nodes = await list_nodes(self.api)
        if (node := nodes.get(host.node_name)) is not None:
            # counted as if it were in service, so that only the other nodes use headroom
            nodes[node.name] = replace(node, ready=True, unschedulable=False, annotations={})
        return headroom_for(host, self.fleet.hosts.values(), nodes, self._members).why

    async def _lease_row(self) -> LeaseRow:
        row = await get_lease(self.api, self._lease_name)
        return row if row is not None else LeaseRow(self._lease_name, "", "", 0, 0, {})

    @property
    def _lease_name(self) -> str:
        return f"pool-{self.pool.name}"

    async def lease_is_held(self) -> bool:
        """Whether some run holds the pool's lease, living or not."""
        return (await self._lease_row()).holder != ""

    def recovery_lease(self) -> AbstractAsyncContextManager[HeldLease]:
        """The pool's lease, if nobody renews it; the state of its rollouts stays on it. Raises LeaseHeld."""
        return self._leased(note=lambda before: before, left=lambda note: note, others=lambda note: "")

    @asynccontextmanager
    async def _leased(
        self, *, note: Callable[[Note], Note], left: Callable[[Note], Note], others: Callable[[Note], str]
    ) -> AsyncIterator[HeldLease]:
        """The pool's lease. Invariant: while it is held, the gate refuses changes once it may be lost."""

        def readable(before: Note) -> Note:
            for why in unreadable_parts({"pool": self.pool.name, **before}):
                _log.warning("lease %s: %s; it is ignored", self._lease_name, why)
            return note(before)

        lasting = hold_lease(
            self.api,
            self._lease_name,
            self.holder,
            duration_s=lease_duration_s(),
            note=readable,
            left=left,
            others=others,
        )
        row = await self._lease_row()
        self.note, self.lease_holder = row.note, row.holder
        self.recorder.add_run_findings(self.gate.seen((), if_dry_run=_held(row)))
        async with AsyncExitStack() as stack:
            lease = await self.gate.unless_dry_run(
                lambda: stack.enter_async_context(lasting), if_dry_run=DryRunLease(self._lease_name, note(self.note))
            )
            before = self.gate.guards
            self.gate.guards = [*before, lease_guard(self.api, lease)]
            try:
                yield lease
            finally:
                self.gate.guards = before

    def aborted(self, host: Host, error: Exception) -> HostOutcome:
        """The outcome of a host whose run ended in an error, after all retries."""
        subject = Subject("host", host.name)
        if isinstance(error, HostError):
            finding = error.finding(subject)
        else:
            evidence = Evidence(named(error), "a run that ends", "rollout")
            again = "Run this again: it continues from the host's current state."
            next_step = self.gate.seen(f"{again} Until then its node stays cordoned.", if_dry_run="Run this again.")
            finding = Finding("rollout.aborted", Severity.BLOCKER, subject, evidence, next_step)
        self.recorder.findings(host.name, "outcome", [finding])
        summary = finding.evidence.observed
        self.live.end_host(host.name, HostState.FAILED, summary)
        spent = dict(self.recorder.phase_s.get(host.name, {}))
        return HostOutcome(host.name, HostState.FAILED, summary, (finding,), spent)


def _no_answer(host: Host, error: ProviderError) -> Finding:
    evidence = Evidence(error.observed, error.expected, "provider", datetime.now(UTC))
    next_step = f"{error.next_step} Nothing on the host was changed."
    return Finding("rollout.provider.no-answer", Severity.BLOCKER, Subject("host", host.name), evidence, next_step)


def _held(lease: LeaseRow) -> tuple[Finding, ...]:
    """What a dry run reports of a lease that is held: a dry run neither acquires it nor waits for it."""
    if not lease.holder:
        return ()
    evidence = Evidence(f"held by {lease.holder}", "no run holds it", "Lease", datetime.now(UTC))
    next_step = "Wait for that run to end: it may work on these hosts, and the real run would wait for it."
    return (Finding("rollout.lease.held", Severity.WARNING, Subject("lease", lease.name), evidence, next_step),)


def _going(plan: Plan, *, nodes_go: bool) -> frozenset[str]:
    return frozenset(planned.host.node_name for planned in plan.hosts if nodes_go)


def _risk(forecast: NodeForecast | None) -> int:
    return risk(forecast)[0] if forecast is not None else 0


_PROCESS = secrets.token_hex(4)


@asynccontextmanager
async def open_rollout(
    fleet: Fleet,
    hosts: Sequence[Host],
    flow: str,
    secret: Callable[[SecretRef], Secret],
    recorder: Recorder,
    *,
    dry_run: bool,
) -> AsyncIterator[RolloutRun]:
    """Everything a rollout works with, closed at the end.

    Raises ClusterUnreachable, ApiError, ProviderError and SecretMissing.
    """
    cluster: Cluster = hosts[0].pool.cluster
    kubeconfig = secret(cluster.kubeconfig)
    async with (
        open_provider(cluster, secret) as provider,
        connect(cluster, kubeconfig, timeout_s=API_TIMEOUT_S) as api,
        Sessions(fleet.ssh_limits, secret) as sessions,
    ):
        version = str((await api.request("GET", "/version")).get("gitVersion", ""))
        gate = gate_of(api, hosts, recorder, dry_run=dry_run)
        recorder.add_run_findings(api.findings)
        yield RolloutRun(
            fleet,
            hosts,
            flow,
            api=api,
            sessions=sessions,
            provider=provider,
            gate=gate,
            recorder=recorder,
            nodes=await list_nodes(api),
            api_version=version,
        )
