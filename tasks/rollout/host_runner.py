"""Carrying one host through a rollout: take, drain, change, prove, give back.

Each step reads afresh where it stands and passes the gate. What is about to be done stands on the pool's Lease first,
then on the Node for people to see, then on the host, so that the next run goes on from there. Nothing here knows what
the change is: the flow hands in `HostWork`.
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
"""How long another rollout may count and cordon in a domain before we give up waiting for it."""


class _NotOurs(Exception):
    """This node is not to be touched; its action says why."""

    def __init__(self, action: NextAction) -> None:
        super().__init__(action.reason)
        self.action = action


class _LeftForLater(Exception):
    """Nothing more is to start; what this host had begun can be given back."""


class _Changed(Exception):
    """A host that was to be given back as it was has been changed."""


class HostRunner:
    """Carries hosts of one pool; one for a run.

    lease: the pool's, held. declared: every host of the fleet
    members: Nodes that were there and in service, as `headroom_for` has them
    may_start: why a host may not start now, such as a window that is too short; empty: it may
    stopped: why a person wants nothing new to start; empty: go on
    halted: why the rollout itself starts nothing new; empty: go on
    prove_works: shows that a Node works as it is; blockers are why it does not
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
        """By domain and what counts: of those that need the same room, the first in line watches for it."""
        self._pdb_locks = PdbLocks(api)

    async def run_host(self, host: Host) -> HostOutcome:
        """One host from where it stands to the end, or to where it has to be left.

        Raises HostError, ClusterUnreachable and ApiError when host or cluster cannot be reached: call it again.
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
                raise _NotOurs(action)
            if action.step is Step.CLAIM and node is not None and (bad := await self._prove_new_node(host, node)):
                return self._outcome(host, HostState.STOPPED, f"its Node is a new one: {bad[0].evidence.observed}", bad)
            return await self._run_from(host, node, action.step)
        except _NotOurs as left:
            return self._outcome(host, HostState.STOPPED, left.action.reason, _some(left.action.finding))
        except _LeftForLater as later:
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
            if refused.refusal.temporary:  # the API server is away for a moment, which is no one's word
                raise ClusterUnreachable(refused.refusal.reason) from None
            return self._outcome(
                host, HostState.REFUSED, str(refused), [refused.refusal.finding(Subject("host", host.name))]
            )
        except ClaimedByOthers as others:
            finding = self._finding(
                host,
                "rollout.node.taken",
                str(others),
                "our own claim",
                "See who works on it: `kubectl get node -o yaml`; run this again when they have ended.",
            )
            return self._outcome(host, HostState.STOPPED, str(others), [finding])

    # what was intended

    def _intent(self, host: Host) -> Intent | None:
        return intent_for(self.lease.note, self.goal.id, host.name)

    async def _write_intent(self, host: Host, node: NodeRow | None, *, anew: bool = False) -> Intent:
        """What is about to be done, written down before anything of it is. Raises LeaseLost.

        anew: the Node is about to be taken
        """
        there, is_dead = self._intent(host), self.limits.node_is_dead
        new = Intent.of(host.node_name, node, node_is_dead=is_dead, hands_over=self.work.hands_over)
        if anew and there is not None and (there.node, there.machine_id) != (new.node, new.machine_id):
            there = None  # of the machine that had this name before
        if there is not None and there.node_is_dead == is_dead:
            return there
        if anew and there is None and new.asks_host:
            await self._forget_earlier(host)  # a person has given it back since, or it is another machine
        intent = new if there is None else replace(there, node_is_dead=is_dead)
        await self.lease.change(lambda note: with_intent(note, self.goal.id, host.name, intent))
        if self._intent(host) != intent:
            raise AssertionError("a lease that does not know the rollout keeps none of its intents")
        return intent

    async def _clear_intent(self, host: Host, *, done: bool) -> None:
        """Once nothing of it is left on Node and host; where that cannot be written, `recover` sees the same."""
        if (intent := self._intent(host)) is None:
            return
        with suppress(ApiError, ClusterUnreachable, LeaseLost):
            node = await get_node(self.api, host.node_name)
            claim = claim_of(node) if node is not None else None
            unclaimed = node is not None and (claim is None or claim.rollout != self.goal.id)
            if done or (unclaimed and await self._is_unchanged(host, intent)):
                await self.lease.change(lambda note: with_intent(note, self.goal.id, host.name, None))

    async def _is_unchanged(self, host: Host, intent: Intent) -> bool:
        """Whether the host says so: one whose claim was taken off may be half changed all the same."""
        if not intent.asks_host:
            return True
        told = await self._records.begun_on(host)
        return isinstance(told, Known) and told.value != intent.begun(self.goal.id)

    async def _prove_new_node(self, host: Host, node: NodeRow) -> tuple[Finding, ...]:
        """What keeps a Node out that is not the one which was proven: it was deleted, and has registered anew."""
        if members_of(self.lease.note).get(node.name, node.uid) == node.uid:
            return ()
        _log.info("%s: its Node was registered anew since it was proven: proving it first", host.name)
        async with self._phase(host, "prove it first"):
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
        """How far a host has come whose change was begun."""
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
            async with self._phase(host, "take"):
                node = await self._claim(host, node)
        if step is Step.DRAIN:
            await self._refuse_if_over(host)  # nothing on it was changed yet: going on would be a new disruption
        if step is not Step.PROVE and node is not None:
            async with self._phase(host, "drain"):
                # ours, where an earlier run had begun; one that has come further stays so, and pods may have come
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
                return await self._failed(host, "not proven", bad)
        async with self._phase(host, "give back"):
            await self._forget_begun(host)
            if not self.work.works_without_node:
                await self._return_to_service(host, if_dry_run=node)
        end = "; its Node is gone" if self.work.works_without_node else " and given back"
        would = "would be changed, proven" + ("; its Node would be gone" if self.work.works_without_node else end)
        return self._outcome(host, HostState.DONE, f"changed, proven{end}", findings, if_dry_run=would)

    async def _forget_begun(self, host: Host) -> None:
        """It is proven, or was at the goal already."""
        intent = self._intent(host)
        if intent is not None and intent.asks_host:
            await self._forget_earlier(host)

    async def _forget_earlier(self, host: Host) -> None:
        """What the host says of this rollout is over; where it stays, it is in nobody's way."""
        try:
            await self.gate.unless_dry_run(lambda: self._records.forget(host, self.goal.id), if_dry_run=None)
        except HostError as error:
            _log.warning("%s: %s", host.name, error)

    # taking

    async def _claim(self, host: Host, before: NodeRow | None) -> NodeRow:
        """Cordon the node once pool and domain have room. Raises _LeftForLater when that takes too long."""
        headroom, told = Headroom(False, "others are before it"), ""
        line = self._lines[host.domain and host.domain.name, counted_against(before)]
        if line.locked():
            self.live.show_host(host.name, f"waits for room: {headroom.why}")
        try:
            async with asyncio.timeout(self.limits.headroom_timeout_s), line:
                headroom = Headroom(False, "its domain's lease was not free")
                while True:
                    await self._refuse_if_over(host)
                    async with self._claiming, self._domain(host) as domain:
                        nodes = await list_nodes(self.api)
                        headroom = self.gate.seen(
                            headroom_for(host, self._declared, nodes, self._members), if_dry_run=Headroom(True)
                        )
                        now = nodes.get(host.node_name)
                        action = self._next_action(host, now, at_goal=False)
                        if now is None or action.step is not Step.CLAIM:  # it has become another while it waited
                            raise _NotOurs(action)
                        if before is not None and now.uid != before.uid:
                            raise _LeftForLater(
                                "its Node was registered anew while it waited: it is to be proven first"
                            )
                        if headroom.free:
                            await self._write_intent(host, now, anew=True)
                        if headroom.free and (domain is None or domain.remaining_s > self.api.timeout_s):
                            return await self._cordon(host, now, domain)
                    if headroom.why != told:
                        told = headroom.why
                        _log.info("%s: waits for room: %s", host.name, headroom.why)
                    self.live.show_host(host.name, f"waits for room: {headroom.why}")
                    await self._wait_for_headroom(host)
        except TimeoutError:
            raise _LeftForLater(f"no headroom within {self.limits.headroom_timeout_s:.0f} s: {headroom.why}") from None

    def _refuse_if_lost(self, host: Host) -> None:
        """What another run brings about meanwhile is not ours to tell."""
        if refusal := refusal_of(self.lease, lands_within_s=0):
            raise GateRefused(Change(Subject("host", host.name), f"go on with {host.name}"), refusal)

    async def _refuse_if_over(self, host: Host) -> None:
        await self._refuse_if_ended()
        if why := self.gate.seen(self._may_start(host), if_dry_run=""):
            raise _LeftForLater(why)

    async def _refuse_if_ended(self) -> None:
        """What nothing was changed on yet is given back when nothing new may start."""
        if why := self.gate.seen(self._halted(), if_dry_run=""):
            raise _LeftForLater(why)
        await self._refuse_if_stopped()

    async def _refuse_if_stopped(self) -> None:
        if why := await self._stopped():
            raise _LeftForLater(why)

    async def _wait_for_headroom(self, host: Host) -> None:
        """Until the Nodes leave room, or half a minute has passed: a stop is looked for as well."""
        with suppress(TimeoutError):
            async with asyncio.timeout(30):
                async for nodes in watch_nodes(self.api):
                    if headroom_for(host, self._declared, nodes, self._members).free:
                        return

    @asynccontextmanager
    async def _domain(self, host: Host) -> AsyncIterator[HeldLease | None]:
        """The domain's lease around counting and cordoning: domains cross pools. It lasts as long as the pool's."""
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
                    raise _LeftForLater(str(by)) from None
                yield held
            else:
                yield None

    async def _cordon(self, host: Host, node: NodeRow, domain: HeldLease | None) -> NodeRow:
        """One more node of pool and domain: the count that allows it holds as long as both leases do."""
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
        """Show on the Node how far it has come. Raises NodeLost where that is gone."""
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
        self, host: Host, only: Phase | None = None, *, turns_away: bool = False, if_dry_run: NodeRow | None = None
    ) -> bool:
        """Remove claim and cordon; whether there were any.

        only: if it is still in that phase
        turns_away: once the host turns away every earlier run
        if_dry_run: its Node as it would have been taken
        """
        node = await get_node(self.api, host.node_name)
        node = node if node is not None and claim_of(node) is not None else None
        node = self.gate.seen(node, if_dry_run=if_dry_run or node)
        if node is None:
            return False

        async def act() -> NodeRow:
            if turns_away:
                await self._turn_away(host)
            return await release_node(self.api, host.node_name, self._new_claim(Phase.DRAINING), only)

        with suppress(NotFound):
            sentence = f"release node {host.node_name}: remove our claim and our cordon"
            await change_under_lease(
                self.gate, self.lease, Subject("node", host.node_name), sentence, act, if_dry_run=node
            )
        return True

    async def recover_unchanged(self, host: Host) -> HostOutcome:
        """The end of a host that a killed run had taken, and that says itself that nothing on it was changed.

        That run may only sleep: the host turns it away before anything runs on the node again. Raises HostError.
        """
        try:
            outcome = await self.return_unchanged(host, HostState.DONE, "nothing on it was changed", only=None)
        except _Changed as changed:
            finding = self._finding(
                host,
                "rollout.host.changed",
                str(changed),
                "a host that was not changed",
                "Nothing to do: the next recovery finishes it.",
            )
            return self._outcome(host, HostState.STOPPED, str(changed), [finding])
        await self._clear_intent(host, done=False)
        return outcome

    async def _turn_away(self, host: Host) -> None:
        intent = self._intent(host)
        if intent is None or not intent.asks_host:
            return
        turned_away = partial(self._records.fence_off, host, self.lease.fencing_token)
        told = await self.gate.unless_dry_run(turned_away, if_dry_run=Known(None, datetime.now(UTC)))
        if not isinstance(told, Known) or told.value == intent.begun(self.goal.id):
            raise _Changed(f"{host.name} was changed meanwhile, or does not tell")

    async def return_unchanged(
        self,
        host: Host,
        state: HostState,
        why: str,
        findings: Iterable[Finding] = (),
        only: Phase | None = Phase.DRAINING,
    ) -> HostOutcome:
        """The end of a host that was drained in part and not changed."""
        try:
            given = await self._return_to_service(host, only, turns_away=only is None)
        except (GateRefused, ClaimedByOthers, AdmissionDenied) as error:
            kept = self._finding(
                host,
                "rollout.node.not-given-back",
                str(error),
                "no cordon and no claim of ours",
                "When nothing stands against it any more: `poolkeeper run recover -p dry_run=false`.",
            )
            state = HostState.REFUSED if state is HostState.DONE else state
            return self._outcome(host, state, f"{why}; not given back", [*findings, kept])
        told, would = f"{why}; given back" if given else why, f"{why}; would be given back" if given else why
        return self._outcome(host, state, told, findings, if_dry_run=would)

    async def _blocked(self, host: Host, blocked: DrainBlocked) -> HostOutcome:
        findings = [
            self._finding(
                host,
                "rollout.drain.blocked",
                f"{namespace}/{name}: {why}" if namespace else why,
                "evicted",
                f"Make way for what it names (`poolkeeper forecast {host.node_name}` tells more), and run this again.",
            )
            for (namespace, name), why in sorted(blocked.blockers.items())
        ]
        blocked_by = findings[0].evidence.observed
        summary = self.gate.seen(
            f"its drain was blocked: {blocked_by}", if_dry_run=f"its drain is blocked: {blocked_by}"
        )
        return await self.return_unchanged(host, HostState.BLOCKED, summary, findings)

    async def _denied(self, host: Host, denied: AdmissionDenied) -> HostOutcome:
        """A webhook or a policy is against what we would write: the drain is blocked, unless more was done already."""
        node = await get_node(self.api, host.node_name)
        claim = claim_of(node) if node is not None else None
        if node is None or (claim is not None and claim.phase is not Phase.DRAINING):
            raise denied
        return await self._blocked(host, DrainBlocked(host.node_name, {("", host.node_name): str(denied)}))

    async def _uncordoned(self, host: Host, uncordoned: Uncordoned) -> HostOutcome:
        finding = self._finding(
            host,
            "rollout.node.uncordoned",
            str(uncordoned),
            "cordoned until it is proven",
            f"When it may be taken out again: `poolkeeper release {host.node_name}`, and run this again.",
        )
        return await self.return_unchanged(host, HostState.STOPPED, str(uncordoned), [finding])

    def _lost(self, host: Host, lost: NodeLost) -> HostOutcome:
        next_step = (
            f"See who deleted it (audit log). Where the host still works, `systemctl restart kubelet` on {host.name}"
            " registers it anew; then run this again."
        )
        finding = replace(lost.finding(Subject("host", host.name)), next_step=next_step)
        return self._outcome(host, HostState.STOPPED, str(lost), [finding])

    async def _failed(self, host: Host, what: str, findings: tuple[Finding, ...]) -> HostOutcome:
        """Keep the node cordoned and claimed: its slot is not free."""
        kept = "; kept cordoned"
        try:
            await self._record_phase(host, Phase.FAILED)
        except NodeLost as lost:
            kept = f"; {lost}"
        except ClaimedByOthers as others:
            if others.claim is not None:
                raise
            _log.warning("%s: %s", host.name, others)  # it has no claim to keep; what failed is told all the same
        except GateRefused as refused:
            if refused.refusal.temporary:
                raise
            _log.warning("%s: %s", host.name, refused)  # held or frozen by one who saw it fail
        worst = findings[0]
        why = f"{worst.id}: {worst.evidence.observed}"
        state = self.gate.seen(HostState.FAILED, if_dry_run=HostState.STOPPED)
        return self._outcome(host, state, f"{what}: {why}{kept}", findings, if_dry_run=f"it would fail: {why}")

    # telling

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
        """How it ended, told and recorded.

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
