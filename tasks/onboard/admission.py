"""Admitting one host: join, quarantine, acceptance, release, and undoing a join that failed.

Every call reads the host and its Node first and continues from what it finds, so that the next run finishes what a
killed run has started. Each change passes the gate with a sentence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from poolkeeper.tasks.acceptance.proof import NodeGone, Wanted, prove_node
from poolkeeper.tasks.cluster import ApiError, ClusterUnreachable
from poolkeeper.tasks.cluster.nodes import NodeRow, RolloutInProgress, get_node
from poolkeeper.tasks.fleet.model import Host
from poolkeeper.tasks.hosts import HostError, read_facts
from poolkeeper.tasks.hosts.units import UnitRun, unit_state
from poolkeeper.tasks.onboard.context import Context, Look, NotAdmitted
from poolkeeper.tasks.onboard.host_cleanup import JOIN_UNIT, LEAVE_UNIT
from poolkeeper.tasks.onboard.joining import join
from poolkeeper.tasks.onboard.next_action import JoinState, Step, is_uncordoned, next_action
from poolkeeper.tasks.onboard.quarantine import quarantine, release
from poolkeeper.tasks.onboard.undoing import is_our_join, undo_failed, undo_join
from poolkeeper.tasks.outcomes import (
    Finding,
    GateRefused,
    HostOutcome,
    HostState,
    PoolkeeperError,
    Severity,
    Subject,
    by_severity,
)
from poolkeeper.tasks.runs.watching import watcher

_log = logging.getLogger(__name__)


class Admission:
    """Admits hosts to one cluster; made once a run."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.ineligible_now: Callable[[Host, Look], Sequence[Finding]] = lambda host, look: ()
        """What a join would destroy on a host, judged on the look just taken: preflight may be hours old."""
        self.excluded: Callable[[Host], Sequence[Finding]] = lambda host: ()
        """Why preflight excludes a host that has joined: its Node is quarantined, and nothing more."""

    async def look(self, host: Host, node: NodeRow | None) -> Look:
        """Read a host and decide what to do next with it. Raises HostError."""
        facts, state = await asyncio.gather(
            read_facts(self.context.sessions, host, self.context.request), self._join_state(host)
        )
        return Look(facts, node, state, next_action(host, facts.machine_id, node, state, datetime.now(UTC)))

    async def _join_state(self, host: Host) -> JoinState:
        joining, leaving = await asyncio.gather(
            unit_state(self.context.sessions, host, JOIN_UNIT), unit_state(self.context.sessions, host, LEAVE_UNIT)
        )
        if leaving.state is UnitRun.UNKNOWN:
            return JoinState.UNKNOWN
        if leaving.state is not UnitRun.ABSENT:
            return JoinState.FAILED  # an undo was cut off: it is finished before anything else
        return {
            UnitRun.ABSENT: JoinState.NONE,
            UnitRun.RUNNING: JoinState.RUNNING,
            UnitRun.SUCCEEDED: JoinState.SUCCEEDED,
            UnitRun.FAILED: JoinState.FAILED,
            UnitRun.UNKNOWN: JoinState.UNKNOWN,
        }[joining.state]

    async def admit(self, host: Host) -> HostOutcome:
        """Bring one host from its present state to acceptance, or report why not.

        Raises HostError, ClusterUnreachable and ApiError when host or cluster cannot be reached: call it again.
        """
        async with self.context.recorder.phase(host.name, "look"):
            look = await self.look(host, await get_node(self.context.api, host.node_name))
        action = look.action
        if action.step is Step.NOTHING:
            return self._outcome(host, HostState.ACCEPTED, action.reason)
        if action.finding is not None:
            return self._outcome(host, HostState.STOPPED, action.reason, [action.finding])
        excluded = self.excluded(host)
        if excluded and not is_uncordoned(action, look.node, look.facts.machine_id):
            return self._outcome(host, HostState.STOPPED, _worst(excluded), excluded)
        findings: list[Finding] = []
        try:
            await self._bring_in(host, look, excluded, findings)
        except GateRefused as refused:
            if refused.refusal.temporary:  # the API server cannot be reached for a moment: nobody has refused anything
                raise ClusterUnreachable(refused.refusal.reason) from None
            refusal = refused.refusal.finding(Subject("host", host.name))
            return self._outcome(host, HostState.REFUSED, str(refused), [*findings, refusal])
        except RolloutInProgress as claimed:
            by_rollout = claimed.finding(Subject("host", host.name))
            return self._outcome(host, HostState.STOPPED, str(claimed), [*findings, by_rollout])
        except NotAdmitted as failure:
            return await self._give_up(host, look, failure, findings)
        planned = HostState.PLANNED, f"{action.step}: {action.reason}"
        state, summary = self.context.gate.seen((HostState.ACCEPTED, "accepted and released"), if_dry_run=planned)
        return self._outcome(host, state, summary, [*findings, *self._objections(host)])

    async def _bring_in(self, host: Host, look: Look, excluded: Sequence[Finding], findings: list[Finding]) -> None:
        """Each step in turn. What a step reports and is no failure goes to `findings`. Raises NotAdmitted."""
        phase, step = self.context.recorder.phase, look.action.step
        if excluded:
            async with phase(host.name, "quarantine"):
                findings += await quarantine(self.context, host, look)
            ends_as = self.context.gate.seen(HostState.QUARANTINED, if_dry_run=HostState.STOPPED)
            raise NotAdmitted(_worst(excluded), excluded, ends_as=ends_as)
        if step is Step.UNDO_THEN_JOIN:
            async with phase(host.name, "undo"):
                left = await undo_join(self.context, host, look.node, look.facts.machine_id)
            if left:
                raise NotAdmitted("an earlier join could not be undone", left, ends_as=HostState.FAILED)
        if step is Step.JOIN and (ineligible := self.ineligible_now(host, look)):
            raise NotAdmitted("a join would now destroy something on the host", ineligible, ends_as=HostState.STOPPED)
        if step in (Step.JOIN, Step.UNDO_THEN_JOIN, Step.FOLLOW_JOIN):
            async with phase(host.name, "join"):
                findings += await join(self.context, host, look)
        elif step is Step.ACCEPT:
            async with phase(host.name, "quarantine"):
                findings += await quarantine(self.context, host, look)
        async with phase(host.name, "acceptance"):
            await self._prove(host)
        async with phase(host.name, "release"):
            findings += await release(self.context, host, look)

    async def _prove(self, host: Host) -> None:
        """Wait until the Node is Ready, probe it, judge. Raises NotAdmitted with every blocker."""
        wanted = Wanted(host.pool.kubernetes_version, ready_within_s=host.pool.join.timeout_s)
        try:
            blocking = await prove_node(self.context.clients, host, wanted)
        except NodeGone as gone:
            raise NotAdmitted("its Node is gone", [gone.finding(Subject("host", host.name))]) from None
        if blocking:
            raise NotAdmitted("not accepted", blocking)

    async def _give_up(self, host: Host, look: Look, failure: NotAdmitted, before: Sequence[Finding]) -> HostOutcome:
        """Undo a failed join of ours, unless the pool says to keep it. A node that others joined is never reset."""
        summary, findings = failure.observed, [*before, *failure.findings]
        self.context.recorder.findings(host.name, "failure", findings)
        if failure.ends_as is not None:
            return self._outcome(host, failure.ends_as, summary, findings)
        step = look.action.step
        if step is Step.ADOPT:
            return self._outcome(host, HostState.FAILED, f"{summary}; left in service", findings)
        if step is Step.ACCEPT and not await is_our_join(self.context, host, look):
            return self._outcome(host, HostState.QUARANTINED, f"{summary}; not undone: we did not join it", findings)
        if host.pool.join.on_failure == "keep":
            node = await get_node(self.context.api, host.node_name)
            state = HostState.QUARANTINED if node is not None else HostState.FAILED
            return self._outcome(host, state, f"{summary}; kept as the pool's on_failure says", findings)
        try:
            async with self.context.recorder.phase(host.name, "undo"):
                node = await get_node(self.context.api, host.node_name)
                left = await undo_join(self.context, host, node, look.facts.machine_id)
        except NotAdmitted as error:
            findings += error.findings
            return self._outcome(host, HostState.FAILED, f"{summary}; {error.observed}", findings)
        except (GateRefused, HostError, ApiError, ClusterUnreachable, TimeoutError) as error:
            why = error.summary if isinstance(error, PoolkeeperError) else "the provider's reset did not end in time"
            findings.append(undo_failed(host, why))
            return self._outcome(host, HostState.FAILED, f"{summary}; the undo failed", findings)
        return self._outcome(host, HostState.FAILED, f"{summary}; undone", [*findings, *left])

    def _objections(self, host: Host) -> list[Finding]:
        """What guards have against the steps of a dry run."""
        here = Subject("host", host.name)
        found = self.context.gate.objections(here, Subject("node", host.node_name))
        return [refusal.finding(here, Severity.WARNING) for refusal in found]

    def _outcome(self, host: Host, state: HostState, summary: str, findings: Iterable[Finding] = ()) -> HostOutcome:
        findings = tuple(findings)
        recorder = self.context.recorder
        _log.info("%s: %s: %s", host.name, state, summary)
        recorder.findings(host.name, "outcome", findings)
        watcher().ended(host.name, state, summary)
        return HostOutcome(host.name, state, summary, findings, dict(recorder.phase_s.get(host.name, {})))


def _worst(findings: Iterable[Finding]) -> str:
    worst = by_severity(findings)[0]
    return f"{worst.id}: {worst.evidence.observed}"
