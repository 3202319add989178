"""Runs one host through a rollout: claim, drain, change, prove, return to service.

Each step reads the current state and passes the gate. The intent is written first to the pool's Lease, then to the
Node (the claim, for people to see), then to the host, so that the next run can continue from there. This module does
not know what the change is: the flow passes a `HostWork`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from poolkeeper.tasks.cluster import AdmissionDenied, ApiError, ClusterApi, ClusterUnreachable, NotFound
from poolkeeper.tasks.cluster.claims import (
    Claim,
    ClaimedByOthers,
    Phase,
    Uncordoned,
    claim_node,
    claim_of,
    now_text,
    release_node,
    update_claim,
)
from poolkeeper.tasks.cluster.eviction import DrainBlocked
from poolkeeper.tasks.cluster.leases import HeldLease, LeaseHeld, LeaseLost, hold_lease, refusal_of
from poolkeeper.tasks.cluster.nodes import NodeRow, get_node, list_nodes, watch_nodes
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import HostError
from poolkeeper.tasks.hosts.fence import Fence
from poolkeeper.tasks.outcomes import (
    Change,
    Evidence,
    Finding,
    Gate,
    GateRefused,
    HostOutcome,
    HostState,
    Known,
    Severity,
    Subject,
    blockers,
)
from poolkeeper.tasks.rollout.goal import Goal, Limits
from poolkeeper.tasks.rollout.headroom import Headroom, counted_against, headroom_for
from poolkeeper.tasks.rollout.host_drain import HostDrain, NodeLost
from poolkeeper.tasks.rollout.host_work import HostRecords, HostWork
from poolkeeper.tasks.rollout.leased_changes import change_under_lease
from poolkeeper.tasks.rollout.live_view import LiveView
from poolkeeper.tasks.rollout.next_action import NextAction, Step, next_action
from poolkeeper.tasks.rollout.pdb_lock import PdbLocks
from poolkeeper.tasks.rollout.rollout_state import Intent, intent_for, members_of, with_intent, with_member
from poolkeeper.tasks.runs.recording import Recorder

_log = logging.getLogger(__name__)

T = TypeVar("T")

DOMAIN_PATIENCE_S = 300.0
"""How long a host waits for another rollout that counts and cordons in the same domain."""


class _Skipped(Exception):
    """This host must not be changed; `action` says why."""

    def __init__(self, action: NextAction) -> None:
        super().__init__(action.reason)
        self.action = action


class _Postponed(Exception):
    """Nothing new may start; a host that was not changed yet returns to service."""


class _Changed(Exception):
    """A host that was to return to service unchanged has been changed."""


class HostRunner:
    """Runs the hosts of one pool; a run has one.

    lease: the pool's, held. declared: every host of the fleet
    members: names of Nodes that were in service; see `headroom_for`
    may_start: why a host may not start now, such as a window that is too short; empty: it may
    stopped: why a person wants nothing new to start; empty: continue
    halted: why the rollout itself starts nothing new; empty: continue
    prove_works: proves that a Node works as it is; blockers say why it does not
    """

    def __init__(
        self,
        *,
        api: ClusterApi,
        gate: Gate,
        recorder: Recorder,
        lease: HeldLease,
        goal: Goal,
        limits: Limits,
        work: HostWork,
        declared: Sequence[Host],
        members: Collection[str],
        live: LiveView,
        may_start: Callable[[Host], str],
        stopped: Callable[[], Awaitable[str]],
        halted: Callable[[], str],
        records: HostRecords,
        prove_works: Callable[[Host], Awaitable[tuple[Finding, ...]]],
    ) -> None:
        self.api, self.gate, self.recorder, self.lease = api, gate, recorder, lease
        self.goal, self.limits, self.work, self.live = goal, limits, work, live
        self._declared, self._members = declared, members
        self._may_start, self._stopped, self._halted = may_start, stopped, halted
        self._records, self._prove_works = records, prove_works
        self._claiming = asyncio.Lock()
        self._lines = defaultdict[Any, asyncio.Lock](asyncio.Lock)
        """By domain and what counts: of hosts that need the same headroom, the first in line watches the Nodes."""
        self._pdb_locks = PdbLocks(api)

    async def run_host(self, host: Host) -> HostOutcome:
        """Run one host from its current state to the end, or until it must be skipped.

        Raises HostError, ClusterUnreachable and ApiError when host or cluster cannot be reached: call this again.
        """
        outcome = await self._run_to_an_end(host)
        await self._clear_intent(host, done=outcome.state is HostState.DONE)
        return outcome

    async def _run_to_an_end(self, host: Host) -> HostOutcome:
        try:
            self._refuse_if_lost(host)
            async with self._phase(host, "look"):
                node = await get_node(self.api, host.node_name)
                action = self._next_action(host, node, at_goal=await self.work.at_goal(host, node))
            if action.step is Step.NOTHING:
                await self._forget_begun(host)
                return self._outcome(host, HostState.DONE, action.reason)
            if action.step is Step.SKIP:
                raise _Skipped(action)
            if action.step is Step.CLAIM and node is not None and (bad := await self._prove_new_node(host, node)):
                return self._outcome(
                    host, HostState.STOPPED, f"its Node has registered again: {bad[0].evidence.observed}", bad
                )
            return await self._run_from(host, node, action.step)
        except _Skipped as skipped:
            return self._outcome(host, HostState.STOPPED, skipped.action.reason, _some(skipped.action.finding))
        except _Postponed as later:
            return await self.return_unchanged(host, HostState.POSTPONED, str(later))
        except DrainBlocked as blocked:
            return await self._blocked(host, blocked)
        except AdmissionDenied as denied:
            return await self._denied(host, denied)
        except Uncordoned as uncordoned:
            return await self._uncordoned(host, uncordoned)
        except NodeLost as lost:
            return self._lost(host, lost)
        except GateRefused as refused:
            if refused.refusal.temporary:  # the API server did not answer: nobody has refused anything
                raise ClusterUnreachable(refused.refusal.reason) from None
            return self._outcome(
                host, HostState.REFUSED, str(refused), [refused.refusal.finding(Subject("host", host.name))]
            )
        except ClaimedByOthers as others:
            finding = self._finding(
                host,
                "rollout.node.claimed",
                str(others),
                "our own claim",
                f"See which run has it: `kubectl get node {host.node_name} -o yaml`. Run this again after it.",
            )
            return self._outcome(host, HostState.STOPPED, str(others), [finding])

    # intents

    def _intent(self, host: Host) -> Intent | None:
        return intent_for(self.lease.note, self.goal.id, host.name)

    async def _write_intent(self, host: Host, node: NodeRow | None, *, claims: bool = False) -> Intent:
        """Write to the pool's Lease what is about to be done. Raises LeaseLost.

        Invariant: no Node is claimed and no host is changed before its intent is on the Lease.
        claims: the Node is about to be claimed
        """
        there, is_dead = self._intent(host), self.limits.node_is_dead
        new = Intent.of(host.node_name, node, node_is_dead=is_dead, hands_over=self.work.hands_over)
        if claims and there is not None and (there.node, there.machine_id) != (new.node, new.machine_id):
            there = None  # it is of another machine, which had this name before
        if there is not None and there.node_is_dead == is_dead:
            return there
        if claims and there is None and new.asks_host:
            await self._forget_earlier(host)  # a person has released the Node since, or it is another machine
        intent = new if there is None else replace(there, node_is_dead=is_dead)
        await self.lease.change(lambda note: with_intent(note, self.goal.id, host.name, intent))
        if self._intent(host) != intent:
            raise AssertionError("the lease does not know this rollout, and so keeps no intent of it")
        return intent

    async def _clear_intent(self, host: Host, *, done: bool) -> None:
        """Remove the intent once neither Node nor host has anything of it. If that fails, `recover` removes it."""
        if (intent := self._intent(host)) is None:
            return
        with suppress(ApiError, ClusterUnreachable, LeaseLost):
            node = await get_node(self.api, host.node_name)
            claim = claim_of(node) if node is not None else None
            unclaimed = node is not None and (claim is None or claim.rollout != self.goal.id)
            if done or (unclaimed and await self._is_unchanged(host, intent)):
                await self.lease.change(lambda note: with_intent(note, self.goal.id, host.name, None))

    async def _is_unchanged(self, host: Host, intent: Intent) -> bool:
        """Whether the host itself says so: it may be half changed although its Node has no claim any more."""
        if not intent.asks_host:
            return True
        begun = await self._records.begun_on(host)
        return isinstance(begun, Known) and begun.value != intent.begun(self.goal.id)

    async def _prove_new_node(self, host: Host, node: NodeRow) -> tuple[Finding, ...]:
        """Why a Node that has registered again since its proof may not be claimed; empty: it may."""
        if members_of(self.lease.note).get(node.name, node.uid) == node.uid:
            return ()
        _log.info("%s: its Node has registered again since its proof; it is proven first", host.name)
        async with self._phase(host, "prove new node"):
            try:
                bad = blockers(await self._prove_works(host))
            except HostError as error:
                bad = (error.finding(Subject("host", host.name)),)
            if bad:
                return bad
        await self.lease.change(lambda note: with_member(note, node))
        return ()

    @property
    def _begun(self) -> Phase:
        """The phase of a host whose change was started."""
        return Phase.WITH_A_PERSON if self.work.hands_over else Phase.CHANGING

    def _next_action(self, host: Host, node: NodeRow | None, *, at_goal: bool) -> NextAction:
        return next_action(
            host,
            node,
            self.goal,
            intent=self._intent(host),
            at_goal=at_goal,
            works_on_cordoned=self.limits.works_on_cordoned,
            works_on_not_ready=self.work.works_on_not_ready,
            works_without_node=self.work.works_without_node,
            now=datetime.now(UTC),
        )

    async def _run_from(self, host: Host, node: NodeRow | None, step: Step) -> HostOutcome:
        if step is Step.CLAIM:
            async with self._phase(host, "claim"):
                node = await self._claim(host, node)
        if step is Step.DRAIN:
            await self._refuse_if_over(host)  # nothing on it was changed yet: to continue would be a new disruption
        if step is not Step.PROVE and node is not None:
            async with self._phase(host, "drain"):
                # a half changed host keeps its phase and is drained again, for pods may have come meanwhile
                await self._record_phase(host, self._begun if step is Step.CHANGE else Phase.DRAINING)
                await self._drain(host, unchanged=step is not Step.CHANGE)
        if step is not Step.PROVE:
            if step is not Step.CHANGE:
                await self._refuse_if_ended()
            if self.work.hands_over:
                await self._record_phase(host, self._begun)
                would = "would be drained and handed over"
                return self._outcome(host, HostState.HANDED_OVER, "drained and handed over", if_dry_run=would)
            async with self._phase(host, "change"):
                intent = await self._write_intent(host, node)
                if node is not None:
                    await self._record_phase(host, self._begun)
                fence = Fence(self.lease.fencing_token, intent.begun(self.goal.id))
                if bad := blockers(await self.work.change(host, node, fence)):
                    return await self._failed(host, "the change failed", bad)
        async with self._phase(host, "prove"):
            findings = await self.work.prove(host, node)
            if bad := blockers(findings):
                return await self._failed(host, "the proof failed", bad)
        async with self._phase(host, "return to service"):
            await self._forget_begun(host)
            if not self.work.works_without_node:
                await self._return_to_service(host, if_dry_run=node)
        end = "; its Node is gone" if self.work.works_without_node else ", returned to service"
        would = "would be changed and proven; its Node would be " + (
            "gone" if self.work.works_without_node else "returned to service"
        )
        return self._outcome(host, HostState.DONE, f"changed, proven{end}", findings, if_dry_run=would)

    async def _forget_begun(self, host: Host) -> None:
        """Forget what was begun on a host that is proven, or that was at the goal already."""
        intent = self._intent(host)
        if intent is not None and intent.asks_host:
            await self._forget_earlier(host)

    async def _forget_earlier(self, host: Host) -> None:
        """Remove this rollout's record from the host. Where that fails, the record stays and does no harm."""
        try:
            await self.gate.unless_dry_run(lambda: self._records.forget(host, self.goal.id), if_dry_run=None)
        except HostError as error:
            _log.warning("%s: %s", host.name, error.summary)

    # claiming

    async def _claim(self, host: Host, before: NodeRow | None) -> NodeRow:
        """Cordon the node once pool and domain have headroom. Raises _Postponed when that takes too long.

        Invariant: the Nodes are counted and the node is cordoned under the domain's lease, so that no two runs use
        the same headroom.
        """
        headroom, logged = Headroom(False, "other hosts wait before it"), ""
        line = self._lines[host.domain and host.domain.name, counted_against(before)]
        if line.locked():
            self.live.show_host(host.name, f"waits for headroom: {headroom.why}")
        try:
            async with asyncio.timeout(self.limits.headroom_timeout_s), line:
                headroom = Headroom(False, "another run holds the domain's lease")
                while True:
                    await self._refuse_if_over(host)
                    async with self._claiming, self._domain(host) as domain:
                        nodes = await list_nodes(self.api)
                        headroom = self.gate.seen(
                            headroom_for(host, self._declared, nodes, self._members), if_dry_run=Headroom(True)
                        )
                        now = nodes.get(host.node_name)
                        action = self._next_action(host, now, at_goal=False)
                        if now is None or action.step is not Step.CLAIM:  # its state has changed while it waited
                            raise _Skipped(action)
                        if before is not None and now.uid != before.uid:
                            raise _Postponed("its Node has registered again while it waited; it needs a proof first")
                        if headroom.free:
                            await self._write_intent(host, now, claims=True)
                        if headroom.free and (domain is None or domain.remaining_s > self.api.timeout_s):
                            return await self._cordon(host, now, domain)
                    if headroom.why != logged:
                        logged = headroom.why
                        _log.info("%s: waits for headroom: %s", host.name, headroom.why)
                    self.live.show_host(host.name, f"waits for headroom: {headroom.why}")
                    await self._wait_for_headroom(host)
        except TimeoutError:
            raise _Postponed(f"no headroom within {self.limits.headroom_timeout_s:.0f} s: {headroom.why}") from None

    def _refuse_if_lost(self, host: Host) -> None:
        """Without the lease another run may work on the host: this run must not report on it."""
        if refusal := refusal_of(self.lease, lands_within_s=0):
            raise GateRefused(Change(Subject("host", host.name), f"continue with {host.name}"), refusal)

    async def _refuse_if_over(self, host: Host) -> None:
        await self._refuse_if_ended()
        if why := self.gate.seen(self._may_start(host), if_dry_run=""):
            raise _Postponed(why)

    async def _refuse_if_ended(self) -> None:
        """Raises _Postponed when nothing new may start; only for hosts that were not changed yet."""
        if why := self.gate.seen(self._halted(), if_dry_run=""):
            raise _Postponed(why)
        await self._refuse_if_stopped()

    async def _refuse_if_stopped(self) -> None:
        if why := await self._stopped():
            raise _Postponed(why)

    async def _wait_for_headroom(self, host: Host) -> None:
        """Until there is headroom, or half a minute has passed: then the caller looks for a stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(30):
                async for nodes in watch_nodes(self.api):
                    if headroom_for(host, self._declared, nodes, self._members).free:
                        return

    @asynccontextmanager
    async def _domain(self, host: Host) -> AsyncIterator[HeldLease | None]:
        """The domain's lease while Nodes are counted and one is cordoned: a domain may have hosts of several pools."""
        async with AsyncExitStack() as stack:
            if host.domain is not None:
                name = f"domain-{host.domain.name}"
                domain = hold_lease(
                    self.api,
                    name,
                    self.lease.holder,
                    duration_s=self.lease.duration_s,
                    patience_s=DOMAIN_PATIENCE_S,
                )
                try:
                    held = await self.gate.unless_dry_run(lambda: stack.enter_async_context(domain), if_dry_run=None)
                except LeaseHeld as by:
                    raise _Postponed(str(by)) from None
                yield held
            else:
                yield None

    async def _cordon(self, host: Host, node: NodeRow, domain: HeldLease | None) -> NodeRow:
        """Claim the node: the count that allows it is true as long as both leases are held."""
        claim, even_if_cordoned = self._new_claim(Phase.DRAINING), self.limits.works_on_cordoned

        async def act() -> NodeRow:
            surely_s = self.lease.remaining_s if domain is None else domain.remaining_s
            async with asyncio.timeout(surely_s):
                return await claim_node(self.api, host.node_name, claim, even_if_cordoned=even_if_cordoned)

        cordoned = replace(node, unschedulable=True)
        return await change_under_lease(
            self.gate,
            self.lease,
            Subject("node", host.node_name),
            f"cordon node {host.node_name}",
            act,
            if_dry_run=cordoned,
        )

    def _new_claim(self, phase: Phase) -> Claim:
        return Claim(
            rollout=self.goal.id,
            flow=self.goal.flow,
            goal=self.goal.wanted,
            run=self.recorder.run_id,
            fencing_token=self.lease.fencing_token,
            phase=phase,
            since=now_text(),
        )

    async def _record_phase(self, host: Host, phase: Phase) -> None:
        """Record on the Node how far its host has come. Raises NodeLost where there is no Node."""
        if await get_node(self.api, host.node_name) is None:
            raise NodeLost(f"Node {host.node_name} is gone")
        try:
            await change_under_lease(
                self.gate,
                self.lease,
                Subject("node", host.node_name),
                f"record phase {phase} on node {host.node_name}",
                lambda: update_claim(self.api, host.node_name, self._new_claim(phase)),
                if_dry_run=None,
            )
        except NotFound:
            raise NodeLost(f"Node {host.node_name} is gone") from None

    async def _drain(self, host: Host, *, unchanged: bool) -> None:
        """Empty the Node. unchanged: nothing on the host was changed yet. See `HostDrain` for what it raises."""
        drain = HostDrain(
            host,
            api=self.api,
            gate=self.gate,
            lease=self.lease,
            goal=self.goal,
            limits=self.limits,
            live=self.live,
            refuse_if_stopped=self._refuse_if_stopped,
        )
        if self.limits.node_is_dead:
            await drain.run_on_dead_machine()
            return
        async with self._pdb_locks.acquired(host.node_name):
            if unchanged:
                await self._refuse_if_ended()
            await drain.run()

    # endings

    async def _return_to_service(
        self, host: Host, only: Phase | None = None, *, fences_off: bool = False, if_dry_run: NodeRow | None = None
    ) -> bool:
        """Remove claim and cordon; whether there were any.

        only: refuse unless the claim is still in that phase
        fences_off: first make the host refuse every earlier run
        if_dry_run: its Node as it would have been claimed
        """
        node = await get_node(self.api, host.node_name)
        node = node if node is not None and claim_of(node) is not None else None
        node = self.gate.seen(node, if_dry_run=if_dry_run or node)
        if node is None:
            return False

        async def act() -> NodeRow:
            if fences_off:
                await self._fence_off(host)
            return await release_node(self.api, host.node_name, self._new_claim(Phase.DRAINING), only)

        with suppress(NotFound):
            sentence = f"release node {host.node_name}: remove our claim and our cordon"
            await change_under_lease(
                self.gate, self.lease, Subject("node", host.node_name), sentence, act, if_dry_run=node
            )
        return True

    async def recover_unchanged(self, host: Host) -> HostOutcome:
        """The end of a host that a killed run had claimed, and that says itself that nothing on it was changed.

        Invariant: the host refuses that run before its Node returns to service, for that run may only be suspended.
        Raises HostError.
        """
        try:
            outcome = await self.return_unchanged(host, HostState.DONE, "nothing on it was changed", only=None)
        except _Changed as changed:
            finding = self._finding(
                host,
                "rollout.host.changed",
                str(changed),
                "an unchanged host",
                "Finish it: `poolkeeper run recover --apply`, or switch the schedule of `recover` on.",
            )
            return self._outcome(host, HostState.STOPPED, str(changed), [finding])
        await self._clear_intent(host, done=False)
        return outcome

    async def _fence_off(self, host: Host) -> None:
        intent = self._intent(host)
        if intent is None or not intent.asks_host:
            return
        fence_off = partial(self._records.fence_off, host, self.lease.fencing_token)
        begun = await self.gate.unless_dry_run(fence_off, if_dry_run=Known(None, datetime.now(UTC)))
        if not isinstance(begun, Known) or begun.value == intent.begun(self.goal.id):
            raise _Changed(f"{host.name} was changed meanwhile, or its record cannot be read")

    async def return_unchanged(
        self,
        host: Host,
        state: HostState,
        why: str,
        findings: Iterable[Finding] = (),
        only: Phase | None = Phase.DRAINING,
    ) -> HostOutcome:
        """The end of a host that may be drained in part and was not changed."""
        try:
            returned = await self._return_to_service(host, only, fences_off=only is None)
        except (GateRefused, ClaimedByOthers, AdmissionDenied) as error:
            kept = self._finding(
                host,
                "rollout.node.not-returned",
                str(error),
                "no cordon and no claim of ours",
                "Once nothing blocks it any more: `poolkeeper run recover --apply`.",
            )
            state = HostState.REFUSED if state is HostState.DONE else state
            return self._outcome(host, state, f"{why}; not returned to service", [*findings, kept])
        if not returned:
            return self._outcome(host, state, why, findings, if_dry_run=why)
        would = f"{why}; would be returned to service"
        return self._outcome(host, state, f"{why}; returned to service", findings, if_dry_run=would)

    async def _blocked(self, host: Host, blocked: DrainBlocked) -> HostOutcome:
        findings = [
            self._finding(
                host,
                "rollout.drain.blocked",
                f"{namespace}/{name}: {why}" if namespace else why,
                "evicted",
                f"Resolve what blocks the pod (details: `poolkeeper forecast {host.node_name}`), and run this again.",
            )
            for (namespace, name), why in sorted(blocked.blockers.items())
        ]
        blocked_by = findings[0].evidence.observed
        summary = self.gate.seen(
            f"its drain was blocked: {blocked_by}", if_dry_run=f"its drain would be blocked: {blocked_by}"
        )
        return await self.return_unchanged(host, HostState.BLOCKED, summary, findings)

    async def _denied(self, host: Host, denied: AdmissionDenied) -> HostOutcome:
        """A webhook or a policy denied a write: the drain is blocked, unless the host was already being changed."""
        node = await get_node(self.api, host.node_name)
        claim = claim_of(node) if node is not None else None
        if node is None or (claim is not None and claim.phase is not Phase.DRAINING):
            raise denied
        return await self._blocked(host, DrainBlocked(host.node_name, {("", host.node_name): denied.summary}))

    async def _uncordoned(self, host: Host, uncordoned: Uncordoned) -> HostOutcome:
        finding = self._finding(
            host,
            "rollout.node.uncordoned",
            str(uncordoned),
            "cordoned until its proof",
            f"When it may leave service again: `poolkeeper release {host.node_name}`, and run this again.",
        )
        return await self.return_unchanged(host, HostState.STOPPED, str(uncordoned), [finding])

    def _lost(self, host: Host, lost: NodeLost) -> HostOutcome:
        next_step = (
            f"Find out who deleted it (audit log). If the host still works, `systemctl restart kubelet` on {host.name}"
            " registers it again. Then run this again."
        )
        finding = replace(lost.finding(Subject("host", host.name)), next_step=next_step)
        return self._outcome(host, HostState.STOPPED, str(lost), [finding])

    async def _failed(self, host: Host, what: str, findings: tuple[Finding, ...]) -> HostOutcome:
        """Keep the node cordoned and claimed. Invariant: the slot of a host without proof is not free."""
        kept = "; its node stays cordoned"
        try:
            await self._record_phase(host, Phase.FAILED)
        except NodeLost as lost:
            kept = f"; {lost}"
        except ClaimedByOthers as others:
            if others.claim is not None:
                raise
            _log.warning("%s: %s", host.name, others)  # there is no claim to keep; the failure is reported all the same
        except GateRefused as refused:
            if refused.refusal.temporary:
                raise
            _log.warning(
                "%s: %s", host.name, refused
            )  # a person who saw it fail has held the node or frozen the cluster
        worst = findings[0]
        why = f"{worst.id}: {worst.evidence.observed}"
        state = self.gate.seen(HostState.FAILED, if_dry_run=HostState.STOPPED)
        return self._outcome(host, state, f"{what}: {why}{kept}", findings, if_dry_run=f"it would fail: {why}")

    # reporting

    @asynccontextmanager
    async def _phase(self, host: Host, phase: str) -> AsyncIterator[None]:
        self.live.show_host(host.name, phase)
        async with self.recorder.phase(host.name, phase):
            yield

    def _finding(self, host: Host, id: str, observed: str, expected: str, next_step: str) -> Finding:
        evidence = Evidence(observed, expected, "rollout", datetime.now(UTC))
        return Finding(id, Severity.BLOCKER, Subject("host", host.name), evidence, next_step)

    def _outcome(
        self, host: Host, state: HostState, summary: str, findings: Iterable[Finding] = (), *, if_dry_run: str = ""
    ) -> HostOutcome:
        """The host's outcome, logged and recorded.

        if_dry_run: what a dry run says in place of the summary; empty: the same
        """
        findings = tuple(findings)
        if if_dry_run:
            ends_well = state in (HostState.DONE, HostState.HANDED_OVER)
            planned = HostState.PLANNED if ends_well else state, if_dry_run
            state, summary = self.gate.seen((state, summary), if_dry_run=planned)
        _log.info("%s: %s: %s", host.name, state, summary)
        self.recorder.findings(host.name, "outcome", findings)
        self.live.end_host(host.name, state, summary)
        return HostOutcome(host.name, state, summary, findings, dict(self.recorder.phase_s.get(host.name, {})))


def _some(finding: Finding | None) -> list[Finding]:
    return [] if finding is None else [finding]
